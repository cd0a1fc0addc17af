//! Room that runs out: in a snapshot, in a volume group, in a destination.

use super::{VAULT, ended, one_job, quick, snapshots, standin, start};

/// Two jobs, the first of a volume whose snapshot is small.
fn two() -> String {
    format!(
        "{VAULT}jobs:
  all: {{ sources: [{{ lvm: {{ volume: vg0/srv, snapshot_size: 8M }} }}], to: [vault] }}
  other: {{ sources: [{{ path: /data }}], to: [vault] }}
"
    )
}

/// Takes what is free in the group, but for this many extents of 4 MiB.
fn leave(extents: u32) -> String {
    format!("lvcreate -q -y -n rest -l $(($(vgs --noheadings -o vg_free_count vg0) - {extents})) vg0")
}

#[test]
fn a_snapshot_that_is_full_is_never_a_good_backup() {
    // R67
    let (vm, _) = quick(&two());
    // What the snapshot takes, and what is to be spare.
    vm.ok(&leave(3));
    let before = super::Before::of(&vm);
    standin::knob(&vm, "backup * wait\n");
    start(&vm, "all");
    standin::until_called(&vm, "backup", 1);
    vm.ok("head -c 16M /dev/urandom >/srv/more; sync; echo 3 >/proc/sys/vm/drop_caches");
    // rlvm looks at it every two seconds, and may have ended restic already. If not, restic ends well, and has stored what
    // nobody may take for a backup.
    vm.ok("until lvs --noheadings -o lv_snapshot_invalid vg0 | grep -q invalid; do :; done; \
           timeout 5 sh -c 'echo >/run/restic/gate' || true");
    let ran = ended(&vm);
    assert!(matches!(ran.code, Some(1 | 8)), "{ran:?}");
    assert!(ran.stdout.contains("full") && ran.stdout.contains("snapshot_size"), "{ran:?}");
    vm.ok("rm /srv/more");
    before.is_back(&vm);
    let last = vm.ok("tail -n1 /var/lib/rlvm/records/*.jsonl");
    assert!(last.contains("vg0/srv"), "{last}");
    let listed: serde_json::Value = serde_json::from_str(&vm.ok("rlvm snapshots all --json")).unwrap();
    assert_eq!(listed["snapshots"].as_array().map(Vec::len), Some(0), "{listed} {last}");
}

#[test]
fn a_snapshot_that_fills_is_extended_where_there_is_room() {
    // R67
    let (vm, before) = quick(&two());
    standin::knob(&vm, "backup * wait\n");
    start(&vm, "all");
    standin::until_called(&vm, "backup", 1);
    // Slowly, as it would be.
    vm.ok("for n in 1 2 3 4 5 6 7 8; do head -c 2M /dev/urandom >/srv/more$n; sync; sleep 3; done");
    vm.ok("lvs --noheadings -o lv_snapshot_invalid,lv_tags vg0 | grep rlvm | grep -vq invalid");
    standin::let_go(&vm);
    let ran = ended(&vm);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    before.is_back(&vm);
}

#[test]
fn a_full_group_fails_what_needs_it_and_the_rest_runs() {
    // R55
    let (vm, _) = quick(&two());
    vm.ok(&leave(0));
    let before = super::Before::of(&vm);
    let ran = vm.run("rlvm run --all");
    assert!(matches!(ran.code, Some(1 | 8)) && ran.stderr.contains("vg0"), "{ran:?}");
    before.is_back(&vm);
    let stored = standin::stored(&vm, "/vault/web01");
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0]["tags"], serde_json::json!(["rlvm:job=other"]));
}

#[test]
fn a_full_destination_fails_and_the_other_has_its_backup() {
    // R54
    let small = "  small: { local: { path: /small/r }, password_file: /etc/rlvm/small.pass, generate_password: true }\n";
    let state = one_job("").replace("jobs:", &format!("{small}jobs:")).replace("[vault]", "[small, vault]");
    let vm = super::Vm::lvm();
    vm.ok("mkdir /small; mount -t tmpfs -o size=2M none /small; head -c 6M /dev/urandom >/srv/big");
    let (vm, before) = super::applied(vm, &state);
    let ran = vm.expect(8, &["run", "all"]);
    assert!(ran.stderr.contains("small") && ran.stderr.contains("no space left on device"), "{ran:?}");
    before.is_back(&vm);
    assert_eq!(snapshots(&vm).len(), 1);
}
