//! Clients' accounts, made by the system's own useradd, usermod and groupadd: in a tree by `--root`, and on a machine.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{fs, process::Command};

use crate::{
    lab::Lab,
    support::{Scratch, require},
};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0 root@web01";

/// A state with one client; `more` are further words of its account.
fn client(more: &str) -> String {
    format!(
        "directories:\n  /srv/clients: {{ mode: \"0755\" }}\n\
         ssh:\n  users:\n    client1: {{ directory: /srv/clients/one, authorized_keys: [{{ key: \"{KEY}\" }}]{more} }}\n"
    )
}

fn tree() -> Scratch {
    let scratch = Scratch::new();
    require(&std::env::var("PATH").unwrap(), "useradd", "passwd");
    scratch.file_of("/etc/shadow", "root:*:20000:0:99999:7:::\n", 0, 0o640);
    // sshd's place, as its package brings it.
    scratch.file("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n");
    scratch.dir("/etc/ssh/sshd_config.d", 0, 0o755);
    scratch
}

fn line(text: &str, name: &str) -> Option<String> {
    text.lines().find(|line| line.starts_with(&format!("{name}:"))).map(ToOwned::to_owned)
}

/// Runs one of shadow's programs on the tree.
fn shadow(scratch: &Scratch, args: &[&str]) {
    let mut command = Command::new(args[0]);
    let ran = scratch.ran(command.arg("--root").arg(scratch.root()).args(&args[1..]));
    assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
}

#[test]
fn made_in_a_tree_and_nothing_of_this_host_is_touched() {
    // R42
    let host = || ["/etc/passwd", "/etc/group", "/etc/shadow"].map(|path| fs::read(path).unwrap_or_default());
    let before = host();
    let scratch = tree();
    scratch.file_of("/etc/shadow", "root:*:20000:0:99999:7:::\n", 0, 0o640);
    scratch.state(&client(""));
    let plan = scratch.expect(2, &["plan", "--detailed-exitcode"]).stdout;
    assert!(plan.contains("+ account:user/client1") && plan.contains("+ account:group/client1"), "{plan}");
    assert!(line(&scratch.read("/etc/passwd"), "client1").is_none(), "plan made an account");
    scratch.apply();
    let entry = line(&scratch.read("/etc/passwd"), "client1").unwrap();
    assert!(entry.ends_with(":backup client:/srv/clients/one:/usr/sbin/nologin"), "{entry}");
    let uid: u32 = entry.split(':').nth(2).unwrap().parse().unwrap();
    assert!((100..1000).contains(&uid), "a system account: {entry}");
    let password = line(&scratch.read("/etc/shadow"), "client1").unwrap();
    assert!(password.starts_with("client1:*:"), "{password}");
    assert!(scratch.tree()["/srv/clients/one/repo"].starts_with(&format!("{uid}:")), "its own repository");
    scratch.plan_is_empty();
    assert_eq!(host(), before, "the host that this runs on");
}

#[test]
fn what_was_changed_by_hand_is_put_back() {
    // R47
    let scratch = tree();
    scratch.state(&client(""));
    scratch.apply();
    shadow(&scratch, &["usermod", "--shell", "/bin/bash", "--home", "/root", "client1"]);
    let plan = scratch.expect(2, &["plan", "--detailed-exitcode"]).stdout;
    assert!(plan.contains("changed on the host since the last apply"), "{plan}");
    assert!(plan.contains("shell") && plan.contains("/bin/bash"), "{plan}");
    scratch.apply();
    let entry = line(&scratch.read("/etc/passwd"), "client1").unwrap();
    assert!(entry.ends_with(":/srv/clients/one:/usr/sbin/nologin"), "{entry}");
    scratch.plan_is_empty();
}

