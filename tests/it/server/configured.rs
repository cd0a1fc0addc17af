//! sshd's own opinion of its configuration: asked before and after, heard, and told.

use std::io::Write;

use super::{FILES, PART, entry, gets_in, machine, open_ended, pid, public, read, sftp, state, usual};
use crate::lab::Lab;

#[test]
fn a_revoked_key_is_refused_at_once_and_nobody_else_is_disturbed() {
    // R42
    let lab = machine();
    let both = format!("{}, {}", entry(&lab, "files", None), entry(&lab, "other", None));
    let _sshd = lab.own_sshd();
    assert!(!gets_in(&lab, "files"));
    state(&lab, &both, "");
    lab.apply();
    let first = pid(&lab);
    assert!(gets_in(&lab, "files") && gets_in(&lab, "other"));
    let at = format!("{FILES}@nas.lan");
    let mut session =
        open_ended(&lab, &["sftp", "-o", "IdentityFile=/root/other", "-b", "-", &at]).spawn().unwrap();
    let mut input = session.stdin.take().unwrap();
    input.write_all(b"put /root/batch /repo/first\n").unwrap();
    while !lab.at("/srv/clients/files/repo/first").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // One key goes, and so does the other account: sshd reads its configuration again.
    lab.state(&format!(
        "ssh: {{ users: {{ {FILES}: {{ directory: /srv/clients/files, authorized_keys: [{}] }} }} }}",
        entry(&lab, "files", None)
    ));
    let ran = lab.expect(0, &["apply", "--yes"]);
    assert!(ran.stdout.contains("- authorized_keys:backup-web01-worm"), "{ran:?}");
    assert!(gets_in(&lab, "files") && !gets_in(&lab, "other"));
    assert_eq!(pid(&lab), first);
    assert!(!lab.read(PART).contains("worm") && !lab.at("/run/rlvm/sshd-reload").exists());
    input.write_all(b"put /root/batch /repo/second\n").unwrap();
    drop(input);
    assert!(session.wait().unwrap().success() && lab.at("/srv/clients/files/repo/second").exists());
    lab.plan_is_empty();
    // All of them: what they stored stays.
    lab.state("ssh: {}");
    lab.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(read(&lab, PART).is_none() && lab.at("/srv/clients/files/repo/second").exists());
    assert!(!gets_in(&lab, "files") && pid(&lab) == first);
}

#[test]
fn sshd_is_told_also_without_its_pid_file() {
    let lab = machine();
    let config = lab.read("/etc/ssh/sshd_config") + "PidFile none\n";
    lab.file("/etc/ssh/sshd_config", &config);
    let _sshd = lab.own_sshd();
    usual(&lab);
    lab.apply();
    assert!(read(&lab, "/run/sshd.pid").is_none());
    assert!(gets_in(&lab, "files"));
    // What sshd has not read again, it would go on to allow.
    lab.state("ssh: {}");
    lab.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(!gets_in(&lab, "files"));
}

/// Says whether the account for files reads a file of the host outside its directory, by the sshd on a port.
fn reads_outside(lab: &Lab, port: &str) -> bool {
    reads_outside_from(lab, port, "127.0.0.1")
}

fn reads_outside_from(lab: &Lab, port: &str, address: &str) -> bool {
    lab.file("/root/batch", "get /etc/passwd /root/got\n");
    lab.run(&["rm", "-f", "/root/got"]);
    let (bind, at) = (format!("BindAddress={address}"), format!("{FILES}@nas.lan"));
    super::ssh(lab, "sftp", "files", &["-P", port, "-o", &bind, "-b", "/root/batch", &at]);
    lab.at("/root/got").exists()
}

