//! One apply at a time: who holds the lock is named, a crash frees it, no child keeps it, readers never wait.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use super::{VAULT, says};
use crate::support::Scratch;

const LOCK: &str = "/run/rlvm/lock";

/// Waits until something is so, which must be soon.
#[track_caller]
fn wait_for<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(it) = is() {
            return it;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{what} does not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A machine on which an apply waits in the middle for a slow restic; the process, and restic's.
fn busy() -> (Scratch, Child, u32) {
    let scratch = Scratch::new();
    scratch.state(VAULT);
    fs::write(scratch.beside("sleep"), "100").unwrap();
    let child = scratch.command(&["apply", "--yes"]).spawn().unwrap();
    let restic = wait_for("restic's start", || {
        children(child.id()).into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            // setpriv runs first and then becomes restic.
            line.contains("init") && !line.contains("setpriv")
        })
    });
    (scratch, child, restic)
}

/// Lists the processes whose parent is this one.
fn children(parent: u32) -> Vec<u32> {
    let all =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let of = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may hold anything.
        let rest = stat.rsplit(')').next().unwrap_or_default();
        rest.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    all.filter(of).collect()
}

/// Lists what a process has open.
fn open_files(pid: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect()
}

#[test]
fn a_second_apply_says_who_holds_the_lock_and_readers_never_wait() {
    let (scratch, mut child, restic) = busy();
    let holder = format!("another rlvm holds the lock: process {} since 20", child.id());
    says(&scratch, &["apply", "--yes"], 4, &[&holder]);
    says(&scratch, &["ledger", "forget", "directory:/srv/r"], 4, &[&holder]);
    // The words are a kindness; the lock is the kernel's.
    for args in [&["plan"][..], &["validate"], &["observe"], &["show"], &["ledger", "list"]] {
        let start = Instant::now();
        let ran = super::soon(&scratch, &mut scratch.command(args));
        assert_ne!(ran.code, Some(4), "{args:?}: {ran:?}");
        assert!(start.elapsed() < Duration::from_secs(40), "{args:?} waits");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    end_group(restic);
}

#[test]
fn a_crash_frees_the_lock_and_no_child_keeps_it() {
    let (scratch, mut child, restic) = busy();
    let lock = scratch.at(LOCK);
    assert!(open_files(child.id()).contains(&lock), "rlvm itself has it open");
    for pid in [vec![restic], children(restic)].concat() {
        let open = open_files(pid);
        let kept: Vec<_> = open.iter().filter(|path| path.starts_with(scratch.root())).collect();
        assert!(kept.is_empty(), "a child has {kept:?} open");
    }
    child.kill().unwrap(); // SIGKILL: nothing is cleaned up.
    child.wait().unwrap();
    // Its child dies with it.
    wait_for("the child's end", || (!alive(restic)).then_some(()));
    fs::remove_file(scratch.beside("sleep")).unwrap();
    scratch.apply();
    scratch.plan_is_empty();
    end_group(restic);
}

/// Ends what the stand-in's shell had started: a child's child is not told of rlvm's death.
fn end_group(leader: u32) {
    let group = nix::unistd::Pid::from_raw(i32::try_from(leader).unwrap());
    // It may have ended by itself.
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
}

fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().split_whitespace().next();
    !matches!(state, None | Some("Z" | "X"))
}

#[test]
fn a_file_that_only_looks_like_a_lock_locks_nobody_out() {
    let scratch = Scratch::new();
    scratch.state("directories:\n  /srv/x: {}\n");
    scratch.file_of(LOCK, "process 1 since 2020-01-01T00:00:00Z", 0, 0o600);
    scratch.own("/run/rlvm", 0, 0o700);
    scratch.apply();
}

#[test]
fn a_lock_that_others_may_hold_is_refused() {
    // Whoever may open it could hold it for ever.
    let scratch = Scratch::new();
    scratch.state("directories:\n  /srv/x: {}\n");
    scratch.file_of(LOCK, "", 0, 0o666);
    scratch.own("/run/rlvm", 0, 0o700);
    says(&scratch, &["apply", "--yes"], 1, &["/run/rlvm/lock", "only root may write"]);
    scratch.own("/run/rlvm", 0, 0o777);
    says(&scratch, &["apply", "--yes"], 1, &["/run/rlvm is for rlvm's own files, but others may write it"]);
    assert!(!scratch.at("/srv/x").exists());
    assert_eq!(fs::metadata(scratch.at(LOCK)).unwrap().size(), 0);
}
