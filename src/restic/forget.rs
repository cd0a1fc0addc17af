//! Removes old backups of a job: which ones go, and restic's calls.
//!
//! rlvm first asks restic which snapshots would go (`forget --dry-run`). Afterwards it checks the same list against
//! the repository.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Access, Found, Listed, Printed, call::plain, found};
use crate::{
    effect::{Cmd, NotReadOnly, Query},
    host::Output,
    model::{DataPrune, HostName, Name, Retention},
};

/// The tag that keeps a snapshot whatever its age (R63).
const PROTECTED: &str = "protected";
/// How long it may take to list what goes, in seconds: without a cache restic reads each snapshot over the network.
pub(super) const LIST: u64 = 900;
/// How long it may take to forget, in seconds; 0.14 tries each removal that is refused for 45 s (tried).
const FORGET: u64 = 3600;
/// How long it may take to remove what nothing needs any more, in seconds.
const PRUNE: u64 = 24 * 3600;

/// Whose backups, and which of them are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The host, and what it was called before.
    pub hosts: Vec<HostName>,
    /// The job, and what it was called before.
    pub jobs: Vec<Name>,
    /// What is kept.
    pub retention: Retention,
}

/// A backup in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: String,
    /// Of when it is.
    pub time: Timestamp,
    /// All that restic says of it.
    pub listed: Listed,
}

/// What restic would do with a job's backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// Those that stay.
    pub keep: Vec<Snapshot>,
    /// Those that go.
    pub remove: Vec<Snapshot>,
}

/// How a call ended that needs the repository for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Done,
    /// Somebody has a lock on it: who.
    Locked(String),
    /// Otherwise: why.
    Failed(String),
}

impl Policy {
    /// Returns the words that say it: of this host, this job, whatever the paths were.
    ///
    /// Several `--host` or `--tag` are any of them. Grouped by host, since without it restic groups by paths too, and
    /// a job whose paths have changed would keep its last ones for ever.
    fn words(&self) -> Vec<String> {
        let hosts = self.hosts.iter().flat_map(|host| ["--host".to_owned(), host.to_string()]);
        let jobs = self.jobs.iter().flat_map(|job| ["--tag".to_owned(), tag(job)]);
        let counts = self.retention.counts();
        let counts = counts.into_iter().filter_map(|(name, count)| Some((name, count?)));
        let counts = counts.flat_map(|(name, count)| [format!("--keep-{name}"), count.to_string()]);
        // restic knows years, months, days and hours: the state has whole hours alone.
        let within = self.retention.keep_within.iter();
        let within = within.flat_map(|it| ["--keep-within".to_owned(), format!("{}h", it.seconds() / 3600)]);
        let fixed = ["--keep-tag", PROTECTED, "--group-by", "host"].map(str::to_owned);
        hosts.chain(jobs).chain(counts).chain(within).chain(fixed).collect()
    }
}

/// Returns the tag that each of a job's snapshots has.
pub fn tag(job: &Name) -> String {
    format!("rlvm:job={job}")
}

impl Access<'_> {
    /// Asks what would go, and takes no lock.
    ///
    /// # Errors
    ///
    /// Never, as long as the call stands in the reviewed list.
    pub fn foresee(&self, policy: &Policy) -> Result<Query, NotReadOnly> {
        let start = ["forget", "--dry-run", "--json", "--no-lock"];
        Query::new(self.of_policy(&start, policy).ok(&[0, 1, 10, 11, 12]).timeout(LIST))
    }

    /// Forgets what the policy does not keep. What only that held stays in the store until [`Access::prune`].
    pub fn forget(&self, policy: &Policy) -> Cmd {
        exclusive(self.of_policy(&["forget"], policy), FORGET)
    }

    /// Removes one snapshot, whose id follows.
    pub fn forget_one(&self) -> Cmd {
        self.call_cached(&["forget"]).timeout(FORGET).stoppable()
    }

    /// Removes these snapshots, whatever a policy says.
    pub fn forget_these(&self, ids: &[&str]) -> Cmd {
        exclusive(self.call_cached(&["forget"]).arg("--").args(ids.iter().copied()), FORGET)
    }

    /// Removes what no snapshot needs any more, within these limits.
    pub fn prune(&self, limits: DataPrune) -> Cmd {
        let mut words = vec!["prune".to_owned()];
        words.extend(limits.max_unused.map(|most| format!("--max-unused={}", most.for_restic())));
        // The state refuses a share here, which restic does not take.
        words.extend(limits.max_repack_size.map(|most| format!("--max-repack-size={}", most.of(0))));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        exclusive(self.call_cached(&words), PRUNE)
    }

    /// Removes the packs in which no snapshot needs anything, and repacks none. Repacking needs room for new packs: on a
    /// full file system only this frees any.
    pub fn prune_without_repacking(&self) -> Cmd {
        exclusive(self.call_cached(&["prune", "--max-repack-size=0"]), PRUNE)
    }

    fn of_policy(&self, start: &[&str], policy: &Policy) -> Cmd {
        let words = policy.words();
        let words = start.iter().copied().chain(words.iter().map(String::as_str));
        self.call_cached(&words.collect::<Vec<_>>())
    }
}

