//! The list of a repository's snapshots.

use serde::{Deserialize, Serialize};

use super::{Access, Found, Printed, call, forget, found};
use crate::{
    effect::{NotReadOnly, Query},
    host::Output,
    model::{HostName, Name},
};

/// How each tag begins that says of which job a snapshot is.
const OF_JOB: &str = "rlvm:job=";

/// A snapshot as restic lists it, under restic's own names. What 0.14 does not say yet is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// Its id, whole.
    pub id: String,
    /// What people call it: the first eight letters.
    pub short_id: String,
    /// Of when it is, as RFC 3339 has it, in the zone of who made it.
    pub time: String,
    /// Of which host.
    pub hostname: String,
    /// Who made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// What it is tagged with.
    #[serde(deserialize_with = "or_none")]
    pub tags: Vec<String>,
    /// What is stored.
    #[serde(deserialize_with = "or_none")]
    pub paths: Vec<String>,
    /// What was left out.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_none")]
    pub excludes: Vec<String>,
    /// The snapshot before, if it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The root of its tree.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tree: String,
    /// From which one it was copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// Which restic made it; since 0.15.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// What the backup came to; since 0.17.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Counts>,
}

/// What restic counts in a backup: it prints that at the end, and the snapshot keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// How many files were not in the one before.
    pub files_new: u64,
    /// How many files differ from the one before.
    pub files_changed: u64,
    /// How many files are as in the one before.
    pub files_unmodified: u64,
    /// How many bytes were added to the repository, before they were compressed.
    pub data_added: u64,
    /// How many files were looked at.
    pub total_files_processed: u64,
    /// How many bytes they have.
    pub total_bytes_processed: u64,
}

/// restic writes `null` for an empty list.
fn or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Listed {
    /// Returns of when it is.
    pub fn time(&self) -> Option<jiff::Timestamp> {
        self.time.parse().ok()
    }

    /// Says of which job it is: as rlvm tags each.
    pub fn job(&self) -> Option<Name> {
        self.tags.iter().find_map(|tag| tag.strip_prefix(OF_JOB)?.parse().ok())
    }

    /// Says whether an id, whole or short, is its own, or that of the one that it was copied from.
    pub fn is_called(&self, id: &str) -> bool {
        let ids = std::iter::once(&self.id).chain(&self.original);
        id.len() >= 8 && ids.into_iter().any(|whole| whole.starts_with(id))
    }

    /// Says whether it is of one of these hosts and jobs: a name, and what it was before (R79).
    pub fn is_of(&self, hosts: &[HostName], jobs: &[Name]) -> bool {
        hosts.iter().any(|host| host.as_str() == self.hostname)
            && jobs.iter().any(|job| self.tags.contains(&forget::tag(job)))
    }
}

impl Access<'_> {
    /// Lists the snapshots of these hosts and jobs, and takes no lock; of all hosts or jobs if none is named. What it prints
    /// reads [`listed`].
    ///
    /// # Errors
    ///
    /// Never, as long as the call stands in the reviewed list.
    pub fn snapshots(&self, hosts: &[HostName], jobs: &[Name], limit: u64) -> Result<Query, NotReadOnly> {
        let cmd = self.call_cached(&["snapshots", "--json", "--no-lock"]);
        let cmd = hosts.iter().fold(cmd, |cmd, host| cmd.args(["--host", host.as_str()]));
        let cmd = jobs.iter().fold(cmd, |cmd, job| cmd.arg("--tag").arg(forget::tag(job)));
        Query::new(cmd.ok(&[0, 1, 10, 11, 12]).timeout(limit))
    }
}

/// Returns the list that was printed; else says what is the matter with the repository.
///
/// # Errors
///
/// [`Found`], never [`Found::Ready`].
pub fn listed(printed: Printed<Vec<Listed>>, output: &Output) -> Result<Vec<Listed>, Found> {
    if output.code != Some(0) || output.timed_out {
        let output = Output { stderr: call::plain(&output.stderr), ..output.clone() };
        return Err(match found(&output) {
            Found::Ready { .. } => Found::Unreachable("restic says nothing of its snapshots".into()),
            other => other,
        });
    }
    let mut all = printed.value().map_err(Found::Unreachable)?.unwrap_or_default();
    if let Some(strange) = all.iter().find(|it| it.time().is_none()) {
        let (id, time) = (strange.id.escape_debug(), strange.time.escape_debug());
        return Err(Found::Damaged(format!("snapshot {id} is of no time: {time}")));
    }
    all.sort_by_key(Listed::time);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: i32, stdout: &str, stderr: &str) -> Result<Vec<Listed>, Found> {
        let mut printed = Printed::default();
        printed.read(&mut stdout.as_bytes());
        listed(printed, &Output { code: Some(code), stderr: stderr.into(), ..Output::default() })
    }

    #[test]
    fn lists_of_all_versions() {
        // Copied from 0.14.0 and 0.19.1, their paths apart.
        let old = r#"[{"time":"2026-11-02T02:30:04.1+01:00","tree":"5a","paths":["/etc"],"hostname":"web01","username":"root","tags":null,"id":"0b","short_id":"0b"}]"#;
        let new = r#"[{"time":"2026-11-02T02:30:04Z","tree":"5a","paths":["/etc"],"hostname":"web01","username":"root","uid":0,"tags":["rlvm:job=system"],"program_version":"restic 0.19.1","summary":{"backup_start":"x","files_new":2,"total_bytes_processed":9},"id":"0c","short_id":"0c"},
            {"time":"2026-11-01T02:30:04Z","paths":null,"hostname":"web01","tags":["x","rlvm:job=system"],"id":"0a"}]"#;
        assert_eq!(said(0, old, "").unwrap()[0].job(), None);
        let new = said(0, new, "").unwrap();
        assert_eq!((new[0].id.as_str(), new[1].id.as_str()), ("0a", "0c"), "the oldest first");
        assert_eq!(new[1].summary.unwrap().total_bytes_processed, 9);
        let is_of = |host: &str, job: &str| new[1].is_of(&[host.parse().unwrap()], &[job.parse().unwrap()]);
        assert!(is_of("web01", "system") && !is_of("web02", "system") && !is_of("web01", "sys"));
        for none in ["null\n", "[]"] {
            assert_eq!(said(0, none, ""), Ok(Vec::new()));
        }
        for empty in ["", "\n"] {
            assert!(
                matches!(said(0, empty, ""), Err(Found::Unreachable(why)) if why.contains("printed no list"))
            );
        }
    }

    #[test]
    fn what_is_the_matter() {
        let json =
            r#"{"message_type":"exit_error","code":12,"message":"Fatal: wrong password or no key found"}"#;
        assert_eq!(said(12, "", json), Err(Found::WrongPassword));
        assert_eq!(said(10, "", ""), Err(Found::Absent));
        assert!(
            matches!(said(0, "[{\"id\":", ""), Err(Found::Unreachable(why)) if why.contains("is not whole"))
        );
        assert!(matches!(said(0, r#"[{"id":"a","time":"x"}]"#, ""), Err(Found::Damaged(_))));
    }
}
