//! Stores a job at its destinations, in parallel up to a limit. A destination that fails does not stop the others
//! (R54).

use std::{cell::RefCell, collections::VecDeque, sync::Mutex, thread, time::Duration};

use super::{
    Event, JobRun, Status, Store, StoreRecord,
    judged::judged,
    night::{Refused, Said, keep},
    patience::{Patience, Stall},
    run::Runner,
    undo::lock,
};
use jiff::Timestamp;

use crate::{
    host::{Output, Stream},
    model::Name,
    restic::{self, Found, Heard, Summary},
};

/// How often locks are removed, at most: a store may keep them all the same.
const MOST_FREED: u32 = 3;
/// How long snapshots of volumes are kept for the sake of another host's lock: until the lock could be found stale.
const FROZEN: Duration = Duration::from_secs(40 * 60);
/// How many files that could not be read are named.
const NAMED: usize = 100;

/// Stores at all destinations of a job.
pub(super) fn all(runner: &Runner<'_>, job: &JobRun, refused: &[(Name, Refused)]) -> Vec<StoreRecord> {
    let queue = Mutex::new(job.stores.iter());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..job.parallel.min(job.stores.len()) {
            scope.spawn(|| {
                loop {
                    let Some(store) = lock(&queue).next() else { break };
                    let why = refused.iter().find(|(name, _)| *name == store.destination);
                    let record = match why {
                        Some((_, refused)) => left_out(store, refused),
                        None => tried(runner, job, store),
                    };
                    tell(runner, job, false, &record);
                    lock(&done).push(record);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|record| job.stores.iter().position(|store| store.destination == record.destination));
    done
}

/// Copies what the job's destinations have: also what lacks files, since what is there is better than nothing.
pub(super) fn copies(runner: &Runner<'_>, job: &JobRun) -> Vec<StoreRecord> {
    let copy = |(from, store): &(Name, Store)| {
        // R33
        let origin = match (runner.night.refuses)(&store.destination) {
            Some(refused) => Err(refused),
            None => origin(runner, job, from),
        };
        let record = match origin {
            Ok(origin) => carried(tried(runner, job, store), &origin),
            Err(refused) => left_out(store, &refused),
        };
        tell(runner, job, true, &record);
        record
    };
    job.copies.iter().map(copy).collect()
}

/// Returns the record of the newest backup that a copy is made of; else says why nothing is copied.
fn origin(runner: &Runner<'_>, job: &JobRun, from: &Name) -> Result<StoreRecord, Refused> {
    let stored = runner.going(job).and_then(|going| {
        let going = lock(going);
        going.destinations.iter().find(|it| it.destination == *from).cloned()
    });
    let not_copied = |why: &str, skips| Refused { why: format!("not copied: {why}"), skips };
    let it = match stored {
        Some(it) => it,
        // `--to` asks for the copy alone: what was stored there before is copied.
        None => match (runner.night.refuses)(from) {
            Some(Refused { why, skips }) => return Err(not_copied(&format!("{from}: {why}"), skips)),
            // restic copies nothing and is content with it.
            None => (runner.night.stored_last)(&job.name, from).ok_or_else(|| {
                let why = "no run has stored this job at";
                not_copied(&format!("{why} {from} yet: run the job without --to first"), false)
            })?,
        },
    };
    match it.status {
        Status::Success | Status::Incomplete => Ok(it),
        Status::Skipped => Err(not_copied(&format!("{from} is away"), true)),
        Status::Failed | Status::Interrupted => {
            Err(not_copied(&format!("nothing was stored at {from}"), false))
        }
    }
}

/// A copy of what lacks files lacks them too.
fn carried(record: StoreRecord, origin: &StoreRecord) -> StoreRecord {
    if record.status != Status::Success || origin.status != Status::Incomplete {
        return record;
    }
    let from = &origin.destination;
    let why = origin.error.clone().unwrap_or_else(|| unread(origin.unreadable));
    StoreRecord {
        status: Status::Incomplete,
        error: Some(format!("the backup that was copied from {from} is incomplete: {why}")),
        unreadable: origin.unreadable,
        ..record
    }
}

/// Tells what came of a store, or of a copy.
fn tell(runner: &Runner<'_>, job: &JobRun, copy: bool, record: &StoreRecord) {
    if let Some(journal) = runner.night.journal {
        // Without it the backup counts for nothing if rlvm is killed before the end of the run.
        drop(lock(journal).stored(&job.name, copy, record));
    }
    if let Some(why) = &record.error {
        let word = if record.status == Status::Skipped { "skipped" } else { "failed" };
        (runner.night.log)(&[&job.name], record.destination.as_str(), &format!("{word}: {why}"));
    }
    (runner.night.tell)(&Event::Stored { job: &job.name, record });
}

fn left_out(store: &Store, Refused { why, skips }: &Refused) -> StoreRecord {
    let status = if *skips { Status::Skipped } else { Status::Failed };
    StoreRecord { status, ..failed(store, 0, why) }
}

fn failed(store: &Store, attempts: u32, why: &str) -> StoreRecord {
    StoreRecord::failed(&store.destination, attempts, why)
}

/// Stores at one destination, and tries again what can pass (R69).
fn tried(runner: &Runner<'_>, job: &JobRun, store: &Store) -> StoreRecord {
    let began = (runner.night.elapsed)();
    if let Some(journal) = runner.night.journal {
        // Without it a lock may outlive a crash until somebody prunes, which looks for such.
        drop(lock(journal).works_with(&store.destination));
    }
    let patience =
        if job.needs.is_empty() { runner.night.patience } else { runner.night.patience.min(FROZEN) };
    let mut waits = Patience::new(store.retry_for.duration(), runner.night.waits);
    let (mut attempt, mut locked, mut freed, mut unjudged) = (0, None, 0, Vec::new());
    loop {
        attempt += 1;
        let is_copy = job.copies.iter().any(|(_, copy)| copy.destination == store.destination);
        let of = (!is_copy).then_some(&job.name);
        if let Some(refused) = (runner.night.away)(of, &store.destination) {
            return StoreRecord { attempts: attempt - 1, unjudged, ..left_out(store, &refused) };
        }
        let stall = RefCell::new(waits.watch((runner.night.elapsed)()));
        let (mut record, trouble) = once(runner, job, store, attempt, &stall);
        let now = (runner.night.elapsed)();
        record.seconds = now.saturating_sub(began).as_secs_f64();
        if trouble != Trouble::Locked {
            unjudged.append(&mut record.unjudged);
        }
        record.unjudged.clear();
        let is_told = trouble == Trouble::Locked && locked.is_some();
        let wait = match trouble {
            Trouble::Locked => {
                let since = *locked.get_or_insert(now);
                let left = patience.saturating_sub(now.saturating_sub(since));
                Some(left.min(runner.night.waits.locked)).filter(|wait| !wait.is_zero())
            }
            Trouble::Passes | Trouble::Away => waits.wait(&stall.borrow(), now),
            Trouble::Stays => None,
        };
        let Some(wait) = wait.filter(|_| !ends(runner, job)) else {
            // A machine that sleeps cannot be reached. What stopped the job is a failure all the same.
            if trouble == Trouble::Away && store.may_be_absent && !ends(runner, job) {
                record.status = Status::Skipped;
            }
            return StoreRecord { unjudged, ..record };
        };
        let log = |line: &str| (runner.night.log)(&[&job.name], store.destination.as_str(), line);
        if trouble == Trouble::Locked && freed < MOST_FREED && (runner.night.unlocks)(&store.destination) {
            freed += 1;
            log("removed a lock that was left behind");
            continue;
        }
        if let Some(why) = record.error.as_ref().filter(|_| !is_told) {
            let again = match trouble {
                Trouble::Locked => format!("rlvm waits up to {} s for the lock", patience.as_secs()),
                _ => format!("again in {} s", wait.as_secs_f64().ceil()),
            };
            let what = format!("{}: {why}; {again}", store.destination);
            log(&what);
            (runner.night.tell)(&Event::Warning(&what));
        }
        pause(runner, wait, &|| ends(runner, job));
    }
}

/// Says whether a job is to stop, or what it reads is no longer what was frozen.
fn ends(runner: &Runner<'_>, job: &JobRun) -> bool {
    runner.stops(job) || is_broken(runner, job)
}

fn is_broken(runner: &Runner<'_>, job: &JobRun) -> bool {
    let broken = lock(&runner.broken);
    job.needs.iter().any(|need| broken.contains(need))
}

/// Has it written down that a try begins: what it stores is no backup until the run has said so. Returns the time.
fn begun(runner: &Runner<'_>, job: &JobRun, store: &Store) -> Option<String> {
    let at = lock(runner.night.journal?).stores(&job.name, &store.destination).ok()?;
    Some(Timestamp::from_second(at).ok()?.to_string())
}

/// How long what went wrong may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Trying again changes nothing.
    Stays,
    /// It can pass.
    Passes,
    /// Another host has a lock there.
    Locked,
    /// It can pass, and so far nobody answers at the destination.
    Away,
}

/// Stores once. Says how long what went wrong may last.
fn once(
    runner: &Runner<'_>,
    job: &JobRun,
    store: &Store,
    attempt: u32,
    stall: &RefCell<Stall>,
) -> (StoreRecord, Trouble) {
    let destination = &store.destination;
    if ends(runner, job) {
        return (failed(store, attempt - 1, &why_ended(runner, job)), Trouble::Stays);
    }
    (runner.night.tell)(&Event::Storing { job: &job.name, destination, attempt });
    let is_copy = job.copies.iter().any(|(_, copy)| copy.destination == *destination);
    let mut record = failed(store, attempt, "");
    record.unjudged = begun(runner, job, store).filter(|_| !is_copy).into_iter().collect();
    let summary: RefCell<Option<Summary>> = RefCell::default();
    let words = RefCell::new(VecDeque::new());
    let (mut count, mut first) = (0, Vec::new());
    let mut missing: Option<String> = None;
    let mut heard = |_: Stream, line: &str| match Heard::read(line) {
        Heard::Progress(progress) => {
            stall.borrow_mut().progress((runner.night.elapsed)(), &progress);
            (runner.night.tell)(&Event::Progress { job: &job.name, destination, progress });
            None
        }
        Heard::Unreadable(item, why) => {
            let logged = format!("cannot read {item}: {why}");
            if store.paths.iter().any(|path| path.as_str() == item) {
                missing.get_or_insert_with(|| format!("source {item} is missing from the backup: {why}"));
            }
            count += 1;
            if first.len() < NAMED {
                first.push((item, why));
            }
            Some(logged)
        }
        Heard::Summary(it) => {
            *summary.borrow_mut() = Some(it);
            Some(line.to_owned())
        }
        Heard::Words(line) => {
            stall.borrow_mut().words((runner.night.elapsed)(), &line);
            if let Some((path, why)) =
                store.paths.iter().find_map(|path| Some((path, passed_over(&line, path)?)))
            {
                missing.get_or_insert_with(|| format!("source {path} is missing from the backup: it {why}"));
            }
            keep(&mut words.borrow_mut(), &line);
            Some(line)
        }
        Heard::Nothing => None,
    };
    let stuck = || stall.borrow().is_over((runner.night.elapsed)()).map(str::to_owned);
    let stop = || ends(runner, job) || stuck().is_some();
    let said = runner.night.program(&[&job.name], destination.as_str(), &store.cmd, &stop, &mut heard);
    let words: Vec<String> = words.into_inner().into();
    (record.unreadable, record.first_unreadable) = (count, first);
    // R60: an exit code and a new snapshot, never text or size.
    record.summary = summary.into_inner().filter(|it| is_snapshot(&it.snapshot_id));
    let (status, why, trouble) = match said {
        Err(err) => (Status::Failed, Some(format!("{err:#}")), Trouble::Stays),
        Ok(Said { ended, .. }) if ended.stopped => match stuck().filter(|_| !ends(runner, job)) {
            Some(why) => {
                let trouble = if restic::nobody_answers(&why) { Trouble::Away } else { Trouble::Passes };
                (
                    Status::Failed,
                    Some(format!("nothing was transferred for {}: {why}", store.retry_for)),
                    trouble,
                )
            }
            None => (Status::Failed, Some(why_ended(runner, job)), Trouble::Stays),
        },
        Ok(Said { ended, .. }) if ended.timed_out => {
            (Status::Failed, Some("took too long and was ended".into()), Trouble::Stays)
        }
        Ok(Said { ended, .. }) => match ended.code {
            Some(0) if is_copy => (Status::Success, None, Trouble::Stays),
            // R59, R60
            Some(0 | 3) if record.summary.is_some() => {
                let (status, why) = complete(job, missing, count, ended.code);
                (status, why, Trouble::Stays)
            }
            Some(0) => {
                (Status::Failed, Some("restic exited with 0 and named no snapshot".into()), Trouble::Stays)
            }
            None => (Status::Failed, Some("restic was ended by a signal".into()), Trouble::Stays),
            code => why(code, &words.join("\n")),
        },
    };
    record.status = status;
    record.error = why;
    if record.summary.is_some() {
        // Its id says what is there of it.
        record.unjudged.clear();
    }
    (if is_copy { record } else { judged(runner, job, store, record) }, trouble)
}

/// Says how complete a backup is that restic has made.
fn complete(
    job: &JobRun,
    missing: Option<String>,
    unreadable: u64,
    code: Option<i32>,
) -> (Status, Option<String>) {
    match missing {
        Some(why) => (Status::Failed, Some(why)),
        None if unreadable > 0 || code == Some(3) => (Status::Incomplete, Some(unread(unreadable))),
        None if !job.gaps.is_empty() => (Status::Incomplete, Some(job.gaps.join("; "))),
        None => (Status::Success, None),
    }
}

/// Reads that restic passes over a path: `/srv/www does not exist, skipping`.
fn passed_over<'a>(line: &'a str, path: &crate::model::HostPath) -> Option<&'a str> {
    line.strip_prefix(path.as_str())?.strip_prefix(' ')?.strip_suffix(", skipping")
}

