//! What others may have planted where rlvm looks, makes and writes: links, hard links, FIFOs, sockets, devices.

use std::{fs, os::unix::net::UnixListener};

use nix::{
    sys::stat::{Mode, SFlag, makedev, mknod},
    unistd::mkfifo,
};

use rlvm::host::{Host, Real};

use super::{OTHER, VAULT, link, refused, says};
use crate::support::{BACKUP, Scratch};

/// A way to plant something on a machine.
type PlantIt = fn(&Scratch);

/// A declared directory, the user's.
const REPO: &str = "directories:\n  /srv/open/repo: { owner: backup, group: backup, mode: \"0750\" }\n";
/// A declared cron entry.
const CRON: &str = "cron:\n  night: { schedule: \"@daily\", command: \"true\" }\n";
/// A declared logrotate rule.
const ROTATE: &str = "logrotate:\n  shop: { paths: [/var/log/shop.log] }\n";

/// A machine with something of root's that nobody else may touch, and a directory that everybody may write.
fn machine(state: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.dir("/victim", 0, 0o700);
    scratch.file_of("/victim/kept", "kept\n", 0, 0o600);
    scratch.dir("/srv/open", 0, 0o1777);
    scratch.dir("/srv/theirs", BACKUP, 0o755);
    fs::create_dir(scratch.beside("outside")).unwrap();
    scratch.state(state);
    scratch
}

#[test]
fn a_planted_link_is_not_followed_to_a_directory() {
    let deep = "directories:\n  /srv/open/link/deep: {}\n";
    let theirs = "directories:\n  /srv/theirs/repo: {}\n";
    let cases: [(&str, PlantIt, &str); 7] = [
        (REPO, |it| link(it, "/srv/open/repo", "/victim", BACKUP), "/srv/open/repo is a symbolic link"),
        (deep, |it| link(it, "/srv/open/link", "/victim", BACKUP), "/srv/open/link is a symbolic link"),
        // Whoever owns it: root's own link could have been moved there.
        (REPO, |it| link(it, "/srv/open/repo", "/victim", 0), "/srv/open/repo is a symbolic link"),
        (deep, |it| link(it, "/srv/open/link", "../../victim", 0), "/srv/open/link is a symbolic link"),
        (theirs, |it| link(it, "/srv/theirs/repo", "/victim", BACKUP), "/srv/theirs/repo is a symbolic link"),
        (theirs, |it| link(it, "/srv/theirs/repo", "/victim", 0), "/srv/theirs/repo is a symbolic link"),
        // In a directory that only root may write, but not root's.
        (
            "directories:\n  /srv/given/deep: {}\n",
            |it| link(it, "/srv/given", "/victim", BACKUP),
            "/srv/given is a symbolic link",
        ),
    ];
    for (state, plant, words) in cases {
        let scratch = machine(state);
        plant(&scratch);
        refused(&scratch, 1, &[words]);
    }
}

#[test]
fn a_group_that_may_write_the_directory_may_have_planted_the_link() {
    let scratch = machine("directories:\n  /srv/team/link/x: {}\n");
    scratch.dir("/srv/team", 0, 0o775);
    link(&scratch, "/srv/team/link", "/victim", 0);
    refused(&scratch, 1, &["/srv/team/link is a symbolic link that others than root could have put there"]);
}

#[test]
fn a_link_of_roots_in_a_directory_of_roots_is_followed_within_the_tree() {
    // /var/run is one.
    let scratch = machine("directories:\n  /var/run/x: { mode: \"0711\" }\n  /srv/up/y: {}\n");
    link(&scratch, "/var/run", "/run", 0);
    link(&scratch, "/srv/up", "../../../../../../run", 0);
    scratch.apply();
    assert!(scratch.at("/run/x").is_dir() && scratch.at("/run/y").is_dir());
    scratch.plan_is_empty();
}

#[test]
fn a_link_never_leads_out_of_the_tree() {
    for target in ["[DIR]/outside", "../../outside", "/nowhere"] {
        let scratch = machine("directories:\n  /srv/out/x: {}\n");
        let target = target.replace("[DIR]", scratch.beside("").to_str().unwrap());
        link(&scratch, "/srv/out", &target, 0);
        refused(&scratch, 1, &["directory:/srv/out", "a symbolic link to nothing"]);
        assert_eq!(fs::read_dir(scratch.beside("outside")).unwrap().count(), 0);
    }
    // As the declared directory itself.
    let scratch = machine("directories:\n  /srv/out: {}\n");
    let outside = scratch.beside("outside");
    link(&scratch, "/srv/out", outside.to_str().unwrap(), 0);
    refused(&scratch, 1, &["directory:/srv/out", "/srv/out is a symbolic link to [DIR]/outside"]);
    assert_eq!(fs::read_dir(scratch.beside("outside")).unwrap().count(), 0);
}

