//! Other kinds of sources, and what is refused.

use super::{VAULT, machine, quick, restic, standin};

#[test]
fn btrfs_is_frozen_by_a_subvolume_and_refused_on_a_logical_volume() {
    // R52
    let (vm, before) = machine(&format!(
        "{VAULT}jobs:\n  all: {{ sources: [{{ btrfs: {{ subvolume: /btrfs/sub }} }}], to: [vault] }}\n"
    ));
    let list = "btrfs subvolume list /btrfs | awk '{ print $NF }'";
    let subvolumes = vm.ok(list);
    vm.expect(0, &["run", "all"]);
    before.is_back(&vm);
    assert_eq!(vm.ok(list), subvolumes);
    assert!(restic(&vm, "ls latest").contains("/btrfs/sub/file\n"));

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
    // JSON is one value a line, and names what was stored.
    let said = vm.expect(0, &["run", "--all", "--json"]).stdout;
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(super::made(&vm) - volumes, 1);
    before.is_back(&vm);
    let stored = standin::stored(&vm, "/vault/web01");
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().all(|it| said.contains(it["id"].as_str().unwrap())), "{lines:?}");
}
