//! Finds files that changed after a running sshd read its configuration.
//!
//! sshd does not say when it read its files. It did so not earlier than its process started, than it wrote its pid file, and
//! than rlvm last made it read them. An sshd without a pid file that a person reloads is taken for outdated once, and so is
//! one that started after the clock was set back, if a file has a time that is still to come.

use std::{
    fs::{metadata, symlink_metadata},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use super::sshd_processes::{Listener, listeners};
use crate::effect::sshd_reloaded;

/// Where sshd writes its number after it has read its configuration, if nothing else is declared.
const PID_FILE: &str = "/run/sshd.pid";
/// The unit of times in `/proc/PID/stat`, on all systems of Debian (`proc_pid_stat(5)`).
const TICK: Duration = Duration::from_millis(10);

/// Names the first of some files that was changed after an sshd that listens with this configuration has read it.
#[expect(clippy::disallowed_methods, reason = "host looks")]
pub(super) fn changed_since_read(config: &str, files: &[String]) -> Result<Option<String>> {
    let told = modified(sshd_reloaded().as_str());
    for Listener { pid, .. } in listeners()?.into_iter().filter(|it| it.config.as_deref() == Some(config)) {
        // It may end at any time.
        let Some(started) = started(pid)? else { continue };
        let read = [told, written_by(pid)].into_iter().flatten().fold(started, Duration::max);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is wrong")?;
        let outdated = |at| is_outdated(at, read, told.is_some(), now);
        if let Some(file) = files.iter().find(|file| changed(file).is_some_and(outdated)) {
            return Ok(Some(file.trim_end_matches('/').to_owned()));
        }
    }
    Ok(None)
}

/// Says whether a file changed at a time after it was read.
///
/// A time that is still to come says that the clock was set back since. Nothing can be compared with it: only that every sshd
/// has been told since the boot settles it, or it would be told at each apply.
fn is_outdated(changed: Duration, read: Duration, told: bool, now: Duration) -> bool {
    changed > read && !(told && changed > now)
}

/// Returns when a process started, rounded up.
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn started(pid: i32) -> Result<Option<Duration>> {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return Ok(None) };
    let uptime = std::fs::read_to_string("/proc/uptime").context("cannot read /proc/uptime")?;
    let uptime: f64 =
        uptime.split(' ').next().unwrap_or_default().parse().context("cannot read /proc/uptime")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is wrong")?;
    let boot = now.saturating_sub(Duration::try_from_secs_f64(uptime).context("cannot read /proc/uptime")?);
    Ok(ticks(&stat).map(|ticks| boot + TICK * ticks + TICK * 2))
}

/// Returns when a process started after the boot: the 22nd field, counted behind its name, which may hold anything.
fn ticks(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// Returns when a process wrote the pid file; nothing if the file names another one.
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn written_by(pid: i32) -> Option<Duration> {
    let named = std::fs::read_to_string(PID_FILE).ok()?;
    if named.trim() == pid.to_string() { modified(PID_FILE) } else { None }
}

#[expect(clippy::disallowed_methods, reason = "host looks")]
fn modified(path: &str) -> Option<Duration> {
    symlink_metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()
}

/// Returns when the kernel last saw a file change, or the link to it; of a file that is gone, when its directory changed.
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn changed(path: &str) -> Option<Duration> {
    let whole = Path::new(path);
    let link = symlink_metadata(whole).or_else(|_| symlink_metadata(whole.parent().unwrap_or(whole))).ok();
    let times = [link, metadata(whole).ok()].into_iter().flatten();
    let time = |secs: i64, nanos: i64| Some(Duration::new(secs.try_into().ok()?, nanos.try_into().ok()?));
    times.filter_map(|it| time(it.ctime(), it.ctime_nsec())).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_come_counts_until_every_sshd_was_told() {
        let is_outdated = |changed, read, told, now| {
            let [changed, read, now] = [changed, read, now].map(Duration::from_secs);
            super::is_outdated(changed, read, told, now)
        };
        for told in [false, true] {
            assert!(!is_outdated(5, 7, told, 9));
            assert!(is_outdated(8, 7, told, 9));
        }
        assert!(is_outdated(12, 7, false, 9));
        assert!(!is_outdated(12, 7, true, 9));
    }

    #[test]
    fn the_start_of_a_process_is_read_behind_its_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 12 13";
        assert_eq!(ticks(stat), Some(4711));
        assert_eq!(ticks("7"), None);
    }
}
