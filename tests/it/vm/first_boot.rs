//! A tree that was set up while an image was built, when it is started for the first time.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{Disks, Vm, rlvm};
use crate::tree::DebianTree;

/// No repository: this machine's restic makes a key that takes this machine half a second (scrypt), and the emulated one
/// more than the ten that a look may take.
const STATE: &str = r#"
scheduler: systemd
ssh:
  users:
    client1:
      directory: /srv/clients/one
      authorized_keys: [{ key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0" }]
    client2:
      directory: /srv/clients/two
      access: append_only
      authorized_keys: [{ key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0" }]
directories:
  /srv/data: { owner: backup, group: backup, mode: "0750" }
cron:
  tick: { schedule: "@daily", user: backup, command: "true" }
logrotate:
  app: { paths: [/var/log/app/*] }
"#;

#[test]
fn what_was_applied_below_root_is_there_and_known_when_it_boots() {
    let ours =
        || ["passwd", "group", "shadow", "ssh/sshd_config"].map(|name| fs::read(format!("/etc/{name}")).ok());
    let before = ours();
    let tree = DebianTree::new();
    tree.state(STATE);
    let plan = tree.expect(0, &["plan"]).stdout;
    for deferred in ["sshd checks and reads it at the first boot", "timers start at the first boot"] {
        assert!(plan.contains(deferred), "{plan}");
    }
    tree.apply();
    assert_eq!(ours(), before, "the host that builds the image");
    // What sshd will make of it, by the tree's own.
    let ask = "mkdir /run/sshd; ssh-keygen -A >/dev/null; sshd -T -C user=client1,host=a,addr=10.0.0.1";
    let meant = tree.chroot(&["sh", "-c", ask]);
    for word in
        ["chrootdirectory /srv/clients/one", "forcecommand internal-sftp", "passwordauthentication no"]
    {
        assert!(meant.stdout.contains(&format!("{word}\n")), "{meant:?}");
    }
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
    vm.ok("systemctl is-active tick.timer ssh.service");
    let meant = vm.ok("sshd -T -C user=client2,host=a,addr=10.0.0.1 | grep forcecommand");
    assert!(meant.contains("--append-only") && meant.contains("/srv/clients/two/repo"), "{meant}");
    // All was known, nothing adopted.
    let list = vm.expect(0, &["ledger", "list", "--json"]).stdout;
    assert!(list.contains("unit:tick.timer") && !list.contains("adopted"), "{list}");
    // What is drift there is seen and mended there.
    vm.ok("chmod 700 /srv/data");
    vm.expect(2, &["plan", "--detailed-exitcode"]);
    vm.apply();
    assert_eq!(vm.ok("stat -c %a /srv/data"), "750\n");
}
