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
    let said =
        format!("{BUILT}, which runs here, might not restrict {FILES}: it was started without `-f FILE`");
    assert!(plan.contains(&said), "{plan}");
    // Whether it follows a revocation is not known either.
    lab.state("ssh: {}");
    let ran = lab.expect(7, &["apply", "--yes", "--allow-mass-removal"]);
    assert!((ran.stdout + &ran.stderr).contains(&format!("{BUILT} was started without `-f FILE`")));
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