#[test]
fn one_that_is_there_is_taken_over_only_when_told_so() {
    let scratch = tree();
    shadow(&scratch, &["groupadd", "--gid", "1234", "client1"]);
    let by_hand = ["useradd", "--uid", "1234", "--gid", "client1", "--groups", "adm", "--no-create-home"];
    shadow(
        &scratch,
        &[&by_hand[..], &["--home-dir", "/home/client1", "--shell", "/bin/sh", "client1"]].concat(),
    );
    scratch.state(&client(""));
    let before = scratch.contents();
    let refused = scratch.expect(6, &["apply", "--yes"]);
    assert!(refused.stdout.contains("account:user/client1"), "{}", refused.stdout);
    assert!(refused.stdout.contains("/home/client1 → /srv/clients/one"), "{}", refused.stdout);
    assert!(refused.stdout.contains("it is in adm"), "{}", refused.stdout);
    assert!(refused.stdout.contains("the files in /home/client1 stay there"), "{}", refused.stdout);
    assert_eq!(scratch.contents(), before);
    scratch.expect(0, &["apply", "--yes", "--adopt"]);
    let entry = line(&scratch.read("/etc/passwd"), "client1").unwrap();
    assert!(
        entry.contains(":1234:1234:") && entry.ends_with(":/srv/clients/one:/usr/sbin/nologin"),
        "{entry}"
    );
    scratch.plan_is_empty();
}

#[test]
fn root_is_nobodys_client() {
    let scratch = tree();
    shadow(&scratch, &["groupadd", "client1"]);
    let passwd = scratch.read("/etc/passwd") + "client1:x:0:0::/root:/bin/bash\n";
    scratch.file("/etc/passwd", &passwd);
    scratch.state(&client(""));
    let refused = scratch.expect(7, &["apply", "--yes", "--adopt"]);
    assert!(refused.stdout.contains("has UID 0, the UID of root"), "{}", refused.stdout);
    assert_eq!(scratch.read("/etc/passwd"), passwd);
}

#[test]
fn an_account_that_shares_its_number_is_not_let_in() {
    let scratch = tree();
    shadow(&scratch, &["groupadd", "--gid", "1234", "client1"]);
    let shared =
        "client1:x:1234:1234::/srv/clients/one:/usr/sbin/nologin\nclient0:x:1234:1234::/srv/zero:/bin/sh\n";
    let passwd = scratch.read("/etc/passwd") + shared;
    scratch.file("/etc/passwd", &passwd);
    scratch.state(&client(""));
    let refused = scratch.expect(7, &["apply", "--yes", "--adopt"]);
    let said = "client1 and client0 have the same number 1234";
    assert!(refused.stdout.contains(said), "{}", refused.stdout);
    assert_eq!(scratch.read("/etc/passwd"), passwd);
}

#[test]
fn variables_that_a_client_left_in_its_home_are_an_error() {
    let scratch = tree();
    shadow(&scratch, &["groupadd", "--gid", "1234", "client1"]);
    let by_hand = ["useradd", "--uid", "1234", "--gid", "client1", "--no-create-home"];
    shadow(&scratch, &[&by_hand[..], &["--home-dir", "/home/client1", "client1"]].concat());
    scratch.state(&client(""));
    for file in [
        "/home/client1/.pam_environment",
        "/home/client1/.ssh/environment",
        "/srv/clients/one/.pam_environment",
        "/srv/clients/one/.ssh/environment",
    ] {
        scratch.file_of(file, "LD_PRELOAD=/home/client1/its.so\n", 1234, 0o600);
        let plan = scratch.expect(1, &["plan", "--adopt"]);
        assert!(plan.stdout.contains(&format!("{file} can set variables")), "{}", plan.stdout);
        assert!(plan.stdout.contains(&format!("rm {file}")), "{}", plan.stdout);
        fs::remove_file(scratch.at(file)).unwrap();
        scratch.expect(0, &["plan", "--adopt"]);
    }
}

