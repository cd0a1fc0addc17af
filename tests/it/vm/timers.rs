//! Schedules by systemd, on a machine whose systemd runs.

use super::Vm;

/// What all states here begin with. The password of a client is there.
const HEAD: &str = r"
destinations:
  vault: { local: { path: /srv/backup/web01 }, password_file: /etc/rlvm/vault.pass, generate_password: true }
";

/// A job at this time, one with all that a timer may have, one at boot, entries with what systemd would read into them,
/// and a client's prune.
fn state(vm: &Vm, scheduler: &str, web: &str) {
    let key =
        vm.ok("test -e /root/client || ssh-keygen -q -t ed25519 -N '' -f /root/client; cat /root/client.pub");
    vm.state(&format!(
        r#"scheduler: {scheduler}
{HEAD}
jobs:
  web: {{ sources: [{{ path: /etc }}], to: [vault], schedule: "{web}" }}
  more: {{ sources: [{{ path: /etc }}], to: [vault], schedule: "0 4 13 * FRI", jitter: 5m, hooks: {{ before: [{{ run: sync }}] }} }}
cron:
  tick: {{ schedule: "* * * * *", user: backup, command: 'printf "%s %s %d%%\n" "$(id -un)" "$HOME" $((6*7)) >> /var/tmp/ticks' }}
  start: {{ schedule: "@reboot", user: backup, command: "sleep 1; id -un > /var/tmp/started &" }}
ssh:
  users:
    backup-web02:
      directory: /srv/clients/web02
      access: append_only
      authorized_keys: [{{ key: {} }}]
      prune: {{ password_file: /etc/rlvm/client.pass, keep_within: 90d, schedule: "@weekly" }}
"#,
        key.trim()
    ));
}

/// The timers and services of a whole state, as systemd's files.
const UNITS: [&str; 10] = [
    "rlvm-more.service",
    "rlvm-more.timer",
    "rlvm-prune-backup-web02.service",
    "rlvm-prune-backup-web02.timer",
    "rlvm-web.service",
    "rlvm-web.timer",
    "rlvm_sweep.service",
    "start.service",
    "tick.service",
    "tick.timer",
];

const TIMERS: [&str; 4] =
    ["rlvm-more.timer", "rlvm-prune-backup-web02.timer", "rlvm-web.timer", "tick.timer"];

/// Lists what the manager has of it, whatever has become of that.
fn loaded(vm: &Vm) -> String {
    vm.ok("systemctl list-units --all --no-legend --plain 'rlvm[-_]*' 'tick.*' 'start.*' | awk '{ print $1, $2, $3 }'")
}

/// Lists the timers that wait for their time.
#[track_caller]
fn they_wait(vm: &Vm) {
    let waiting = vm.ok("systemctl list-timers --all --no-legend | grep -oE '(rlvm-|tick)[^ ]*timer' | sort");
    assert_eq!(waiting.lines().collect::<Vec<_>>(), TIMERS);
    let active = vm.ok(&format!(
        "systemctl is-active {}; systemctl is-enabled {0} start.service rlvm_sweep.service",
        TIMERS.join(" ")
    ));
    assert!(active.lines().all(|it| it == "active" || it == "enabled"), "{active}");
}

/// Says when a job was started last, since the boot; 0 if never.
fn started(vm: &Vm) -> String {
    vm.ok("systemctl show --value -p ExecMainStartTimestampMonotonic rlvm-web.service").trim().to_owned()
}

fn machine() -> Vm {
    let vm = Vm::new();
    vm.put("/etc/rlvm/client.pass", b"secret\n", 0o600);
    vm
}

#[test]
fn they_go_off_as_the_state_says_and_not_else() {
    // R43
    let vm = machine();
    vm.ok("date -s 12:00");
    state(&vm, "systemd", "0 13 * * *");
    vm.apply();
    vm.plan_is_empty();
    they_wait(&vm);
    vm.ok(&format!("cd /etc/systemd/system && out=$(systemd-analyze verify --man=no {} 2>&1) || {{ echo \"$out\"; exit 1; }}; test -z \"$out\"", UNITS.join(" ")));

    // An entry of one's own, on the minute, as its user, and to the letter.
    vm.ok("date -s 12:04:57");
    vm.until(120, "test -s /var/tmp/ticks");
    assert_eq!(vm.ok("head -1 /var/tmp/ticks"), "backup /var/backups 42%\n");

    // Another schedule, which lies between when it was enabled and now: nothing is made up for.
    vm.ok("date -s 12:30");
    state(&vm, "systemd", "15 12 * * *");
    vm.apply();
    vm.ok("sleep 3");
    assert_eq!(started(&vm), "0");
    let next = vm.ok("systemctl show --value -p NextElapseUSecRealtime rlvm-web.timer");
    assert!(next.contains(" 12:15:00 "), "{next}");
    // And when it is time, it is started.
    vm.ok("date -s '12:14:57 tomorrow'");
    vm.until(120, "test $(systemctl show --value -p ExecMainStartTimestampMonotonic rlvm-web.service) != 0");
    // It stores, through all that the service may not do.
    vm.until(120, "systemctl show -p ActiveState rlvm-web.service | grep -E 'failed|inactive'");
    let said = vm.ok(
        "systemctl show -p ExecMainStatus,Result rlvm-web.service; journalctl -q -o cat -u rlvm-web.service",
    );
    assert!(said.contains("Result=success\n") && said.contains("ExecMainStatus=0\n"), "{said}");
    // The journal keeps what cron would not be told.
    assert!(said.contains("web: stored at vault"), "{said}");
    vm.ok("systemctl start rlvm-more.service");
    let said = vm.ok("journalctl -q -o cat -u rlvm-more.service");
    assert!(said.contains("more: stored at vault") && said.contains("Backup complete"), "{said}");
    vm.plan_is_empty();

    // What the boot starts is started by it, and the others wait again.
    assert!(vm.run("test -e /var/tmp/started").code == Some(1));
    let vm = vm.reboot();
    vm.until(120, "test -s /var/tmp/started");
    assert_eq!(vm.ok("cat /var/tmp/started"), "backup\n");
    they_wait(&vm);
    // The machine's own clock stands a day before what was written: sshd is told once.
    vm.apply();
    vm.plan_is_empty();
    let swept = vm.ok("systemctl show -p ExecMainStatus,Result,ActiveState rlvm_sweep.service; journalctl -q -b -o cat -u rlvm_sweep.service");
    assert!(swept.contains("Result=success\n") && swept.contains("Nothing to sweep"), "{swept}");
}

