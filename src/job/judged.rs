//! Checks a new snapshot before it counts as a backup: the repository must have it, with files of each source, and no LVM
//! snapshot may have been full. Removes a snapshot that failed the check.

use std::cell::RefCell;

use super::{JobRun, Status, Store, StoreRecord, fill, patience::Patience, run::Runner, store::pause};
use crate::{
    effect::Cmd,
    host::Stream,
    model::HostPath,
    restic::{self, Contents, Retry, Summary},
};

/// Why a backup is removed again.
const NOT_WHOLE: &str = "read from an LVM snapshot that was full, so this backup is not complete";
const NOTHING: &str =
    "the backup has no file: mount the sources, check `exclude`, or set `may_be_empty: true` for the job";

/// Returns the record of a backup after a look at it.
pub(super) fn judged(runner: &Runner<'_>, job: &JobRun, store: &Store, record: StoreRecord) -> StoreRecord {
    let is_stored = record.status <= Status::Incomplete;
    let bad = match &record.summary {
        // A full snapshot may show no file at all: that is why there is none.
        _ if is_stored && !fill::is_whole(runner, job) => Some(NOT_WHOLE),
        Some(summary) if holds_nothing(job, summary) => Some(NOTHING),
        _ => None,
    };
    // A disk may have been unmounted while restic read: the rest was read from the directory below.
    let moved = || (runner.night.away)(Some(&job.name), &store.destination).map(|refused| refused.why);
    let bad = bad.map(ToOwned::to_owned).or_else(|| is_stored.then(moved).flatten());
    match (bad, &record.summary) {
        (Some(why), summary) => {
            let error = match summary {
                Some(summary) => taken_back(runner, job, store, &summary.snapshot_id, &why),
                None => why,
            };
            StoreRecord { status: Status::Failed, error: Some(error), ..record }
        }
        (None, Some(summary)) if is_stored => {
            let proof = proof(runner, job, store, &summary.snapshot_id);
            proven(job, record, proof)
        }
        (None, _) => record,
    }
}

/// Says whether a backup holds no file, and no one has said that it may.
fn holds_nothing(job: &JobRun, summary: &Summary) -> bool {
    !job.may_be_empty && summary.counts.total_files_processed == 0
}

/// What a repository says of a snapshot that restic has stored.
#[derive(Debug)]
enum Proof {
    /// It is there, and holds nothing of these sources.
    There(Vec<HostPath>),
    /// It is not there.
    Missing,
    /// It cannot be asked: why.
    Unknown(String),
}

/// Asks the repository for a snapshot, and what lies at the top of each source.
fn proof(runner: &Runner<'_>, job: &JobRun, store: &Store, id: &str) -> Proof {
    // Part of an id has restic list what is there; a whole one it looks for in its cache too.
    let part = id.get(..PART).unwrap_or(id);
    let cmd = store.paths.iter().fold(store.list.clone().args(["--", part]), Cmd::path);
    let contents = RefCell::new(Contents::of(&store.paths));
    let said = insist(runner, job, store, &cmd, &|line| contents.borrow_mut().line(line));
    let contents = contents.into_inner();
    match said {
        Ok(()) if contents.is_there() => Proof::There(contents.without().cloned().collect()),
        Ok(()) => Proof::Missing,
        Err(why) if restic::is_no_snapshot(&why) => Proof::Missing,
        Err(why) => Proof::Unknown(why),
    }
}

/// How much of an id names a snapshot, in letters.
const PART: usize = 32;

