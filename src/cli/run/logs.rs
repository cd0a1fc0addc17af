//! Writes the output of programs into the logs of the jobs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::{
    host::{Log, Real},
    model::{Name, RunId},
    state::State,
};

/// The logs of jobs.
pub(super) struct Logs {
    all: BTreeMap<Name, Mutex<Log>>,
    /// Which cannot be written, and why.
    pub(super) problems: Vec<String>,
}

impl Logs {
    /// Opens them. A log that cannot be written is no reason not to back up.
    pub(super) fn open(host: &Real, state: &State, jobs: &[&Name]) -> Self {
        let mut logs = Self { all: BTreeMap::new(), problems: Vec::new() };
        for job in jobs {
            let opened = state.log.directory.join(&format!("{job}.log")).map_err(Into::into);
            match opened.and_then(|path| Log::open(host, &path)) {
                Ok(log) => drop(logs.all.insert((*job).clone(), Mutex::new(log))),
                Err(err) => logs.problems.push(format!("{err:#}")),
            }
        }
        logs
    }

    /// Adds a line: when, which run, who said it (R65).
    pub(super) fn line(&self, now: Timestamp, run: &RunId, jobs: &[&Name], label: &str, line: &str) {
        for log in jobs.iter().filter_map(|job| self.all.get(*job)) {
            // A disk that is full is told by what it is full of.
            let safe: String = line
                .chars()
                .map(|c| if c.is_control() && c != '\t' && c != '\n' { '\u{fffd}' } else { c })
                .collect();
            for line in safe.lines() {
                let _ = log
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .line(&format!("{now} {run} {label}: {line}"));
            }
        }
    }
}
