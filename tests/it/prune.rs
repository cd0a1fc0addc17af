//! Old backups of a client that can only add, removed where they are kept, with each real restic; of jobs, in `jobs`.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine themselves")]

mod data;
mod forged;
mod jobs;
mod times;

use std::os::unix::fs::MetadataExt;

use crate::{
    lab::{Lab, WORM, WORM_USER, restics},
    locks::{seen_half_an_hour_ago, stale_lock},
};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0 root@web01";
const PASSWORD: &str = "/etc/rlvm/secrets/worm.pass";

fn state(lab: &Lab, keep: &str) {
    let (name, _) = WORM_USER;
    lab.state(&format!(
        "ssh:\n  users:\n    {name}:\n      directory: /srv/nas/worm\n      access: append_only\n      adopt: true\n      \
         authorized_keys: [{{ key: \"{KEY}\" }}]\n      \
         prune: {{ keep_within: {keep}, schedule: \"0 5 * * 0\", password_file: {PASSWORD} }}\n"
    ));
}

/// Runs restic as the client's account, on its repository.
#[track_caller]
fn restic(lab: &Lab, words: &[&str]) -> String {
    let (_, uid) = WORM_USER;
    let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    let start = [
        "setpriv",
        &uid,
        &gid,
        "--clear-groups",
        "env",
        "RESTIC_PASSWORD=hunter22",
        "restic",
        "-q",
        "--no-cache",
    ];
    lab.ok(&[&start[..], &["--repo", WORM], words].concat())
}

/// Makes a repository with one backup each of these days, by a client that says what host it is.
fn backups(lab: &Lab, all: &[(&str, &str, &str)]) {
    lab.file_of(PASSWORD, "hunter22\n", 0, 0o600);
    lab.dir("/etc/rlvm/secrets", 0, 0o700);
    lab.repository_of(WORM, "hunter22", WORM_USER.1);
    for (day, host, tag) in all {
        lab.file("/srv/what", day);
        let time = format!("{day} 00:00:00");
        restic(lab, &["backup", "--time", &time, "--host", host, "--tag", tag, "/srv/what"]);
    }
}

fn days(lab: &Lab) -> Vec<String> {
    let listed: serde_json::Value = serde_json::from_str(&restic(lab, &["snapshots", "--json"])).unwrap();
    let day = |it: &serde_json::Value| {
        format!("{} {}", &it["time"].as_str().unwrap()[..10], it["hostname"].as_str().unwrap())
    };
    let mut days: Vec<String> = listed.as_array().unwrap().iter().map(day).collect();
    days.sort();
    days
}

fn prepared() -> Lab {
    let lab = Lab::new();
    lab.ok(&["ssh-keygen", "-A"]);
    lab.file("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n");
    lab.dir("/etc/ssh/sshd_config.d", 0, 0o755);
    lab
}

#[test]
fn by_age_alone_and_no_other_host_pushes_anything_out() {
    // R63
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        backups(
            &lab,
            &[
                ("2024-01-01", "web01", "x"),
                ("2024-03-01", "web01", "protected"),
                ("2025-06-01", "web01", "x"),
                ("2025-06-20", "web01", "x"),
                // Of a stolen client: another host's name.
                ("2024-02-01", "other", "x"),
            ],
        );
        state(&lab, "30d");
        lab.apply();
        lab.plan_is_empty();
        let ran = lab.expect(0, &["prune"]);
        assert!(ran.stdout.contains("remove 1 snapshots"), "{}", ran.stdout);
        let kept = ["2024-02-01 other", "2024-03-01 web01", "2025-06-01 web01", "2025-06-20 web01"];
        assert_eq!(days(&lab), kept, "restic {}", version.version);
        restic(&lab, &["check"]);
        for (path, _) in lab.tree().iter().filter(|(path, _)| path.starts_with(WORM)) {
            let meta = std::fs::symlink_metadata(lab.at(path)).unwrap();
            assert_eq!(meta.uid(), WORM_USER.1, "{path}: the client could not read it any more");
        }
        let cron = lab.read("/etc/cron.d/rlvm-prune-backup-web01-worm");
        assert!(
            cron.ends_with("0 5 * * 0 root /usr/bin/rlvm --quiet prune --client backup-web01-worm\n"),
            "{cron}"
        );
    }
}

