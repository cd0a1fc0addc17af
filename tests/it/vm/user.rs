//! A user without root, with a systemd and a cron of the system's.

use super::Vm;

const STATE: &str = "version: 1
host: web01
cron: { tick: { schedule: \"* * * * *\", command: \"date >> $HOME/ticked\" } }
";

/// Runs a line as joe, as at a login.
fn as_joe(line: &str) -> String {
    format!(
        "runuser -u joe -- env -i HOME=/home/joe PATH=/usr/bin:/bin XDG_RUNTIME_DIR=/run/user/$(id -u joe) sh -c 'cd; {line}'"
    )
}

#[test]
fn own_timers_and_then_an_own_crontab() {
    let vm = Vm::new();
    vm.ok("useradd --create-home --shell /bin/sh joe && loginctl enable-linger joe");
    vm.until(120, "test -S /run/user/$(id -u joe)/bus");
    let rlvm = |words: &str| as_joe(&format!("rlvm --host web01 --state ~/state.yaml {words}"));
    let state = |scheduler: &str| {
        vm.put("/home/joe/state.yaml", format!("{STATE}scheduler: {scheduler}\n").as_bytes(), 0o644);
    };
    state("systemd");
    vm.ok(&rlvm("apply --yes"));
    vm.ok(&rlvm("plan --detailed-exitcode"));
    vm.ok(&as_joe("systemctl --user is-active tick.timer"));
    vm.before_the_minute();
    vm.until(130, "test -s /home/joe/ticked");
    assert_eq!(vm.ok("stat -c %U /home/joe/ticked"), "joe\n");
    assert_eq!(vm.run("ls /etc/systemd/system/tick.timer /etc/cron.d/tick").code, Some(2), "the host's own");
    vm.ok("loginctl disable-linger joe");
    vm.until(120, "test ! -e /run/user/$(id -u joe)/bus");
    let refused = vm.run(&rlvm("plan"));
    assert!(refused.code == Some(1) && refused.stdout.contains("loginctl enable-linger joe"), "{refused:?}");
    vm.ok("loginctl enable-linger joe");
    vm.until(120, "test -S /run/user/$(id -u joe)/bus");

    // The other way: nothing of the timers is left, and what joe had in the crontab is.
    vm.ok(&as_joe("echo \"# mine\" | crontab -"));
    state("cron");
    vm.ok(&rlvm("apply --yes"));
    vm.ok(&rlvm("plan --detailed-exitcode"));
    let crontab = vm.ok("crontab -l -u joe");
    assert!(crontab.contains("# BEGIN rlvm") && crontab.ends_with("# mine\n"), "{crontab}");
    assert_eq!(vm.ok("find /home/joe/.config/systemd -name \"tick*\""), "");
    assert_ne!(vm.run(&as_joe("systemctl --user is-active tick.timer")).code, Some(0));
    vm.ok("rm /home/joe/ticked");
    vm.before_the_minute();
    vm.until(130, "test -s /home/joe/ticked");
}
