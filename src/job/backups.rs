//! Tells which of restic's snapshots are backups. A snapshot counts as a backup if its run has
//! checked it and recorded that.
//!
//! A snapshot that no record mentions counts too: older repositories, lost records, other hosts.

use jiff::Timestamp;

use super::{Record, Status, StoreRecord};
use crate::{
    model::{HostName, Name},
    restic::Listed,
};

/// How much earlier than its try a snapshot may seem to be, in seconds: times of files are coarse.
const EARLIER: i64 = 2;
/// How long after the start of a try restic may give its snapshot a time, in seconds. restic does it as it starts (tried
/// with 0.14.0, 0.18.0 and 0.19.1).
const LATER: i64 = 10 * 60;

/// Why a snapshot is no backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its run has found that it is none.
    Failed,
    /// Its run was killed or ended before it had looked at it.
    Unjudged,
}

impl Fault {
    /// Returns the reason in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Failed => "its backup failed",
            Self::Unjudged => "its run has not checked the backup",
        }
    }
}

/// What records tell of snapshots.
#[derive(Clone, Debug, Default)]
pub struct Backups<'a> {
    /// What was stored or copied, and counts.
    good: Vec<&'a StoreRecord>,
    failed: Vec<&'a str>,
    unjudged: Vec<Try<'a>>,
}

/// A try of which nobody knows what it has stored.
#[derive(Clone, Debug)]
struct Try<'a> {
    host: &'a HostName,
    job: &'a Name,
    destination: &'a Name,
    began: i64,
}

impl<'a> Backups<'a> {
    /// Takes what runs have recorded.
    pub fn of(runs: &'a [Record]) -> Self {
        let mut all = Self::default();
        for run in runs {
            for job in &run.jobs {
                for store in job.destinations.iter().chain(&job.copies) {
                    all.add(&run.host, &job.job, store);
                }
            }
        }
        all
    }

    fn add(&mut self, host: &'a HostName, job: &'a Name, store: &'a StoreRecord) {
        let began = store.unjudged.iter().filter_map(|it| it.parse::<Timestamp>().ok());
        let destination = &store.destination;
        self.unjudged.extend(began.map(|began| Try { host, job, destination, began: began.as_second() }));
        match &store.summary {
            Some(_) if store.status <= Status::Incomplete => self.good.push(store),
            Some(summary) => self.failed.push(&summary.snapshot_id),
            None => {}
        }
    }

    /// Says why a snapshot, or the one that it was copied from, is no backup; nothing if it is one, or nothing is known of it.
    /// `destinations` are the names that its destination has and had.
    pub fn fault(&self, destinations: &[Name], snapshot: &Listed) -> Option<Fault> {
        if self.failed.iter().any(|id| snapshot.is_called(id)) {
            return Some(Fault::Failed);
        }
        let time = snapshot.time()?.as_second();
        let is_of = |it: &Try<'_>| {
            (it.began - EARLIER..=it.began + LATER).contains(&time)
                && snapshot.is_of(std::slice::from_ref(it.host), std::slice::from_ref(it.job))
                && (snapshot.original.is_some() || destinations.contains(it.destination))
        };
        let is_unjudged = self.unjudged.iter().any(is_of) && self.stored(snapshot).is_none();
        is_unjudged.then_some(Fault::Unjudged)
    }

    /// Says whether the run of a backup has said that it lacks something.
    pub fn is_incomplete(&self, snapshot: &Listed) -> bool {
        self.stored(snapshot).is_some_and(|it| it.status == Status::Incomplete)
    }

    /// Says whether the run of a backup has found that it is complete.
    pub fn is_complete(&self, snapshot: &Listed) -> bool {
        self.stored(snapshot).is_some_and(|it| it.status < Status::Incomplete)
    }

    fn stored(&self, snapshot: &Listed) -> Option<&'a StoreRecord> {
        let is_it = |it: &&&StoreRecord| {
            it.summary.as_ref().is_some_and(|summary| snapshot.is_called(&summary.snapshot_id))
        };
        self.good.iter().find(is_it).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobRecord, VERSION};

    fn listed(id: &str, time: &str, original: Option<&str>) -> Listed {
        Listed {
            id: id.repeat(32),
            time: time.into(),
            hostname: "web01".into(),
            tags: vec!["rlvm:job=web".into()],
            original: original.map(|it| it.repeat(32)),
            ..Listed::default()
        }
    }

    #[test]
    fn a_snapshot_of_a_try_that_nobody_judged_is_no_backup() {
        let vault: Name = "vault".parse().unwrap();
        let summary =
            |id: &str| serde_json::from_str(&format!(r#"{{"snapshot_id":"{}"}}"#, id.repeat(32))).ok();
        let of = |status, id: Option<&str>, unjudged: &[&str]| StoreRecord {
            status,
            summary: id.and_then(summary),
            unjudged: unjudged.iter().map(|it| (*it).to_owned()).collect(),
            ..StoreRecord::failed(&vault, 1, "no")
        };
        let stores = [
            of(Status::Interrupted, None, &["2026-11-20T02:30:05Z"]),
            of(Status::Success, Some("aa"), &[]),
            of(Status::Incomplete, Some("bb"), &[]),
            of(Status::Failed, Some("cc"), &[]),
        ];
        let job = JobRecord {
            job: "web".parse().unwrap(),
            status: Status::Interrupted,
            errors: Vec::new(),
            warnings: Vec::new(),
            froze: None,
            destinations: stores.into(),
            copies: Vec::new(),
        };
        let runs = [Record {
            format_version: VERSION,
            rlvm_version: String::new(),
            run: "0123456789ab".parse().unwrap(),
            host: "web01".parse().unwrap(),
            started: String::new(),
            ended: String::new(),
            seconds: 0.0,
            status: Status::Interrupted,
            jobs: vec![job],
            warnings: Vec::new(),
            left: Vec::new(),
        }];
        let backups = Backups::of(&runs);
        let fault = |it: &Listed| backups.fault(std::slice::from_ref(&vault), it);
        let at = "2026-11-20T02:30:06Z";
        let unjudged = Some(Fault::Unjudged);
        for (id, time, original, expected) in [
            ("dd", at, None, unjudged),
            ("dd", "2026-11-20T02:30:03Z", None, unjudged),
            ("dd", "2026-11-20T02:30:02Z", None, None),
            ("dd", "2026-11-20T02:40:06Z", None, None),
            ("dd", at, Some("ee"), unjudged),
            ("dd", at, Some("aa"), None),
            ("aa", at, None, None),
            ("bb", at, None, None),
            ("cc", "2020-11-20T02:30:03Z", None, Some(Fault::Failed)),
        ] {
            assert_eq!(fault(&listed(id, time, original)), expected, "{id} {time} {original:?}");
        }
        let strange = |change: fn(&mut Listed)| {
            let mut it = listed("dd", at, None);
            change(&mut it);
            it
        };
        assert_eq!(fault(&strange(|it| it.hostname = "web02".into())), None);
        assert_eq!(fault(&strange(|it| it.tags.clear())), None);
        let (at_other, copy) = (["other".parse().unwrap()], listed("dd", at, Some("ee")));
        assert_eq!(backups.fault(&at_other, &listed("dd", at, None)), None);
        assert_eq!(backups.fault(&at_other, &copy), unjudged);
        let is_incomplete = |id| backups.is_incomplete(&listed(id, at, None));
        assert!(is_incomplete("bb") && !is_incomplete("aa") && !is_incomplete("dd"));
        assert_eq!(Backups::of(&[]).fault(&at_other, &copy), None, "without records each counts");
    }
}
