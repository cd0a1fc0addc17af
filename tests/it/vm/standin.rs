//! The stand-in for restic (tests/vm/restic): quick, and it fails or waits when a test says so.

use serde_json::Value;

use super::Vm;

/// Puts it before the real one on `PATH`.
pub(super) fn install(vm: &Vm) {
    vm.put("/usr/local/bin/restic", include_bytes!("../../vm/restic"), 0o755);
    vm.ok("rm -rf /run/restic");
}

/// Says what it does: rules as the script has them, a line each.
pub(super) fn knob(vm: &Vm, rules: &str) {
    vm.put("/run/restic/knob", rules.as_bytes(), 0o644);
}

/// Lets one that waits go on.
#[track_caller]
pub(super) fn let_go(vm: &Vm) {
    vm.ok("timeout 120 sh -c 'echo >/run/restic/gate'");
}

/// Waits until it was called so often with this verb.
#[track_caller]
pub(super) fn until_called(vm: &Vm, verb: &str, times: usize) {
    vm.until(120, &format!("test $(head -qn1 /run/restic/calls/*/argv | grep -cx {verb}) -ge {times}"));
}

/// Lists a file that it wrote, of each call with this verb.
pub(super) fn of_calls(vm: &Vm, verb: &str, file: &str) -> Vec<String> {
    let list = format!(
        "cd /run/restic/calls; for n in $(ls | sort -n); do test \"$(head -n1 $n/argv)\" != {verb} || {{ cat $n/{file}; printf '\\001'; }}; done"
    );
    vm.ok(&list).split_terminator('\x01').map(Into::into).collect()
}

/// Lists what a repository has.
pub(super) fn stored(vm: &Vm, repository: &str) -> Vec<Value> {
    let list = format!("cat /run/restic/repos/$(printf %s {repository} | sha256sum | cut -c1-64) || true");
    vm.ok(&list).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn it_answers_waits_fails_and_remembers() {
    let vm = Vm::lvm();
    install(&vm);
    assert_eq!(vm.ok("restic version"), "restic 0.18.0 compiled with go1.24 on linux/amd64\n");
    assert_eq!(vm.run("restic cat config --repo /r").code, Some(10));
    vm.ok("restic init --repo /r");
    let config: Value = serde_json::from_str(&vm.ok("restic cat config --repo /r --no-lock")).unwrap();
    assert_eq!(config["id"].as_str().unwrap().len(), 64);
    assert_eq!(vm.ok("restic list locks --repo /r; restic snapshots --json --repo /r"), "[]\n");

    let backup = "restic backup --json --repo /r --host web01 --tag rlvm:job=a -- /srv '/data/a b'";
    vm.ok("mkdir '/data/a b'; echo inside >'/data/a b/file'");
    let lines = vm.ok(backup);
    let summary: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(summary["message_type"], "summary");
    let [only] = &stored(&vm, "/r")[..] else { panic!("one snapshot") };
    assert_eq!(only["id"], summary["snapshot_id"]);
    assert_eq!(only["paths"], serde_json::json!(["/srv", "/data/a b"]));
    assert_eq!(only["tags"], serde_json::json!(["rlvm:job=a"]));
    let [seen] = &of_calls(&vm, "backup", "seen")[..] else { panic!("one call") };
    assert!(
        seen.contains("/srv/app/file\tof srv/app\n") && seen.contains("/data/a b/file\tinside\n"),
        "{seen}"
    );
    assert!(!seen.contains("/srv/data/deep/file"), "another file system: {seen}");
    let list: Value =
        serde_json::from_str(&vm.ok("restic snapshots --json --repo /r --host web01 --tag rlvm:job=a"))
            .unwrap();
    assert_eq!(list[0]["id"], summary["snapshot_id"]);
    assert_eq!(vm.ok("restic snapshots --json --repo /r --host web01 --tag rlvm:job=b"), "[]\n");

    knob(&vm, "backup bad fail 1\nbackup /r partial\n* * wait\n");
    assert_eq!(vm.run("restic backup --repo /bad -- /srv").code, Some(1));
    assert!(stored(&vm, "/bad").is_empty());
    assert_eq!(vm.run(backup).code, Some(3));
    assert_eq!(stored(&vm, "/r")[1]["parent"], summary["snapshot_id"]);
    vm.ok("restic unlock --repo /r >/run/out 2>&1 & echo $! >/run/pid");
    until_called(&vm, "unlock", 1);
    assert_eq!(vm.ok("cat /run/out"), "");
    let_go(&vm);
    vm.until(120, "grep -q removed /run/out");
    vm.ok("restic check --repo /r >/run/out 2>&1 & echo $! >/run/pid");
    until_called(&vm, "check", 1);
    vm.until(120, "kill $(cat /run/pid); ! kill -0 $(cat /run/pid)");
    assert_eq!(of_calls(&vm, "check", "ended"), ["TERM\n"]);
}