#[test]
fn an_sshd_with_its_own_configuration_is_told_and_asked() {
    let lab = machine();
    let _sshd = lab.own_sshd();
    usual(&lab);
    let files = entry(&lab, "files", None);
    lab.state(&format!(
        "ssh: {{ users: {{ {FILES}: {{ directory: /srv/clients/files, access: shell, authorized_keys: [{files}] }} }} }}"
    ));
    lab.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    let main = lab.read("/etc/ssh/sshd_config").replace("127.0.0.1:22", "127.0.0.1:2222");
    lab.file("/etc/ssh/lan", &main);
    let _lan = lab.sshd_of("/etc/ssh/lan", 2222);
    assert!(reads_outside(&lab, "22") && reads_outside(&lab, "2222"));
    // Both are told.
    usual(&lab);
    lab.apply();
    assert!(gets_in(&lab, "files") && !reads_outside(&lab, "22") && !reads_outside(&lab, "2222"));
    lab.plan_is_empty();
    // One that does not include rlvm's file is an error, and so is one that cannot read its own.
    for (text, said) in [
        (
            main.replace("Include", "#"),
            "might not restrict backup-web01: `chrootdirectory` is `none` instead of",
        ),
        (main.clone() + "NoSuchWord\n", "it cannot be asked, since it refuses its configuration"),
    ] {
        lab.file("/etc/ssh/lan", &text);
        let plan = lab.expect(1, &["plan"]).stdout;
        assert!(plan.contains("`sshd -f /etc/ssh/lan`") && plan.contains(said), "{plan}");
    }
    lab.file("/etc/ssh/lan", &(main.replace("Include", "#") + "DenyUsers backup-*\n"));
    lab.apply();
    lab.plan_is_empty();
}

#[test]
fn a_block_of_an_sshd_with_its_own_configuration_is_an_error() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    let main = lab.read("/etc/ssh/sshd_config").replace("127.0.0.1:22", "127.0.0.1:2222");
    let (include, rest) = main.split_once('\n').unwrap();
    // The account's keys are found without rlvm's file too.
    let rest = rest.replace("X11Forwarding yes", "AuthorizedKeysFile /etc/ssh/rlvm/keys/%u");
    let free = "Match Address 127.0.0.2\nChrootDirectory none\nForceCommand internal-sftp\nMatch all\n";
    let deny = format!("Match Address 127.0.0.1\nDenyUsers {FILES} backup-web01-worm\n");
    for (text, is_free, said) in [
        (
            format!("{rest}{free}{include}\n"),
            true,
            "/etc/ssh/lan:7 sets `chrootdirectory none` in the block `Match Address 127.0.0.2`",
        ),
        (
            format!("{main}Match LocalPort 2222\nAcceptEnv *\n"),
            false,
            "/etc/ssh/lan:8 sets `AcceptEnv *` in the block `Match LocalPort 2222`",
        ),
        (
            format!("{rest}{deny}"),
            true,
            "/etc/ssh/lan:7 sets `denyusers backup-web01 backup-web01-worm` only in the block `Match Address 127.0.0.1`",
        ),
        // Right for the one connection that sshd is asked about.
        (
            format!("{rest}Match Address 127.0.0.1\nInclude {PART}\n"),
            true,
            "`sshd -f /etc/ssh/lan`, which runs here, might not restrict backup-web01: it does not include",
        ),
    ] {
        lab.file("/etc/ssh/lan", &text);
        let mut lan = lab.sshd_of("/etc/ssh/lan", 2222);
        assert_eq!(reads_outside_from(&lab, "2222", "127.0.0.2"), is_free, "{text}");
        let plan = lab.expect(1, &["plan"]).stdout;
        assert!(plan.contains(said), "{said}: {plan}");
        lan.stop();
    }
}

#[test]
fn an_sshd_that_still_uses_its_old_configuration_is_reloaded() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    let earlier = "/etc/ssh/sshd_config.d/00-earlier.conf";
    lab.file(earlier, "Match all\nChrootDirectory none\n");
    let main = lab.read("/etc/ssh/sshd_config").replace("127.0.0.1:22", "127.0.0.1:2222");
    let keys = main.replace("Include", "AuthorizedKeysFile /etc/ssh/rlvm/keys/%u #");
    lab.file("/etc/ssh/lan", &keys);
    let (_sshd, _lan) = (lab.own_sshd(), lab.sshd_of("/etc/ssh/lan", 2222));
    assert!(reads_outside(&lab, "22") && reads_outside(&lab, "2222"));
    lab.expect(1, &["plan"]);
    // A person repairs both, and reloads neither.
    lab.ok(&["rm", earlier]);
    lab.file("/etc/ssh/lan", &main);
    let plan = lab.expect(2, &["plan", "--detailed-exitcode"]).stdout;
    assert!(plan.contains("sshd may still use its old configuration: /etc/ssh/"), "{plan}");
    assert!(reads_outside(&lab, "22") && reads_outside(&lab, "2222"));
    lab.apply();
    assert!(gets_in(&lab, "files") && !reads_outside(&lab, "22") && !reads_outside(&lab, "2222"));
    lab.plan_is_empty();
}

