//! What else is configured on the host: blocks of somebody else's in sshd's configuration, variables that sshd takes from
//! clients, a link in place of a repository. A client's account stays restricted, or plan says why not.

use super::{FILES, WORM, machine, ssh, state, usual};

/// A file that sshd reads before rlvm's, and one that it reads later.
const EARLIER: &str = "/etc/ssh/sshd_config.d/00-earlier.conf";
const LATER: &str = "/etc/ssh/sshd_config.d/50-later.conf";

/// Says whether the account for files reads a file outside its directory, from an address.
fn reads_the_hosts_files(lab: &crate::lab::Lab, from: &str) -> bool {
    lab.file("/root/batch", "get /etc/passwd /root/got\n");
    lab.run(&["rm", "-f", "/root/got"]);
    let bind = format!("BindAddress={from}");
    ssh(lab, "sftp", "files", &["-o", &bind, "-b", "/root/batch", &format!("{FILES}@nas.lan")]);
    lab.at("/root/got").exists()
}

#[test]
fn a_block_that_sshd_reads_earlier_is_an_error_for_each_connection() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    for (block, leaves) in [("Address 127.0.0.2", true), ("LocalPort 22", true), ("LocalPort 2222", false)] {
        lab.file(EARLIER, &format!("Match {block}\n  ChrootDirectory none\nMatch all\n"));
        let mut sshd = lab.own_sshd();
        // This is what the error is about.
        assert_eq!(reads_the_hosts_files(&lab, "127.0.0.2"), leaves, "{block}");
        sshd.stop();
        let ran = lab.rlvm(&["plan"]);
        let said = format!("{EARLIER}:2 sets `chrootdirectory none` in the block `Match {block}`");
        assert!(ran.code == Some(1) && ran.stdout.contains(&said), "{ran:?}");
        lab.ok(&["rm", EARLIER]);
    }
    // Read later, the same block changes nothing, and sshd can be asked although a criterion is not the client's.
    let blocks = ["Address 127.0.0.2", "LocalPort 2222", "LocalAddress 127.0.0.1", "RDomain blue", "Host x"];
    let blocks = blocks.map(|block| format!("Match {block}\n  ChrootDirectory none\n"));
    lab.file(LATER, &blocks.concat());
    lab.plan_is_empty();
    // A new account is made all the same.
    state(&lab, &super::entry(&lab, "files", Some("127.0.0.0/8")), "");
    lab.apply();
    let _sshd = lab.own_sshd();
    assert!(super::gets_in(&lab, "files") && !reads_the_hosts_files(&lab, "127.0.0.2"));
}

#[test]
fn an_account_that_only_adds_takes_no_variable_from_its_client() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    lab.file_of("/root/pass", "secret\n", 0, 0o600);
    let at = format!("{WORM}@nas.lan");
    let config = "/srv/clients/worm/repo/config";
    let restic = |words: &str| {
        let program = format!(
            "restic --no-cache -q -o 'rclone.program=ssh -i /root/worm {at}' -r rclone:any -p /root/pass {words}"
        );
        lab.run(&["timeout", "20", "sh", "-c", &program])
    };
    let mut sshd = lab.own_sshd();
    assert_eq!(restic("init").code, Some(0));
    sshd.stop();
    let before = lab.ok(&["sha256sum", config]);
    // Accepted of everybody, it does not concern the account; accepted in a block, it is an error, and rclone gets it
    // all the same not.
    for (text, code) in [("AcceptEnv *\n", 0), ("Match all\nAcceptEnv *\n", 1)] {
        lab.file(LATER, text);
        let mut sshd = lab.own_sshd();
        let log = format!(
            "SetEnv=RCLONE_LOG_FILE={config} RCLONE_RC=true RCLONE_RC_ADDR=127.0.0.1:5572 RCLONE_VERBOSE=2"
        );
        let mut session = super::open_ended(&lab, &["ssh", "-o", "IdentityFile=/root/worm", "-o", &log, &at])
            .spawn()
            .unwrap();
        // A session that has just ended may still be seen, with nothing in its environment.
        let read = format!("tr '\\0' '\\n' < /proc/$(pgrep -n -u {WORM} rclone)/environ");
        let mut environment = String::new();
        while environment.is_empty() {
            environment = lab.run(&["sh", "-c", &read]).stdout;
        }
        assert_eq!(environment, "HOME=/nonexistent\n");
        assert!(!lab.listens(5572));
        lab.run(&["pkill", "-KILL", "-u", WORM]);
        session.wait().unwrap();
        assert_eq!(lab.ok(&["sha256sum", config]), before);
        assert_eq!(restic("backup /etc/passwd").code, Some(0));
        sshd.stop();
        let ran = lab.rlvm(&["plan"]);
        assert!(ran.code == Some(code) && ran.stdout.contains("50-later.conf"), "{ran:?}");
    }
}

#[test]
fn a_link_in_place_of_a_repository_is_refused() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    let etc = lab.ok(&["stat", "-c", "%U:%G %a", "/etc"]);
    lab.ok(&["rmdir", "/srv/clients/files/repo"]);
    lab.ok(&["ln", "-s", "/etc", "/srv/clients/files/repo"]);
    for words in [&["apply", "--yes"][..], &["apply", "--yes", "--adopt"]] {
        let ran = lab.expect(6, words);
        let said = "/srv/clients/files/repo is a symbolic link to /etc";
        assert!((ran.stdout + &ran.stderr).contains(said));
        assert_eq!(lab.ok(&["stat", "-c", "%U:%G %a", "/etc"]), etc);
    }
}