#[test]
fn a_link_of_roots_is_no_declared_directory() {
    let scratch = machine("directories:\n  /srv/given: { owner: backup, group: backup }\n");
    link(&scratch, "/srv/given", "/victim", 0);
    refused(&scratch, 1, &["directory:/srv/given", "/srv/given is a symbolic link to /victim"]);
}

#[test]
fn links_in_a_circle_end() {
    let scratch = machine("directories:\n  /srv/a/x: {}\n");
    link(&scratch, "/srv/a", "/srv/b", 0);
    link(&scratch, "/srv/b", "/srv/a", 0);
    refused(&scratch, 1, &["too many symbolic links"]);
}

#[test]
fn a_descent_out_of_one_users_directory_into_anothers_is_refused() {
    let scratch = machine("directories:\n  /srv/theirs/bobs/deep: {}\n");
    scratch.dir("/srv/theirs/bobs", OTHER, 0o755);
    refused(
        &scratch,
        1,
        &[
            "/srv/theirs/bobs belongs to www-data, but lies in a directory of backup, who could have put it there",
        ],
    );
    // One's own goes on.
    scratch.own("/srv/theirs/bobs", BACKUP, 0o755);
    scratch.apply();
    assert!(scratch.at("/srv/theirs/bobs/deep").is_dir());
}

/// A way to put something where a file is to be.
type Plant = fn(&Scratch, &str);

const FIFO: (Plant, &str) = (|it, at| mkfifo(&it.at(at), Mode::from_bits_truncate(0o666)).unwrap(), "a FIFO");
const SOCKET: (Plant, &str) = (|it, at| drop(UnixListener::bind(it.at(at)).unwrap()), "a socket");
const DEVICE: (Plant, &str) = (
    |it, at| mknod(&it.at(at), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(5, 0)).unwrap(),
    "a device",
);
const DIRECTORY: (Plant, &str) = (|it, at| it.dir(at, 0, 0o755), "a directory");
const LINK: (Plant, &str) = (|it, at| link(it, at, "/victim/kept", BACKUP), "a symbolic link");
const ROOTS_LINK: (Plant, &str) = (|it, at| link(it, at, "/victim/kept", 0), "a symbolic link");
const DANGLING: (Plant, &str) = (|it, at| link(it, at, "/victim/new", 0), "a symbolic link");
const HARD_LINK: (Plant, &str) =
    (|it, at| fs::hard_link(it.at("/victim/kept"), it.at(at)).unwrap(), "has 2 names (hard links)");

const NO_FILES: [(Plant, &str); 8] = [FIFO, SOCKET, DEVICE, DIRECTORY, LINK, ROOTS_LINK, DANGLING, HARD_LINK];

#[test]
fn what_is_no_plain_file_is_never_read_or_written_as_one() {
    for (state, path) in
        [(CRON, "/etc/cron.d/night"), (ROTATE, "/etc/logrotate.d/shop"), (VAULT, "/etc/rlvm/v")]
    {
        for (plant, what) in NO_FILES {
            let scratch = machine(state);
            scratch.dir("/etc/rlvm", 0, 0o700);
            plant(&scratch, path);
            refused(&scratch, 1, &[path, what]);
            // Nor when told to take over what is there.
            says(&scratch, &["apply", "--yes", "--adopt"], 7, &[path, what]);
            assert_eq!(scratch.read("/victim/kept"), "kept\n");
        }
    }
}

/// A key of the user's, and a machine that it reaches: its files lie in its home, where it plants what it likes.
const PEER: &str = "ssh:\n  keys: { /var/backups/.ssh/id: { owner: backup } }\n  hosts:\n    nas.lan: { identity: /var/backups/.ssh/id, \
    host_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0] }\n";

#[test]
fn a_users_own_files_are_written_as_carefully() {
    for path in ["config", "known_hosts", "id", "id.pub"].map(|name| format!("/var/backups/.ssh/{name}")) {
        for (plant, what) in NO_FILES {
            // The file with two names is root's: that it lies in the user's directory is said first.
            let what = if what.contains("names") { "could have put it there" } else { what };
            let scratch = machine(PEER);
            scratch.dir("/var/backups/.ssh", BACKUP, 0o700);
            plant(&scratch, &path);
            refused(&scratch, 1, &[&path, what]);
            says(&scratch, &["apply", "--yes", "--adopt"], 7, &[&path, what]);
            assert_eq!(scratch.read("/victim/kept"), "kept\n");
        }
    }
    // The directory itself.
    let scratch = machine(PEER);
    scratch.dir("/var/backups", BACKUP, 0o755);
    link(&scratch, "/var/backups/.ssh", "/victim", BACKUP);
    refused(&scratch, 1, &["/var/backups/.ssh is a symbolic link"]);
}

