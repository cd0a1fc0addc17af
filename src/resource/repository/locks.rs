//! Finds stale locks in a repository.

use anyhow::Result;

use super::{Kind as _, Repository};
use crate::{
    effect::Cmd,
    host::{Entry, Observe},
    restic::{LockInfo, Removable, lock_ids},
};

impl Repository {
    /// Lists the locks in it with what each says of itself; nothing if they cannot be listed.
    ///
    /// # Errors
    ///
    /// If restic cannot be asked.
    pub fn locks(&self, host: &dyn Observe) -> Result<Option<Vec<(String, LockInfo)>>> {
        let listed = host.query(&self.access().locks()?)?;
        if listed.code != Some(0) {
            return Ok(None);
        }
        let mut locks = Vec::new();
        for id in lock_ids(&listed.stdout) {
            // A lock that is gone by now, or makes no sense, is no answer: whoever asks tries again.
            let Some(info) = LockInfo::read(&host.query(&self.access().lock(id)?)?) else { return Ok(None) };
            locks.push((id.to_owned(), info));
        }
        Ok(Some(locks))
    }

    /// Returns the commands that remove these locks and nothing else; none if no command can.
    ///
    /// On this host each lock is a file of its own. Elsewhere there is only `restic unlock`, which decides by itself. It
    /// decides a second after the locks were judged, and so could meet a lock that another machine of this name has taken
    /// meanwhile; restic has no command that removes one lock by its id.
    pub fn lock_removal(&self, locks: &Removable) -> Vec<Cmd> {
        let Some(path) = self.path() else {
            return if locks.by_restic { vec![self.access().unlock()] } else { Vec::new() };
        };
        let file = |id: &String| path.join("locks").and_then(|dir| dir.join(id)).ok();
        let files: Vec<_> = locks.ids.iter().filter_map(file).collect();
        if files.is_empty() {
            return Vec::new();
        }
        let cmd = files.iter().fold(Cmd::new("rm").args(["-f", "--"]), Cmd::path);
        vec![self.means.run_as(cmd.timeout(120), &self.user)]
    }
}

/// Says whether any process here has a number. One that has ended and that nobody has waited for has none: in a container
/// there may be nobody who does.
///
/// # Errors
///
/// If that cannot be looked at.
pub fn has_process(host: &dyn Observe, pid: u32) -> Result<bool> {
    let (process, stat) = host.text(&format!("/proc/{pid}/stat").parse()?)?;
    // The name stands in parentheses and may have any of them in itself (proc(5)).
    let has_ended = |stat: Vec<u8>| {
        let end = stat.iter().rposition(|byte| *byte == b')');
        end.and_then(|end| stat.get(end + 2)).is_some_and(|state| b"ZX".contains(state))
    };
    Ok(!matches!(process, Entry::Absent) && !stat.is_some_and(has_ended))
}
