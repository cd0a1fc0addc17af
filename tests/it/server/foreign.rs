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
        let ran = lab.expect(7, words);
        let said = "/srv/clients/files/repo is a symbolic link to /etc";
        assert!((ran.stdout + &ran.stderr).contains(said));
        assert_eq!(lab.ok(&["stat", "-c", "%U:%G %a", "/etc"]), etc);
    }
}

#[test]
fn links_that_an_account_planted_before_it_may_only_add_are_an_error() {
    let lab = machine();
    let key = |access: &str| {
        let key = super::entry(&lab, "worm", None);
        lab.state(&format!(
            "ssh: {{ users: {{ {WORM}: {{ directory: /srv/clients/worm, access: {access}, authorized_keys: [{key}] }} }} }}"
        ));
    };
    key("sftp");
    lab.apply();
    let repo = "/srv/clients/worm/repo";
    lab.ok(&["mkdir", "-p", &format!("{repo}/data/00"), &format!("{repo}/snapshots")]);
    lab.ok(&["touch", &format!("{repo}/data/00/pack")]);
    lab.ok(&["chown", "-R", &format!("{WORM}:{WORM}"), repo]);
    key("append_only");
    for (make, at) in [
        ("ln -s . AT", "snapshots/locks"),
        ("ln -s / AT", "x"),
        ("ln -s / AT", "data/00/x"),
        ("mkfifo AT", "data/fifo"),
    ] {
        let path = format!("{repo}/{at}");
        let make = make.replace("AT", &path);
        lab.ok(&["setpriv", "--reuid", WORM, "--regid", WORM, "--init-groups", "sh", "-c", &make]);
        let ran = lab.expect(7, &["apply", "--yes"]);
        assert!(ran.stdout.contains(&format!("{path} is a symbolic link or a special file")), "{ran:?}");
        // The narrower access does not wait for it, and it is said until it is gone.
        assert!(lab.read(&format!("/etc/ssh/rlvm/keys/{WORM}")).contains("append-only"));
        lab.expect(1, &["plan"]);
        lab.ok(&["rm", &path]);
    }
    lab.apply();
    lab.plan_is_empty();
}

/// What somebody else's configuration opens, for everybody and for some connections.
const OPEN: &str = "AcceptEnv *\nPermitUserEnvironment yes\nAllowTcpForwarding yes\nPermitTunnel yes\nGatewayPorts yes\n\
    Match Address 127.0.0.2\nChrootDirectory none\nForceCommand none\nPermitTTY yes\nAllowTcpForwarding yes\n\
    DisableForwarding no\nAuthorizedKeysFile .ssh/authorized_keys\nMatch LocalPort 22\nChrootDirectory none\n\
    ForceCommand none\nPermitTTY yes\nPasswordAuthentication yes\nMatch all\nPermitTTY yes\n";

#[test]
fn a_client_gets_out_of_nothing_whatever_else_sshd_reads() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    // The environment that a client may choose is in one file, which an error names; the rest changes nothing.
    lab.file(LATER, OPEN);
    let ran = lab.expect(0, &["plan"]);
    assert!(ran.stdout.contains("PermitUserEnvironment yes"), "{ran:?}");
    lab.plan_is_empty();
    let outside = |lab: &crate::lab::Lab| {
        lab.ok(&["stat", "-c", "%n %U:%G %a %Y", "/etc", "/etc/passwd", "/srv/clients"])
    };
    let before = outside(&lab);
    let _sshd = lab.own_sshd();
    let (files, worm) = (format!("{FILES}@nas.lan"), format!("{WORM}@nas.lan"));
    for from in ["127.0.0.1", "127.0.0.2"] {
        assert!(!reads_the_hosts_files(&lab, from), "{from}");
        let bind = format!("BindAddress={from}");
        // Links and renames of its own.
        for command in [
            "symlink /etc/passwd /repo/link\nget /repo/link /root/got",
            "symlink ../../../../etc /repo/up\nget /repo/up/passwd /root/got",
            "rename /repo /away",
            "rmdir /repo",
            "symlink /etc /repo2",
            "chmod 777 /",
            "mkdir /.ssh",
        ] {
            lab.file("/root/batch", &format!("{command}\n"));
            let ran = ssh(&lab, "sftp", "files", &["-o", &bind, "-b", "/root/batch", &files]);
            assert!(ran.code != Some(0) && !lab.at("/root/got").exists(), "{command}: {ran:?}");
        }
        // Commands, terminals, forwardings and variables, with each key.
        for (key, at) in [("files", &files), ("worm", &worm)] {
            for words in
                [&["id"][..], &["-tt", "id"], &["-W", "127.0.0.1:22"], &["-N", "-R", "8022:127.0.0.1:22"]]
            {
                let options = ["-o", &bind, "-o", "ExitOnForwardFailure=yes", at.as_str()];
                let ran = lab.run(
                    &[
                        &["timeout", "10", "ssh", "-o", &format!("IdentityFile=/root/{key}")],
                        &options[..],
                        words,
                    ]
                    .concat(),
                );
                assert!(
                    !ran.stdout.contains("uid=") && !ran.stdout.contains("SSH-2.0"),
                    "{words:?}: {ran:?}"
                );
                assert!(!lab.listens(8022), "{words:?}");
            }
            let set = "SetEnv=LD_PRELOAD=/nowhere.so BASH_ENV=/nowhere ENV=/nowhere RCLONE_RC=true";
            let ran = ssh(&lab, "ssh", key, &["-n", "-o", &bind, "-o", set, at]);
            // The loader complains of a library that is not there, if it hears of it.
            assert!(!ran.stderr.contains("LD_PRELOAD"), "{ran:?}");
        }
    }
    assert_eq!(outside(&lab), before);
    lab.plan_is_empty();
}
