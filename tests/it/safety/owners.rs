//! To whom things belong: root's repositories in a user's directory, accounts with two names, homes, groups.

use std::{
    fmt::Write,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    process::Command,
};

use super::{VAULT, link, refused, says};
use crate::support::{BACKUP, Scratch};

/// A key of the user's, and a machine that it reaches.
const PEER: &str = "ssh:\n  keys: { /var/backups/.ssh/id: { owner: backup } }\n  hosts:\n    nas.lan: { identity: /var/backups/.ssh/id, \
    host_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0] }\n";

fn add_user(on: &Scratch, line: &str) {
    let name = line.split(':').next().unwrap();
    let others = on.read("/etc/passwd");
    let others = others.lines().filter(|it| it.split(':').next() != Some(name));
    let text: String = others.chain([line]).map(|line| format!("{line}\n")).collect();
    on.file("/etc/passwd", &text);
}

#[test]
fn a_repository_of_roots_in_a_users_directory_is_allowed_with_a_warning() {
    // A USB disk whose top directory belongs to the first user of a desktop.
    let on = Scratch::new();
    on.dir("/srv/usb", BACKUP, 0o755);
    on.state(&VAULT.replace("/srv/r }", "/srv/usb/backup/repo }"));
    let warning = "/srv/usb/backup/repo lies in /srv/usb, which belongs to backup";
    on.expect(0, &["apply", "--yes"]);
    says(&on, &["plan", "--detailed-exitcode"], 0, &[warning, "can delete the repository"]);
    let made = fs::metadata(on.at("/srv/usb/backup/repo/config")).unwrap();
    assert_eq!(made.uid(), 0);
    // The user leads root elsewhere.
    fs::rename(on.at("/srv/usb/backup"), on.at("/srv/usb/away")).unwrap();
    on.dir("/victim", 0, 0o700);
    link(&on, "/srv/usb/backup", "/victim", BACKUP);
    refused(&on, 1, &["/srv/usb/backup is a symbolic link"]);
    assert_eq!(fs::read_dir(on.at("/victim")).unwrap().count(), 0);
}

#[test]
fn a_directory_of_roots_that_a_user_moved_is_not_given_to_that_user() {
    let on = Scratch::new();
    on.dir("/srv/bob", BACKUP, 0o755);
    on.file_of("/srv/bob/mine/secret", "root's\n", 0, 0o644);
    on.own("/srv/bob/mine", 0, 0o700);
    on.state(
        "directories:\n  /srv/bob/mine: { owner: backup, group: backup, mode: \"0755\", adopt: true }\n",
    );
    let why = ["directory:/srv/bob/mine: it keeps its owner and mode", "could have put it there"];
    says(&on, &["plan"], 1, &why);
    says(&on, &["apply", "--yes"], 7, &why);
    let stays = fs::metadata(on.at("/srv/bob/mine")).unwrap();
    assert_eq!((stays.uid(), stays.mode() & 0o7777), (0, 0o700));
}

#[test]
fn plan_reports_each_owner_that_apply_would_not_change() {
    let on = Scratch::new();
    let key = on.inside("key");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let users = [(0, "root"), (BACKUP, "backup"), (33, "www-data")];
    let (mut directories, mut keys) = (String::new(), String::new());
    let mut above = 0;
    for (parent, _) in users {
        for (group, mode) in [(0, 0o755), (0, 0o775), (4, 0o2775), (0, 0o777), (0, 0o1777)] {
            above += 1;
            let dir = format!("/srv/p{above}");
            on.dir(&dir, parent, 0o755);
            for ((owner, from), (_, to)) in users.iter().flat_map(|one| users.map(|other| (one, other))) {
                let path = format!("{dir}/{from}-{to}");
                on.dir(&path, *owner, 0o700);
                let mode = "mode: \"0750\", adopt: true";
                writeln!(directories, "  {path}: {{ owner: {to}, group: root, {mode} }}").unwrap();
                on.file_of(&format!("{path}.key"), &fs::read_to_string(&key).unwrap(), *owner, 0o600);
                writeln!(keys, "    {path}.key: {{ owner: {to}, adopt: true }}").unwrap();
            }
            chown(on.at(&dir), Some(parent), Some(group)).unwrap();
            fs::set_permissions(on.at(&dir), fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    on.state(&format!("directories:\n{directories}ssh:\n  keys:\n{keys}"));
    let errors = on.expect(1, &["plan"]).stdout.lines().filter(|line| line.starts_with("error")).count();
    assert!(errors > 40, "{errors}");
    let ran = on.expect(7, &["apply", "--yes"]);
    let failed: Vec<&str> =
        ran.stdout.lines().chain(ran.stderr.lines()).filter(|line| line.starts_with("failed")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_file_of_roots_is_not_made_in_a_users_directory() {
    let on = Scratch::new();
    on.dir("/srv/bob", BACKUP, 0o755);
    on.state(&VAULT.replace("/etc/rlvm/v", "/srv/bob/v"));
    refused(&on, 1, &["/srv/bob/v is not made: a file of root in a directory of backup could be replaced"]);
}

#[test]
fn two_names_of_one_number_are_one_owner() {
    let on = Scratch::new();
    add_user(&on, &format!("keeper:x:{BACKUP}:{BACKUP}::/:/bin/sh"));
    on.file("/etc/group", &format!("{}keepers:x:{BACKUP}:\n", on.read("/etc/group")));
    on.state("directories:\n  /srv/kept: { owner: keeper, group: keepers }\n");
    on.apply();
    on.plan_is_empty();
}

#[test]
fn a_home_with_a_trailing_slash_gets_its_ssh_files_with_the_users_group() {
    let on = Scratch::new();
    add_user(&on, &format!("backup:x:{BACKUP}:{BACKUP}::/var/backups/:/bin/sh"));
    on.dir("/var/backups", BACKUP, 0o755);
    on.state(PEER);
    on.apply();
    on.plan_is_empty();
    for name in ["", "/config", "/known_hosts", "/id", "/id.pub"] {
        let made = fs::metadata(on.at(&format!("/var/backups/.ssh{name}"))).unwrap();
        assert_eq!((made.uid(), made.gid()), (BACKUP, BACKUP), "{name}");
    }
}

#[test]
fn a_renamed_directory_of_roots_is_neither_opened_nor_given_away() {
    // Within one directory rename(2) needs no right on the directory that is renamed.
    for (state, mode) in [
        (
            "directories:\n  /srv/share: { group: adm, mode: \"2775\" }\n  /srv/share/pub: { mode: \"0755\" }\n",
            0o700,
        ),
        (
            "directories:\n  /srv/share: { group: adm, mode: \"2775\" }\ndestinations:\n  \
             d: { local: { path: /srv/r }, password_file: /srv/share/pub/pass, generate_password: true }\njobs:\n  \
             j: { sources: [{ path: /etc }], to: [d], user: backup }\n",
            0o711,
        ),
    ] {
        let scratch = Scratch::new();
        scratch.dir("/srv/share", 0, 0o2775);
        std::os::unix::fs::chown(scratch.at("/srv/share"), Some(0), Some(4)).unwrap();
        // As `mv pub old; mv private pub` leaves it.
        scratch.dir("/srv/share/pub", 0, mode);
        scratch.file_of("/srv/share/pub/pass", "root's\n", 0, 0o600);
        scratch.state(state);
        let before = scratch.tree();
        scratch.rlvm(&["apply", "--yes", "--adopt"]);
        for path in ["/srv/share/pub", "/srv/share/pub/pass"] {
            assert_eq!(scratch.tree()[path], before[path], "{state}");
        }
    }
}
