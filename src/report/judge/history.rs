//! Reads from the records what happened to a job at a destination.

use jiff::Timestamp;

use crate::{
    job::{Backups, Record, Status},
    model::Name,
    restic::Summary,
};

/// How many of the last runs tell how long one takes.
const RUNS: usize = 10;
/// How long a run may take that nothing is known of, in seconds.
const UNKNOWN: i64 = 3600;
/// What any run may take, in seconds: one does not take as long as the other.
const LEAST: i64 = 15 * 60;

/// How a run went with a job at a destination.
pub(super) struct Went<'a> {
    pub(super) started: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) status: Status,
    /// Why it failed.
    pub(super) error: Option<&'a str>,
    pub(super) summary: Option<&'a Summary>,
    /// Why the job failed though this was stored: a hook, a service that does not start again.
    pub(super) failed_afterwards: Option<&'a str>,
    /// How long it took to store it there.
    pub(super) seconds: Option<f64>,
}

/// What the records tell.
pub(super) struct History<'a> {
    /// All runs, the oldest first.
    pub(super) runs: Vec<Went<'a>>,
    /// Which snapshots are backups.
    pub(super) backups: Backups<'a>,
}

/// Runs that failed one after the other.
pub(super) struct Failing<'a> {
    pub(super) since: Timestamp,
    pub(super) runs: usize,
    pub(super) why: &'a str,
}

impl<'a> History<'a> {
    /// Takes what is of a job and a destination, by one of their names.
    pub(super) fn of(runs: &'a [Record], jobs: &[Name], destinations: &[Name]) -> Self {
        let mut all: Vec<Went<'a>> = runs.iter().filter_map(|run| went(run, jobs, destinations)).collect();
        all.sort_by_key(|went| went.ended);
        Self { runs: all, backups: Backups::of(runs) }
    }

    pub(super) fn last(&self) -> Option<&Went<'a>> {
        self.runs.last()
    }

    /// Says since when each run failed, if the last one did and nothing was stored since.
    pub(super) fn failing(&self, newest: Option<Timestamp>) -> Option<Failing<'a>> {
        let last = self.last()?;
        let failed = |went: &&Went<'a>| went.status > Status::Incomplete;
        if !failed(&last) || newest.is_some_and(|newest| newest > last.ended) {
            return None;
        }
        let streak: Vec<&Went<'a>> = self.runs.iter().rev().take_while(failed).collect();
        let why = last.error.unwrap_or(last.status.word());
        Some(Failing { since: streak.last()?.started, runs: streak.len(), why })
    }

    /// Says how much later than its time a run may have stored, in seconds: its jitter, and twice what the longest of the
    /// last ones took; of one that is not known, its time limit.
    pub(super) fn grace(&self, jitter: Option<i64>, timeout: Option<i64>) -> i64 {
        let stored = self.runs.iter().rev().filter(|went| went.status <= Status::Incomplete).take(RUNS);
        let longest = stored.map(|went| went.ended.as_second() - went.started.as_second()).max();
        let allowed = match (longest, timeout) {
            (Some(longest), None) => LEAST.max(longest.saturating_mul(2)),
            (Some(longest), Some(timeout)) => LEAST.max(longest.saturating_mul(2)).min(LEAST.max(timeout)),
            (None, Some(timeout)) => LEAST.max(timeout),
            (None, None) => UNKNOWN,
        };
        allowed.saturating_add(jitter.unwrap_or(0))
    }
}

/// Returns when the first run began that stored a job at a destination, failed to, or skipped it.
pub(super) fn first_run(runs: &[Record], jobs: &[Name], destinations: &[Name]) -> Option<Timestamp> {
    let there = |run: &&Record| {
        let of_job = run.jobs.iter().filter(|job| jobs.contains(&job.job));
        let mut stored = of_job.flat_map(|job| job.destinations.iter().chain(&job.copies));
        stored.any(|it| destinations.contains(&it.destination))
    };
    runs.iter().filter(there).filter_map(|run| run.started.parse().ok()).min()
}

fn went<'a>(run: &'a Record, jobs: &[Name], destinations: &[Name]) -> Option<Went<'a>> {
    let (started, ended) = (run.started.parse().ok()?, run.ended.parse().ok()?);
    let job = run.jobs.iter().find(|job| jobs.contains(&job.job))?;
    let stored = job.destinations.iter().chain(&job.copies);
    if let Some(there) = stored.clone().find(|it| destinations.contains(&it.destination)) {
        if there.status == Status::Skipped {
            return None;
        }
        return Some(Went {
            started,
            ended,
            status: there.status,
            error: there.error.as_deref(),
            summary: there.summary.as_ref(),
            failed_afterwards: job
                .errors
                .first()
                .filter(|_| job.status > Status::Incomplete)
                .map(String::as_str),
            seconds: Some(there.seconds),
        });
    }
    // It failed before it could store anything anywhere.
    let nowhere = job.status > Status::Incomplete && stored.count() == 0;
    let error = job.errors.first().map(String::as_str);
    let (status, summary, seconds, failed_afterwards) = (job.status, None, None, None);
    nowhere.then_some(Went { started, ended, status, error, summary, failed_afterwards, seconds })
}