/// Makes it a call that takes the repository for itself, and can be asked to end.
fn exclusive(cmd: Cmd, limit: u64) -> Cmd {
    cmd.ok(&[0, 1, 3, 11]).timeout(limit).stoppable()
}

/// Says whether a call failed because the repository's file system is full.
pub fn is_full(why: &str) -> bool {
    ["no space left on device", "disk quota exceeded"].iter().any(|full| why.contains(full))
}

/// Reads how a call ended that needs the repository for itself.
pub fn ended(output: &Output) -> Ended {
    let said = plain(&output.stderr);
    let locked = said.lines().find_map(|line| line.split_once("repository is already locked"));
    match (output.code, locked) {
        (Some(0), _) => Ended::Done,
        (Some(1 | 11), Some((_, by))) => Ended::Locked(by.trim().to_owned()),
        (Some(11), None) => Ended::Locked(String::new()),
        (code, _) => {
            let code = code.map_or("a signal".into(), |code| format!("exit code {code}"));
            Ended::Failed(format!("{} ({code})", super::reason(&said)))
        }
    }
}

/// Returns what restic would do, as it printed it; of no snapshots it says nothing.
///
/// # Errors
///
/// Says what is wrong with the repository, or with what restic said.
pub fn foreseen(printed: Printed<Vec<Group>>, output: &Output) -> Result<Foreseen, String> {
    let mut all = Foreseen::default();
    for group in foreseen_groups(printed, output)? {
        all.keep.extend(group.keep);
        all.remove.extend(group.remove);
    }
    Ok(all)
}

/// Returns what restic would do with each group of snapshots, as it printed them.
///
/// # Errors
///
/// As [`foreseen`].
pub fn foreseen_groups(printed: Printed<Vec<Group>>, output: &Output) -> Result<Vec<Foreseen>, String> {
    if output.timed_out {
        return Err(format!("{} {LIST} s", super::SILENT));
    }
    if output.code != Some(0) {
        let output = Output { stderr: plain(&output.stderr), ..output.clone() };
        return Err(match found(&output) {
            Found::Absent => "there is no repository".into(),
            Found::WrongPassword => "wrong password".into(),
            Found::Locked => "locked".into(),
            Found::Damaged(why) => format!("damaged: {why}"),
            Found::Unreachable(why) => why,
            Found::Ready { .. } => "restic says nothing of its backups".into(),
        });
    }
    let mut all = Vec::new();
    for group in printed.value_if_any()?.into_iter().flatten() {
        let mut foreseen = Foreseen::default();
        for (from, to) in [(group.keep, &mut foreseen.keep), (group.remove, &mut foreseen.remove)] {
            for listed in from.into_iter().flatten() {
                to.push(snapshot(listed)?);
            }
        }
        all.push(foreseen);
    }
    Ok(all)
}

/// Snapshots as restic groups them. What else it says of each, and why it keeps some, is passed over.
#[derive(Deserialize)]
pub struct Group {
    keep: Option<Vec<Listed>>,
    remove: Option<Vec<Listed>>,
}

fn snapshot(listed: Listed) -> Result<Snapshot, String> {
    let Some(time) = listed.time() else {
        return Err(format!("{} is of no time: {}", listed.id, listed.time.escape_debug()));
    };
    Ok(Snapshot { id: listed.id.clone(), time, listed })
}

impl Snapshot {
    /// Says whether it stays whatever its age.
    pub fn is_protected(&self) -> bool {
        self.listed.tags.iter().any(|tag| tag == PROTECTED)
    }
}

