//! An sshd beside the system's own: what it really does with a client's key, and what plan says of it.

use super::{FILES, WORM, machine, usual};
use crate::lab::Lab;

/// Where a self-built OpenSSH installs its server.
const BUILT: &str = "/usr/local/sbin/sshd";

/// Makes a machine with the usual accounts; returns a configuration that accepts their keys and restricts nobody.
fn with_free_configuration() -> (Lab, String) {
    let lab = machine();
    usual(&lab);
    lab.apply();
    let main = lab.read("/etc/ssh/sshd_config").replace("127.0.0.1:22", "127.0.0.1:2222");
    let free = main.replace("Include", "AuthorizedKeysFile /etc/ssh/rlvm/keys/%u #");
    (lab, free)
}

/// Says whether the account for files reads a file of the host outside its directory, by the sshd on port 2222.
fn reads_outside(lab: &Lab) -> bool {
    lab.file("/root/batch", "get /etc/passwd /root/got\n");
    lab.run(&["rm", "-f", "/root/got"]);
    let at = format!("{FILES}@nas.lan");
    super::ssh(lab, "sftp", "files", &["-P", "2222", "-b", "/root/batch", &at]);
    lab.at("/root/got").exists()
}

#[test]
fn list_of_allowed_users_knows_no_exceptions() {
    let (lab, free) = with_free_configuration();
    for (list, is_free) in [
        (format!("AllowUsers !{FILES} !{WORM} *\n"), true),
        (format!("DenyUsers !{FILES} !{WORM}\n"), true),
        ("AllowUsers *,!backup-*\n".to_owned(), false),
        ("AllowUsers root\n".to_owned(), false),
        ("DenyUsers backup-*\n".to_owned(), false),
    ] {
        lab.file("/etc/ssh/lan", &(free.clone() + &list));
        let mut lan = lab.sshd_of("/etc/ssh/lan", 2222);
        // sshd alone decides what a list means.
        assert_eq!(reads_outside(&lab), is_free, "{list}");
        let plan = lab.rlvm(&["plan"]);
        let said = format!("might not restrict {FILES}: `chrootdirectory` is `none` instead of");
        assert_eq!(
            (plan.code == Some(1), plan.stdout.contains(&said)),
            (is_free, is_free),
            "{list}: {plan:?}"
        );
        lan.stop();
    }
}

#[test]
fn sshd_that_is_another_program_is_an_error_unless_its_file_is_known() {
    let (lab, free) = with_free_configuration();
    lab.dir("/etc/lan", 0, 0o755);
    lab.file("/etc/lan/sshd_config", &free);
    let build = format!(
        "sed s,/etc/ssh/sshd_config,/etc/lan/sshd_config, /usr/sbin/sshd >{BUILT}; chmod 755 {BUILT}"
    );
    lab.ok(&["sh", "-c", &build]);
    let mut lan = lab.sshd_at(&[BUILT], 2222);
    assert!(reads_outside(&lab));
    let plan = lab.expect(1, &["plan"]).stdout;
    let said = format!("{BUILT}, which runs here, might not restrict {FILES}: rlvm cannot tell");
    assert!(plan.contains(&said), "{plan}");
    // Whether it follows a revocation is not known either.
    lab.state("ssh: {}");
    let ran = lab.expect(7, &["apply", "--yes", "--allow-mass-removal"]);
    assert!((ran.stdout + &ran.stderr).contains(&format!("{BUILT}: rlvm cannot tell from its command line")));
    lan.stop();
    usual(&lab);
    // The system's own is no other program.
    let _own = lab.own_sshd();
    lab.expect(0, &["apply", "--yes", "--adopt"]);
    lab.plan_is_empty();
}

#[test]
fn relative_include_of_another_program_is_an_error() {
    let (lab, free) = with_free_configuration();
    // Each build looks a relative path up in a directory of its own.
    lab.ok(&["sh", "-c", &format!("sed s,/etc/ssh,/etc/lan,g /usr/sbin/sshd >{BUILT}; chmod 755 {BUILT}")]);
    lab.dir("/etc/lan/sshd_config.d", 0, 0o755);
    for (include, is_free) in [("sshd_config.d/*.conf", true), ("/etc/ssh/sshd_config.d/*.conf", false)] {
        lab.file("/etc/ssh/lan", &format!("Include {include}\n{free}"));
        let mut lan = lab.sshd_at(&[BUILT, "-f", "/etc/ssh/lan"], 2222);
        assert_eq!(reads_outside(&lab), is_free, "{include}");
        let plan = lab.rlvm(&["plan"]);
        let said = format!(
            "might not restrict {FILES}: {BUILT} resolves `Include {include}` in its own configuration directory"
        );
        assert_eq!((plan.code == Some(1), plan.stdout.contains(&said)), (is_free, is_free), "{plan:?}");
        lan.stop();
    }
}

#[test]
fn sshd_that_listens_is_found_however_it_was_started() {
    let (lab, free) = with_free_configuration();
    lab.file("/etc/ssh/lan", &free);
    lab.file("/etc/ssh/lan old", &free);
    // What rlvm would check if it took a part of the name for the file.
    let good = free.replace("AuthorizedKeysFile /etc/ssh/rlvm/keys/%u #", "Include");
    lab.ok(&["sh", "-c", "cp -a /etc/ssh /etc/lan; cp /etc/ssh/lan /etc/lan/sshd_config"]);
    for (file, words) in [
        ("lan", &["env", "-i", "/usr/sbin/sshd", "-f", "/etc/ssh/lan"][..]),
        ("lan", &["/usr/sbin/sshd", "-f", "/etc/ssh/lan", "-o", "KexAlgorithms -diffie-hellman*"]),
        ("lan", &["/usr/sbin/sshd", "-f", "/etc/ssh/lan", "-o", "Subsystem sftp2 /usr/lib/x -R"]),
        ("lan old", &["/usr/sbin/sshd", "-f", "/etc/ssh/lan old"]),
        ("lan", &["unshare", "-m", "sh", "-c", "mount --bind /etc/lan /etc/ssh; exec /usr/sbin/sshd -D"]),
        (
            "lan",
            &[
                "sh",
                "-c",
                "setpriv --pdeathsig KILL /usr/sbin/sshd -D -f /etc/ssh/lan & exec /usr/sbin/sshd -D",
            ],
        ),
    ] {
        lab.file("/etc/ssh/lan", if file == "lan" { &free } else { &good });
        let mut lan = lab.sshd_at(words, 2222);
        assert!(reads_outside(&lab), "{words:?}");
        let plan = lab.rlvm(&["plan"]);
        let said = format!("might not restrict {FILES}: ");
        assert!(plan.code == Some(1) && plan.stdout.contains(&said), "{words:?}: {plan:?}");
        lan.stop();
    }
}

#[test]
fn broken_main_configuration_hides_no_other_sshd() {
    let (lab, free) = with_free_configuration();
    lab.file("/etc/ssh/lan", &free);
    let _lan = lab.sshd_of("/etc/ssh/lan", 2222);
    let main = lab.read("/etc/ssh/sshd_config");
    lab.file("/etc/ssh/sshd_config", &(main + "Nonsense yes\n"));
    assert!(reads_outside(&lab));
    let plan = lab.expect(1, &["plan"]).stdout;
    assert!(plan.contains(&format!("might not restrict {FILES}: ")), "{plan}");
}
