//! `rlvm snapshots`: lists the backups at each destination with job, host and time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::{
    ask::ask,
    context::Context,
    exit::{Exit, Failure},
    kept::applied,
    records,
    run::named,
};
use crate::{
    expand::expand,
    job::{Backups, Fault, Record},
    model::{Name, Span},
    plan::show::{Paint, visible},
    report::{judge::Said, words},
    restic::{Found, Listed},
    state::State,
};

/// List the backups at each destination, with job, host and time
///
/// Lists the backups of this host, under its former names too; --all-hosts lists those of all hosts. Asks the
/// repositories side by side, changes nothing and locks nothing. Uses the state that was applied last, unless --state
/// names another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm snapshots
  rlvm snapshots system --to vault --latest 3
  rlvm snapshots --json | jq -r '.snapshots[] | [.time, .short_id, .job] | @tsv'

In JSON, field names are restic's, with `job`, `destination` and `status` added. `status` is what the run records of this
host say: complete, incomplete, failed or unchecked (its run has not checked it yet). There is no `status` if no record
names the snapshot. Failed and unchecked snapshots do not count as backups. restic before 0.17 has no `summary`.

Exit codes:
  0  all repositories were read    9  one could not be read; the others are shown")]
pub(super) struct SnapshotsVerb {
    /// Limit to these jobs
    #[arg(value_name = "JOB")]
    jobs: Vec<Name>,
    /// Limit to this destination (can be repeated)
    #[arg(long, value_name = "DESTINATION")]
    to: Vec<Name>,
    /// Limit to the newest COUNT of each job and host at each destination
    #[arg(long, value_name = "COUNT")]
    latest: Option<usize>,
    /// Include other hosts
    #[arg(long)]
    all_hosts: bool,
    /// Give up on a repository after this time
    #[arg(long, value_name = "TIME", default_value = "30s")]
    timeout: Span,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Serialize)]
struct Listing {
    format_version: &'static str,
    snapshots: Vec<Shown>,
    /// The destinations that could not be read.
    unreadable: Vec<Unread>,
}

/// A snapshot, with what it belongs to.
#[derive(Clone, Serialize)]
struct Shown {
    /// The job, under the name that it has now; none if rlvm did not make it.
    job: Option<Name>,
    destination: Name,
    /// What the records of runs say of it; none if they do not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<SnapshotStatus>,
    #[serde(flatten)]
    listed: Listed,
    /// How many bytes its files have, as its run's record has it where restic does not say it.
    #[serde(skip)]
    bytes: Option<u64>,
    #[serde(skip)]
    at: Timestamp,
}

/// What a run has found of the snapshot that it stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum SnapshotStatus {
    Complete,
    Incomplete,
    Failed,
    Unchecked,
}

impl SnapshotStatus {
    fn of(backups: &Backups<'_>, destinations: &[Name], it: &Listed) -> Option<Self> {
        match backups.fault(destinations, it) {
            Some(Fault::Failed) => Some(Self::Failed),
            Some(Fault::Unjudged) => Some(Self::Unchecked),
            None if backups.is_incomplete(it) => Some(Self::Incomplete),
            None => backups.is_complete(it).then_some(Self::Complete),
        }
    }

    /// Returns what a person has to know of it; nothing of one that is complete.
    const fn words(self) -> Option<&'static str> {
        match self {
            Self::Complete => None,
            Self::Incomplete => Some("incomplete"),
            Self::Failed => Some("failed: does not count as a backup"),
            Self::Unchecked => Some("unchecked: does not count as a backup"),
        }
    }
}

#[derive(Serialize)]
struct Unread {
    destination: Name,
    error: String,
    /// Whether it has `may_be_absent` and cannot be reached: that is no error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    absent: bool,
}

