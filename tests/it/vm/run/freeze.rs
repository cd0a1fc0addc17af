//! When: the moment that is stored.

use serde_json::Value;

use super::{ended, made, one_job, quick, restic, standin, start};

#[test]
fn what_changes_during_the_run_is_stored_as_it_was() {
    // R50, R51, R52
    let (vm, before) = quick(&one_job(""));
    standin::knob(&vm, "backup * wait\n");
    let volumes = made(&vm);
    start(&vm, "all");
    standin::until_called(&vm, "backup", 1);
    // Read-only, and seen by nobody else.
    let lvs = vm.ok("lvs --noheadings -o lv_name,lv_tags,segtype,origin vg0 | grep rlvm");
    assert!(lvs.lines().count() == 2 && lvs.lines().all(|it| it.contains("rlvm-run=")), "{lvs}");
    assert!(lvs.lines().any(|it| it.contains("thin") && it.contains("home")), "{lvs}");
    assert_eq!(vm.run("grep rlvm /proc/1/mountinfo").code, Some(1));
    for file in ["/srv/app/file", "/home/joe/file", "/data/file"] {
        vm.ok(&format!("echo later >{file}"));
    }
    vm.ok("rm /srv/file; echo new >/srv/new");
    standin::let_go(&vm);
    let ran = ended(&vm);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    before.is_back(&vm);
    assert_eq!(made(&vm) - volumes, 2);
    let [seen] = &standin::of_calls(&vm, "backup", "seen")[..] else { panic!("one call") };
    for line in
        ["/srv/app/file\tof srv/app", "/srv/file\tof srv", "/home/joe/file\tof home/joe", "/data/file\tlater"]
    {
        assert!(seen.lines().any(|it| it == line), "{line}: {seen}");
    }
    assert!(!seen.contains("/srv/new"), "{seen}");
    let [mounts] = &standin::of_calls(&vm, "backup", "mounts")[..] else { panic!("one call") };
    for at in [" /srv ", " /home "] {
        let mount = mounts.lines().rfind(|line| line.contains(at)).unwrap();
        assert!(mount.contains(&format!("{at}ro")), "{mount}");
    }
}

#[test]
fn all_is_frozen_before_the_first_byte_is_read_and_of_one_moment() {
    // R50
    let (vm, before) = super::machine(&one_job(""));
    // As wide each time, so that none is ever half written.
    vm.put(
        "/run/writer",
        b"i=0; while :; do i=$((i+1)); for at in /srv/n /home/n; do printf %08d $i | dd of=$at conv=fsync,notrunc status=none; done; done",
        0o644,
    );
    vm.ok("sh /run/writer >/dev/null 2>&1 & echo $! >/run/writer.pid; until test -s /home/n; do :; done");
    vm.expect(0, &["run", "all"]);
    vm.ok("kill $(cat /run/writer.pid)");
    before.is_back(&vm);
    let number = |path: &str| restic(&vm, &format!("dump latest {path}")).parse::<u32>().unwrap();
    let (srv, home) = (number("/srv/n"), number("/home/n"));
    assert!(srv == home || srv == home + 1, "one is of {srv}, the other of {home}");
}

#[test]
fn services_are_put_back_as_they_were_and_hooks_run_once() {
    // R57
    let unit = |name: &str| {
        format!(
            "[Service]\nExecStart=/bin/sh -c 'echo {name} started >>/run/said; exec tail -f /dev/null'\nExecStopPost=/bin/sh -c 'echo {name} stopped >>/run/said'\n"
        )
    };
    let hooks = "hooks: { before: [{ run: echo before >>/run/said }], after: [{ run: echo after >>/run/said }], failed: [{ run: echo failed >>/run/said }], finally: [{ run: echo finally >>/run/said }] }";
    let vm = super::Vm::lvm();
    standin::install(&vm);
    for name in ["up", "down"] {
        vm.put(&format!("/etc/systemd/system/{name}.service"), unit(name).as_bytes(), 0o644);
    }
    vm.ok("systemctl daemon-reload; systemctl start up");
    let (vm, before) = super::applied(
        vm,
        &one_job(&format!(", stop: [{{ systemd: up.service }}, {{ systemd: down.service }}], {hooks}"))
            .replace(", { path: /data }", ""),
    );
    vm.ok("rm /run/said");
    standin::knob(&vm, "backup * wait\n");
    start(&vm, "all");
    standin::until_called(&vm, "backup", 1);
    // With snapshots it is down for seconds.
    assert_eq!(vm.ok("cat /run/said; systemctl is-active up"), "before\nup stopped\nup started\nactive\n");
    standin::let_go(&vm);
    assert_eq!(ended(&vm).code, Some(0));
    assert_eq!(vm.ok("tail -n +4 /run/said"), "after\nfinally\n");
    before.is_back(&vm);
    assert_eq!(vm.run("systemctl is-active down").stdout, "inactive\n");

    standin::knob(&vm, "backup * fail 1\n");
    vm.ok("rm /run/said");
    vm.expect(8, &["run", "all"]);
    assert_eq!(vm.ok("tail -n +4 /run/said"), "failed\nfinally\n");
    before.is_back(&vm);
}

#[test]
fn cron_itself_starts_it() {
    // R43, R76
    let (vm, before) = quick(&one_job(""));
    vm.before_the_minute();
    vm.state(&one_job(", schedule: \"* * * * *\""));
    vm.apply();
    vm.until(150, "grep -q . /var/lib/rlvm/records/*.jsonl");
    vm.state(&one_job(""));
    vm.apply();
    vm.until(120, "! pgrep -x rlvm");
    before.is_back(&vm);
    let stored: Vec<Value> = standin::stored(&vm, "/vault/web01");
    assert!(!stored.is_empty() && stored[0]["hostname"] == "web01", "{stored:?}");
    assert_eq!(vm.run("grep -ri error /var/log/rlvm").code, Some(1));
}

#[test]
fn systemd_starts_it_with_all_that_a_service_may_not_do() {
    // R43
    let vm = super::Vm::lvm();
    standin::install(&vm);
    let state = one_job(", schedule: \"0 3 * * *\", jitter: 1h")
        .replace("destinations:", "scheduler: systemd\ndestinations:");
    let (vm, before) = super::applied(vm, &state);
    let volumes = made(&vm);
    // At once: the timer has waited the jitter already.
    vm.ok("systemctl start rlvm-all.service");
    assert_eq!(made(&vm) - volumes, 2, "{}", vm.ok("journalctl -q -o cat -u rlvm-all.service"));
    assert_eq!(standin::stored(&vm, "/vault/web01").len(), 1);
    before.is_back(&vm);
}
