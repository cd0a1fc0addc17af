//! The laboratory's network and servers themselves: who gets in, who does not, and what a client sees of it.

use super::{Lab, NAS, NAS_USER, WORM, WORM_USER, restics};
use crate::support::Ran;

const PASSWORD: &str = "/etc/rlvm/v";

/// A machine whose restic is Debian 13's.
fn machine() -> Lab {
    let mut lab = Lab::new();
    let restics = restics();
    lab.use_restic(restics.iter().find(|restic| restic.version.1 == 18).unwrap());
    assert!(lab.ok(&["restic", "version"]).starts_with("restic 0.18."));
    lab.file_of(PASSWORD, "right\n", 0, 0o600);
    lab
}

/// Runs a program by SSH as one of the accounts, or whatever the server has it do instead.
fn ssh(lab: &Lab, user: &str, words: &[&str]) -> Ran {
    let start = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-l", user, "nas.lan"];
    lab.run(&[&start[..], words].concat())
}

#[track_caller]
fn refused(ran: &Ran, words: &str) {
    assert!(ran.code == Some(255) && ran.stderr.contains(words), "`{words}`: {ran:?}");
}

#[test]
fn sshd_lets_in_whom_it_knows_and_clients_only_trust_its_own_key() {
    let lab = machine();
    let mut sshd = lab.sshd();
    let (user, _) = NAS_USER;
    refused(&ssh(&lab, user, &[]), "Host key verification failed");
    lab.introduce(&sshd);
    // SFTP and nothing else, whatever is asked for; and only what is below the account's own directory.
    let list = || lab.ok(&["sh", "-c", &format!("echo ls -l / | sftp -q -b - {user}@nas.lan")]);
    let listing = list();
    assert!(listing.contains(" /repo\n") && !listing.contains("etc"), "{listing}");
    let touch = ssh(&lab, user, &["-n", "touch", "/repo/x"]);
    assert!(touch.stdout.contains("allows sftp connections only"), "{touch:?}");
    assert!(!lab.at(NAS).join("repo/x").exists());
    refused(&ssh(&lab, "root", &["-n", "-i", "/none", "-F", "/dev/null"]), "Permission denied (publickey)");
    assert!(sshd.log().contains("Accepted publickey for backup-web01"), "{}", sshd.log());

    // Another server answers in its place, none does, the network is gone; and all is well again.
    let key = sshd.host_key();
    assert!(lab.ok(&["ssh-keyscan", "-t", "ed25519", "nas.lan"]).contains(&key));
    sshd.change_host_key();
    assert_ne!(sshd.host_key(), key);
    refused(&ssh(&lab, user, &[]), "REMOTE HOST IDENTIFICATION HAS CHANGED");
    sshd.stop();
    refused(&ssh(&lab, user, &[]), "Connection refused");
    lab.unplug();
    refused(&ssh(&lab, user, &[]), "Network is unreachable");
    lab.plug();
    sshd.start_again();
    lab.file_of("/root/.ssh/known_hosts", &format!("nas.lan {}\n", sshd.host_key()), 0, 0o600);
    assert!(list().contains(" /repo\n"));
}

#[test]
fn the_append_only_account_takes_snapshots_and_lets_none_go() {
    let lab = machine();
    let sshd = lab.sshd();
    lab.introduce(&sshd);
    let program = format!("rclone.program=ssh -o BatchMode=yes -l {} nas.lan", WORM_USER.0);
    let restic = |words: &[&str]| {
        let call = ["timeout", "60", "restic", "--no-cache", "-r", "rclone:", "-p", PASSWORD, "-o", &program];
        lab.run(&[&call[..], words].concat())
    };
    for words in [&["init"][..], &["backup", "/etc/hosts"], &["backup", "/etc/hosts"]] {
        assert_eq!(restic(words).code, Some(0), "{words:?}");
    }
    assert!(lab.at(WORM).join("config").is_file());
    let snapshots = || restic(&["snapshots", "--no-lock", "--json"]).stdout.matches("short_id").count();
    assert_eq!(snapshots(), 2);
    // Tried for 10 to 15 seconds; and 0.18 ends with 0 as if all were well (0.14 tries for 50 and ends with 1, 0.19.1
    // ends with 3).
    let forget = restic(&["forget", "--keep-last", "1"]);
    assert_eq!(forget.code, Some(0), "{forget:?}");
    assert!(
        forget.stderr.contains("403 Forbidden") && forget.stderr.contains("unable to remove"),
        "{forget:?}"
    );
    assert_eq!(snapshots(), 2);
}

#[test]
fn rest_with_tls_is_for_those_who_know_its_authority() {
    let lab = machine();
    let mut rest = lab.rest_with_tls(&["--append-only"]);
    let (url, authority) = (rest.url("r"), rest.authority.clone().unwrap());
    let restic = |words: &[&str]| {
        lab.run(&[&["timeout", "8", "restic", "--no-cache", "-r", &url, "-p", PASSWORD], words].concat())
    };
    let trusting = |words: &[&str]| restic(&[&["--cacert", &authority], words].concat());
    let stranger = restic(&["init"]);
    assert!(stranger.code != Some(0) && stranger.stderr.contains("certificate"), "{stranger:?}");
    assert_eq!(trusting(&["init"]).code, Some(0));
    assert!(lab.at("/srv/rest/r/config").is_file());
    assert_eq!(trusting(&["backup", "/etc/hosts"]).code, Some(0));
    rest.server.stop();
    let gone = trusting(&["cat", "config", "--no-lock"]);
    assert!(gone.stderr.contains("connection refused"), "{gone:?}");
}
