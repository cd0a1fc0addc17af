//! Somebody swaps a directory for a link as fast as the kernel lets them, while root works below it.
//!
//! The way to a path is walked by descriptors, so there is no moment at which a swap leads outside.

use std::{
    fs,
    os::unix::fs::{MetadataExt, lchown, symlink},
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use rlvm::{
    effect::{Content, Op, Owner},
    host::{Act, Host, Real},
    model::{HostPath, Mode},
};

use crate::support::{BACKUP, Scratch};

/// How often each op is tried against the swaps.
const ROUNDS: usize = 2000;
/// How often it must have been swapped meanwhile.
const SWAPS: usize = 500;

/// A tree in which `/srv/theirs/dir` is by turns a directory of the user's and the user's link to `/victim`.
fn race(what: impl Fn(&Real, usize)) {
    let scratch = Scratch::new();
    scratch.dir("/srv/theirs", BACKUP, 0o755);
    scratch.dir("/srv/theirs/dir", BACKUP, 0o755);
    scratch.dir("/srv/theirs/dir/sub", BACKUP, 0o755);
    scratch.file_of("/srv/theirs/dir/file", "theirs\n", BACKUP, 0o644);
    scratch.dir("/victim", 0, 0o700);
    scratch.dir("/victim/sub", 0, 0o700);
    scratch.file_of("/victim/file", "kept\n", 0, 0o600);
    symlink("/victim", scratch.at("/srv/theirs/link")).unwrap();
    lchown(scratch.at("/srv/theirs/link"), Some(BACKUP), Some(BACKUP)).unwrap();
    let before = victim(&scratch);
    let real = Real::open(&scratch.root(), scratch.search_path()).unwrap();
    let (stop, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                exchange(&scratch.at("/srv/theirs/dir"), &scratch.at("/srv/theirs/link"));
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        // On a busy machine whoever swaps may hardly have had a turn when the rounds are over.
        let start = Instant::now();
        for round in 0.. {
            what(&real, round);
            let elapsed = start.elapsed();
            let enough = round >= ROUNDS || elapsed > Duration::from_secs(8);
            if enough && swaps.load(Ordering::Relaxed) > SWAPS || elapsed > Duration::from_secs(120) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(swaps.load(Ordering::Relaxed) > SWAPS, "it was swapped under way");
    assert_eq!(victim(&scratch), before, "something outside changed");
}

fn victim(scratch: &Scratch) -> Vec<(String, String, i64)> {
    let tree = scratch.tree().into_iter().filter(|(path, _)| path.starts_with("/victim"));
    let changed = |path: &str| fs::symlink_metadata(scratch.at(path)).unwrap();
    tree.map(|(path, what)| (path.clone(), what, changed(&path).ctime_nsec())).collect()
}

fn exchange(one: &Path, other: &Path) {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).unwrap();
}

fn path(text: &str) -> HostPath {
    text.parse().unwrap()
}

fn backup() -> Owner {
    Owner { user: "backup".parse().unwrap(), group: "backup".parse().unwrap() }
}

/// Tries an op. It may fail, for the link was there; it may not reach through it.
fn attempt(real: &Real, op: &Op) {
    if let Err(err) = real.act(op) {
        let said = format!("{err:#}");
        assert!(!said.is_empty());
    }
}

#[test]
fn a_directory_is_never_made_through_a_swapped_link() {
    race(|real, _| {
        let path = path("/srv/theirs/dir/made");
        attempt(real, &Op::MakeDir { path: path.clone(), owner: backup(), mode: Mode::new(0o777) });
        attempt(real, &Op::RemoveDir { path: path.clone() });
        attempt(real, &Op::EnsureDir { path, owner: backup(), mode: Mode::new(0o777) });
    });
}

#[test]
fn a_file_is_never_written_through_a_swapped_link() {
    race(|real, round| {
        let path = path("/srv/theirs/dir/file");
        let (text, mode) = (format!("{round}\n"), Mode::new(0o666));
        attempt(real, &Op::WriteFile { path: path.clone(), text, owner: backup(), mode });
        attempt(real, &Op::RemoveFile { path: path.clone() });
        attempt(real, &Op::MakeSecret { path: path.clone(), owner: backup(), mode });
        let after = Some(Content { text: "mine\n".into(), owner: backup(), mode });
        // What the victim holds: it may not be taken for the user's either.
        attempt(real, &Op::EditFile { path: path.clone(), before: Some("kept\n".into()), after });
        attempt(real, &Op::EditFile { path, before: Some("kept\n".into()), after: None });
    });
}

#[test]
fn owner_and_mode_are_never_set_through_a_swapped_link() {
    race(|real, round| {
        for place in ["/srv/theirs/dir", "/srv/theirs/dir/sub", "/srv/theirs/dir/file"] {
            attempt(real, &Op::SetOwner { path: path(place), owner: backup() });
            let mode = Mode::new(if round % 2 == 0 { 0o777 } else { 0o755 });
            attempt(real, &Op::SetMode { path: path(place), mode });
        }
    });
}

#[test]
fn nothing_is_read_through_a_swapped_link() {
    race(|real, _| {
        let look = real.looker();
        if let Ok((_, Some(text))) = look.text(&path("/srv/theirs/dir/file")) {
            assert_eq!(text, b"theirs\n");
        }
        match look.names(&path("/srv/theirs/dir/sub")) {
            Ok(names) => assert!(names.is_empty()),
            Err(err) => assert!(err.to_string().starts_with("cannot list /srv/theirs/dir/sub: ")),
        }
    });
}

#[test]
fn a_secret_that_somebody_else_writes_at_the_same_time_is_not_written_over() {
    let scratch = Scratch::new();
    scratch.dir("/etc/rlvm", 0, 0o700);
    let real = Real::open(&scratch.root(), scratch.search_path()).unwrap();
    let secret = path("/etc/rlvm/v");
    let at = scratch.at("/etc/rlvm/v");
    let op = Op::MakeSecret { path: secret.clone(), owner: Owner::root(), mode: Mode::new(0o600) };
    let (stop, lost) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let new = fs::OpenOptions::new().write(true).create_new(true).open(&at);
                let Ok(file) = new else { continue };
                thread::sleep(Duration::from_micros(300));
                let there = fs::metadata(&at).map(|there| there.ino()).ok();
                if there == Some(file.metadata().unwrap().ino()) {
                    fs::remove_file(&at).unwrap();
                } else {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        for _ in 0..1500 {
            if real.act(&op).is_ok() {
                fs::remove_file(&at).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(lost.load(Ordering::Relaxed), 0, "somebody's secret was written over");
}

#[test]
fn what_a_user_wrote_since_the_look_is_not_lost() {
    let on = Scratch::new();
    let (was, now) = ("a\n", "a\nwritten by ssh meanwhile\n");
    on.file_of("/home/me/known_hosts", now, BACKUP, 0o600);
    on.own("/home/me", BACKUP, 0o755);
    let real = Real::open(&on.root(), on.search_path()).unwrap();
    let path: HostPath = "/home/me/known_hosts".parse().unwrap();
    let owner = Owner { user: "backup".parse().unwrap(), group: "backup".parse().unwrap() };
    let content = |text: &str| Content { text: text.into(), owner: owner.clone(), mode: Mode::new(0o600) };
    let edit = |before: Option<&str>, after: Option<Content>| {
        real.act(&Op::EditFile { path: path.clone(), before: before.map(Into::into), after })
    };
    for (before, after) in
        [(Some(was), Some(content("b\n"))), (Some(was), None), (None, Some(content("b\n")))]
    {
        let refused = edit(before, after).unwrap_err().to_string();
        assert!(refused.contains("was changed since") || refused.contains("is there already"), "{refused}");
        assert_eq!(on.read("/home/me/known_hosts"), now);
    }
    edit(Some(now), Some(content("b\n"))).unwrap();
    assert_eq!(on.read("/home/me/known_hosts"), "b\n");
    edit(Some("b\n"), None).unwrap();
    assert_eq!(fs::read_dir(on.at("/home/me")).unwrap().count(), 0);
}
