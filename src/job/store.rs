//! Stores a job at its destinations, side by side up to a limit; one that fails does not stop the others (R54).

use std::{cell::RefCell, collections::VecDeque, sync::Mutex, thread, time::Duration};

use super::{
    Event, JobRun, Status, Store, StoreRecord,
    night::{Said, keep},
    run::Runner,
    undo::lock,
};
use crate::{
    host::{Output, Stream},
    model::Name,
    restic::{self, Found, Heard, Summary},
};

/// How long to wait before each further try, in seconds.
const WAITS: [u64; 2] = [5, 20];
/// How many files that could not be read are named.
const NAMED: usize = 100;

/// Stores at all destinations of a job.
pub(super) fn all(runner: &Runner<'_>, job: &JobRun, refused: &[(Name, String)]) -> Vec<StoreRecord> {
    let queue = Mutex::new(job.stores.iter());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..job.parallel.min(job.stores.len()) {
            scope.spawn(|| {
                loop {
                    let Some(store) = lock(&queue).next() else { break };
                    let why = refused.iter().find(|(name, _)| *name == store.destination);
                    let record = match why {
                        Some((_, why)) => failed(store, 0, why),
                        None => tried(runner, job, store),
                    };
                    tell(runner, job, &record);
                    lock(&done).push(record);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|record| job.stores.iter().position(|store| store.destination == record.destination));
    done
}

/// Copies from those that were stored well.
pub(super) fn copies(runner: &Runner<'_>, job: &JobRun) -> Vec<StoreRecord> {
    let good = |from: &Name| {
        let going = runner.going(job);
        going.is_none_or(|going| {
            lock(going).destinations.iter().any(|it| it.destination == *from && it.status == Status::Success)
        })
    };
    let copy = |(from, store): &(Name, Store)| {
        // R33
        let record = match (runner.night.refuses)(&store.destination) {
            Some(why) => failed(store, 0, &why),
            None if good(from) => tried(runner, job, store),
            None => failed(store, 0, &format!("not copied: nothing whole was stored at {from}")),
        };
        tell(runner, job, &record);
        record
    };
    job.copies.iter().map(copy).collect()
}

fn tell(runner: &Runner<'_>, job: &JobRun, record: &StoreRecord) {
    if let Some(why) = &record.error {
        (runner.night.log)(&[&job.name], record.destination.as_str(), &format!("failed: {why}"));
    }
    (runner.night.tell)(&Event::Stored { job: &job.name, record });
}

fn failed(store: &Store, attempts: u32, why: &str) -> StoreRecord {
    StoreRecord {
        destination: store.destination.clone(),
        status: Status::Failed,
        attempts,
        seconds: 0.0,
        error: Some(why.into()),
        summary: None,
        unreadable: 0,
        first_unreadable: Vec::new(),
    }
}

/// Stores at one destination, and tries again what can pass (R69).
fn tried(runner: &Runner<'_>, job: &JobRun, store: &Store) -> StoreRecord {
    let began = (runner.night.elapsed)();
    if let Some(journal) = runner.night.journal {
        // Without it a lock may outlive a crash until somebody prunes, which looks for such.
        drop(lock(journal).works_with(&store.destination));
    }
    let mut attempt = 1;
    loop {
        let (mut record, passes) = once(runner, job, store, attempt);
        record.seconds = (runner.night.elapsed)().saturating_sub(began).as_secs_f64();
        let wait = usize::try_from(attempt).ok().and_then(|attempt| WAITS.get(attempt - 1));
        let Some(wait) = wait.filter(|_| passes && !ends(runner, job)) else { return record };
        if let Some(why) = &record.error {
            let what = format!("{}: {why}; again in {wait} s", store.destination);
            (runner.night.log)(&[&job.name], store.destination.as_str(), &what);
            (runner.night.tell)(&Event::Warning(&what));
        }
        if (runner.night.unlocks)(&store.destination) {
            (runner.night.log)(
                &[&job.name],
                store.destination.as_str(),
                "took away a lock of this host whose process is gone",
            );
        }
        let from = (runner.night.elapsed)();
        while (runner.night.elapsed)().saturating_sub(from) < Duration::from_secs(*wait) && !ends(runner, job)
        {
            thread::sleep(Duration::from_millis(50));
        }
        attempt += 1;
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

/// Stores once. Says whether what went wrong can pass.
fn once(runner: &Runner<'_>, job: &JobRun, store: &Store, attempt: u32) -> (StoreRecord, bool) {
    let destination = &store.destination;
    if ends(runner, job) {
        return (failed(store, attempt - 1, &why_ended(runner, job)), false);
    }
    (runner.night.tell)(&Event::Storing { job: &job.name, destination, attempt });
    let mut record = failed(store, attempt, "");
    let summary: RefCell<Option<Summary>> = RefCell::default();
    let words = RefCell::new(VecDeque::new());
    let (mut count, mut first) = (0, Vec::new());
    let mut heard = |_: Stream, line: &str| match Heard::read(line) {
        Heard::Progress(progress) => {
            (runner.night.tell)(&Event::Progress { job: &job.name, destination, progress });
            true
        }
        Heard::Unreadable(item, why) => {
            (runner.night.log)(&[&job.name], destination.as_str(), &format!("cannot read {item}: {why}"));
            count += 1;
            if first.len() < NAMED {
                first.push((item, why));
            }
            true
        }
        Heard::Summary(it) => {
            *summary.borrow_mut() = Some(it);
            false
        }
        Heard::Words(line) => {
            (runner.night.log)(&[&job.name], destination.as_str(), &line);
            keep(&mut words.borrow_mut(), &line);
            true
        }
        Heard::Nothing => true,
    };
    let said = runner.night.program(
        &[&job.name],
        destination.as_str(),
        &store.cmd,
        &|| ends(runner, job),
        &mut heard,
    );
    let words: Vec<String> = words.into_inner().into();
    (record.unreadable, record.first_unreadable) = (count, first);
    let is_copy = job.copies.iter().any(|(_, copy)| copy.destination == *destination);
    // R60: an exit code and a new snapshot, never text or size.
    record.summary = summary.into_inner().filter(|it| is_snapshot(&it.snapshot_id));
    let (status, why, passes) = match said {
        Err(err) => (Status::Failed, Some(format!("{err:#}")), false),
        Ok(Said { ended, .. }) if ended.stopped => (Status::Failed, Some(why_ended(runner, job)), false),
        Ok(Said { ended, .. }) if ended.timed_out => {
            (Status::Failed, Some("took too long and was ended".into()), false)
        }
        Ok(Said { ended, .. }) => match ended.code {
            Some(0) if is_copy => (Status::Success, None, false),
            Some(0) if record.summary.is_some() && count == 0 => (Status::Success, None, false),
            // R59
            Some(0 | 3) if record.summary.is_some() => (Status::Incomplete, Some(unread(count)), false),
            Some(0) => {
                (Status::Failed, Some("restic says that all is well, and names no snapshot".into()), false)
            }
            None => (Status::Failed, Some("restic was ended by a signal".into()), false),
            code => why(code, &words.join("\n")),
        },
    };
    record.status = status;
    record.error = why;
    (record, passes)
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

/// Says in which words restic failed, and whether that can pass.
fn why(code: Option<i32>, words: &str) -> (Status, Option<String>, bool) {
    let output = Output { code, stderr: words.into(), ..Output::default() };
    let (why, passes) = match restic::found(&output) {
        Found::WrongPassword => ("wrong password: the password file does not open it".into(), false),
        Found::Absent => ("there is no repository: rlvm apply makes it".into(), false),
        Found::Locked => ("locked by something else".into(), true),
        Found::Damaged(why) => (format!("damaged: {why}"), false),
        Found::Unreachable(why) => {
            let passes = restic::passes(words);
            (why, passes)
        }
        Found::Ready { .. } => ("restic failed".into(), false),
    };
    (Status::Failed, Some(why), passes)
}
