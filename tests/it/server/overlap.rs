//! Two accounts that are one directory on the host, by a link or by a mount: the one that came later is stopped, alone.

use super::{FILES, WORM, entry, gets_in, machine, public, read, state, usual};
use crate::lab::Lab;

/// A third account.
const OTHER: &str = "backup-web02";

/// Declares accounts by their names, directories, ways in, and the names of their keys.
fn accounts(lab: &Lab, all: &[(&str, &str, &str, &str)]) {
    let lines = all.iter().map(|(user, directory, access, key)| {
        let key = entry(lab, key, None);
        format!("    {user}: {{ directory: {directory}, access: {access}, authorized_keys: [{key}] }}\n")
    });
    lab.state(&format!("ssh:\n  users:\n{}", lines.collect::<String>()));
}

#[test]
fn two_accounts_that_are_one_directory_are_found() {
    let lab = machine();
    lab.dir("/srv/clients/files/repo/data", 0, 0o755);
    lab.ok(&["ln", "-s", "clients", "/srv/other"]);
    // What stands where, and what of the other's it is.
    for (at, of) in [
        ("/srv/bound", "/srv/clients/files"),
        ("/srv/bound-repo/repo", "/srv/clients/files/repo"),
        ("/srv/bound-data/repo/data", "/srv/clients/files/repo/data"),
        ("/srv/bound-beside/all", "/srv/clients"),
        ("/srv/bound-above", "/srv/clients"),
        ("/srv/harmless/dev", "/srv/bound-elsewhere"),
        ("/srv/clients/files/dev", "/srv/bound-elsewhere"),
    ] {
        lab.dir(at, 0, 0o755);
        lab.dir(of, 0, 0o755);
        lab.ok(&["mount", "--bind", of, at]);
    }
    for (directory, how) in [
        (
            "/srv/other/files",
            Some("/srv/other/files is the same directory on this host as /srv/clients/files"),
        ),
        ("/srv/other/files/repo/inner", Some("/srv/other/files/repo/inner lies in /srv/clients/files")),
        ("/srv/bound", Some("/srv/bound is the same directory on this host as /srv/clients/files")),
        ("/srv/bound/repo", Some("/srv/bound/repo lies in /srv/clients/files")),
        ("/srv/bound-repo", Some("/srv/bound-repo lies in /srv/clients/files")),
        ("/srv/bound-data", Some("/srv/bound-data lies in /srv/clients/files")),
        ("/srv/bound-beside", Some("/srv/bound-beside contains, or leads to, /srv/clients/files")),
        ("/srv/bound-above", Some("/srv/bound-above contains, or leads to, /srv/clients/files")),
        // Both see the same directory that is no client's.
        ("/srv/harmless", None),
        ("/srv/other/worm", None),
    ] {
        accounts(&lab, &[(FILES, "/srv/clients/files", "sftp", "files"), (WORM, directory, "sftp", "worm")]);
        let plan = lab.rlvm(&["plan"]);
        let said = how.unwrap_or("one client could reach the backups of the other");
        assert_eq!(
            plan.stdout.contains(&format!("error: authorized_keys:{WORM}: {said}")),
            how.is_some(),
            "{plan:?}"
        );
        assert_eq!(plan.stdout.contains("one client could reach"), how.is_some(), "{directory}: {plan:?}");
    }
}

#[test]
fn a_new_account_in_anothers_directory_stops_alone() {
    let lab = machine();
    let _sshd = lab.own_sshd();
    usual(&lab);
    lab.apply();
    lab.ok(&["ln", "-s", "clients", "/srv/other"]);
    let stands = lab.ok(&["stat", "-c", "%U:%G %a", "/srv/clients/files", "/srv/clients/files/repo"]);
    // One client leaves, another gets a new key, and a third would be in the second's directory.
    accounts(
        &lab,
        &[
            (FILES, "/srv/clients/files", "sftp", "other"),
            (OTHER, "/srv/other/files", "sftp", "worm"),
            ("backup-web03", "/srv/clients/web03", "sftp", "worm"),
        ],
    );
    let ran = lab.expect(7, &["apply", "--yes", "--allow-mass-removal"]);
    let said = format!("error: authorized_keys:{OTHER}: /srv/other/files is the same directory on this host");
    assert!(ran.stdout.contains(&said), "{ran:?}");
    assert!(!gets_in(&lab, "files") && gets_in(&lab, "other"));
    assert!(read(&lab, &format!("/etc/ssh/rlvm/keys/{WORM}")).is_none());
    assert!(read(&lab, &format!("/etc/ssh/rlvm/keys/{OTHER}")).is_none());
    assert_ne!(lab.run(&["getent", "passwd", OTHER]).code, Some(0));
    assert!(lab.ok(&["getent", "passwd", "backup-web03"]).contains("/srv/clients/web03"));
    let now = lab.ok(&["stat", "-c", "%U:%G %a", "/srv/clients/files", "/srv/clients/files/repo"]);
    assert_eq!(now, stands);
}

#[test]
fn account_is_not_moved_into_directory_of_another_account() {
    let lab = machine();
    let _sshd = lab.own_sshd();
    usual(&lab);
    accounts(
        &lab,
        &[
            (FILES, "/srv/clients/files", "sftp", "files"),
            (WORM, "/srv/clients/worm", "append_only", "worm"),
            (OTHER, "/srv/clients/other", "sftp", "other"),
        ],
    );
    lab.apply();
    lab.ok(&["ln", "-s", "clients", "/srv/links"]);
    lab.ok(&["ln", "-s", "clients/other", "/srv/deeper"]);
    let keys = |user: &str| read(&lab, &format!("/etc/ssh/rlvm/keys/{user}"));
    let (files, worm) = (keys(FILES), keys(WORM));
    // Each of two moves into the third's, which gets another key.
    accounts(
        &lab,
        &[
            (FILES, "/srv/links/other", "sftp", "files"),
            (WORM, "/srv/deeper/repo/in", "append_only", "worm"),
            (OTHER, "/srv/clients/other", "sftp", "files"),
        ],
    );
    let ran = lab.expect(7, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(ran.stdout.contains("one client could reach the backups of the other"), "{ran:?}");
    assert!((keys(FILES), keys(WORM)) == (files, worm), "{ran:?}");
    assert!(lab.read(super::PART).contains("ChrootDirectory /srv/clients/files\n"), "{ran:?}");
    assert_eq!(lab.ok(&["stat", "-c", "%U", "/srv/clients/other/repo"]), format!("{OTHER}\n"));
    assert!(lab.ok(&["getent", "passwd", FILES]).contains("/srv/clients/files"));
    assert!(!lab.at("/srv/clients/other/repo/in").exists());
    // The key that was taken out of the third's account is out.
    let key = public(&lab, "other");
    assert!(!keys(OTHER).unwrap().contains(key.split(' ').nth(1).unwrap()));
    // In a directory of its own each is well again.
    state(&lab, &entry(&lab, "files", None), "");
    lab.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
}
