//! What apply makes gets the label that the policy has for its path.

use std::collections::BTreeSet;

use crate::lab::Lab;

const STATE: &str = "rlvm_path: /usr/local/bin/rlvm
directories:
  /srv/theirs: { owner: backup }
destinations:
  vault: { local: { path: /srv/backup/vault }, password_file: /etc/rlvm/secrets/vault, generate_password: true }
jobs:
  home: { sources: [{ path: /home }], to: [vault], schedule: \"@daily\" }
ssh:
  keys: { /root/.ssh/vault: {} }
  hosts:
    nas.lan: { identity: /root/.ssh/vault, host_keys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0\"] }
";

/// Stands in for restorecon(8) of policycoreutils: this kernel has no SELinux. Keeps the paths that it is given.
const RESTORECON: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\" >> /var/lib/labelled\n";

/// What apply makes for itself, in places whose label everything below them has.
const OWN: [&str; 4] = ["/var/lib", "/var/cache", "/run", "/srv/backup/vault/"];

#[test]
fn all_that_apply_makes_is_labelled() {
    let lab = Lab::new();
    lab.file_of("/usr/local/sbin/restorecon", RESTORECON, 0, 0o755);
    lab.state(STATE);
    let labelled = || -> BTreeSet<String> {
        let text =
            if lab.at("/var/lib/labelled").exists() { lab.read("/var/lib/labelled") } else { String::new() };
        text.lines().map(Into::into).collect()
    };
    // Without SELinux nobody is asked.
    lab.expect(0, &["apply", "--yes", "--target", "directory:/srv/theirs"]);
    assert_eq!(labelled(), BTreeSet::new());
    lab.ok(&[
        "sh",
        "-euc",
        "mount -t tmpfs none /sys; mkdir -p /sys/fs/selinux; echo 1 > /sys/fs/selinux/enforce",
    ]);
    let before = lab.tree();
    lab.apply();
    let after = lab.tree();
    let made = after.keys().filter(|path| !before.contains_key(*path));
    let made: BTreeSet<String> =
        made.filter(|path| !OWN.iter().any(|own| path.starts_with(own))).cloned().collect();
    assert!(made.len() >= 8, "{made:?}");
    let labelled = labelled();
    assert_eq!(made.difference(&labelled).collect::<Vec<_>>(), Vec::<&String>::new(), "{labelled:?}");
    lab.plan_is_empty();
}