impl SnapshotsVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.running("repositories are read")?;
        let state = applied(context, &host)?;
        let destinations = self.destinations(&state)?;
        let expanded = expand(&state, &context.user_facts(&host, &state)?, &context.scope()?);
        let own = state.hosts();
        let hosts = if self.all_hosts { &[][..] } else { &own };
        let jobs: Vec<Name> = self.jobs.iter().flat_map(|name| state.jobs[name].names(name)).collect();
        let limit = self.timeout.seconds();
        let said = ask(context, &host, &expanded, &destinations, (hosts, &jobs), limit);
        let runs = records::all_and_running(context, &host).map_or_else(
            |err| {
                let word = context.printer.err_style().paint(Paint::Changed, "warning");
                let why = visible(&format!("{err:#}"));
                context.printer.note(&format!("{word}: cannot read which snapshots are complete: {why}\n"));
                Vec::new()
            },
            |all| all.runs,
        );
        let all = self.sorted(&state, &said, &runs);
        if self.json {
            context.printer.json(&all)?;
        } else {
            let style = context.printer.style;
            let mut lines = table(&all.snapshots, &context.environment.zone).into_iter();
            if let Some(head) = lines.next() {
                context.printer.print(&format!("{}\n", style.paint(Paint::Faint, &head)))?;
            }
            context.printer.print(&lines.map(|line| line + "\n").collect::<String>())?;
            if all.snapshots.is_empty() && all.unreadable.is_empty() {
                context.printer.say("no snapshots\n")?;
            }
        }
        for Unread { destination, error, absent } in &all.unreadable {
            let (word, paint) = if *absent { ("note", Paint::Faint) } else { ("error", Paint::Removed) };
            let word = context.printer.err_style().paint(paint, word);
            context.printer.note(&format!("{word}: {destination}: {}\n", visible(error)));
        }
        Ok(if all.unreadable.iter().all(|it| it.absent) { Exit::Ok } else { Exit::Unwell })
    }

    /// Lists the destinations that are asked.
    fn destinations<'a>(&self, state: &'a State) -> Result<BTreeSet<&'a Name>> {
        let mut used = BTreeSet::new();
        for name in &self.jobs {
            let (_, job) = named(state, name)?;
            used.extend(job.to.iter().chain(job.copy.keys()));
        }
        if self.jobs.is_empty() {
            used.extend(state.destinations.keys());
        }
        for to in &self.to {
            if !used.contains(to) {
                let names: Vec<&str> = used.iter().map(|it| it.as_str()).collect();
                let message = format!("--to {to}: there is no such destination here");
                bail!(Failure::new(Exit::Usage, message).help(format!("there are: {}", names.join(", "))));
            }
        }
        Ok(used.into_iter().filter(|name| self.to.is_empty() || self.to.contains(name)).collect())
    }

    /// Takes what was asked for, sorted by job, destination, host and time.
    fn sorted(&self, state: &State, said: &BTreeMap<Name, Said>, runs: &[Record]) -> Listing {
        let mut all = Listing { format_version: "1.0", snapshots: Vec::new(), unreadable: Vec::new() };
        let hosts = state.hosts();
        let backups = Backups::of(runs);
        for (destination, said) in said {
            let listed = match said {
                Ok(listed) => listed,
                Err(found) => {
                    let may_be =
                        state.destinations.get(destination).is_some_and(|it| it.may_be_absent.is_some());
                    let absent = may_be && matches!(found, Found::Unreachable(_));
                    let (destination, error) = (destination.clone(), words::trouble(found));
                    all.unreadable.push(Unread { destination, error, absent });
                    continue;
                }
            };
            let names = state.names_of(destination);
            let here = |it: &&Listed| self.all_hosts || hosts.iter().any(|host| host.as_str() == it.hostname);
            let shown = listed.iter().filter(here).filter_map(|it| {
                let (job, bytes) = (job_of(state, it), bytes(it, runs));
                Some(Shown {
                    job,
                    destination: destination.clone(),
                    status: SnapshotStatus::of(&backups, &names, it),
                    bytes,
                    at: it.time()?,
                    listed: it.clone(),
                })
            });
            let asked = |it: &Shown| {
                self.jobs.is_empty() || it.job.as_ref().is_some_and(|job| self.jobs.contains(job))
            };
            all.snapshots.extend(shown.filter(asked));
        }
        // What is no job's comes last.
        all.snapshots.sort_by(|a, b| {
            let of = |it: &Shown| {
                (it.job.is_none(), it.job.clone(), it.destination.clone(), it.listed.hostname.clone(), it.at)
            };
            of(a).cmp(&of(b))
        });
        if let Some(count) = self.latest {
            all.snapshots = latest(&all.snapshots, count);
        }
        all
    }
}

/// Says what a job that a snapshot is of is called now.
fn job_of(state: &State, it: &Listed) -> Option<Name> {
    let tagged = it.job()?;
    let now = state.jobs.iter().find(|(name, job)| **name == tagged || job.was.contains(&tagged));
    Some(now.map_or(tagged, |(name, _)| name.clone()))
}

fn bytes(it: &Listed, runs: &[Record]) -> Option<u64> {
    if let Some(counts) = it.summary {
        return Some(counts.total_bytes_processed);
    }
    let stored =
        runs.iter().flat_map(|run| &run.jobs).flat_map(|job| job.destinations.iter().chain(&job.copies));
    let mut summaries = stored.filter_map(|stored| stored.summary.as_ref());
    Some(summaries.find(|summary| it.is_called(&summary.snapshot_id))?.counts.total_bytes_processed)
}

