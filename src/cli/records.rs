//! Stores and reads the records of runs and verifications: one JSON object per line, one file per month.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};

use super::context::Context;
use crate::{
    host::{Busy, Held, Real, Store},
    job::{Left, Record, Status, StoreRecord},
    model::{HostPath, Name, RunId, mask_passwords},
    state::State,
    verify::Checked,
};

/// The directory of records, one file a month.
const RECORDS: &str = "records";

/// Says where the records are.
pub(super) fn records(context: &Context<'_>) -> Result<HostPath> {
    Ok(context.home()?.join(RECORDS)?)
}

/// Adds a record, a whole line, to those of the month that it `started` in (RFC 3339, UTC), and removes the months that
/// are kept no longer. Passwords in addresses are masked.
pub(super) fn keep(
    context: &Context<'_>,
    host: &Real,
    state: &State,
    started: &str,
    line: &str,
) -> Result<()> {
    add(context, host, started, line)?;
    let store = Store::new(host, &records(context)?);
    let now: Timestamp = started.parse().context("a record without a time")?;
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

/// Adds a record, as [`keep`] does, and removes nothing.
pub(super) fn add(context: &Context<'_>, host: &Real, started: &str, line: &str) -> Result<()> {
    let mut file = held(&Store::new(host, &records(context)?), &month(started))?;
    file.add(mask_passwords(line).as_bytes())?;
    file.sync()
}

/// Returns the name of the file of the month of a time.
fn month(time: &str) -> String {
    format!("{}.jsonl", time.get(..7).unwrap_or_default())
}

/// How long to wait for a file that another rlvm holds for a moment: sixty that end at once each sync it to a disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// Holds a file of rlvm's own for a moment: runs may end at once.
pub(super) fn held(store: &Store<'_>, name: &str) -> Result<Held> {
    let since = Instant::now();
    loop {
        match store.hold(name) {
            Err(err) if err.downcast_ref::<Busy>().is_some() && since.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// All that is kept, the oldest first. What is of another format, or cut short by a crash, is passed over.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Runs.
    pub(super) runs: Vec<Record>,
    /// Verifications.
    pub(super) checks: Vec<Checked>,
}

/// Reads all records, and what runs came to that have died and are not swept yet.
pub(super) fn all(context: &Context<'_>, host: &Real) -> Result<Records> {
    of_journals(context, host, |left, lives| if lives { None } else { left.record() })
}

/// Reads the same, and what runs that live are storing: a snapshot of theirs is no backup before they have checked it. They
/// stand there as skipped, since nothing is known yet.
pub(super) fn all_and_running(context: &Context<'_>, host: &Real) -> Result<Records> {
    of_journals(context, host, |left, lives| if lives { left.running() } else { left.record() })
}

/// Reads all records, and adds what journals tell: of a run that is open, and whether it lives.
fn of_journals(
    context: &Context<'_>,
    host: &Real,
    tells: impl Fn(&Left, bool) -> Option<Record>,
) -> Result<Records> {
    let mut all = kept(context, host)?;
    let store = Store::new(host, &context.home()?.join("journal")?);
    for name in store.names()?.iter().filter(|name| name.parse::<RunId>().is_ok()) {
        // The journal of a run that lives is held.
        let lives = store.holder(name)?.is_some();
        let bytes = store.read(name)?.unwrap_or_default();
        // A journal that makes no sense is an error of the next sweep.
        let told = Left::read(name, &bytes).ok().and_then(|left| tells(&left, lives));
        if let Some(told) = told.filter(|told| !all.has(&told.run)) {
            all.runs.push(told);
        }
    }
    Ok(all)
}

impl Records {
    /// Says whether there is a record of a run.
    pub(super) fn has(&self, run: &RunId) -> bool {
        self.runs.iter().any(|record| record.run == *run)
    }
}

/// Reads all records that are kept.
pub(super) fn kept(context: &Context<'_>, host: &Real) -> Result<Records> {
    let store = Store::new(host, &records(context)?);
    let mut all = Records::default();
    for name in store.names()? {
        let bytes = store.read(&name)?.unwrap_or_default();
        for line in String::from_utf8_lossy(&bytes).lines() {
            all.runs.extend(Record::read(line));
            all.checks.extend(Checked::read(line));
        }
    }
    Ok(all)
}

/// Finds what the last run came to that reached a destination with a job; by any name that they have or had. One that failed
/// says that what is there may lack a source.
pub(super) fn last_stored(
    context: &Context<'_>,
    host: &Real,
    state: &State,
    job: &Name,
    destination: &Name,
) -> Option<StoreRecord> {
    let jobs = state.jobs.get(job)?.names(job);
    let names = state.names_of(destination);
    let stores = |record: Record| -> Option<StoreRecord> {
        let mut stores =
            record.jobs.into_iter().filter(|it| jobs.contains(&it.job)).flat_map(|it| it.destinations);
        stores.find(|it| it.status != Status::Skipped && names.contains(&it.destination))
    };
    // Without a record nothing is known to be missing.
    all(context, host).ok()?.runs.into_iter().rev().find_map(stores)
}

/// Finds the last run of a job.
pub(super) fn last_of(context: &Context<'_>, host: &Real, job: &Name) -> Result<Option<Record>> {
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
