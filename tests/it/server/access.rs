//! What each account may do, and what it may not: by real clients.

use super::{FILES, WORM, entry, gets_in, machine, sftp, ssh, state, usual};

#[test]
fn an_account_for_files_is_shut_in_and_can_do_nothing_else() {
    // R42
    let lab = machine();
    usual(&lab);
    lab.apply();
    lab.plan_is_empty();
    let _sshd = lab.own_sshd();
    let ran = sftp(&lab, "files", "pwd\nls -1 /\nput /root/batch /repo/there\nls -1 /repo\n");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in ["Remote working directory: /\n", "/repo\n", "/repo/there\n"] {
        assert!(ran.stdout.contains(line), "{line}: {ran:?}");
    }
    assert_eq!(lab.ok(&["stat", "-c", "%U", "/srv/clients/files/repo/there"]), format!("{FILES}\n"));
    for command in ["put /root/batch /there", "ls /etc", "rename /repo /other", "ls /../../root"] {
        let ran = sftp(&lab, "files", &format!("{command}\n"));
        let up = command.contains("..");
        assert!(
            ran.code != Some(0) && (up || ran.stderr.contains("denied") || ran.stderr.contains("not found")),
            "{ran:?}"
        );
    }
    let at = format!("{FILES}@nas.lan");
    // No shell, no command, no terminal, nothing beyond this machine.
    for words in [&["id"][..], &["-tt"], &["sh", "-c", "id"]] {
        let ran = ssh(
            &lab,
            "ssh",
            "files",
            &[&words[..usize::from(words == ["-tt"])], &[at.as_str()], words].concat(),
        );
        assert!(!ran.stdout.contains("uid="), "{words:?}: {ran:?}");
    }
    let ran = ssh(
        &lab,
        "ssh",
        "files",
        &["-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=INFO", "-W", "127.0.0.1:22", &at],
    );
    assert!(ran.code != Some(0) && ran.stderr.contains("administratively prohibited"), "{ran:?}");
    let ran = ssh(
        &lab,
        "ssh",
        "files",
        &["-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=INFO", "-N", "-R", "8022:127.0.0.1:22", &at],
    );
    assert!(ran.code != Some(0) && ran.stderr.contains("remote port forwarding failed"), "{ran:?}");
    // Another's key opens nothing here, nor does a key in the account's own home.
    assert!(!gets_in(&lab, "worm") && !gets_in(&lab, "other"));
    lab.ok(&[
        "sh",
        "-c",
        &format!("install -D -o {FILES} -m 0600 /root/other.pub /srv/clients/files/.ssh/authorized_keys"),
    ]);
    assert!(!gets_in(&lab, "other"));
    let plan = lab.expect(0, &["plan"]).stdout;
    assert!(
        plan.contains("/root/other in /srv/clients/files/.ssh/authorized_keys:1 is not accepted"),
        "{plan}"
    );
}

#[test]
fn an_account_that_only_adds_takes_backups_and_forgets_none() {
    // R42
    let lab = machine();
    usual(&lab);
    lab.apply();
    let _sshd = lab.own_sshd();
    lab.file_of("/root/pass", "secret\n", 0, 0o600);
    let restic = |words: &[&str]| {
        let program = format!("rclone.program=ssh -i /root/worm {WORM}@nas.lan");
        let start = [
            "timeout",
            "20",
            "restic",
            "--no-cache",
            "-q",
            "-o",
            &program,
            "-r",
            "rclone:any",
            "-p",
            "/root/pass",
        ];
        lab.run(&[&start[..], words].concat())
    };
    assert_eq!(restic(&["init"]).code, Some(0));
    let ran = restic(&["backup", "/etc/ssh"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let snapshots = || lab.ok(&["ls", "/srv/clients/worm/repo/snapshots"]);
    let before = snapshots();
    assert!(before.len() > 60, "{before}");
    // It tries again for long; that it is never done is what counts.
    assert_ne!(restic(&["forget", before.trim()]).code, Some(0));
    assert_eq!(snapshots(), before);
    let ran = ssh(&lab, "ssh", "worm", &[&format!("{WORM}@nas.lan"), "rm -r /srv/clients/worm/repo"]);
    assert!(snapshots() == before && !ran.stdout.contains("uid="), "{ran:?}");
    // rclone left nothing in the account's home that was not there.
    assert_eq!(lab.ok(&["ls", "/srv/clients/worm"]), "repo\n");
}

#[test]
fn a_key_is_good_only_from_where_it_may_be_used() {
    let lab = machine();
    for (from, lets_in) in [("10.9.0.0/16", false), ("127.0.0.0/8,10.9.0.1", true), ("!127.0.0.1,*", false)] {
        state(&lab, &entry(&lab, "files", Some(from)), "");
        lab.apply();
        let mut sshd = lab.own_sshd();
        assert_eq!(gets_in(&lab, "files"), lets_in, "{from}");
        sshd.stop();
    }
}

#[test]
fn an_account_with_a_shell_has_a_terminal_and_reaches_nothing_through_it() {
    let lab = machine();
    let key = entry(&lab, "other", None);
    lab.state(&format!(
        "ssh: {{ users: {{ {WORM}: {{ directory: /srv/clients/shell, access: shell, authorized_keys: [{key}] }} }} }}"
    ));
    lab.apply();
    lab.plan_is_empty();
    let _sshd = lab.own_sshd();
    let at = format!("{WORM}@nas.lan");
    let ran = ssh(&lab, "ssh", "other", &["-tt", &at, "id -un; tty"]);
    assert!(ran.stdout.contains(WORM) && ran.stdout.contains("/dev/pts/"), "{ran:?}");
    let ran = ssh(&lab, "ssh", "other", &["-o", "LogLevel=INFO", "-W", "127.0.0.1:22", &at]);
    assert!(ran.code != Some(0) && ran.stderr.contains("administratively prohibited"), "{ran:?}");
}
