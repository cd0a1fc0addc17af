//! What needs root is told in a sentence, before anything is done.

use super::{STATE, apply, as_me, lab, rlvm, says, state, the_rest};

#[test]
fn what_needs_root_is_refused_each_in_a_sentence() {
    let lab = lab();
    lab.file_of("/etc/rlvm/shop", "x\n", 0, 0o600);
    lab.dir("/srv/mine", super::ME.0, 0o700);
    state(
        &lab,
        &"rlvm_path: /usr/local/bin/rlvm
directories:
  /home/me/a: { owner: backup }
  /srv/shared: {}
  /srv/mine/ok: {}
destinations:
  vault: { local: { path: /srv/vault/me }, password_file: /etc/rlvm/v, generate_password: true }
  theirs: { local: { path: /srv/mine/theirs }, password_file: /srv/mine/p, generate_password: true }
ssh:
  users: { backup-a: { access: sftp, directory: /srv/mine/a, authorized_keys: [{ key: KEY }] } }
  keys: { /home/me/k: { owner: backup } }
jobs:
  a: { sources: [{ lvm: { volume: vg0/root, snapshot_size: 1G } }, { path: /etc }], to: [vault] }
  b: { sources: [{ path: /etc }], to: [theirs], user: backup }
cron:
  c: { schedule: \"@daily\", command: \"true\", user: root }
"
        .replace("KEY", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0"),
    );
    let before = lab.tree();
    let said = says(
        &lab,
        &["plan"],
        1,
        &[
            "directory:/home/me/a: it needs root: it is backup's, and you are me",
            "ssh_key:/home/me/k: it needs root: it is backup's",
            "jobs.b.user: it needs root: it is backup's",
            "cron.c.user: it needs root: it is root's",
            "ssh.users.backup-a: it needs root: ",
            "jobs.a.sources.0.lvm: it needs root: only root can freeze volumes",
            "directory:/srv/shared: it needs root: /srv belongs to root, and me cannot make /srv/shared there",
            "directory:/srv/vault: it needs root: ",
            "secret:/etc/rlvm/v: it needs root: ",
        ],
    );
    assert!(!said.contains("/srv/mine/ok: it needs"), "{said}");
    says(&lab, &["apply", "--yes"], 1, &["Nothing was changed"]);
    // A look at the state alone refuses nothing.
    says(&lab, &["validate"], 0, &["valid"]);
    // A refused apply has made the place of its lock, and nothing else.
    let mut after = lab.tree();
    after.retain(|path, _| !path.starts_with("/home/me/.local"));
    assert_eq!(after, before);
}

#[test]
fn what_is_roots_already_is_not_taken_over() {
    let lab = lab();
    let before = lab.tree();
    let why = "directory:/srv/nas: it needs root: /srv/nas belongs to root, and me cannot change it";
    state(&lab, "directories: { /srv/nas: {} }\n");
    says(&lab, &["plan"], 6, &[why]);
    says(&lab, &["apply", "--yes", "--adopt"], 7, &[why, "Nothing was changed"]);
    let mut after = lab.tree();
    after.retain(|path, _| !path.starts_with("/home/me/"));
    assert_eq!(after, before);
}

#[test]
fn the_hosts_own_state_is_not_taken_for_the_users() {
    let lab = lab();
    lab.file("/etc/rlvm/state/hosts/web01.yaml", "version: 1\nhost: web01\n");
    says(
        &lab,
        &["plan"],
        1,
        &["no state", "/home/me/.config/rlvm/state", "/etc/rlvm/state belongs to the host", "sudo rlvm"],
    );
    says(&lab, &["plan", "/etc/rlvm/state"], 0, &["No changes."]);
}

#[test]
fn who_may_have_no_crontab_is_told_by_crontab_itself() {
    let lab = lab();
    state(&lab, STATE);
    lab.file("/etc/cron.allow", "root\n");
    says(&lab, &["plan"], 1, &["crontab:me", "not allowed to use this program"]);
    lab.ok(&["rm", "/etc/cron.allow"]);
    // R31
    let mut command = as_me(&lab, &["env", "PATH=/usr/local/bin", "/usr/local/bin/rlvm", "plan"]);
    for (tool, at) in [
        ("setsid", "/usr/bin/setsid"),
        ("setpriv", "/usr/bin/setpriv"),
        ("test", "/usr/bin/test"),
        ("restic", "/usr/bin/restic"),
    ] {
        lab.ok(&["ln", "-sf", at, &format!("/usr/local/bin/{tool}")]);
    }
    let ran = lab.ran(&mut command);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout.contains("there is no crontab on PATH") && ran.stdout.contains("apt-get install cron"),
        "{ran:?}"
    );
}

#[test]
fn root_and_the_user_do_not_meet() {
    let lab = lab();
    state(&lab, STATE);
    lab.state("cron: { tick: { schedule: \"@daily\", command: \"true\" } }\n");
    lab.apply();
    let rest = the_rest(&lab);
    apply(&lab);
    assert_eq!(the_rest(&lab), rest);
    lab.plan_is_empty();
    // Nor does root's plan fit the user.
    lab.state("cron: {}\n");
    lab.expect(0, &["plan", "--allow-mass-removal", "--out", "/home/me/roots.plan"]);
    lab.ok(&["chmod", "644", "/home/me/roots.plan"]);
    let ran = rlvm(&lab, &["apply", "/home/me/roots.plan"]);
    assert!(matches!(ran.code, Some(5 | 6)), "{ran:?}");
}