/// Says what a look at the repository means for a backup.
fn proven(job: &JobRun, record: StoreRecord, proof: Proof) -> StoreRecord {
    let id = record.summary.as_ref().map_or("", |summary| &summary.snapshot_id);
    let id = id.get(..8).unwrap_or(id);
    let lacks = match proof {
        Proof::Missing => {
            let why =
                format!("restic reported that snapshot {id} is stored, but it is not in the repository");
            return StoreRecord { status: Status::Failed, error: Some(why), ..record };
        }
        Proof::Unknown(why) => format!("the backup is stored, but it could not be checked: {why}"),
        Proof::There(without) => {
            let is_said = |path: &HostPath| {
                let start = format!("source {path} ");
                job.gaps.iter().any(|gap| gap.starts_with(&start))
            };
            let without = without.iter().filter(|path| !job.may_be_empty && !is_said(path));
            let words = without.map(|path| {
                format!(
                    "nothing of source {path} is in the backup: check `exclude` and the hooks, or set \
                     `may_be_empty: true` for the job"
                )
            });
            words.collect::<Vec<_>>().join("; ")
        }
    };
    if lacks.is_empty() {
        return record;
    }
    let error = record.error.iter().cloned().chain([lacks]).collect::<Vec<_>>().join("; ");
    StoreRecord { status: Status::Incomplete, error: Some(error), ..record }
}

/// Removes a backup that is none: nothing may take it for the newest one, and no prune count it. Returns what to say of it.
fn taken_back(runner: &Runner<'_>, job: &JobRun, store: &Store, id: &str, why: &str) -> String {
    let removed = insist(runner, job, store, &store.forget.clone().arg(id), &|_| {});
    // restic 0.18 ends well where a store that only adds has kept it.
    let removed = removed.and_then(|()| match proof(runner, job, store, id) {
        Proof::There(_) => Err("the destination has kept it".into()),
        Proof::Missing | Proof::Unknown(_) => Ok(()),
    });
    match removed {
        Ok(()) => format!("{why}; restic's snapshot {id} is removed"),
        Err(err) => {
            format!(
                "{why}; restic's snapshot {id} cannot be removed: {err}; to remove it by hand: restic forget {id}"
            )
        }
    }
}

/// Runs restic until it ends well, for as long as the destination may give no answer. What does not pass by itself is not
/// tried again, by restic neither: its answer is why.
fn insist(
    runner: &Runner<'_>,
    job: &JobRun,
    store: &Store,
    cmd: &Cmd,
    out: &dyn Fn(&str),
) -> Result<(), String> {
    let now = || (runner.night.elapsed)();
    let mut waits = Patience::new(store.retry_for.duration(), runner.night.waits);
    loop {
        let stall = RefCell::new(waits.watch(now()));
        let (refused, words) = (RefCell::<Option<String>>::default(), RefCell::new(Vec::new()));
        let mut heard = |stream, line: &str| {
            if stream == Stream::Out && line.starts_with('{') {
                out(line);
            }
            if stream == Stream::Out {
                return None;
            }
            stall.borrow_mut().words(now(), line);
            if let Some(Retry::Again(why)) = Retry::read(line).filter(|_| !passes(line)) {
                refused.borrow_mut().get_or_insert_with(|| why.to_owned());
            }
            let said = restic::plain(line);
            words.borrow_mut().push(said.clone());
            Some(said)
        };
        let stop =
            || runner.stops(job) || refused.borrow().is_some() || stall.borrow().is_over(now()).is_some();
        let ended = runner.night.program(&[&job.name], store.destination.as_str(), cmd, &stop, &mut heard);
        let words = words.into_inner().join("\n");
        let why = match ended.map(|said| said.ended) {
            Ok(ended) if ended.code == Some(0) && !ended.stopped && !ended.timed_out => return Ok(()),
            Ok(ended) if ended.timed_out => "restic took too long and was ended".into(),
            Ok(_) if runner.stops(job) => runner.why_stopped(job),
            Ok(_) => refused.into_inner().unwrap_or_else(|| restic::reason(&words)),
            Err(err) => format!("{err:#}"),
        };
        let again = passes(&words) || passes(&why);
        let wait = waits.wait(&stall.borrow(), now()).filter(|_| again && !runner.stops(job));
        let Some(wait) = wait else { return Err(why) };
        pause(runner, wait, &|| runner.stops(job));
    }
}

/// Says whether what restic complains of may pass by itself; so may a lock.
fn passes(words: &str) -> bool {
    restic::passes(words) || restic::nobody_answers(words) || words.contains("repository is already locked")
}