#[test]
fn a_users_own_file_that_is_no_text_is_kept_as_it_is() {
    for bytes in [&b"Host a\n# \xff\n"[..], b"# BEGIN rlvm\nHost a\n", b"# END rlvm\n"] {
        let scratch = machine(PEER);
        scratch.file_of("/var/backups/.ssh/config", "", BACKUP, 0o600);
        scratch.own("/var/backups/.ssh", BACKUP, 0o700);
        fs::write(scratch.at("/var/backups/.ssh/config"), bytes).unwrap();
        refused(&scratch, 1, &["ssh_config:/var/backups/.ssh/config"]);
        assert_eq!(fs::read(scratch.at("/var/backups/.ssh/config")).unwrap(), bytes);
    }
}

#[test]
fn a_password_file_of_a_persons_own_is_no_link_and_no_fifo() {
    // R25
    let state = "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v }\n";
    for (plant, what) in NO_FILES {
        let scratch = machine(state);
        scratch.dir("/etc/rlvm", 0, 0o700);
        plant(&scratch, "/etc/rlvm/v");
        let words = ["/etc/rlvm/v", what, "put a plain file at /etc/rlvm/v"];
        says(&scratch, &["plan"], 1, &words);
        says(&scratch, &["apply", "--yes"], 7, &words);
        assert!(!scratch.managed().iter().any(|it| it.starts_with("repository:")));
        assert_eq!(scratch.restic_calls().iter().filter(|call| *call != "version").count(), 0);
    }
}

#[test]
fn what_is_no_directory_is_never_taken_for_one() {
    for (plant, what) in [FIFO, SOCKET, DEVICE, HARD_LINK] {
        // The file with two names is root's, in a directory that others can write.
        let what = if what.contains("names") { "could have put it there" } else { what };
        let deep = "directories:\n  /srv/open/repo/deep: {}\n";
        for (state, words) in [(REPO, what), (deep, "/srv/open/repo is no directory")] {
            let scratch = machine(state);
            plant(&scratch, "/srv/open/repo");
            refused(&scratch, 1, &["/srv/open/repo", words]);
        }
    }
    // A repository's too.
    let scratch = machine(VAULT);
    scratch.file("/srv/r", "a file\n");
    refused(&scratch, 1, &["/srv/r is a file, no directory"]);
}

#[test]
fn a_link_planted_after_the_plan_makes_a_saved_plan_stale() {
    let scratch = machine(REPO);
    let saved = scratch.beside("saved.plan");
    let saved = saved.to_str().unwrap();
    scratch.expect(0, &["plan", "--out", saved]);
    link(&scratch, "/srv/open/repo", "/victim", BACKUP);
    says(&scratch, &["apply", saved], 5, &["directory:/srv/open/repo"]);
    assert_eq!(fs::read_dir(scratch.at("/victim")).unwrap().count(), 1);
}

#[test]
fn a_directory_that_may_not_be_entered_is_not_taken_for_an_empty_one() {
    let rest = "directories:\n  /srv/one: {}\n  /srv/two: {}\n";
    let scratch = machine(&format!("{rest}  /srv/theirs/bobs: {{ owner: backup }}\n"));
    scratch.apply();
    scratch.file_of("/srv/theirs/bobs/kept", "kept\n", OTHER, 0o644);
    scratch.own("/srv/theirs/bobs", OTHER, 0o755);
    scratch.state(rest);
    let why = "cannot list /srv/theirs/bobs: /srv/theirs/bobs belongs to www-data, but lies in a directory of backup";
    says(&scratch, &["plan"], 0, &["directory:/srv/theirs/bobs", why]);
    says(&scratch, &["apply", "--yes"], 0, &[why]);
    assert_eq!(scratch.read("/srv/theirs/bobs/kept"), "kept\n");
    // Nor one that is no directory at all.
    let real = Real::open(&scratch.root(), "/usr/bin").unwrap();
    let names = |path: &str| real.looker().names(&path.parse().unwrap()).map_err(|err| format!("{err:#}"));
    assert_eq!(names("/srv/none/x"), Ok(Vec::new()));
    assert_eq!(names("/victim"), Ok(vec!["kept".into()]));
    assert_eq!(names("/victim/kept"), Err("cannot list /victim/kept: /victim/kept is no directory".into()));
}
