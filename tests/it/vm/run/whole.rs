//! A host as a whole: `/`, what is mounted below it, two destinations.

use super::{machine, made, restic, snapshots};

const STATE: &str = r"
destinations:
  vault: { local: { path: /vault/web01 }, password_file: /etc/rlvm/vault.pass, generate_password: true }
  store: { sftp: { host: store, path: web01 }, password_file: /etc/rlvm/store.pass, generate_password: true }
jobs:
  all:
    sources: [{ lvm: { volume: vg0/root } }, { lvm: { volume: vg0/srv } }, { lvm: { volume: vg0/home } }, { path: /data }]
    exclude: [/usr, /var/cache, /var/lib/dpkg, /var/lib/apt]
    to: [vault, store]
";

#[test]
fn one_snapshot_a_volume_real_paths_and_a_parent_the_next_time() {
    // R50, R51, R52, R53, R60
    let (vm, before) = machine(STATE);
    // Open and without a name: the file systems have to tidy up when they are mounted.
    vm.ok("for dir in /root /srv /home; do echo gone >$dir/orphan; tail -f $dir/orphan >/dev/null 2>&1 & echo $! >>/run/pids; done; sleep 1; rm /root/orphan /srv/orphan /home/orphan");
    let volumes = made(&vm);
    vm.expect(0, &["run", "all"]);
    assert_eq!(made(&vm) - volumes, 3, "one a volume, not one a destination");
    vm.ok("kill $(cat /run/pids)");
    before.is_back(&vm);

    let store = "/usr/bin/restic -q -r sftp:store:web01 --password-file /etc/rlvm/store.pass snapshots --json | grep -o '\"id\"' | wc -l";
    let [first] = &snapshots(&vm)[..] else { panic!("one in the vault") };
    assert_eq!(vm.ok(store), "1\n");
    assert_eq!((&first["hostname"], &first["tags"]), (&"web01".into(), &serde_json::json!(["rlvm:job=all"])));
    let list = restic(&vm, "ls latest");
    for path in [
        "/etc/fstab",
        "/root/.ssh/config",
        "/srv/app/random",
        // Another volume, mounted below: it would be a source of its own.
        "/srv/data/deep",
        "/home/joe/file",
        "/data/file",
    ] {
        assert!(list.lines().any(|line| line == path), "{path} is stored as what it is");
    }
    // Pseudo file systems and the repository are not.
    let strange = list.lines().find(|line| {
        ["/proc/", "/sys/", "/dev/", "/run/", "/vault/web01/data"].iter().any(|it| line.starts_with(it))
    });
    assert_eq!(strange, None);

    vm.expect(0, &["run", "all"]);
    before.is_back(&vm);
    let all = snapshots(&vm);
    assert_eq!((all.len(), &all[1]["parent"]), (2, &first["id"]));
    let added = all[1]["summary"]["data_added"].as_u64().unwrap();
    // A slow machine writes more into its journal meanwhile.
    assert!(added < 8 << 20, "{added} bytes are next to nothing: directories, logs");
    assert_eq!(vm.ok(store), "2\n");
    let records = vm.ok("cat /var/lib/rlvm/records/*.jsonl");
    assert!(records.lines().count() >= 2 && records.contains(all[1]["id"].as_str().unwrap()), "{records}");
}

#[test]
fn a_dry_run_does_nothing_and_does_what_the_run_would_when_pasted() {
    let (vm, before) = machine(&super::one_job(
        ", hooks: { before: [{ run: echo before >>/run/said }], finally: [{ run: echo finally >>/run/said }] }",
    ));
    let volumes = made(&vm);
    let said = vm.expect(0, &["run", "all", "--dry-run"]).stdout;
    for word in ["lvcreate", "lvremove", "nouuid", "restic", "umount", "--tag", "rlvm:job=all", "--host"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    before.is_back(&vm);
    assert_eq!((made(&vm), snapshots(&vm).len()), (volumes, 0));
    assert_eq!(vm.run("ls /var/lib/rlvm/records /run/rlvm/run /run/said").code, Some(2));
    vm.put("/run/script", said.as_bytes(), 0o600);
    vm.ok("sh -eu </run/script && rm /run/script");
    before.is_back(&vm);
    assert_eq!(made(&vm) - volumes, 2);
    assert_eq!(vm.ok("cat /run/said; echo well >/srv/well; echo well >/home/well"), "before\nfinally\n");
    let [only] = &snapshots(&vm)[..] else { panic!("one") };
    assert_eq!(only["tags"], serde_json::json!(["rlvm:job=all"]));
    let list = restic(&vm, "ls latest");
    assert!(
        ["/srv/app/random", "/home/joe/file", "/data/file"].iter().all(|path| list.contains(path)),
        "{list}"
    );
    // And what a run reads next is as if it had been one.
    vm.expect(0, &["run", "all"]);
    before.is_back(&vm);
    assert_eq!(snapshots(&vm)[1]["parent"], only["id"]);
}
