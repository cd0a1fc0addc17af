//! Ends all processes of a session: everything that a program has started, unless a process has made a session of its
//! own. A process group is not enough: restic 0.19 gives its ssh a group of its own.

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Lists all processes.
#[expect(clippy::disallowed_methods, reason = "host looks")]
pub(super) fn processes() -> Result<Vec<u32>> {
    let all = std::fs::read_dir("/proc").context("cannot list processes")?.flatten();
    Ok(all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Lists the processes of a session that go on.
fn members(leader: u32) -> Vec<u32> {
    let all = processes().unwrap_or_default();
    all.into_iter().filter(|pid| session_of(*pid).is_some_and(|(session, _)| session == leader)).collect()
}

/// Names the processes of a session that go on: `sleep (process 4711)`.
#[expect(clippy::disallowed_methods, reason = "host looks")]
pub(super) fn names(leader: u32) -> Vec<String> {
    let name = |pid: u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(format!("{} (process {pid})", name.trim().escape_debug()))
    };
    members(leader).into_iter().filter_map(name).collect()
}

/// Kills the processes of a session.
pub(super) fn kill_all(leader: u32) {
    for pid in members(leader) {
        // It may have ended just now.
        let _ = i32::try_from(pid).map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
    }
}

/// Says in which session a process is, and when it was started, in clock ticks since the boot: the 6th and 22nd field of
/// `proc_pid_stat(5)`, which follow a name that may hold anything. Nothing of one that has ended.
#[expect(clippy::disallowed_methods, reason = "host looks")]
pub(super) fn session_of(pid: u32) -> Option<(u32, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ended = matches!(fields.first(), Some(&"Z" | &"X"));
    (!ended).then_some((fields.get(3)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use std::{thread, time::Duration};

    /// Makes sure that a process that was killed is gone: that takes it a moment.
    #[track_caller]
    pub(crate) fn has_ended(pid: u32) {
        for _ in 0..500 {
            if super::session_of(pid).is_none() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("process {pid} goes on");
    }
}
