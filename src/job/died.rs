//! Builds the record of a dead run from its journal, because a killed run writes no record.

use jiff::Timestamp;

use super::{JobRecord, Left, Record, Status, StoreRecord, VERSION, journal::LeftJob};

/// Why a job of such a run is no success.
const DIED: &str = "rlvm was killed or the power failed before the run had ended";
/// Why what it was storing counts for nothing.
const UNJUDGED: &str = "rlvm was killed or the power failed before the backup was checked; a snapshot that was stored \
                        does not count as a backup";

impl Left {
    /// Returns the record of a run of jobs that has died; nothing of a run of something else.
    pub fn record(&self) -> Option<Record> {
        let (run, host) = (self.run.clone()?, self.host.clone()?);
        let (began, last) = (self.began?, self.last.or(self.began)?);
        Some(Record {
            format_version: VERSION,
            rlvm_version: env!("CARGO_PKG_VERSION").into(),
            run,
            host,
            started: stamp(began)?,
            // The times are cut to seconds. A clock that was set back makes no run end before it began.
            ended: stamp(last.max(began) + 1)?,
            #[expect(clippy::cast_precision_loss, reason = "no run takes so long")]
            seconds: (last - began).max(0) as f64,
            status: Status::Interrupted,
            jobs: self.jobs.iter().map(of_job).collect(),
            warnings: Vec::new(),
            left: Vec::new(),
        })
    }
}

impl Left {
    /// Returns what a run of jobs that lives is storing, as if it had skipped that: nothing is known of it yet.
    pub fn running(&self) -> Option<Record> {
        let mut record = self.record()?;
        record.status = Status::Skipped;
        for job in &mut record.jobs {
            (job.status, job.errors, job.copies) = (Status::Skipped, Vec::new(), Vec::new());
            // What it has checked counts once it says so in its record, or now: nothing doubts it.
            job.destinations.retain(|it| !it.unjudged.is_empty());
            for store in &mut job.destinations {
                (store.status, store.error, store.summary) = (Status::Skipped, None, None);
            }
        }
        Some(record)
    }
}

fn of_job(job: &LeftJob) -> JobRecord {
    let open = job.open.iter().map(|(destination, tries)| StoreRecord {
        status: Status::Interrupted,
        unjudged: tries.iter().filter_map(|at| stamp(*at)).collect(),
        ..StoreRecord::failed(destination, u32::try_from(tries.len()).unwrap_or(u32::MAX), UNJUDGED)
    });
    JobRecord {
        job: job.name.clone(),
        status: Status::Interrupted,
        errors: vec![DIED.into()],
        warnings: Vec::new(),
        froze: None,
        destinations: job.destinations.iter().cloned().chain(open).collect(),
        copies: job.copies.clone(),
    }
}

fn stamp(seconds: i64) -> Option<String> {
    Some(Timestamp::from_second(seconds).ok()?.to_string())
}
