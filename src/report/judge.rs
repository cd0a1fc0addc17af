//! Judges each job at each destination: from what is declared, what its repository holds, and the records of runs and
//! verifications. No clock, no I/O. What repositories say counts; records only tell what repositories do not know.

mod history;
mod kept;
mod proof;
mod size;
#[cfg(test)]
mod tests;
mod times;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::{Timestamp, tz::TimeZone};

use self::{
    history::{Failing, History},
    times::Times,
};
use super::{
    status::{Judged, Level, Line, Remark, Status, Verdict},
    words,
};
use crate::{
    job::{self, Record, StoreRecord},
    model::{HostName, Name, Schedule, Span},
    restic::{Found, Listed},
    state::{Job, State},
    verify::Checked,
};

/// The version of what `status --json` prints.
const FORMAT: &str = "1.0";
/// How far a snapshot may be ahead of the clock, in seconds: clocks differ.
const AHEAD: i64 = 3600;
/// How long after its time a prune is left to end, in seconds.
const PRUNING: i64 = 86_400;
/// How many snapshots more than are kept say nothing yet: restic's own rules are finer than ours.
const SPARE: usize = 3;

/// What a repository said: its snapshots, or what is the matter with it.
pub type Said = Result<Vec<Listed>, Found>;

/// What is judged from.
pub struct Asked<'a> {
    /// What is declared.
    pub state: &'a State,
    /// The time.
    pub now: Timestamp,
    /// By which clock schedules are meant.
    pub zone: &'a TimeZone,
    /// What each destination's repository said.
    pub said: &'a BTreeMap<Name, Said>,
    /// The destinations whose repository was there before.
    pub made: &'a BTreeSet<Name>,
    /// The runs that are known.
    pub runs: &'a [Record],
    /// The verifications that are known.
    pub checks: &'a [Checked],
    /// The jobs that run now, and since when.
    pub running: &'a BTreeMap<Name, Timestamp>,
}

/// A job at a destination, with all that is known of it.
struct Case<'a> {
    asked: &'a Asked<'a>,
    name: &'a Name,
    job: &'a Job,
    destination: &'a Name,
    /// The names that the host has and had.
    hosts: Vec<HostName>,
    /// The names that the job has and had.
    jobs: Vec<Name>,
    /// The names that the destination has and had.
    destinations: Vec<Name>,
    history: History<'a>,
    judged: Vec<Judged>,
}

/// Judges all jobs, the worst first, and puts the remarks beside.
pub fn judge(asked: &Asked<'_>, mut remarks: Vec<Remark>) -> Status {
    let mut lines: Vec<Line> = Vec::new();
    for (name, job) in &asked.state.jobs {
        let copies = job.copy.keys().map(|to| (to, true));
        for (destination, copy) in job.to.iter().map(|to| (to, false)).chain(copies) {
            lines.push(Case::new(asked, name, job, destination).line(copy));
        }
    }
    let worst = |line: &Line| line.judged.first().map(|it| it.verdict);
    lines.sort_by_key(|line| (Reverse(line.level), worst(line), line.job.clone(), line.copy));
    remarks.sort_by_key(|remark| Reverse(remark.level));
    let levels = lines.iter().map(|line| line.level).chain(remarks.iter().map(|remark| remark.level));
    Status {
        format_version: FORMAT.into(),
        rlvm_version: env!("CARGO_PKG_VERSION").into(),
        host: asked.state.host.clone(),
        time: stamp(asked.now),
        level: levels.max().unwrap_or_default(),
        cached: false,
        lines,
        remarks,
    }
}

impl<'a> Case<'a> {
    fn new(asked: &'a Asked<'a>, name: &'a Name, job: &'a Job, destination: &'a Name) -> Self {
        let state = asked.state;
        let hosts = state.hosts();
        let jobs = job.names(name);
        let destinations = state.names_of(destination);
        let history = History::of(asked.runs, &jobs, &destinations);
        Self { asked, name, job, destination, hosts, jobs, destinations, history, judged: Vec::new() }
    }

    fn say(&mut self, verdict: Verdict, level: Level, message: impl Into<String>) {
        self.judged.push(Judged { verdict, level, message: message.into() });
    }

    fn at(&self, time: Timestamp) -> String {
        words::at(time, self.asked.zone)
    }

