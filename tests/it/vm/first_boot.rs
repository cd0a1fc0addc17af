//! A tree that was set up while an image was built, when it is started for the first time.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{Disks, Vm, rlvm};
use crate::tree::DebianTree;

/// No repository: this machine's restic makes a key that takes this machine half a second (scrypt), and the emulated one
/// more than the ten that a look may take.
const STATE: &str = r#"
directories:
  /srv/data: { owner: backup, group: backup, mode: "0750" }
cron:
  tick: { schedule: "@daily", user: backup, command: "true" }
logrotate:
  app: { paths: [/var/log/app/*] }
"#;

#[test]
fn what_was_applied_below_root_is_there_and_known_when_it_boots() {
    let tree = DebianTree::new();
    tree.state(STATE);
    tree.apply();
    tree.plan_is_empty();
    let backup = tree.chroot(&["stat", "-c", "%U", "/srv/data"]).stdout;
    assert_eq!(backup, "backup\n");

    // The state and the program go into the image too.
    let state = tree.at("/etc/rlvm/state/hosts");
    fs::create_dir_all(&state).unwrap();
    fs::copy(tree.beside("state/hosts/web01.yaml"), state.join("web01.yaml")).unwrap();
    fs::write(tree.at("/usr/bin/rlvm"), rlvm()).unwrap();
    fs::set_permissions(tree.at("/usr/bin/rlvm"), fs::Permissions::from_mode(0o755)).unwrap();

    let disks = Disks::of(&tree);
    drop(tree);
    let vm = Vm::boot(disks);
    vm.plan_is_empty();
    // All was known, nothing adopted.
    let list = vm.expect(0, &["ledger", "list", "--json"]).stdout;
    assert!(list.contains("cron:tick") && !list.contains("adopted"), "{list}");
    // What is drift there is seen and mended there.
    vm.ok("chmod 700 /srv/data");
    vm.expect(2, &["plan", "--detailed-exitcode"]);
    vm.apply();
    assert_eq!(vm.ok("stat -c %a /srv/data"), "750\n");
}
