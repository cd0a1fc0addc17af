//! A client that leaves the state is out, whatever else is in the way: its own key in its home, a session that is open,
//! a configuration that sshd refuses.

use super::{FILES, WORM, entry, gets_in, machine, open_ended, public, read, ssh, state, usual};
use crate::lab::Lab;

/// Says whether the account that only adds lets its key in, to do anything at all.
fn worm_gets_in(lab: &Lab, words: &[&str]) -> bool {
    let at = format!("{WORM}@nas.lan");
    loop {
        let said = ssh(lab, "ssh", "worm", &[&[at.as_str()][..], words].concat()).stderr;
        // sshd opens its socket anew when it reads its configuration.
        if !said.contains("Connection re") {
            return !said.contains("Permission denied (publickey");
        }
    }
}

fn leave(lab: &Lab, code: i32) -> String {
    lab.state("ssh: {}");
    let ran = lab.expect(code, &["apply", "--yes", "--allow-mass-removal"]);
    ran.stdout + &ran.stderr
}

#[test]
fn a_key_in_its_own_home_does_not_let_it_in_again() {
    // R42
    let lab = machine();
    let _sshd = lab.own_sshd();
    usual(&lab);
    lab.apply();
    // What an account that was set up by hand has there: the very same key, without a forced command.
    lab.file("/srv/clients/worm/.ssh/authorized_keys", &(public(&lab, "worm") + "\n"));
    lab.dir("/srv/clients/worm/.ssh", 0, 0o755);
    let told = leave(&lab, 0);
    assert!(told.contains("the account stays, closed"), "{told}");
    assert!(!worm_gets_in(&lab, &["id"]) && !gets_in(&lab, "files"));
    assert!(lab.ok(&["getent", "passwd", WORM]).contains("/srv/clients/worm"));
    lab.plan_is_empty();
    // Declared again it is opened again, and nothing was lost.
    usual(&lab);
    let plan = lab.expect(0, &["plan", "--adopt"]).stdout;
    assert!(plan.contains("closed"), "{plan}");
    lab.expect(0, &["apply", "--yes", "--adopt"]);
    assert!(gets_in(&lab, "files") && worm_gets_in(&lab, &[]));
    lab.plan_is_empty();
}

#[test]
fn a_session_that_is_open_holds_nothing_up() {
    // R42
    let lab = machine();
    let _sshd = lab.own_sshd();
    let delete = |name: &str, key: &str, access: &str| {
        let key = entry(&lab, key, None);
        format!(
            "    {name}: {{ directory: /srv/clients/{name}, access: {access}, on_remove: delete, authorized_keys: [{key}] }}\n"
        )
    };
    let users = delete(WORM, "worm", "append_only") + &delete(FILES, "files", "sftp");
    lab.state(&format!("ssh:\n  users:\n{users}"));
    lab.apply();
    let at = format!("{WORM}@nas.lan");
    let mut session = open_ended(&lab, &["ssh", "-o", "IdentityFile=/root/worm", &at]).spawn().unwrap();
    while lab.run(&["pgrep", "-u", WORM, "rclone"]).code != Some(0) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let stored = format!("/srv/clients/{FILES}/repo/data");
    lab.file(&stored, "stays\n");
    lab.ok(&["chown", FILES, &stored]);
    // userdel(8) refuses while it is used: that account is for the next apply, and is shut already.
    let told = leave(&lab, 7);
    let help = format!("help: end the sessions of the user (`loginctl terminate-user {WORM}`)");
    assert!(told.contains("currently used by process") && told.contains(&help), "{told}");
    assert!(!worm_gets_in(&lab, &["id"]) && !gets_in(&lab, "files"));
    // What is left of the other is not the next account's that gets its number.
    assert!(lab.tree()[&format!("/srv/clients/{FILES}/repo")].starts_with("0:0 0700"));
    assert!(lab.tree()[&stored].starts_with("0:0 "));
    lab.run(&["pkill", "-KILL", "-u", WORM]);
    session.wait().unwrap();
}

#[test]
fn an_account_that_cannot_be_changed_while_a_session_is_open_says_what_to_do() {
    let lab = machine();
    let _sshd = lab.own_sshd();
    usual(&lab);
    lab.apply();
    let at = format!("{WORM}@nas.lan");
    let mut session = open_ended(&lab, &["ssh", "-o", "IdentityFile=/root/worm", &at]).spawn().unwrap();
    while lab.run(&["pgrep", "-u", WORM, "rclone"]).code != Some(0) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // By hand, so that usermod has to change it back.
    lab.ok(&["sed", "-i", &format!("/^{WORM}:/s|/[^:]*:|/elsewhere:|"), "/etc/passwd"]);
    let applied = lab.expect(7, &["apply", "--yes"]);
    let said = applied.stdout + &applied.stderr;
    let help = format!("help: end the sessions of the user (`loginctl terminate-user {WORM}`)");
    assert!(said.contains("currently used by process") && said.contains(&help), "{said}");
    lab.run(&["pkill", "-KILL", "-u", WORM]);
    session.wait().unwrap();
    lab.apply();
    lab.plan_is_empty();
}

#[test]
fn somebody_elses_mistake_in_sshds_configuration_keeps_nobody_in() {
    let lab = machine();
    let _sshd = lab.own_sshd();
    usual(&lab);
    lab.apply();
    lab.file("/etc/ssh/sshd_config.d/50-other.conf", "Nonsense yes\n");
    let told = leave(&lab, 7);
    assert!(told.contains("failed sshd_config:"), "{told}");
    assert!(!worm_gets_in(&lab, &["id"]) && !gets_in(&lab, "files"));
    assert!(read(&lab, &format!("/etc/ssh/rlvm/keys/{FILES}")).is_none());
    lab.ok(&["rm", "/etc/ssh/sshd_config.d/50-other.conf"]);
    lab.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    lab.plan_is_empty();
}

#[test]
fn what_a_renamed_account_stored_is_given_to_it_before_plan_is_content() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    let stored = "/srv/clients/files/repo/keys/one";
    lab.file_of(stored, "stored\n", 0, 0o600);
    lab.ok(&["chown", "-R", FILES, "/srv/clients/files/repo"]);
    lab.plan_is_empty();
    let key = entry(&lab, "files", None);
    let renamed = "backup-renamed";
    lab.state(&format!(
        "ssh: {{ users: {{ {renamed}: {{ directory: /srv/clients/files, authorized_keys: [{key}] }} }} }}"
    ));
    lab.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    let plan = lab.rlvm(&["plan"]);
    let give = format!("chown -R --no-dereference {renamed}:{renamed} /srv/clients/files/repo");
    assert!(plan.code == Some(1) && plan.stdout.contains(&give), "{plan:?}");
    lab.ok(&give.split(' ').collect::<Vec<_>>());
    lab.plan_is_empty();
    assert_eq!(lab.ok(&["stat", "-c", "%U", stored]), format!("{renamed}\n"));
}

#[test]
fn a_key_is_replaced_whatever_else_is_wrong_with_the_account() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    let file = format!("/etc/ssh/rlvm/keys/{FILES}");
    let old = lab.read(&file);
    // An entry of another number, as a client with numbers of its own can make it: an error on this account.
    lab.dir("/srv/clients/files/repo/x", 200_005, 0o700);
    state(&lab, &entry(&lab, "other", None), "");
    let ran = lab.expect(7, &["apply", "--yes"]);
    assert!((ran.stdout + &ran.stderr).contains("belongs to another account (200005)"));
    let new = lab.read(&file);
    assert!(new != old && new.contains(public(&lab, "other").split(' ').nth(1).unwrap()), "{new}");
}