#[test]
fn a_list_for_some_connections_is_not_said_to_refuse_every_login() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    let main = lab.read("/etc/ssh/sshd_config");
    for (block, is_said) in [("Address 127.0.0.1", false), ("User backup-*", true)] {
        lab.file("/etc/ssh/sshd_config", &format!("{main}Match {block}\nDenyUsers {FILES}\n"));
        let ran = lab.expect(0, &["plan"]);
        let said = ran.stdout + &ran.stderr;
        assert_eq!(said.contains("sshd refuses every login of backup-web01"), is_said, "{said}");
    }
}

#[test]
fn a_login_in_progress_does_not_keep_the_former_rules() {
    let lab = machine();
    let _sshd = lab.own_sshd();
    usual(&lab);
    lab.apply();
    // It connects, and asks for the key's passphrase only when the rules have changed.
    lab.ok(&["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", "/root/files"]);
    let ask = "#!/bin/sh\n: >/srv/asked\nuntil [ -e /srv/go ]; do sleep 0.05; done\necho secret\n";
    lab.file_of("/srv/ask", ask, 0, 0o755);
    let at = format!("{FILES}@nas.lan");
    let mut login =
        open_ended(&lab, &["setsid", "sftp", "-o", "BatchMode=no", "-o", "IdentityFile=/root/files", &at]);
    login.env("SSH_ASKPASS", "/srv/ask").env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", ":0");
    let mut login = login.spawn().unwrap();
    while !lab.at("/srv/asked").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    lab.file("/etc/ssh/sshd_config.d/50-other.conf", "LogLevel VERBOSE\n");
    let worm = entry(&lab, "worm", None);
    lab.state(&format!(
        "ssh: {{ users: {{ {FILES}: {{ directory: /srv/clients/files, access: append_only, authorized_keys: [{}] }}, \
         backup-web01-worm: {{ directory: /srv/clients/worm, access: append_only, authorized_keys: [{worm}] }} }} }}",
        entry(&lab, "files", None)
    ));
    lab.apply();
    lab.file("/srv/go", "");
    drop(login.stdin.take());
    assert!(!login.wait().unwrap().success(), "it was let in by the rules from before");
}

#[test]
fn host_names_in_from_are_reported_unless_sshd_looks_them_up() {
    let lab = machine();
    state(&lab, &entry(&lab, "files", Some("localhost")), "");
    lab.expect(0, &["apply", "--yes"]);
    for (word, gets_in_by_name) in [("UseDNS no\n", false), ("UseDNS yes\n", true)] {
        lab.file("/etc/ssh/sshd_config.d/50-dns.conf", word);
        let mut sshd = lab.own_sshd();
        assert_eq!(gets_in(&lab, "files"), gets_in_by_name, "{word}");
        sshd.stop();
        let plan = lab.expect(0, &["plan"]).stdout;
        assert_eq!(plan.contains("localhost in `from` matches no client"), !gets_in_by_name, "{plan}");
    }
}

#[test]
fn a_client_is_locked_out_after_a_ledger_was_lost_too() {
    // R42
    let lab = machine();
    let _sshd = lab.own_sshd();
    usual(&lab);
    lab.apply();
    lab.ok(&["rm", "-r", "/var/lib/rlvm"]);
    lab.apply();
    lab.plan_is_empty();
    assert!(gets_in(&lab, "files"));
    lab.state("ssh: {}");
    lab.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(!gets_in(&lab, "files") && read(&lab, PART).is_none());
    assert!(read(&lab, &format!("/etc/ssh/rlvm/keys/{FILES}")).is_none());
    // Lost while all accounts leave: nothing knows them, and that is said.
    usual(&lab);
    lab.expect(0, &["apply", "--yes", "--adopt"]);
    lab.ok(&["rm", "-r", "/var/lib/rlvm"]);
    lab.state("ssh: {}");
    let told = lab.expect(1, &["plan"]).stdout;
    assert!(
        told.contains(&format!("{PART} exists, but neither the state nor the ledger has an account")),
        "{told}"
    );
}

