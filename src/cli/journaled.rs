//! Runs programs that work with repositories, and records them in a journal. If rlvm is killed, a sweep ends these
//! programs and removes their locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::{
    effect::{Arg, Cmd},
    host::{Ended, Output, RUN_VARIABLE, Real, Stream, Task, Work as _, interrupted},
    job::Journal,
    model::{Name, RunId},
};

/// Runs programs for a run that has a journal.
pub(super) struct Journaled<'a> {
    pub(super) host: &'a Real,
    pub(super) run: &'a RunId,
    /// What is open: a sweep closes it if this process is killed.
    pub(super) journal: &'a Mutex<Journal>,
}

impl Journaled<'_> {
    /// Runs a program to its end, and hears what it prints. It ends with a signal to rlvm, and with rlvm.
    pub(super) fn program(&self, cmd: &Cmd, heard: &mut dyn FnMut(Stream, &str)) -> Result<Ended> {
        let cmd = cmd.clone().env(RUN_VARIABLE, Arg::Word(self.run.to_string()));
        let mut child = None;
        let mut started = |process, at| {
            child = Some(process);
            // A program that is not in the journal dies with rlvm all the same.
            let _ = self.journal().child(process, at);
        };
        let stop = || interrupted().is_some();
        let ended = self.host.work(&cmd, &mut Task { started: &mut started, heard, stop: &stop });
        // One that was killed may have left a lock.
        let by_itself = ended.as_ref().is_ok_and(Ended::is_by_itself);
        if let Some(child) = child.filter(|_| by_itself) {
            let _ = self.journal().ended(child);
        }
        ended
    }

    /// Runs a program to its end; returns how it ended, and what it printed.
    pub(super) fn output(&self, cmd: &Cmd) -> Result<Output> {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let ended = self.program(cmd, &mut |stream, line| {
            let text = if stream == Stream::Out { &mut stdout } else { &mut stderr };
            text.push_str(line);
            text.push('\n');
        })?;
        Ok(Output { code: ended.code, timed_out: ended.timed_out, stdout, stderr })
    }

    /// Writes down that a repository is worked with: after a crash a sweep looks there for a lock.
    pub(super) fn works_with(&self, destination: &Name) -> Result<()> {
        self.journal().works_with(destination)
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