/// Waits so long, or until it is to stop.
pub(super) fn pause(runner: &Runner<'_>, wait: Duration, stops: &dyn Fn() -> bool) {
    let from = (runner.night.elapsed)();
    while (runner.night.elapsed)().saturating_sub(from) < wait && !stops() {
        thread::sleep(wait.min(Duration::from_millis(50)));
    }
}

fn unread(count: u64) -> String {
    match count {
        0 => "some files could not be read".into(),
        1 => "1 file could not be read".into(),
        count => format!("{count} files could not be read"),
    }
}

/// restic 0.14 prints the short form.
fn is_snapshot(id: &str) -> bool {
    id.len() >= 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn why_ended(runner: &Runner<'_>, job: &JobRun) -> String {
    if is_broken(runner, job) {
        return "stopped: a snapshot was full".into();
    }
    runner.why_stopped(job)
}

/// Says in which words restic failed, and how long that may last.
fn why(code: Option<i32>, words: &str) -> (Status, Option<String>, Trouble) {
    let output = Output { code, stderr: words.into(), ..Output::default() };
    let (why, trouble) = match restic::found(&output) {
        Found::WrongPassword => ("wrong password: the password file does not open it".into(), Trouble::Stays),
        Found::Absent => ("there is no repository: run rlvm plan, then rlvm apply".into(), Trouble::Stays),
        Found::Locked => {
            let by = words.lines().find_map(|line| line.split_once("repository is already locked"));
            (format!("locked {}", by.map_or("by something else", |(_, by)| by.trim())), Trouble::Locked)
        }
        Found::Damaged(why) => (format!("damaged: {why}"), Trouble::Stays),
        Found::Unreachable(why) => {
            let trouble = match () {
                () if restic::nobody_answers(words) => Trouble::Away,
                () if restic::passes(words) => Trouble::Passes,
                () => Trouble::Stays,
            };
            (why, trouble)
        }
        Found::Ready { .. } => ("restic failed".into(), Trouble::Stays),
    };
    (Status::Failed, Some(why), trouble)
}

#[cfg(test)]
mod tests;