#[test]
fn what_sshd_refuses_is_never_in_force() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    let _sshd = lab.own_sshd();
    let (before, first) = (lab.read(PART), pid(&lab));
    // Somebody else's mistake.
    lab.file("/etc/ssh/sshd_config.d/50-other.conf", "NoSuchWord yes\n");
    lab.state(&format!(
        "ssh: {{ users: {{ {FILES}: {{ directory: /srv/clients/files, access: shell, authorized_keys: [{}] }} }} }}",
        entry(&lab, "files", None)
    ));
    let ran = lab.expect(7, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(ran.stderr.contains("50-other.conf") && ran.stderr.contains("NoSuchWord"), "{ran:?}");
    assert_eq!(lab.read(PART), before);
    assert!(!lab.at("/run/rlvm/sshd-reload").exists() && pid(&lab) == first);
    lab.ok(&["rm", "/etc/ssh/sshd_config.d/50-other.conf"]);
    // One that is read before, and opens what is to be shut: plan says so, and nothing is put in place.
    let earlier = "/etc/ssh/sshd_config.d/00-earlier.conf";
    lab.file(earlier, &format!("Match User {FILES}\n  PasswordAuthentication yes\nMatch all\n"));
    let ran = lab.expect(7, &["apply", "--yes", "--allow-mass-removal"]);
    assert!((ran.stdout + &ran.stderr).contains("`passwordauthentication yes`"));
    assert_eq!(lab.read(PART), before);
    assert!(!lab.at("/run/rlvm/sshd-reload").exists());
    usual(&lab);
    let plan = lab.rlvm(&["plan"]);
    assert!(plan.stdout.contains("sshd uses `passwordauthentication yes` instead of `no`"), "{plan:?}");
    lab.ok(&["rm", earlier]);
    // The account that left was shut: opening it is a person's word.
    lab.expect(0, &["apply", "--yes", "--adopt"]);
    lab.plan_is_empty();
    assert!(gets_in(&lab, "files"));
}

