//! What is applied while somebody kills it.

/// A state with every kind, nested directories, a job's user, two repositories.
pub(super) const FULL: &str = r#"
restic:
  version: 0.18.0
  sha256: 178d9b31be93cedafe5c486c860fe3a054b7c9abfbefb472eab33432d7de23cc
  url: file:///srv/mirror/restic-0.18.0
directories:
  /srv/a: { mode: "0755" }
  /srv/a/b: { owner: www-data, group: adm, mode: "0750" }
  /srv/repos: { mode: "0711" }
destinations:
  vault: { local: { path: /srv/repos/vault }, password_file: /etc/rlvm/secrets/vault, generate_password: true }
  users: { local: { path: /srv/repos/users }, password_file: /etc/rlvm/users/users, generate_password: true }
jobs:
  system: { sources: [{ path: /etc }], to: [vault], schedule: "30 2 * * *" }
  home: { sources: [{ path: /home }], to: [users], user: backup, schedule: "@daily" }
cron:
  trim: { schedule: "@weekly", command: "/sbin/fstrim --all" }
logrotate:
  shop: { paths: [/var/log/shop/*.log], keep: 3 }
ssh:
  keys:
    /root/.ssh/id_rlvm: {}
    /etc/rlvm/keys/id: { owner: backup }
  hosts:
    nas.lan: { identity: /root/.ssh/id_rlvm, host_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0] }
"#;

/// The same host, differently: something changed, something gone, something new.
pub(super) const OTHER: &str = r#"
restic:
  version: 0.19.0
  sha256: 7edd387499836c2392c515da445930506dfc2debfb025e95baefdbcd4fa00470
  url: file:///srv/mirror/restic-0.19.0
directories:
  /srv/a: { owner: www-data, mode: "0700" }
  /srv/repos: { mode: "0755" }
  /srv/new: {}
destinations:
  vault: { local: { path: /srv/repos/vault }, password_file: /etc/rlvm/secrets/vault, generate_password: true }
jobs:
  system: { sources: [{ path: /etc }], to: [vault], schedule: "0 3 * * *" }
cron:
  trim: { schedule: "@monthly", command: "/sbin/fstrim --all --verbose" }
ssh:
  keys:
    /root/.ssh/id_new: { type: ecdsa }
  hosts:
    nas.lan: { identity: /root/.ssh/id_rlvm, port: 2222, host_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0] }
"#;

/// Started by cron: what is started when it is time, and at boot.
pub(super) const BY_CRON: &str = r#"
cron:
  trim: { schedule: "@weekly", command: "/sbin/fstrim --all" }
  start: { schedule: "@reboot", command: "/bin/true" }
"#;

/// By systemd, at other times.
pub(super) const BY_SYSTEMD_OTHERWISE: &str = r#"
scheduler: systemd
cron:
  trim: { schedule: "@reboot", command: "/sbin/fstrim --all" }
  start: { schedule: "@daily", command: "/bin/true" }
"#;

/// Nothing is left but what holds backups.
pub(super) const NOTHING: &str = "directories: {}\n";
