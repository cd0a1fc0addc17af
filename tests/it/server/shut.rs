//! A client is kept out while the server prunes its repository, and gets in again whatever becomes of the prune.

use std::{thread, time::Duration};

use rlvm::restic::Version;

use super::{WORM, machine, open_ended, public};
use crate::{
    lab::{Lab, Restic},
    support::Ran,
};

/// A restic that waits before it forgets, until `/srv/slow/go` is there.
const SLOW: &str = "#!/bin/sh
case \" $* \" in *' forget '*) : >/srv/slow/at; until [ -e /srv/slow/go ]; do sleep 0.1; done ;; esac
exec /usr/bin/restic \"$@\"
";

/// Kills rlvm, and waits until the account runs nothing any more.
const KILL: &str = "for it in /proc/[0-9]*; do
    [ \"$(cat \"$it/comm\" 2>/dev/null)\" != rlvm ] || kill -KILL \"${it#/proc/}\"
done
uid=$(id -u backup-web01-worm)
for turn in $(seq 100); do
    left=0
    for it in /proc/[0-9]*; do
        # The laboratory's first process buries nobody.
        grep -qs '^State:.Z' \"$it/status\" || ! grep -qs \"^Uid:.$uid\" \"$it/status\" || left=1
    done
    [ $left = 1 ] || exit 0
    sleep 0.1
done
exit 1
";

fn client(lab: &Lab, words: &[&str]) -> Ran {
    let program = format!("rclone.program=ssh -i /root/worm {WORM}@nas.lan");
    let start = ["timeout", "60", "/usr/bin/restic", "--no-cache", "-q", "-o", &program, "-r", "rclone:any"];
    lab.run(&[&start[..], &["-p", "/etc/rlvm/secrets/worm.pass"], words].concat())
}

fn prepared() -> Lab {
    let mut lab = machine();
    lab.file_of("/etc/rlvm/secrets/worm.pass", "secret\n", 0, 0o600);
    lab.dir("/etc/rlvm/secrets", 0, 0o700);
    lab.dir("/srv/slow", 0, 0o777);
    lab.file_of("/opt/slow/restic", SLOW, 0, 0o755);
    lab.use_restic(&Restic { version: Version(0, 14, 0), dir: "/opt/slow".into() });
    lab.state(&format!(
        "ssh:\n  users:\n    {WORM}:\n      directory: /srv/clients/worm\n      access: append_only\n      \
         authorized_keys: [{{ key: {} }}]\n      \
         prune: {{ keep_within: 20d, password_file: /etc/rlvm/secrets/worm.pass }}\n",
        public(&lab, "worm")
    ));
    lab.apply();
    lab
}

fn two_backups(lab: &Lab) {
    for words in [
        &["init"][..],
        &["backup", "--time", "2024-05-05 00:00:00", "/etc/ssh"],
        &["backup", "--time", "2024-06-01 00:00:00", "/etc/ssh"],
    ] {
        let ran = client(lab, words);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

fn snapshots(lab: &Lab) -> usize {
    lab.ok(&["ls", "/srv/clients/worm/repo/snapshots"]).lines().count()
}

/// Waits until restic begins to forget.
fn restic_forgets(lab: &Lab) {
    for _ in 0..600 {
        if lab.at("/srv/slow/at").exists() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("restic does not begin");
}

#[test]
fn client_is_kept_out_while_its_repository_is_pruned() {
    let lab = prepared();
    let _sshd = lab.own_sshd();
    two_backups(&lab);
    let mut prune = lab.command(&["prune"]).spawn().unwrap();
    restic_forgets(&lab);
    let index = || lab.ok(&["ls", "/srv/clients/worm/repo/index"]);
    let before = index();
    let ran = client(&lab, &["backup", "/etc/ssh"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("the server prunes this repository now, try again later"), "{ran:?}");
    assert!(rlvm::restic::passes(&ran.stderr), "a job tries again");
    assert_eq!((index(), snapshots(&lab)), (before, 2));
    // A crash leaves nothing that keeps the client out.
    lab.ok(&["sh", "-c", KILL]);
    prune.wait().unwrap();
    let ran = client(&lab, &["backup", "--time", "2024-06-02 00:00:00", "/etc/ssh"]);
    assert_eq!((ran.code, snapshots(&lab)), (Some(0), 3), "{ran:?}");
    lab.file("/srv/slow/go", "");
    lab.expect(0, &["prune"]);
    assert_eq!(snapshots(&lab), 2);
}

#[test]
fn session_that_stores_nothing_does_not_hold_a_prune_up() {
    let lab = prepared();
    let _sshd = lab.own_sshd();
    two_backups(&lab);
    lab.file("/srv/slow/go", "");
    // What has stored the backups may not have ended yet.
    let servers = || lab.run(&["pgrep", "-u", WORM, "rclone"]).stdout;
    let before = servers();
    let is_new = |all: &str| all.lines().any(|pid| !before.lines().any(|it| it == pid));
    let at = format!("{WORM}@nas.lan");
    let mut session = open_ended(&lab, &["ssh", "-o", "IdentityFile=/root/worm", &at]).spawn().unwrap();
    while !is_new(&servers()) {
        thread::sleep(Duration::from_millis(20));
    }
    // No lock to restic, whose locks are named by their ids.
    lab.ok(&["sh", "-c", "echo >/srv/clients/worm/repo/locks/x"]);
    let ran = lab.expect(0, &["prune", "--wait", "1s"]);
    assert!(ran.stderr.contains("in use by its client: "), "{ran:?}");
    session.wait().unwrap();
    assert_eq!(snapshots(&lab), 1);
}

#[test]
fn prune_needs_the_rules_that_keep_the_client_out() {
    let lab = prepared();
    let _sshd = lab.own_sshd();
    two_backups(&lab);
    lab.file("/srv/slow/go", "");
    let part = lab.read(super::PART);
    let old = part.replace("/usr/bin/flock ", "/usr/bin/other ");
    lab.file(super::PART, &old);
    let ran = lab.expect(1, &["prune"]);
    assert!(
        ran.stderr.contains("cannot shut the client out") && ran.stderr.contains("help: run `rlvm apply`"),
        "{ran:?}"
    );
    assert_eq!(snapshots(&lab), 2);
    lab.apply();
    lab.expect(0, &["prune"]);
}

#[test]
fn prune_waits_until_every_sshd_has_read_the_rules_that_keep_the_client_out() {
    let lab = prepared();
    let _sshd = lab.own_sshd();
    two_backups(&lab);
    lab.file("/srv/slow/go", "");
    let part = lab.read(super::PART);
    lab.file(super::PART, &part.replace("/usr/bin/flock ", "/usr/bin/other "));
    let main = lab.read("/etc/ssh/sshd_config").replace("127.0.0.1:22", "127.0.0.1:2222");
    lab.file("/etc/ssh/lan", &main);
    let _lan = lab.sshd_of("/etc/ssh/lan", 2222);
    // That one goes on with the rules that it has read.
    lab.file("/etc/ssh/lan", &(main.clone() + "NoSuchWord\n"));
    lab.expect(7, &["apply", "--yes"]);
    assert_eq!(lab.read(super::PART), part);
    let ran = lab.expect(1, &["prune"]);
    assert!(ran.stderr.contains("cannot shut the client out"), "{ran:?}");
    assert_eq!(snapshots(&lab), 2);
    lab.file("/etc/ssh/lan", &main);
    lab.apply();
    // Nor while one runs that has another configuration, or an older one.
    let free = main.replace("Include", "#").replace("127.0.0.1:2222", "127.0.0.1:2223");
    lab.file("/etc/ssh/free", &free);
    let mut other = lab.sshd_of("/etc/ssh/free", 2223);
    lab.expect(1, &["prune"]);
    other.stop();
    lab.file(super::PART, &part);
    lab.expect(1, &["prune"]);
    assert_eq!(snapshots(&lab), 2);
    lab.apply();
    lab.expect(0, &["prune"]);
}
