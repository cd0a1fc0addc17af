//! What is kept of a run: its record, and what programs said.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};

use crate::{
    cli::context::Context,
    host::{Busy, Log, Real, Store},
    job::Record,
    model::{HostPath, Name, RunId},
    state::State,
};

/// The directory of records, one file a month.
const RECORDS: &str = "records";

/// Says where the records are.
pub(in crate::cli) fn records(context: &Context<'_>) -> Result<HostPath> {
    Ok(context.home()?.join(RECORDS)?)
}

/// Adds a record to those of its month, and removes the months that are kept no longer.
pub(super) fn keep(context: &Context<'_>, host: &Real, state: &State, record: &Record) -> Result<()> {
    let store = Store::new(host, &records(context)?);
    let month = |text: &str| format!("{}.jsonl", text.get(..7).unwrap_or_default());
    let name = month(&record.started);
    // Two runs may end at once.
    let mut tries = 0;
    let mut file = loop {
        match store.hold(&name) {
            Ok(file) => break file,
            Err(err) if err.downcast_ref::<Busy>().is_some() && tries < 100 => {
                tries += 1;
                thread::sleep(Duration::from_millis(20));
            }
            Err(err) => return Err(err),
        }
    };
    file.add(record.line()?.as_bytes())?;
    file.sync()?;
    let now: Timestamp = record.started.parse().context("a record without a time")?;
    let kept =
        i64::try_from(state.log.records.seconds()).map_or(SignedDuration::MAX, SignedDuration::from_secs);
    let Ok(oldest) = now.checked_sub(kept) else { return Ok(()) };
    let oldest = month(&oldest.to_string());
    let is_month = |name: &&String| name.len() == oldest.len();
    for old in store.names()?.iter().filter(is_month).filter(|name| **name < oldest) {
        store.remove(old)?;
    }
    Ok(())
}

/// Finds the last run of a job.
pub(in crate::cli) fn last_of(context: &Context<'_>, host: &Real, job: &Name) -> Result<Option<Record>> {
    let store = Store::new(host, &records(context)?);
    for name in store.names()?.iter().rev() {
        let bytes = store.read(name)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let of_job = |record: &Record| record.jobs.iter().any(|it| it.job == *job);
        if let Some(record) = text.lines().rev().filter_map(Record::read).find(of_job) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

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
