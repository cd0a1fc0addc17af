//! What is stored, byte for byte.

use super::{VAULT, machine, one_job, restic, snapshots};

/// Describes what is below a directory, all but times of access: kinds, modes, owners, times, links, sizes, contents.
const DESCRIBE: &str = r"
describe() {
    cd $1
    find . -xdev \( -type f -printf '%P %s ' -o -printf '%P ' \) -printf '%y %m %U %G %T@ %l %n\n' | sort
    find . -xdev -type f -print0 | sort -z | xargs -0r sha256sum
}
";

#[test]
fn what_is_restored_is_what_was_frozen() {
    // R52, R64
    let (vm, before) = machine(&format!(
        "{VAULT}jobs:\n  all: {{ sources: [{{ lvm: {{ volume: vg0/srv }} }}, {{ lvm: {{ volume: vg0/home }} }}, {{ path: {} }}], to: [vault], one_file_system: true }}\n",
        r#""/data/it's \"a\" $(touch pwned); b""#,
    ));
    let odd = "mkdir -p /srv/odd /home/joe/odd '/data/it'\\''s \"a\" $(touch pwned); b'; echo x >'/data/it'\\''s \"a\" $(touch pwned); b/-x'
        for dir in /srv/odd /home/joe/odd; do
            cd $dir; echo 1 >'a b'; echo 2 >./-rf; echo 3 >'$(touch pwned)'; echo 4 >'a;b'; echo 5 >\"$(printf 'a\\nb')\"; echo 6 >\"$(printf 'a\\377b')\"; echo 7 >'\"quoted'\\'
            chown 1234:4321 'a b'; chmod 4751 'a b'; mkfifo fifo; ln 'a b' hard; ln -s nowhere soft
            touch -d '1999-12-31 23:59:59.123456789' -- -rf
        done";
    vm.ok(odd);
    vm.expect(0, &["run", "all"]);
    before.is_back(&vm);
    assert_eq!(vm.run("find / -xdev -name pwned | grep .").code, Some(1), "no shell has read it");
    assert_eq!(snapshots(&vm).len(), 1);
    restic(&vm, "restore latest --target /vault/out");
    for dir in ["/srv", "/home"] {
        // Without the place where another file system is mounted: live it shows that one's top.
        let of = |dir: &str| vm.ok(&format!("{DESCRIBE} describe {dir} | grep -v '^data/deep d '"));
        assert_eq!(of(&format!("/vault/out{dir}")), of(dir));
    }
    vm.ok("cd /data; diff -r . /vault/out/data -x file -x lost+found");
    // It stays on the file system of each path.
    assert_eq!(vm.ok("ls /vault/out/srv/data/deep"), "");
}

#[test]
fn a_repository_on_the_frozen_volume_is_the_live_one_and_not_stored_into_itself() {
    // R68
    let (vm, before) = machine(&one_job("").replace("/vault/web01", "/srv/backup"));
    vm.expect(0, &["run", "all"]);
    before.is_back(&vm);
    vm.expect(0, &["run", "all"]);
    before.is_back(&vm);
    let restic = "restic -q -r /srv/backup --password-file /etc/rlvm/vault.pass";
    assert_eq!(vm.ok(&format!("{restic} snapshots --json | grep -o short_id | wc -l")), "2\n");
    vm.ok(&format!("{restic} check"));
    let list = vm.ok(&format!("{restic} ls latest"));
    assert!(list.contains("/srv/app/file\n") && !list.contains("/srv/backup/data"), "{list}");
}

#[test]
fn a_wrong_password_stores_nothing_and_the_right_one_all() {
    // R56. Ten per cent of a volume are enough for the snapshot of a quiet one.
    let (vm, before) =
        machine(&one_job("").replace("volume: vg0/srv", "volume: vg0/srv, snapshot_size: \"10%\""));
    vm.ok("cp /etc/rlvm/vault.pass /root/right; echo wrong >/etc/rlvm/vault.pass");
    let ran = vm.expect(8, &["run", "all"]);
    assert!(ran.stderr.contains("password") && ran.stderr.contains("vault"), "{ran:?}");
    before.is_back(&vm);
    vm.ok("cat /root/right >/etc/rlvm/vault.pass");
    assert_eq!(snapshots(&vm).len(), 0);
    vm.expect(0, &["run", "all"]);
    before.is_back(&vm);
    assert_eq!(snapshots(&vm).len(), 1);
    assert!(restic(&vm, "ls latest").contains("/srv/app/random\n"));
}
