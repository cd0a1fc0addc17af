//! Over SSH, against one sshd: an account shut in by SFTP, and one whose forced command cannot delete.

use super::{give_passwords, says};
use crate::lab::{Lab, NAS, NAS_USER, WORM, WORM_USER};

/// A client with two destinations on nas.lan, whose host key is this.
pub(super) fn state(host_key: &str) -> String {
    format!(
        "destinations:
  nas: {{ sftp: {{ user: backup-web01, host: nas.lan, path: /repo/r }}, password_file: /etc/rlvm/nas.pass }}
  worm: {{ rclone: {{ ssh: {{ user: backup-web01-worm, host: nas.lan }}, path: repo }}, password_file: /etc/rlvm/worm.pass }}
ssh:
  keys: {{ /root/.ssh/id_rlvm: {{ type: ed25519 }} }}
  hosts: {{ nas.lan: {{ user: backup-web01, identity: /root/.ssh/id_rlvm, host_keys: [{host_key}] }} }}
jobs:
  home: {{ sources: [{{ path: /home }}], to: [nas, worm], schedule: \"@daily\" }}
"
    )
}

/// Puts both repositories on nas.lan.
fn repositories(lab: &Lab) {
    lab.repository_of(&format!("{NAS}/repo/r"), "password of nas", NAS_USER.1);
    lab.repository_of(WORM, "password of worm", WORM_USER.1);
}

/// The fingerprint of a public key, by ssh's own tool.
fn fingerprint(lab: &Lab, key: &str) -> String {
    lab.file("/srv/key.pub", &format!("{key}\n"));
    let line = lab.ok(&["ssh-keygen", "-lf", "/srv/key.pub"]);
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn one_apply_makes_key_known_host_and_repositories() {
    let lab = Lab::new();
    give_passwords(&lab);
    let mut sshd = lab.sshd();
    let host_key = sshd.host_key();
    lab.state(&state(&host_key));
    let plan = lab.expect(2, &["plan", "--detailed-exitcode"]).stdout;
    let at = |what: &str| plan.find(what).unwrap_or_else(|| panic!("{what}\n{plan}"));
    assert!(at("+ ssh_key:/root/.ssh/id_rlvm") < at("+ known_hosts:/root/.ssh/known_hosts"));
    assert!(at("+ known_hosts:/root/.ssh/known_hosts") < at("+ repository:nas  not looked at yet: "));
    assert!(!lab.at("/root/.ssh/id_rlvm").exists() && !lab.at(&format!("{NAS}/repo/r")).exists());
    lab.apply();
    lab.plan_is_empty();
    assert!(lab.at(&format!("{NAS}/repo/r/config")).is_file() && lab.at(&format!("{WORM}/config")).is_file());
    assert!(lab.read("/root/.ssh/known_hosts").contains(&format!("nas.lan {host_key}\n")));

    // Planned elsewhere from what was observed here, it comes to the same.
    let observed = lab.expect(0, &["observe"]).stdout;
    lab.file_of("/root/observed.json", &observed, 0, 0o600);
    says(&lab, &["plan", "--observed", "/root/observed.json"], 0, &["No changes."]);

    // What apply made serves restic and ssh by hand.
    lab.file("/home/a", "something to keep\n");
    let nas = ["--repo", "sftp:backup-web01@nas.lan:/repo/r", "--password-file", "/etc/rlvm/nas.pass"];
    lab.ok(&[&["restic", "backup", "/home", "--no-cache"][..], &nas].concat());
    let worm = ["--repo", "rclone:repo", "--password-file", "/etc/rlvm/worm.pass"];
    let program = ["-o", "rclone.program=ssh backup-web01-worm@nas.lan"];
    lab.ok(&[&["restic", "backup", "/home", "--no-cache"][..], &worm, &program].concat());
    let forget = lab
        .run(&[&["timeout", "20", "restic", "forget", "latest", "--no-cache"][..], &worm, &program].concat());
    assert_ne!(forget.code, Some(0), "{forget:?}");
    assert!(forget.stderr.contains("403"), "{forget:?}");
    let left = lab.ok(&[&["restic", "snapshots", "--no-cache", "--no-lock"][..], &worm, &program].concat());
    assert!(left.contains("1 snapshots"), "the server refuses to forget: {left}");
    // Over that account, without deleting, a lock stays: it is told, and is no failure.
    lab.plan_is_empty();

    // A changed host key.
    sshd.change_host_key();
    let (old, new) = (fingerprint(&lab, &host_key), fingerprint(&lab, &sshd.host_key()));
    assert_ne!(old, new);
    let before = lab.contents();
    let words = ["error: repository:nas: nas.lan shows another host key than the declared one", &old, &new];
    says(&lab, &["plan"], 1, &words);
    says(&lab, &["apply", "--yes"], 7, &words[..1]);
    assert_eq!(lab.contents(), before, "never accepted in silence");
    // Declared anew, it is the known host that changes, and no repository is made anew.
    lab.state(&state(&sshd.host_key()));
    says(&lab, &["plan"], 0, &["~ known_hosts:/root/.ssh/known_hosts", "1 to change"]);
    lab.apply();
    lab.plan_is_empty();
}

#[test]
fn a_key_that_is_not_authorised_yet_is_told_with_what_to_do() {
    let lab = Lab::new();
    give_passwords(&lab);
    let sshd = lab.sshd_for("/srv/authorized");
    lab.file("/srv/authorized", "");
    lab.state(&state(&sshd.host_key()));
    let words = ["failed repository:nas: unreachable: ", "Permission denied (publickey)", "`rlvm show`"];
    says(&lab, &["apply", "--yes"], 7, &words);
    assert!(lab.at("/root/.ssh/id_rlvm").is_file(), "the rest converged");
    says(&lab, &["plan"], 1, &["error: repository:nas: unreachable: "]);
    let public = lab.read("/root/.ssh/id_rlvm.pub");
    let shown = lab.expect(0, &["show"]).stdout;
    assert!(shown.contains(public.trim()), "{shown}");
    lab.file("/srv/authorized", &public);
    lab.apply();
    lab.plan_is_empty();
}

#[test]
fn a_repository_that_was_made_anew_is_refused() {
    // R33
    let lab = Lab::new();
    give_passwords(&lab);
    repositories(&lab);
    let sshd = lab.sshd();
    lab.state(&state(&sshd.host_key()));
    lab.apply();
    let repo = format!("{NAS}/repo/r");
    lab.ok(&["sh", "-euc", &format!("rm -r {repo}")]);
    says(
        &lab,
        &["plan"],
        1,
        &["error: repository:nas: the repository ", " is gone from sftp:backup-web01@nas.lan:/repo/r"],
    );
    says(&lab, &["apply", "--yes"], 7, &["is gone from"]);
    assert!(!lab.at(&repo).exists(), "no new one takes its place");
    lab.ok(&["restic", "init", "--no-cache", "--repo", &repo, "--password-file", "/etc/rlvm/nas.pass"]);
    lab.ok(&["chown", "-R", NAS_USER.0, &repo]);
    says(&lab, &["plan"], 1, &["error: repository:nas: this is another repository: its id is "]);
    lab.expect(0, &["ledger", "forget", "repository:nas"]);
    says(&lab, &["apply", "--yes"], 0, &["= repository:nas"]);
    lab.plan_is_empty();
}

#[test]
fn an_apply_that_cuts_off_what_was_reached_is_no_success() {
    let lab = Lab::new();
    give_passwords(&lab);
    repositories(&lab);
    let sshd = lab.sshd();
    lab.state(&state(&sshd.host_key()));
    lab.apply();
    // A host key that is not the machine's: plan sees what is there, and only the known hosts would change.
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";
    lab.state(&state(other));
    let words = ["failed repository:nas: nas.lan shows another host key than the declared one", "SHA256:"];
    says(&lab, &["apply", "--yes"], 7, &words);
    lab.state(&state(&sshd.host_key()));
    lab.apply();
    lab.plan_is_empty();
    // A key pair that is lost is made anew, and is not the one that the machine knows.
    let private = lab.read("/root/.ssh/id_rlvm");
    lab.ok(&["sh", "-c", "rm /root/.ssh/id_rlvm*"]);
    lab.file("/root/.ssh/id_rlvm.pub.old", &private);
    let ran = lab.expect(0, &["apply", "--yes"]);
    assert!(ran.stderr.contains("done ssh_key:"), "this sshd takes any key of ours: {ran:?}");
}

#[test]
fn a_path_that_the_chroot_does_not_show_is_told() {
    // R32
    let lab = Lab::new();
    give_passwords(&lab);
    repositories(&lab);
    let sshd = lab.sshd();
    let state = state(&sshd.host_key());
    lab.state(&state);
    lab.apply();
    lab.state(
        &state.replace("/repo/r", &format!("{NAS}/repo/r")).replace("nas:", "deep:").replace("nas,", "deep,"),
    );
    let words = [
        "warning: repository:deep: what sftp:backup-web01@nas.lan:/srv/nas/",
        "the machine shows: repo",
        "chroot",
    ];
    says(&lab, &["plan"], 0, &words);
    let ran = lab.expect(7, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(ran.stderr.contains("failed repository:deep: "), "{ran:?}");
}

#[test]
fn the_jobs_user_does_it_all() {
    // R20, R41
    let lab = Lab::new();
    let sshd = lab.sshd_for("/var/backups/.ssh/id_rlvm.pub");
    let key = "/var/backups/.ssh/id_rlvm";
    lab.own("/var/backups", 4000, 0o755);
    lab.file_of("/etc/rlvm/nas.pass", "password of nas\n", 4000, 0o600);
    lab.state(&format!(
        "destinations:
  nas: {{ sftp: {{ user: backup-web01, host: nas.lan, path: /repo/r }}, password_file: /etc/rlvm/nas.pass }}
ssh:
  keys: {{ {key}: {{ type: ed25519, owner: backup }} }}
  hosts: {{ nas.lan: {{ identity: {key}, host_keys: [{}] }} }}
jobs:
  home: {{ user: backup, sources: [{{ path: /home }}], to: [nas], schedule: \"@daily\" }}
",
        sshd.host_key()
    ));
    lab.apply();
    lab.plan_is_empty();
    assert!(sshd.log().contains("Accepted publickey for backup-web01"));
    let owners = lab.ok(&["stat", "-c", "%U %a", key, "/var/backups/.ssh/known_hosts", "/var/backups/.ssh"]);
    assert_eq!(owners, "backup 600\nbackup 644\nbackup 700\n");
}

#[test]
fn a_second_host_takes_part_in_a_repository() {
    // R79
    let lab = Lab::new();
    give_passwords(&lab);
    repositories(&lab);
    let sshd = lab.sshd();
    lab.state(&state(&sshd.host_key()));
    lab.apply();
    let other = "version: 1\nhost: web02\n".to_owned() + &state(&sshd.host_key());
    let hosts = lab.beside("state/hosts/web02.yaml");
    #[expect(clippy::disallowed_methods, reason = "a second state")]
    std::fs::write(hosts, other).unwrap();
    // The other one has a home of its own, the files of this one, and the same key.
    let rlvm = |args: &[&str]| lab.ran(lab.command_as("web02", args).env("RLVM_HOME", "/var/lib/web02"));
    let ran = rlvm(&["apply", "--yes", "--adopt"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("= repository:nas") && ran.stdout.contains("= repository:worm"), "{ran:?}");
}
