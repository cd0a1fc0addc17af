//! The record of a run: one JSON object per line.

use serde::{Deserialize, Serialize};

use crate::{
    model::{HostName, Name, RunId},
    restic::Summary,
};

/// The version of the format. A larger one may add; what it does not know a reader passes over.
pub const VERSION: u32 = 1;

/// How something ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing was stored: every destination was away, and each has `may_be_absent`.
    Skipped,
    /// All that was to be stored is stored.
    #[default]
    Success,
    /// Something is stored, and something is missing: a destination, a file that could not be read.
    Incomplete,
    /// Nothing is stored, or nothing that can be trusted.
    Failed,
    /// A signal ended it.
    Interrupted,
}

impl Status {
    /// Says whether nothing went wrong.
    pub const fn is_fine(self) -> bool {
        matches!(self, Self::Skipped | Self::Success)
    }

    /// Returns the word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Success => "success",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub format_version: u32,
    /// Who wrote it.
    pub rlvm_version: String,
    /// The run.
    pub run: RunId,
    /// The host.
    pub host: HostName,
    /// When it began, UTC, as RFC 3339 has it.
    pub started: String,
    /// When it ended.
    pub ended: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How it ended.
    pub status: Status,
    /// Its jobs.
    pub jobs: Vec<JobRecord>,
    /// What a person should know, of all jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What could not be undone, for `rlvm sweep`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// A job of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job.
    pub job: Name,
    /// How it ended.
    pub status: Status,
    /// What was wrong, beside its destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How long its sources took to freeze, in seconds; none if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub froze: Option<f64>,
    /// What was stored where.
    #[serde(default)]
    pub destinations: Vec<StoreRecord>,
    /// What was copied where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<StoreRecord>,
}

/// What was stored at a destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreRecord {
    /// The destination.
    pub destination: Name,
    /// How it ended.
    pub status: Status,
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What restic says that it came to; its `snapshot_id` is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// When each try began of which the run does not know what it has stored, UTC, as RFC 3339 has it: a snapshot of then
    /// is no backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unjudged: Vec<String>,
    /// How many files could not be read.
    #[serde(default, skip_serializing_if = "crate::model::field::is_default")]
    pub unreadable: u64,
    /// The first of them, each with why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_unreadable: Vec<(String, String)>,
}

impl StoreRecord {
    /// Begins the record of what has failed so far.
    pub(super) fn failed(destination: &Name, attempts: u32, why: &str) -> Self {
        Self {
            destination: destination.clone(),
            status: Status::Failed,
            attempts,
            seconds: 0.0,
            error: Some(why.into()),
            summary: None,
            unjudged: Vec::new(),
            unreadable: 0,
            first_unreadable: Vec::new(),
        }
    }
}

impl JobRecord {
    /// Says whether something of it is missing at a destination: it failed, or a file could not be read.
    pub fn lacks(&self) -> bool {
        self.destinations.iter().chain(&self.copies).any(|it| !it.status.is_fine())
    }
}

impl Record {
    /// Reads a line of records; nothing of one that is of another format, or cut short.
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok().filter(|record: &Self| record.format_version == VERSION)
    }

    /// Writes it as a line.
    ///
    /// # Errors
    ///
    /// Never: it holds nothing that JSON does not know.
    pub fn line(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}

/// Says how several things ended together: something is stored, and something is not, is incomplete.
pub fn together(all: impl IntoIterator<Item = Status>) -> Status {
    let all: Vec<Status> = all.into_iter().collect();
    let worst = all.iter().max().copied().unwrap_or_default();
    let stored = all.iter().any(|status| [Status::Success, Status::Incomplete].contains(status));
    if worst == Status::Failed && stored { Status::Incomplete } else { worst }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_that_failed_leave_it_incomplete() {
        use Status::{Failed, Incomplete, Interrupted, Skipped, Success};
        for (all, expected) in [
            (vec![], Success),
            (vec![Success, Success], Success),
            (vec![Success, Failed], Incomplete),
            (vec![Failed, Failed], Failed),
            (vec![Failed, Incomplete], Incomplete),
            (vec![Success, Interrupted], Interrupted),
            (vec![Skipped, Skipped], Skipped),
            (vec![Skipped, Success], Success),
            (vec![Skipped, Failed], Failed),
            (vec![Skipped, Incomplete], Incomplete),
        ] {
            assert_eq!(together(all), expected);
        }
    }

    #[test]
    fn a_record_is_a_line_and_comes_back() {
        let record = Record {
            format_version: VERSION,
            rlvm_version: "0.1.0".into(),
            run: "0123456789ab".parse().unwrap(),
            host: "web01".parse().unwrap(),
            started: "2026-11-21T02:30:00Z".into(),
            ended: "2026-11-21T02:31:00Z".into(),
            seconds: 60.5,
            status: Status::Success,
            jobs: Vec::new(),
            warnings: Vec::new(),
            left: Vec::new(),
        };
        let line = record.line().unwrap();
        assert_eq!(line.lines().count(), 1);
        assert_eq!(Record::read(&line), Some(record));
        assert_eq!(Record::read(&line.replace("\"format_version\":1", "\"format_version\":2")), None);
        assert_eq!(Record::read(&line[..line.len() / 2]), None);
    }
}