/// Stands in sshd's place, and kills rlvm when it is asked of a configuration that was just put in place.
const KILLER: &str = "#!/bin/sh
if [ \"$1\" = -t ] && [ -z \"$2\" ] && [ -e /srv/kill ]; then rm /srv/kill; kill -9 $PPID; sleep 5; fi
exec /srv/sshd \"$@\"
";

#[test]
fn killed_before_sshd_was_told_it_is_told_by_the_next_apply() {
    // R48
    let lab = machine();
    let _sshd = lab.own_sshd();
    usual(&lab);
    lab.ok(&["cp", "/usr/sbin/sshd", "/srv/sshd"]);
    lab.file_of("/srv/killer", KILLER, 0, 0o755);
    lab.file("/srv/kill", "");
    lab.ok(&["mount", "--bind", "/srv/killer", "/usr/sbin/sshd"]);
    let ran = lab.rlvm(&["apply", "--yes"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    lab.ok(&["umount", "/usr/sbin/sshd"]);
    assert!(lab.read(PART).contains(FILES) && lab.at("/run/rlvm/sshd-reload").exists(), "{ran:?}");
    assert!(!gets_in(&lab, "files"));
    let plan = lab.expect(2, &["plan", "--detailed-exitcode"]).stdout;
    assert!(plan.contains("sshd_config:") && plan.contains("read by sshd"), "{plan}");
    lab.apply();
    lab.plan_is_empty();
    assert!(gets_in(&lab, "files") && !lab.at("/run/rlvm/sshd-reload").exists());
}

#[test]
fn what_would_keep_clients_out_is_said() {
    let lab = machine();
    usual(&lab);
    // Only who is listed gets in.
    lab.file("/etc/ssh/sshd_config.d/10-who.conf", "AllowUsers root\n");
    let plan = lab.expect(0, &["plan"]).stdout;
    assert!(
        plan.contains(
            "sshd refuses every login of backup-web01: `AllowUsers root` does not include the account"
        ),
        "{plan}"
    );
    lab.file("/etc/ssh/sshd_config.d/10-who.conf", "AllowGroups backup-web01 backup-web01-worm\n");
    lab.apply();
    let ran = lab.expect(0, &["plan"]);
    assert!(!(ran.stdout + &ran.stderr).contains("in from nowhere"));
    let _sshd = lab.own_sshd();
    assert!(gets_in(&lab, "files"));
    // A directory on the way to the chroot that others write.
    lab.own("/srv/clients", 0, 0o775);
    assert!(!gets_in_at_all(&lab));
    let ran = lab.rlvm(&["plan"]);
    let said =
        "backup-web01: /srv/clients belongs to root and has mode 0775, and is part of the path of its chroot";
    assert!(ran.code == Some(1) && ran.stdout.contains(said), "{ran:?}");
    // Declared, the same plan puts it right.
    state(
        &lab,
        &entry(&lab, "files", None),
        "directories: { /srv/clients: { mode: \"0755\", adopt: true } }\n",
    );
    let ran = lab.expect(0, &["plan"]);
    assert!(ran.stdout.contains("directory:/srv/clients is put right first"), "{ran:?}");
    lab.apply();
    lab.plan_is_empty();
    assert!(gets_in(&lab, "files"));
    // Without the line that includes it, it would have no effect.
    let main = lab.read("/etc/ssh/sshd_config");
    lab.file("/etc/ssh/sshd_config", main.split_once('\n').unwrap().1);
    let ran = lab.rlvm(&["apply", "--yes"]);
    let remedy = "add as its first line: Include /etc/ssh/sshd_config.d/*.conf";
    assert!(ran.code == Some(7) && (ran.stdout + &ran.stderr).contains(remedy));
}

/// Says whether a client gets as far as its files: sshd ends the session of one whose chroot it does not trust.
fn gets_in_at_all(lab: &crate::lab::Lab) -> bool {
    sftp(lab, "files", "pwd\n").code == Some(0)
}

#[test]
fn an_sshd_that_does_not_run_is_not_started_and_a_missing_directory_of_its_own_is_no_matter() {
    let lab = machine();
    lab.ok(&["rmdir", "/run/sshd"]);
    usual(&lab);
    let before = lab.tree_hash();
    lab.expect(2, &["plan", "--detailed-exitcode"]);
    assert_eq!(lab.tree_hash(), before);
    lab.apply();
    lab.plan_is_empty();
    assert!(!lab.listens(22) && lab.read(PART).contains(&format!("Match User {FILES}\n")));
    assert!(lab.read(&format!("/etc/ssh/rlvm/keys/{FILES}")).contains(&public(&lab, "files")));
}

#[test]
fn what_refuses_a_clients_key_or_session_is_said() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    lab.ok(&["ssh-keygen", "-q", "-k", "-f", "/etc/ssh/krl", "/root/files.pub"]);
    lab.ok(&["ln", "-s", "krl", "/etc/ssh/link"]);
    for (text, why) in [
        ("PubkeyAcceptedAlgorithms rsa-sha2-512\n", "names no algorithm for a key of type ssh-ed25519"),
        ("RevokedKeys /root/files.pub\n", "`RevokedKeys /root/files.pub` lists its key of type ssh-ed25519"),
        ("RevokedKeys /nowhere\n", "sshd cannot read `RevokedKeys /nowhere`"),
        ("RevokedKeys /etc/ssh/krl\n", "`RevokedKeys /etc/ssh/krl` lists its key of type ssh-ed25519"),
        ("RevokedKeys /etc/ssh/link\n", "`RevokedKeys /etc/ssh/link` lists its key of type ssh-ed25519"),
        ("MaxSessions 0\n", "`MaxSessions 0` allows no session"),
    ] {
        lab.file("/etc/ssh/sshd_config.d/10-refuses.conf", text);
        let mut sshd = lab.own_sshd();
        assert!(!gets_in_at_all(&lab), "{text}");
        sshd.stop();
        let plan = lab.expect(0, &["plan"]).stdout;
        assert!(plan.contains(&format!("sshd refuses {FILES}: ")) && plan.contains(why), "{text}: {plan}");
    }
}

#[test]
fn revoked_keys_without_a_client_key_are_not_reported() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    lab.ok(&["ssh-keygen", "-q", "-k", "-f", "/etc/ssh/krl", "/root/other.pub"]);
    lab.file("/etc/ssh/list", &(public(&lab, "other") + "\n"));
    for file in ["/etc/ssh/krl", "/etc/ssh/list"] {
        lab.file("/etc/ssh/sshd_config.d/10-refuses.conf", &format!("RevokedKeys {file}\n"));
        let mut sshd = lab.own_sshd();
        assert!(gets_in_at_all(&lab), "{file}");
        sshd.stop();
        let ran = lab.expect(0, &["plan"]);
        assert!(!(ran.stdout + &ran.stderr).contains("RevokedKeys"), "{file}");
    }
    // One that only sshd can judge.
    lab.file("/etc/ssh/krl", "SSHKRL\n\0cut short");
    lab.file("/etc/ssh/sshd_config.d/10-refuses.conf", "RevokedKeys /etc/ssh/krl\n");
    let plan = lab.expect(0, &["plan"]).stdout;
    assert!(plan.contains(&format!("cannot tell whether sshd refuses a key of {FILES}: ")), "{plan}");
}