/// Says whether two are of one job and host at one destination.
fn is_with(a: &Shown, b: &Shown) -> bool {
    a.job == b.job && a.destination == b.destination && a.listed.hostname == b.listed.hostname
}

/// Takes the newest so many of each group.
fn latest(all: &[Shown], count: usize) -> Vec<Shown> {
    all.chunk_by(is_with).flat_map(|group| &group[group.len().saturating_sub(count)..]).cloned().collect()
}

/// Writes a line each, in columns, with an empty one between jobs, destinations and hosts.
fn table(all: &[Shown], zone: &TimeZone) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let head = ["TIME", "ID", "JOB", "DESTINATION", "HOST", "SIZE", "PATHS"].map(str::to_owned);
    let row = |it: &Shown| {
        let short = it.listed.id.get(..8).unwrap_or(&it.listed.id);
        let note =
            it.status.and_then(SnapshotStatus::words).map_or_else(String::new, |note| format!("  ({note})"));
        [
            words::at_second(it.at, zone),
            visible(short),
            it.job.as_ref().map_or("-".into(), ToString::to_string),
            it.destination.to_string(),
            visible(&it.listed.hostname),
            it.bytes.map_or("-".into(), words::size),
            visible(&it.listed.paths.join(", ")) + &note,
        ]
    };
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(all.iter().map(row)).collect();
    let mut lines = words::columns(&rows);
    for place in (1..all.len()).rev() {
        if !is_with(&all[place - 1], &all[place]) {
            lines.insert(place + 1, String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "version: 1\nhost: web01\nwas: [old01]\ndestinations:\n  \
         a: { local: { path: /a }, password_file: /p }\n  b: { local: { path: /b }, password_file: /p }\njobs:\n  \
         db: { was: [sql], to: [a], sources: [{ path: /var }] }\n  \
         web: { to: [a], copy: { b: { from: a } }, sources: [{ path: /etc }] }\n";

    fn listed(id: &str, time: &str, host: &str, tags: &[&str], bytes: Option<u64>) -> Listed {
        Listed {
            id: id.repeat(8),
            time: time.into(),
            hostname: host.into(),
            tags: tags.iter().map(|it| (*it).to_owned()).collect(),
            paths: vec!["/etc".into(), "/srv/a b\x1b".into()],
            summary: bytes.map(|total_bytes_processed| crate::restic::Counts {
                total_bytes_processed,
                ..crate::restic::Counts::default()
            }),
            ..Listed::default()
        }
    }

    fn verb(words: &str) -> SnapshotsVerb {
        #[derive(clap::Parser)]
        struct Call {
            #[command(flatten)]
            verb: SnapshotsVerb,
        }
        let words = std::iter::once("snapshots").chain(words.split_whitespace());
        <Call as clap::Parser>::parse_from(words).verb
    }

    fn shown(words: &str) -> String {
        let state = crate::state::load("state", &mut |_| Ok(YAML.to_owned())).unwrap().state;
        let a = vec![
            listed("aaaaaaaa", "2026-11-20T02:30:04+01:00", "web01", &["rlvm:job=web"], Some(3 << 20)),
            listed("bbbbbbbb", "2026-11-21T01:30:04Z", "web01", &["x", "rlvm:job=web"], None),
            listed("cccccccc", "2026-10-21T01:30:04Z", "old01", &["rlvm:job=sql"], Some(1)),
            listed("dddddddd", "2026-10-22T01:30:04Z", "web02", &["rlvm:job=web"], None),
            listed("eeeeeeee", "2026-10-22T01:30:04Z", "web01", &[], None),
        ];
        let b = vec![listed("ffffffff", "2026-11-20T02:30:04+01:00", "web01", &["rlvm:job=web"], None)];
        let said = [("a".parse().unwrap(), Ok(a)), ("b".parse().unwrap(), Ok(b))].into();
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        table(&verb(words).sorted(&state, &said, &[]).snapshots, &zone).join("\n")
    }

    #[test]
    fn as_a_person_sees_it() {
        // R79
        insta::assert_snapshot!(shown(""));
        let ids = |words: &str| -> Vec<String> {
            let shown = shown(words);
            let lines = shown.lines().skip(1).filter(|line| !line.is_empty());
            lines.map(|line| line.split_whitespace().nth(3).unwrap()[..1].to_owned()).collect()
        };
        assert_eq!(ids("db"), ["c"]);
        assert_eq!(ids("web --latest 1"), ["b", "f"]);
        assert_eq!(ids("--all-hosts web"), ["a", "b", "d", "f"]);
        assert_eq!(ids("nothing"), Vec::<String>::new());
    }
}