impl Foreseen {
    /// Lists what was to go and is there still.
    pub fn left<'a>(&self, after: &'a Self) -> Vec<&'a Snapshot> {
        let gone: BTreeSet<&str> = self.remove.iter().map(|it| it.id.as_str()).collect();
        after.all().filter(|it| gone.contains(it.id.as_str())).collect()
    }

    /// Lists all.
    pub fn all(&self) -> impl Iterator<Item = &Snapshot> {
        self.keep.iter().chain(&self.remove)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Snapshots of `web01`, each with its day as its id.
    pub(in crate::restic) fn list(keep: &[&str], remove: &[&str]) -> Foreseen {
        let all = |days: &[&str]| {
            let of = |day: &&str| Snapshot {
                id: (*day).to_owned(),
                time: format!("{day}T02:30:00Z").parse().unwrap(),
                listed: Listed { hostname: "web01".into(), ..Listed::default() },
            };
            days.iter().map(of).collect()
        };
        Foreseen { keep: all(keep), remove: all(remove) }
    }

    #[test]
    fn a_policy_in_restics_words() {
        // R63
        let policy = Policy {
            hosts: vec!["web01".parse().unwrap(), "old".parse().unwrap()],
            jobs: vec!["system".parse().unwrap(), "sys".parse().unwrap()],
            retention: Retention {
                last: Some(3),
                daily: Some(0),
                keep_within: "2d".parse().ok(),
                ..Retention::default()
            },
        };
        assert_eq!(
            policy.words().join(" "),
            "--host web01 --host old --tag rlvm:job=system --tag rlvm:job=sys --keep-last 3 --keep-daily 0 \
             --keep-within 48h --keep-tag protected --group-by host"
        );
    }

    #[test]
    fn what_restic_foresees() {
        let said = |code, stdout: &str, stderr: &str| {
            let mut printed = Printed::default();
            printed.read(&mut stdout.as_bytes());
            foreseen(printed, &Output { code: Some(code), stderr: stderr.into(), ..Output::default() })
        };
        // No snapshots, with 0.14, 0.18 and 0.19.
        assert_eq!(said(0, "\n", ""), Ok(Foreseen::default()));
        assert_eq!(said(0, "null\n", ""), Ok(Foreseen::default()));
        let json = r#"[{"tags":null,"host":"h1","paths":null,"keep":[{"time":"2024-03-01T01:00:00.5+01:00","tree":"5a","id":"06"}],
            "remove":null,"reasons":[]},{"keep":null,"remove":[{"time":"2024-01-01T00:00:00Z","id":"99"}]}]"#;
        let both = said(0, json, "").unwrap();
        assert_eq!((both.keep.len(), both.remove[0].id.as_str()), (1, "99"));
        assert_eq!(both.keep[0].time.to_string(), "2024-03-01T00:00:00.5Z");
        assert!(said(0, &json[..100], "").is_err() && said(0, &json.replace("2024-01", "x"), "").is_err());
        let wrong = "Fatal: wrong password or no key found";
        let as_json = format!(r#"{{"message_type":"exit_error","code":12,"message":"{wrong}"}}"#);
        for (code, stderr, expected) in [
            (1, wrong, "wrong password"),
            (12, as_json.as_str(), "wrong password"),
            (10, "", "there is no repository"),
            (11, "", "locked"),
            (
                1,
                r#"{"message_type":"exit_error","code":1,"message":"Fatal: unable to open config file: no\nx"}"#,
                "Fatal: unable to open config file: no",
            ),
        ] {
            assert_eq!(said(code, "", stderr), Err(expected.into()), "{code} {stderr}");
        }
    }

    #[test]
    fn how_it_ended() {
        let said = |code, stderr: &str| {
            ended(&Output { code: Some(code), stderr: stderr.into(), ..Output::default() })
        };
        let locked = "unable to create lock in backend: repository is already locked by PID 9 on vm by root (UID 0, GID 0)\nlock was";
        let by = Ended::Locked("by PID 9 on vm by root (UID 0, GID 0)".into());
        assert_eq!(said(0, ""), Ended::Done);
        assert_eq!((said(1, locked), said(11, locked)), (by.clone(), by));
        // 0.19 of a store that removes nothing; 0.14 says 1, 0.18 says 0.
        let refused = said(3, "unable to remove <snapshot/72> from the repository\n");
        assert!(matches!(refused, Ended::Failed(why) if why.starts_with("unable to remove ")));
    }

    #[test]
    fn what_is_left() {
        let before = list(&["2026-11-20"], &["2026-01-01", "2026-01-02"]);
        assert!(before.left(&list(&["2026-11-21", "2026-11-20"], &[])).is_empty());
        let after = list(&["2026-11-20"], &["2026-01-02"]);
        assert_eq!(before.left(&after).len(), 1);
    }
}