    fn schedule(&self) -> Option<Times<'a>> {
        let schedule = self.job.schedule.as_ref().filter(|_| self.job.enabled)?;
        Some(self.times(schedule)).filter(|times| times.after(self.asked.now).is_some())
    }

    fn times(&self, schedule: &'a Schedule) -> Times<'a> {
        Times { schedule, zone: self.asked.zone }
    }

    fn line(mut self, copy: bool) -> Line {
        let mut line = Line::new(self.name.clone(), self.destination.clone(), copy);
        if let Some(times) = self.schedule() {
            line.due = times.until(self.asked.now).map(stamp);
            line.next = times.after(self.asked.now).map(stamp);
        }
        match self.asked.said.get(self.destination) {
            Some(Ok(all)) => self.stored(all, &mut line),
            Some(Err(found)) => self.unread(found, &mut line),
            None => self.unread(&Found::Unreachable("it was not asked".into()), &mut line),
        }
        self.proven(&mut line);
        if !self.job.enabled {
            self.say(Verdict::Unscheduled, Level::Ok, "the job is disabled");
        }
        self.judged.sort_by_key(|it| (Reverse(it.level), it.verdict));
        line.level = self.judged.first().map(|it| it.level).unwrap_or_default();
        line.judged = self.judged;
        line
    }

    /// Judges what a repository holds of the job.
    fn stored(&mut self, all: &'a [Listed], line: &mut Line) {
        // A run that failed or was killed may have stored what is no backup, and may not have been able to remove it.
        let fault = |it: &Listed| self.history.backups.fault(&self.destinations, it);
        let own = all.iter().filter(|it| it.is_of(&self.hosts, &self.jobs) && fault(it).is_none());
        let mut own: Vec<(&Listed, Timestamp)> = own.filter_map(|it| Some((it, it.time()?))).collect();
        own.sort_by_key(|(_, time)| *time);
        line.snapshots = Some(own.len());
        let latest = own.last().map(|(_, time)| *time);
        // One that is ahead of the clock would be fresh for as long as that takes.
        let ahead = self.asked.now.as_second() + AHEAD;
        let (own, future): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|(_, time)| time.as_second() <= ahead);
        if let Some((it, time)) = future.first() {
            let message = format!(
                "snapshot {} is of {}, which is yet to come: a clock was wrong",
                short(it),
                self.at(*time)
            );
            self.say(Verdict::FromTheFuture, Level::Warning, message);
        }
        let newest = own.last();
        line.newest = newest.map(|(_, time)| stamp(*time));
        line.newest_id = newest.map(|(it, _)| it.id.clone());
        line.oldest = own.first().map(|(_, time)| stamp(*time));
        let (made, newest) = (newest.map(|(it, _)| *it), newest.map(|(_, time)| *time));
        let failing = self.failing(newest, line);
        let gone = self.gone(all, latest, line);
        let fresh = !gone && self.fresh(newest, failing.is_some(), line);
        if let Some(message) = failing {
            // What the schedule asks for is there all the same.
            let level = if fresh { Level::Warning } else { Level::Critical };
            self.say(Verdict::Failing, level, message);
        }
        self.whole(made);
        self.failed_afterwards(newest, line);
        self.sizes(&own, line);
        self.retained(&own);
    }

    /// Says whether the snapshot is gone that the records know of as the last one, or all are: no policy removes the newest
    /// one, so it was a person, an attacker, or a disk that loses what is written. A run that ended after the repository was
    /// asked proves nothing; after a newer snapshot a policy may have removed it.
    fn gone(&mut self, all: &[Listed], latest: Option<Timestamp>, line: &Line) -> bool {
        let stored = |went: &&history::Went<'_>| {
            went.status <= job::Status::Incomplete && went.summary.is_some() && went.ended < self.asked.now
        };
        let Some(last) = self.history.runs.iter().rev().find(stored) else { return false };
        let id = last.summary.map_or("", |summary| summary.snapshot_id.as_str());
        let is_there = || all.iter().any(|it| it.is_called(id));
        let run = self.at(last.started);
        let message = match line.snapshots {
            Some(0) => {
                format!("all snapshots are gone: the run of {run} stored one, and none is there now")
            }
            _ if latest.is_some_and(|latest| latest > last.ended) || is_there() => return false,
            _ => {
                let id = id.get(..8).unwrap_or(id);
                format!("snapshot {id} is gone: the run of {run} stored it, and it is not there now")
            }
        };
        let level = if self.job.enabled { Level::Critical } else { Level::Warning };
        self.say(Verdict::Gone, level, message);
        true
    }

    /// Returns how long backups may be missing at a destination that may be away.
    fn may_be_absent(&self) -> Option<Span> {
        self.asked.state.destinations.get(self.destination)?.may_be_absent
    }

    /// Judges how old the newest backup is at a destination that may be away; says whether it is young enough.
    fn young(&mut self, newest: Option<Timestamp>, limit: Span, line: &mut Line) -> bool {
        let Some(newest) = newest else {
            // It may be new, and not have been there yet: its age counts from the first run that skipped it.
            let first = history::first_run(self.asked.runs, &self.jobs, &self.destinations);
            let age = first.map_or(0, |first| self.asked.now.as_second() - first.as_second());
            let late = age > i64::try_from(limit.seconds()).unwrap_or(i64::MAX);
            self.nothing_yet(if late { Level::Critical } else { Level::Warning });
            return false;
        };
        let age = self.asked.now.as_second() - newest.as_second();
        let over = age - i64::try_from(limit.seconds()).unwrap_or(i64::MAX);
        let stored = format!("stored {} ago", words::length(age));
        if over <= 0 {
            self.say(Verdict::Fresh, Level::Ok, stored);
            return true;
        }
        line.overdue_seconds = Some(over);
        self.say(Verdict::Overdue, Level::Critical, format!("{stored}, and `may_be_absent` is {limit}"));
        false
    }

    /// Judges how old the newest snapshot is; says whether it is of the last time that the schedule had.
    fn fresh(&mut self, newest: Option<Timestamp>, failing: bool, line: &mut Line) -> bool {
        let now = self.asked.now;
        if let Some(limit) = self.may_be_absent().filter(|_| self.job.enabled) {
            return self.young(newest, limit, line);
        }
        let Some(times) = self.schedule() else {
            match newest {
                _ if !self.job.enabled => {}
                None => self.nothing_yet(Level::Warning),
                Some(_) => {
                    let how = if self.job.schedule.is_some() { "at boot" } else { "by hand" };
                    self.say(Verdict::Unscheduled, Level::Ok, format!("it runs {how}"));
                }
            }
            return false;
        };
        let Some(newest) = newest else {
            self.nothing_yet(Level::Critical);
            return false;
        };
        // The first time that it was not stored for.
        let missed = times.after(newest).filter(|missed| *missed <= now);
        let Some(missed) = missed else {
            let age = words::length(now.as_second() - newest.as_second());
            let message = format!("stored {age} ago");
            self.say(Verdict::Fresh, Level::Ok, message);
            return true;
        };
        let late = now.as_second() - missed.as_second();
        if late <= self.grace() && !failing {
            let message = format!("due since {}: the run may be at it", self.at(missed));
            self.say(Verdict::Due, Level::Ok, message);
            return false;
        }
        line.overdue_seconds = Some(late);
        let message =
            format!("overdue by {}: nothing is stored for {}", words::length(late), self.at(missed));
        self.say(Verdict::Overdue, Level::Critical, message);
        false
    }

    /// Says that nothing was ever stored, unless the first backup is being made: that may take days.
    fn nothing_yet(&mut self, level: Level) {
        match self.asked.running.get(self.name) {
            Some(since) => {
                let message = format!("nothing is stored yet; the job runs since {}", self.at(*since));
                self.say(Verdict::Running, Level::Ok, message);
            }
            None => self.say(Verdict::NeverStored, level, "nothing was ever stored"),
        }
    }

    fn grace(&self) -> i64 {
        let seconds = |span: Span| i64::try_from(span.seconds()).unwrap_or(i64::MAX);
        self.history.grace(self.job.jitter.map(seconds), self.job.timeout.map(seconds))
    }

    /// Says whether each run has failed since some time, and what the last one came to.
    fn failing(&self, newest: Option<Timestamp>, line: &mut Line) -> Option<String> {
        if let Some(last) = self.history.last() {
            line.seconds = last.seconds;
            line.added = last.summary.map(|summary| summary.counts.data_added);
        }
        let Failing { since, runs, why } = self.history.failing(newest)?;
        let s = if runs == 1 { "" } else { "s" };
        let message = format!("failing since {} ({runs} run{s}): {why}", self.at(since));
        line.failing_since = Some(stamp(since));
        Some(message)
    }

    /// Says whether the newest snapshot lacks files, as the record has it of the run that made it, or made what it was
    /// copied from.
    fn whole(&mut self, newest: Option<&Listed>) {
        let jobs =
            self.asked.runs.iter().rev().flat_map(|run| &run.jobs).filter(|it| self.jobs.contains(&it.job));
        let mut stores = jobs.flat_map(|it| &it.destinations);
        let is_it = |it: &&StoreRecord| {
            newest.zip(it.summary.as_ref()).is_some_and(|(newest, it)| newest.is_called(&it.snapshot_id))
        };
        let Some(made) = stores.find(is_it).filter(|made| made.status == job::Status::Incomplete) else {
            return;
        };
        let message = match made.unreadable {
            0 => made.error.clone().unwrap_or_else(|| "some files could not be read".into()),
            1 => "1 file could not be read".into(),
            count => format!("{count} files could not be read"),
        };
        self.say(Verdict::Incomplete, Level::Warning, message);
    }

    /// Says whether the run of the newest snapshot failed after it had stored that.
    fn failed_afterwards(&mut self, newest: Option<Timestamp>, line: &mut Line) {
        let Some(last) = self.history.last().filter(|last| last.status <= job::Status::Incomplete) else {
            return;
        };
        let Some(why) = last.failed_afterwards.filter(|_| newest.is_some_and(|newest| newest <= last.ended))
        else {
            return;
        };
        line.failing_since = Some(stamp(last.started));
        let message = format!("the last run stored this backup and failed afterwards: {why}");
        self.say(Verdict::Failing, Level::Warning, message);
    }

    /// Says whether there are snapshots that the last prune should have removed.
    fn retained(&mut self, own: &[(&Listed, Timestamp)]) {
        let Some(retention) = self.job.retention.as_ref().filter(|_| self.job.enabled) else { return };
        let (now, zone) = (self.asked.now, self.asked.zone);
        let Some(schedule) = &self.job.prune.schedule else {
            let over = kept::not_kept(own, retention, zone);
            let keeps = own.len() - over;
            if over > SPARE && own.len() > 2 * keeps {
                let message = format!(
                    "{} snapshots, and {keeps} are kept: prune it, or give it a `prune: schedule`",
                    own.len()
                );
                self.say(Verdict::RetentionUnmet, Level::Warning, message);
            }
            return;
        };
        let since = Timestamp::from_second(now.as_second() - PRUNING).ok();
        let Some(pruned) = since.and_then(|since| self.times(schedule).until(since)) else { return };
        let then: Vec<(&Listed, Timestamp)> =
            own.iter().filter(|(_, time)| *time <= pruned).copied().collect();
        let over = kept::not_kept(&then, retention, zone);
        if over > SPARE {
            let message = format!(
                "{over} snapshots that retention should have removed on {} still exist: the job is not pruned",
                self.at(pruned)
            );
            self.say(Verdict::RetentionUnmet, Level::Warning, message);
        }
    }

    /// Judges a repository that did not say what it holds.
    fn unread(&mut self, found: &Found, line: &mut Line) {
        let failing = self.failing(None, line);
        let fails = failing.is_some();
        if let Some(message) = failing {
            self.say(Verdict::Failing, Level::Critical, message);
        }
        // Of one that is away the records know how fresh it was.
        let fresh = self.history.runs.iter().rev().find(|went| went.status <= job::Status::Incomplete);
        if let (Found::Unreachable(_), Some(limit), true) = (found, self.may_be_absent(), self.job.enabled) {
            let stored = fresh.map(|went| went.started);
            self.young(stored, limit, line);
            self.say(Verdict::Unreachable, Level::Ok, words::trouble(found));
            return;
        }
        let missed = |stored: Timestamp| self.schedule().and_then(|times| times.after(stored));
        let due = |missed: Timestamp| self.asked.now.as_second() - missed.as_second() > self.grace();
        let lacks = fresh.is_none_or(|went| missed(went.started).is_some_and(due)) || fails;
        let level = if lacks && self.job.enabled { Level::Critical } else { Level::Warning };
        let bad = if self.job.enabled { Level::Critical } else { Level::Warning };
        let (verdict, level) = match found {
            Found::Absent => (Verdict::NotInitialised, bad),
            Found::WrongPassword | Found::Damaged(_) => (Verdict::Unreadable, bad),
            Found::Locked | Found::Ready { .. } => (Verdict::Unreadable, level),
            Found::Unreachable(_) => (Verdict::Unreachable, level),
        };
        let gone = *found == Found::Absent && self.asked.made.contains(self.destination);
        let gone = gone.then(|| "the repository is gone: mount what it lies on, or see rlvm plan".to_owned());
        self.say(verdict, level, gone.unwrap_or_else(|| words::trouble(found)));
    }
}

/// Writes a time for machines.
fn stamp(time: Timestamp) -> String {
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

fn short(it: &Listed) -> &str {
    it.id.get(..8).unwrap_or(&it.id)
}
