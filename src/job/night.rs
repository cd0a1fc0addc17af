//! Provides what a run works with, and where it reports.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use anyhow::{Result, bail};

use super::{Journal, StoreRecord, Waits, undo::lock};
use crate::{
    effect::{Arg, Cmd, Op},
    host::{Act, Ended, Host, RUN_VARIABLE, Stream, Task, WHOLE_VARIABLE, Work},
    model::{Name, RunId},
    restic::Progress,
};

/// A machine on which jobs run.
pub trait Machine: Host + Act + Work {}

impl<T: Host + Act + Work> Machine for T {}

/// Why a destination must not be stored at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub why: String,
    /// Whether the destination has `may_be_absent` and is away. The run then skips it.
    pub skips: bool,
}

/// What a run works with.
pub struct Night<'a> {
    /// The machine.
    pub host: &'a dyn Machine,
    /// The run.
    pub run: &'a RunId,
    /// The run's journal; none where nothing is opened.
    pub journal: Option<&'a Mutex<Journal>>,
    /// Says whether a signal asks to stop.
    pub signal: &'a (dyn Fn() -> bool + Sync),
    /// Says how long the run has gone on.
    pub elapsed: &'a (dyn Fn() -> Duration + Sync),
    /// Says why a destination must not be stored at, if so: what is there is looked at first (R33).
    pub refuses: &'a (dyn Fn(&Name) -> Option<Refused> + Sync),
    /// Returns why a job (or, without a job, a copy) cannot be stored at a destination now, for example because a disk was
    /// unmounted after the run began.
    pub away: &'a (dyn Fn(Option<&Name>, &Name) -> Option<Refused> + Sync),
    /// Removes locks that were left behind at a destination; says whether there were any.
    pub unlocks: &'a (dyn Fn(&Name) -> bool + Sync),
    /// Returns what the records tell of the last backup of a job at a destination.
    pub stored_last: &'a (dyn Fn(&Name, &Name) -> Option<StoreRecord> + Sync),
    /// How long to wait for others' locks at a destination.
    pub patience: Duration,
    /// How long to wait before each further try.
    pub waits: Waits,
    /// Is told what happens.
    pub tell: &'a (dyn Fn(&Event<'_>) + Sync),
    /// Writes a line into the logs of jobs: who said it, and what.
    pub log: &'a (dyn Fn(&[&Name], &str, &str) + Sync),
}

/// What happens in a run.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Something begins, for these jobs: a hook, a freeze.
    Begins {
        /// The jobs.
        jobs: &'a [&'a Name],
        /// What: `freeze /srv`.
        what: &'a str,
    },
    /// All is frozen, and this is how long it took.
    Frozen(Duration),
    /// Starts attempt `attempt` at a destination.
    Storing {
        /// The job.
        job: &'a Name,
        /// The destination.
        destination: &'a Name,
        /// From 1.
        attempt: u32,
    },
    /// How far that is.
    Progress {
        /// The job.
        job: &'a Name,
        /// The destination.
        destination: &'a Name,
        /// How far.
        progress: Progress,
    },
    /// It has ended.
    Stored {
        /// The job.
        job: &'a Name,
        /// How.
        record: &'a StoreRecord,
    },
    /// Something that a person should know.
    Warning(&'a str),
    /// Something that failed.
    Error {
        /// The job.
        job: &'a Name,
        /// What, and why.
        why: &'a str,
    },
}

/// How many of the last lines of a program are kept for an error.
const LAST: usize = 20;
/// How much of each of them is kept, in characters.
const LAST_WIDTH: usize = 1000;
/// How much of what a program prints goes into a job's log, in bytes: one that prints without end must not fill the disk.
const MOST_LOGGED: usize = 1 << 20;

/// How a program ended, with its last words.
pub(super) struct Said {
    /// How.
    pub(super) ended: Ended,
    /// Its last lines.
    pub(super) last: String,
}

