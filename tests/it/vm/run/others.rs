//! Other kinds of sources, and what is refused.

use super::{VAULT, machine, quick, restic, standin};

#[test]
fn a_btrfs_subvolume_is_frozen_and_its_snapshot_goes() {
    let (vm, before) = machine(&format!(
        "{VAULT}jobs:\n  all: {{ sources: [{{ btrfs: {{ subvolume: /btrfs/sub }} }}], to: [vault] }}\n"
    ));
    let list = "btrfs subvolume list /btrfs | awk '{ print $NF }'";
    let subvolumes = vm.ok(list);
    vm.expect(0, &["run", "all"]);
    before.is_back(&vm);
    assert_eq!(vm.ok(list), subvolumes);
    assert!(restic(&vm, "ls latest").contains("/btrfs/sub/file\n"));
}

#[test]
fn btrfs_on_a_logical_volume_is_refused_with_the_reason() {
    // R52
    let vm = super::Vm::lvm();
    standin::install(&vm);
    vm.ok("lvcreate -q -y -n b -L 128M vg0; mkfs.btrfs -q /dev/vg0/b; mkdir /b; mount /dev/vg0/b /b");
    let before = super::Before::of(&vm);
    vm.state(&format!("{VAULT}jobs:\n  all: {{ sources: [{{ lvm: {{ volume: vg0/b }} }}], to: [vault] }}\n"));
    let ran = vm.expect(1, &["plan"]);
    assert!(ran.stdout.contains("btrfs"), "{ran:?}");
    let ran = vm.expect(1, &["--state", "/etc/rlvm/state/hosts/web01.yaml", "run", "all"]);
    assert!(ran.stderr.contains("btrfs"), "{ran:?}");
    before.is_back(&vm);
}

#[test]
fn a_volume_in_two_jobs_of_one_run_has_one_snapshot() {
    // R50
    let (vm, before) = quick(&format!(
        "{VAULT}jobs:\n  app: {{ sources: [{{ lvm: {{ volume: vg0/srv, paths: [/srv/app] }} }}], to: [vault] }}\n  data: {{ sources: [{{ lvm: {{ volume: vg0/srv, paths: [/srv/data] }} }}], to: [vault] }}\n"
    ));
    let volumes = super::made(&vm);
    vm.expect(0, &["run", "--all"]);
    assert_eq!(super::made(&vm) - volumes, 1);
    before.is_back(&vm);
    assert_eq!(standin::stored(&vm, "/vault/web01").len(), 2);
}

#[test]
fn json_is_one_value() {
    let (vm, _) = quick(&super::one_job(""));
    let said = vm.expect(0, &["run", "all", "--json"]).stdout;
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(said.contains(standin::stored(&vm, "/vault/web01")[0]["id"].as_str().unwrap()), "{lines:?}");
}