#[test]
fn what_a_dry_run_prints_can_be_pasted() {
    let lab = prepared();
    backups(&lab, &[("2024-01-01", "web01", "x"), ("2025-06-20", "web01", "x")]);
    state(&lab, "30d");
    lab.apply();
    let before = days(&lab);
    let printed = lab.expect(0, &["prune", "--dry-run"]).stdout;
    assert!(!printed.contains("hunter22") && printed.contains("runuser -u backup-web01-worm"), "{printed}");
    assert_eq!(days(&lab), before);
    lab.ok(&["sh", "-c", &printed]);
    assert_eq!(days(&lab), ["2025-06-20 web01"]);
}

#[test]
fn a_failure_is_one() {
    let lab = prepared();
    backups(&lab, &[("2024-01-01", "web01", "x"), ("2025-06-20", "web01", "x")]);
    state(&lab, "30d");
    lab.apply();
    lab.expect(1, &["prune", "--client", "nobody"]);
    lab.file_of(PASSWORD, "another\n", 0, 0o600);
    let failed = lab.expect(1, &["prune"]);
    assert!(
        failed.stderr.contains("backup-web01-worm: ") && failed.stderr.contains("wrong password"),
        "{}",
        failed.stderr
    );
    assert!(!failed.stderr.contains("another"), "{}", failed.stderr);
    // What others could have written is nobody's password.
    lab.file_of(PASSWORD, "hunter22\n", WORM_USER.1, 0o666);
    lab.expect(1, &["prune"]);
    assert_eq!(days(&lab).len(), 2);
}

#[test]
fn by_nothing_else_and_for_no_one_else() {
    let lab = Lab::new();
    for (keep, access, said) in [
        ("90m", "append_only", "is nothing that restic could count"),
        ("90d", "sftp", "`a` can remove its own backups"),
        ("90d, keep_last: 3", "append_only", "unknown key `keep_last`"),
    ] {
        lab.state(&format!(
            "ssh:\n  users:\n    a:\n      directory: /srv/a\n      access: {access}\n      \
             authorized_keys: [{{ key: \"{KEY}\" }}]\n      prune: {{ keep_within: {keep}, password_file: /p }}\n"
        ));
        let bad = lab.expect(3, &["validate"]);
        assert!((bad.stdout.clone() + &bad.stderr).contains(said), "{}{}", bad.stdout, bad.stderr);
    }
}

/// Starts a restic that keeps a lock in the client's repository until `/srv/go` is written to.
fn locking(lab: &Lab) -> std::process::Child {
    let script = format!(
        "mkfifo -m 600 /srv/go; export RESTIC_PASSWORD=hunter22; (read x </srv/go; echo $x) | setpriv --reuid={0} \
         --regid={0} --clear-groups restic -q --no-cache --repo {WORM} backup --host web01 --stdin",
        WORM_USER.1
    );
    let mut child = lab.program(&["sh", "-c", &script]).spawn().unwrap();
    for _ in 0..600 {
        if lab.run(&["sh", "-c", &format!("ls {WORM}/locks | grep -q .")]).code == Some(0) {
            return child;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill().unwrap();
    panic!("there is no lock: {:?}", child.wait());
}

#[test]
fn a_clients_lock_is_waited_for() {
    let lab = prepared();
    backups(&lab, &[("2025-05-25", "web01", "x"), ("2025-06-20", "web01", "x")]);
    state(&lab, "24d");
    lab.apply();
    let mut client = locking(&lab);
    let failed = lab.expect(1, &["prune", "--wait", "1s"]);
    assert!(
        failed
            .stderr
            .contains("backup-web01-worm: the repository is still in use by its client: restic (process "),
        "{failed:?}"
    );
    let prune = lab.command(&["prune", "--wait", "60s"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    lab.ok(&["sh", "-c", "echo x >/srv/go"]);
    assert!(client.wait().unwrap().success() && prune.wait_with_output().unwrap().status.success());
    assert!(!days(&lab).contains(&"2025-05-25 web01".to_owned()));
}

#[test]
fn a_lock_that_a_client_left_behind_goes_by_the_rule_for_all_locks() {
    let lab = prepared();
    lab.dir("/etc/rlvm/secrets", 0, 0o700);
    lab.file_of(PASSWORD, "hunter22\n", 0, 0o600);
    stale_lock(&lab, WORM);
    lab.ok(&["chown", "-R", &WORM_USER.1.to_string(), WORM]);
    state(&lab, "24d");
    lab.apply();
    let locks = || lab.ok(&["ls", &format!("{WORM}/locks")]).lines().count();
    lab.expect(1, &["prune", "--wait", "1s"]);
    assert_eq!(locks(), 1, "the clock of another host says that it is stale");
    seen_half_an_hour_ago(&lab, WORM_USER.0);
    lab.expect(0, &["prune", "--wait", "1s"]);
    assert_eq!(locks(), 0);
}