#[test]
fn from_cron_and_back_and_what_was_changed_by_hand() {
    // R45
    let vm = machine();
    let cron = |vm: &Vm| vm.ok("cd /etc/cron.d; ls | grep -E 'rlvm|tick|start' || true");
    state(&vm, "cron", "0 3 * * *");
    vm.apply();
    assert_eq!(cron(&vm), "rlvm-more\nrlvm-prune-backup-web02\nrlvm-web\nrlvm_sweep\nstart\ntick\n");
    assert_eq!(loaded(&vm), "");
    state(&vm, "systemd", "0 3 * * *");
    vm.apply();
    vm.plan_is_empty();
    assert_eq!(cron(&vm), "");
    they_wait(&vm);

    // R16: by hand.
    for by_hand in [
        "systemctl stop rlvm-web.timer",
        "systemctl disable tick.timer",
        "systemctl disable --now rlvm-more.timer tick.timer; systemctl disable start.service",
        "sed -i s/OnCalendar=.*/OnCalendar=hourly/ /etc/systemd/system/rlvm-web.timer",
        "rm /etc/systemd/system/rlvm-web.timer; systemctl daemon-reload",
    ] {
        vm.ok(by_hand);
        let plan = vm.expect(2, &["plan", "--detailed-exitcode"]).stdout;
        assert!(plan.contains("drift") || plan.contains("changed on the host"), "{by_hand}: {plan}");
        vm.apply();
        vm.plan_is_empty();
        they_wait(&vm);
    }
    vm.ok("mv /etc/systemd/system/tick.timer /root; systemctl mask --now tick.timer");
    let ran = vm.expect(7, &["apply", "--yes"]);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("masked"), "{ran:?}");
    vm.ok("systemctl unmask tick.timer; mv /root/tick.timer /etc/systemd/system; systemctl daemon-reload");
    vm.apply();
    they_wait(&vm);

    // One that has failed is no reason to keep it.
    vm.ok("mv /srv/backup/web01 /srv/aside; ! systemctl start rlvm-web.service; mv /srv/aside /srv/backup/web01");
    assert_eq!(vm.ok("systemctl is-failed rlvm-web.service"), "failed\n");
    state(&vm, "cron", "0 3 * * *");
    vm.apply();
    vm.plan_is_empty();
    assert_eq!(cron(&vm), "rlvm-more\nrlvm-prune-backup-web02\nrlvm-web\nrlvm_sweep\nstart\ntick\n");
    assert_eq!(loaded(&vm), "");
    let left = vm.ok("find /etc/systemd/system /var/lib/systemd/timers /run/systemd | grep -E '/(stamp-)?(rlvm[-_]|tick|start[.])' || true");
    assert_eq!(left, "");
    assert_eq!(vm.ok("systemctl is-system-running"), "running\n");
}

/// Stands in systemctl's place, and kills rlvm at one of its calls: as soon as that is done.
const KILLER: &str = r#"#!/bin/sh
[ "$1" != show ] || exec /usr/bin/systemctl "$@"
echo "$@" >> /run/calls
/usr/bin/systemctl "$@"
code=$?
[ "$(wc -l < /run/calls)" != "$(cat /run/kill-at)" ] || kill -9 $PPID
exit $code
"#;

#[test]
fn killed_after_a_call_of_systemctl_the_next_apply_ends_the_same() {
    // R48
    let vm = Vm::new();
    let state = |scheduler: &str| {
        vm.state(&format!(
            "scheduler: {scheduler}\ncron:\n  tick: {{ schedule: \"0 5 * * *\", command: \"true\" }}\n  \
             start: {{ schedule: \"@reboot\", command: \"true\" }}\n"
        ));
    };
    let all = "systemctl is-active tick.timer; systemctl is-enabled tick.timer start.service; cd /etc; cat cron.d/tick \
        cron.d/start; grep -r . systemd/system/tick.* systemd/system/start.*";
    let mut ends: [Option<(String, String)>; 2] = [None, None];
    vm.put("/usr/local/sbin/systemctl", KILLER.as_bytes(), 0o755);
    // The first is enabled, or disabled; the second is just read.
    for at in [1, 4] {
        for (end, scheduler) in ends.iter_mut().zip(["systemd", "cron"]) {
            state(scheduler);
            vm.ok(&format!("rm -f /run/calls; echo {at} > /run/kill-at"));
            let code = vm.run("rlvm apply --yes").code;
            assert_eq!(code, Some(137), "{}", vm.ok("cat /run/calls"));
            vm.ok("echo 0 > /run/kill-at");
            vm.apply();
            vm.plan_is_empty();
            let now = (vm.run(all).stdout, loaded(&vm));
            assert_eq!(end.get_or_insert_with(|| now.clone()), &now, "killed at {at}");
        }
    }
}