impl Night<'_> {
    /// Runs a program to its end; `heard` takes each line, and returns what of it goes into the logs. They get so much at
    /// most.
    pub(super) fn program(
        &self,
        jobs: &[&Name],
        label: &str,
        cmd: &Cmd,
        stop: &dyn Fn() -> bool,
        heard: &mut dyn FnMut(Stream, &str) -> Option<String>,
    ) -> Result<Said> {
        (self.log)(jobs, label, &format!("$ {cmd}"));
        let (mut last, mut logged, mut left_out) = (VecDeque::new(), 0, 0_u64);
        let ended = self.quiet(cmd, true, stop, &mut |stream, line| {
            let Some(line) = heard(stream, line).filter(|line| !line.trim().is_empty()) else { return };
            keep(&mut last, &line);
            if logged < MOST_LOGGED {
                (self.log)(jobs, label, &line);
                logged += line.len() + 1;
            } else {
                left_out += 1;
            }
        });
        let last = Vec::from(last);
        if left_out > 0 {
            let most = MOST_LOGGED >> 20;
            let note =
                format!("[printed more than {most} MiB: {left_out} lines are left out here; the last ones:]");
            (self.log)(jobs, label, &note);
            for line in &last {
                (self.log)(jobs, label, line);
            }
        }
        Ok(Said { ended: ended?, last: last.join("\n") })
    }

    /// Runs a program that must succeed.
    pub(super) fn must(&self, jobs: &[&Name], label: &str, cmd: &Cmd, stop: &dyn Fn() -> bool) -> Result<()> {
        let said = self.program(jobs, label, cmd, stop, &mut |_, line| Some(line.to_owned()))?;
        succeeded(cmd, &said)
    }

    /// Runs a program without a word to anybody: nothing is written while file systems are held still.
    pub(super) fn quiet(
        &self,
        cmd: &Cmd,
        noted: bool,
        stop: &dyn Fn() -> bool,
        heard: &mut dyn FnMut(Stream, &str),
    ) -> Result<Ended> {
        let variable = if cmd.is_whole() { WHOLE_VARIABLE } else { RUN_VARIABLE };
        let cmd = cmd.clone().env(variable, Arg::Word(self.run.to_string()));
        let mut child = None;
        let mut started = |process, since| {
            if let Some(journal) = self.journal.filter(|_| noted && !cmd.is_whole()) {
                // One that is not noted is killed with rlvm all the same, unless it shall go on to its end; only what it
                // has started may live on.
                drop(lock(journal).child(process, since));
                child = Some(process);
            }
        };
        let ended = self.host.work(&cmd, &mut Task { started: &mut started, heard, stop });
        // One that was killed may have left a lock.
        let by_itself = ended.as_ref().is_ok_and(Ended::is_by_itself);
        if let (Some(journal), Some(child), true) = (self.journal, child, by_itself) {
            drop(lock(journal).ended(child));
        }
        ended
    }

    /// Carries out an op. Nothing stops it: what is half done is worse than done.
    pub(super) fn act(&self, jobs: &[&Name], label: &str, op: &Op) -> Result<()> {
        match op {
            Op::Run(cmd) => self.must(jobs, label, cmd, &|| false),
            op => {
                (self.log)(jobs, label, &format!("$ {op}"));
                self.host.act(op)
            }
        }
    }
}

pub(super) fn keep(last: &mut VecDeque<String>, line: &str) {
    if last.len() == LAST {
        last.pop_front();
    }
    let mut kept: String = line.chars().take(LAST_WIDTH).collect();
    if kept.len() < line.len() {
        kept.push('…');
    }
    last.push_back(kept);
}

/// Says why a program has not succeeded, if so.
pub(super) fn succeeded(cmd: &Cmd, said: &Said) -> Result<()> {
    let Said { ended, last } = said;
    let name = cmd.name();
    match ended.code {
        _ if ended.timed_out => bail!("{name} took longer than {} s and was ended", cmd.time_limit()),
        _ if ended.stopped => bail!("{name} was stopped"),
        Some(code) if cmd.accepts(code) => Ok(()),
        Some(code) if last.is_empty() => bail!("{name} failed with exit code {code}"),
        Some(code) => bail!("{name} failed with exit code {code}: {last}"),
        None => bail!("{name} was ended by a signal"),
    }
}
