//! Locks that were left behind in a repository (R69).

use anyhow::Result;

use super::Repository;
use crate::{
    host::{Entry, Observe},
    restic::{LockInfo, lock_ids},
};

impl Repository {
    /// Says whether there are locks in it, and all were left behind: taken on this very host, by processes that are no
    /// more.
    ///
    /// `restic unlock` by itself removes too what another host has not renewed for half an hour, as of a laptop that
    /// sleeps, and that is nothing to judge from here.
    ///
    /// # Errors
    ///
    /// If restic cannot be asked.
    pub fn has_only_left_locks(&self, host: &dyn Observe, here: &str) -> Result<bool> {
        let listed = host.query(&self.access().locks()?)?;
        if listed.code != Some(0) {
            return Ok(false);
        }
        let mut any = false;
        for id in lock_ids(&listed.stdout) {
            // One that is gone by now is no answer either: whoever asks tries again.
            let Some(lock) = LockInfo::read(&host.query(&self.access().lock(id)?)?) else { return Ok(false) };
            if lock.hostname != here || works(host, lock.pid)? {
                return Ok(false);
            }
            any = true;
        }
        Ok(any)
    }
}

/// Says whether a process could be the restic that took a lock. After a reboot somebody else has its number soon.
fn works(host: &dyn Observe, pid: u32) -> Result<bool> {
    let process = format!("/proc/{pid}").parse()?;
    match host.entry(&process)? {
        Entry::Absent => Ok(false),
        Entry::Directory(_) => {
            let (_, name) = host.text(&process.join("comm")?)?;
            // One whose name is not to be seen might be.
            Ok(name.is_none_or(|name| name.starts_with(b"restic")))
        }
        _ => Ok(true),
    }
}
