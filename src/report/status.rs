//! The status of each job at each destination (R76).

use serde::{Deserialize, Serialize};

use crate::model::{HostName, Name};

/// How well something is, from the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As declared.
    #[default]
    Ok,
    /// A person should look at it by day.
    Warning,
    /// A backup is missing, or cannot be relied on.
    Critical,
}

/// What is said of a job at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A snapshot is there for the last time that the schedule had.
    Fresh,
    /// The last time has passed a moment ago, and its run may still be at it.
    Due,
    /// The first backup is being made.
    Running,
    /// Nothing says when there should be one, or the job is disabled.
    Unscheduled,
    /// No snapshot is there for a time that has passed.
    Overdue,
    /// No snapshot is there at all.
    NeverStored,
    /// The snapshot that the records know of as the last one is not there.
    Gone,
    /// The last run failed there.
    Failing,
    /// The last run stored it, but not all of it: files could not be read.
    Incomplete,
    /// The newest is much smaller than those before.
    Shrinking,
    /// The newest is much larger than those before.
    Growing,
    /// It was never verified, though the state asks for it.
    NeverVerified,
    /// It is verified less often than the state asks for.
    VerifyOverdue,
    /// The last verification found something wrong, or could not be made.
    VerifyFailed,
    /// There are far more snapshots than the retention keeps: it is not pruned.
    RetentionUnmet,
    /// A snapshot is of a time that has not come: a clock was wrong.
    FromTheFuture,
    /// There is no repository.
    NotInitialised,
    /// The repository could not be got at.
    Unreachable,
    /// It is there, and cannot be read: damaged, locked, another password.
    Unreadable,
}

impl Verdict {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Fresh,
        Self::Due,
        Self::Running,
        Self::Unscheduled,
        Self::Overdue,
        Self::NeverStored,
        Self::Gone,
        Self::Failing,
        Self::Incomplete,
        Self::Shrinking,
        Self::Growing,
        Self::NeverVerified,
        Self::VerifyOverdue,
        Self::VerifyFailed,
        Self::RetentionUnmet,
        Self::FromTheFuture,
        Self::NotInitialised,
        Self::Unreachable,
        Self::Unreadable,
    ];

    /// Returns the word for it, the same as in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Due => "due",
            Self::Running => "running",
            Self::Unscheduled => "unscheduled",
            Self::Overdue => "overdue",
            Self::NeverStored => "never_stored",
            Self::Gone => "gone",
            Self::Failing => "failing",
            Self::Incomplete => "incomplete",
            Self::Shrinking => "shrinking",
            Self::Growing => "growing",
            Self::NeverVerified => "never_verified",
            Self::VerifyOverdue => "verify_overdue",
            Self::VerifyFailed => "verify_failed",
            Self::RetentionUnmet => "retention_unmet",
            Self::FromTheFuture => "from_the_future",
            Self::NotInitialised => "not_initialised",
            Self::Unreachable => "unreachable",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A verdict with what a person should know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// How bad it is.
    pub level: Level,
    /// In words, without the job's and the destination's name.
    pub message: String,
}

/// A size at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Of when the snapshot is, UTC, as RFC 3339 has it.
    pub time: String,
    /// How many bytes its files have.
    pub bytes: u64,
}

/// How a job's backups at a destination are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The job.
    pub job: Name,
    /// The destination.
    pub destination: Name,
    /// Whether it is a copy.
    #[serde(default)]
    pub copy: bool,
    /// The worst level of what is said.
    pub level: Level,
    /// What is said, the worst first.
    pub judged: Vec<Judged>,
    /// Of when the newest snapshot is, UTC; the times below are too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_id: Option<String>,
    /// Of when the oldest one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// How many there are; none if the repository could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<usize>,
    /// How many bytes the files of the newest have, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The time that the schedule had last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// The time that it has next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// For how many seconds it has been overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue_seconds: Option<i64>,
    /// Since when each run has failed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// When it was last verified and found well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// When a sample was last restored from it and found right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drilled: Option<String>,
    /// How long the last run took to store it, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// How many bytes the last run added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<u64>,
    /// The sizes of its snapshots, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<Size>,
}

impl Line {
    /// Begins a line of which nothing is known yet.
    pub fn new(job: Name, destination: Name, copy: bool) -> Self {
        Self {
            job,
            destination,
            copy,
            level: Level::Ok,
            judged: Vec::new(),
            newest: None,
            newest_id: None,
            oldest: None,
            snapshots: None,
            bytes: None,
            due: None,
            next: None,
            overdue_seconds: None,
            failing_since: None,
            verified: None,
            drilled: None,
            seconds: None,
            added: None,
            sizes: Vec::new(),
        }
    }
}

/// What is said of the host itself, or of rlvm on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// What it is about: `drift`, `scheduler`, `secret`, `notify`, `metrics`, `records`, `journal`.
    pub about: String,
    /// How bad it is.
    pub level: Level,
    /// In words.
    pub message: String,
}

/// How a host's backups are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `1.0`; a minor version adds.
    pub format_version: String,
    /// Who wrote it.
    pub rlvm_version: String,
    /// The host.
    pub host: HostName,
    /// When it was asked, UTC, as RFC 3339 has it.
    pub time: String,
    /// The worst of all.
    pub level: Level,
    /// Whether anything in it was not asked anew. Nothing is cached: the repositories said it themselves.
    #[serde(default)]
    pub cached: bool,
    /// A line each job and destination, the worst first.
    pub lines: Vec<Line>,
    /// What else is to be said, the worst first.
    #[serde(default)]
    pub remarks: Vec<Remark>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_json() {
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.word());
        }
        assert_eq!(Verdict::ALL.last(), Some(&Verdict::Unreadable));
    }
}