#[test]
fn what_starts_programs_of_an_account_without_a_login_is_an_error() {
    let scratch = tree();
    shadow(&scratch, &["groupadd", "--gid", "1234", "client1"]);
    shadow(&scratch, &["useradd", "--uid", "1234", "--gid", "client1", "--no-create-home", "client1"]);
    for (file, mode) in [
        ("/var/spool/cron/crontabs/client1", 0o600),
        ("/var/spool/cron/client1", 0o600),
        ("/var/spool/cron/atjobs/a00001", 0o700),
        ("/var/lib/systemd/linger/client1", 0o644),
    ] {
        scratch.state(&client(""));
        scratch.file_of(file, "* * * * * rm -r repo\n", 1234, mode);
        let plan = scratch.expect(1, &["plan", "--adopt"]);
        assert!(plan.stdout.contains(&format!("{file} starts programs of client1")), "{}", plan.stdout);
        scratch.state(&client(", access: shell"));
        scratch.expect(0, &["plan", "--adopt"]);
        fs::remove_file(scratch.at(file)).unwrap();
    }
}

#[test]
fn an_account_that_is_taken_over_loses_its_password() {
    let scratch = tree();
    shadow(&scratch, &["groupadd", "--gid", "1234", "client1"]);
    let by_hand =
        ["useradd", "--uid", "1234", "--gid", "client1", "--no-create-home", "--password", "$6$a$b"];
    shadow(&scratch, &[&by_hand[..], &["--home-dir", "/srv/clients/one", "client1"]].concat());
    scratch.state(&client(""));
    let plan = scratch.expect(0, &["plan", "--adopt"]);
    assert!(plan.stdout.contains("set → none") && !plan.stdout.contains("$6$"), "{}", plan.stdout);
    scratch.expect(0, &["apply", "--yes", "--adopt"]);
    assert!(line(&scratch.read("/etc/shadow"), "client1").unwrap().starts_with("client1:*:"));
    scratch.plan_is_empty();
}

#[test]
fn an_account_that_is_forgotten_is_shut() {
    let scratch = tree();
    scratch.state(&client(", on_remove: forget"));
    scratch.apply();
    scratch.state("directories:\n  /srv/clients: { mode: \"0755\" }\n");
    let applied = scratch.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(applied.stdout.contains("the account stays, closed"), "{}", applied.stdout);
    assert_eq!(line(&scratch.read("/etc/shadow"), "client1").unwrap().split(':').nth(7), Some("1"));
    scratch.plan_is_empty();
}

#[test]
fn it_stays_when_its_block_goes_unless_that_was_said() {
    // R46
    let scratch = tree();
    for (more, left) in [("", true), (", on_remove: delete", false)] {
        scratch.state(&client(more));
        scratch.apply();
        scratch.file("/srv/clients/one/repo/data", "the client's");
        scratch.state("directories:\n  /srv/clients: { mode: \"0755\" }\n");
        scratch.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
        assert_eq!(line(&scratch.read("/etc/passwd"), "client1").is_some(), left, "{more}");
        assert_eq!(line(&scratch.read("/etc/group"), "client1").is_some(), left, "{more}");
        assert_eq!(scratch.read("/srv/clients/one/repo/data"), "the client's");
        scratch.plan_is_empty();
        // By hand, as one would before the next round.
        if left {
            shadow(&scratch, &["userdel", "client1"]);
            // Without a login.defs userdel leaves the group: one that is found would stay (R46).
            shadow(&scratch, &["groupdel", "client1"]);
            fs::remove_dir_all(scratch.at("/srv/clients/one")).unwrap();
        }
    }
}

#[test]
fn made_on_a_machine() {
    let lab = Lab::new();
    lab.file("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n");
    lab.dir("/etc/ssh/sshd_config.d", 0, 0o755);
    lab.ok(&["ssh-keygen", "-A"]);
    lab.state(&client(""));
    lab.apply();
    let id = lab.ok(&["id", "client1"]);
    assert!(id.contains("(client1)") && !id.contains(','), "{id}");
    lab.plan_is_empty();
}
