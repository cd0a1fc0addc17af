//! The record of a verification, stored with the records of runs: one JSON object per line.

use serde::{Deserialize, Serialize};

use crate::model::{HostName, Name};

/// The version of the format. A larger one may add; what it does not know a reader passes over.
pub const VERSION: u32 = 1;

/// What tells its line from a run's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A verification.
    #[default]
    Verify,
}

/// What a destination was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Well,
    /// Something in it is broken, missing, or not what was stored.
    Damaged,
    /// It could not be got at: that says nothing of what it holds.
    Unreachable,
    /// It was not looked at to the end: a lock, a wrong password, a time limit, a signal.
    Failed,
}

/// How much of the data was read back, beside the structure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// None.
    Nothing,
    /// The part with this number, from 1, of so many that are all of it together.
    Part {
        /// Which one.
        number: u32,
        /// Of how many.
        of: u32,
    },
    /// So much, by chance, in restic's words: `2G`.
    Share(String),
    /// All.
    All,
}

/// A destination, verified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// [`VERSION`].
    pub format_version: u32,
    /// `verify`.
    pub kind: Kind,
    /// Who wrote it.
    pub rlvm_version: String,
    /// The host.
    pub host: HostName,
    /// The destination.
    pub destination: Name,
    /// The jobs that it was verified for.
    pub jobs: Vec<Name>,
    /// When it began, UTC, as RFC 3339 has it.
    pub started: String,
    /// When it ended.
    pub ended: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it was found to be: the worst of the check and the drills.
    pub outcome: Outcome,
    /// What was read.
    pub read: Read,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was restored of it, and compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drills: Vec<DrillRecord>,
}

/// A sample of a job's newest snapshot, restored and compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillRecord {
    /// The job.
    pub job: Name,
    /// The snapshot.
    pub snapshot: String,
    /// How it went.
    pub outcome: Outcome,
    /// How many files were restored.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many of them were compared with the live file, which has not changed since.
    pub compared: u64,
    /// How many machine images qemu-img has looked at.
    #[serde(default, skip_serializing_if = "is_none")]
    pub images: u64,
    /// Which are not as they should be, and why: the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlike: Vec<(String, String)>,
    /// Why it failed, beside those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Checked {
    /// Reads a line of records; nothing of one that is of a run or of another format, or cut short.
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok().filter(|it: &Self| it.format_version == VERSION)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Record;

    #[test]
    fn a_line_comes_back_and_is_none_of_a_runs() {
        let checked = Checked {
            format_version: VERSION,
            kind: Kind::Verify,
            rlvm_version: "0.1.0".into(),
            host: "web01".parse().unwrap(),
            destination: "vault".parse().unwrap(),
            jobs: vec!["system".parse().unwrap()],
            started: "2026-11-21T06:00:00Z".into(),
            ended: "2026-11-21T06:01:00Z".into(),
            seconds: 60.0,
            outcome: Outcome::Well,
            read: Read::Part { number: 3, of: 20 },
            error: None,
            drills: Vec::new(),
        };
        let line = checked.line().unwrap();
        assert_eq!(line.lines().count(), 1);
        assert_eq!(Checked::read(&line), Some(checked));
        assert_eq!(Record::read(&line), None);
        assert_eq!(Checked::read(r#"{"format_version":1,"run":"0123456789ab"}"#), None);
    }
}
