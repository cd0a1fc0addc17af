//! Finds the troubles and successes in an event that notifiers may ask for.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    super::{
        status::{Level, Line, Verdict},
        told::{About, Kind, Trouble, minute},
    },
    Pruned, What,
};
use crate::{
    job::{self, JobRecord, Record},
    model::Name,
    state::State,
    verify::{Checked, DrillRecord, Outcome},
};

/// In seconds.
const DAY: i64 = 86_400;

/// Something that was seen, well or not.
pub(super) struct Sight {
    /// About what.
    pub(super) about: About,
    /// Whose notifiers are told.
    pub(super) jobs: Vec<Name>,
    /// What is wrong, and since when, if that is known.
    pub(super) trouble: Option<(String, Option<String>)>,
    /// What a success is, in words, if it is one to tell.
    pub(super) success: Option<String>,
    /// Whether it happened just now: what did not is only told if it could not be told then.
    pub(super) fresh: bool,
    /// Whether the time before was no success, by the records.
    pub(super) was_bad: bool,
    /// When it was so, if that was not just now.
    pub(super) when: Option<String>,
    /// The last time that there was for a job of which nothing was ever stored.
    pub(super) waits: Option<String>,
}

impl Sight {
    /// Is of what happened just now.
    fn now(about: About, jobs: &[Name], trouble: Option<(String, Option<String>)>) -> Self {
        Self {
            about,
            jobs: jobs.to_vec(),
            trouble,
            success: None,
            fresh: true,
            was_bad: false,
            when: None,
            waits: None,
        }
    }

    /// Says whether a notifier is told of it.
    pub(super) fn concerns(&self, state: &State, notifier: &Name) -> bool {
        let names = |job: &Name| state.jobs.get(job).is_some_and(|job| job.notify.contains(notifier));
        // Of a client of this server no job says who is told.
        let is_of_client = self.about.kind == Kind::Prune && self.about.job.is_none();
        is_of_client || self.jobs.iter().any(names)
    }

    /// Says whether it is too early to tell: nothing is stored yet of a job that is new. Not so once a day and one of its
    /// times have passed.
    pub(super) fn is_early(&self, known: Option<&Trouble>, now: Timestamp) -> bool {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let Some(due) = self.waits.as_deref().and_then(time) else { return false };
        let since = known.and_then(|it| time(&it.since));
        since.is_none_or(|since| due <= since || now.as_second() - since.as_second() < DAY)
    }

    /// Says whether it was so before the trouble that is known of began.
    pub(super) fn is_older(&self, known: &Trouble) -> bool {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        self.when.as_deref().and_then(time).is_some_and(|when| time(&known.since) >= Some(when))
    }
}

/// Lists what there is to see.
pub(super) fn sights(what: What<'_>, earlier: &[Record]) -> Vec<Sight> {
    match what {
        What::Run(record) => of_run(record, earlier, true),
        What::Broken(jobs, why) => jobs.iter().map(|job| broken(job, why, earlier)).collect(),
        What::Pruned(all) => all.iter().map(pruned).collect(),
        What::Verified(all) => all.iter().flat_map(verified).collect(),
        What::Looked(status) => {
            let lines = status.lines.iter().flat_map(looked);
            // What could not be told when it happened.
            let jobs: BTreeSet<&Name> = status.lines.iter().map(|line| &line.job).collect();
            let last = jobs.into_iter().filter_map(|job| {
                let is_of = |record: &&Record| record.jobs.iter().any(|it| it.job == *job);
                let place = earlier.iter().rposition(|it| is_of(&it))?;
                let (before, record) = (&earlier[..place], &earlier[place]);
                let only = JobRecord::clone(record.jobs.iter().find(|it| it.job == *job)?);
                Some(of_run(&Record { jobs: vec![only], ..record.clone() }, before, false))
            });
            lines.chain(last.flatten()).collect()
        }
    }
}

fn about(kind: Kind, job: &Name, destination: Option<&Name>) -> About {
    About { kind, job: Some(job.clone()), destination: destination.cloned() }
}

fn of_run(record: &Record, earlier: &[Record], fresh: bool) -> Vec<Sight> {
    record.jobs.iter().flat_map(|job| of_job(record, job, earlier, fresh)).collect()
}

fn of_job(record: &Record, job: &JobRecord, earlier: &[Record], fresh: bool) -> Vec<Sight> {
    let name = &job.job;
    let sight = |kind, destination: Option<&Name>, trouble: Option<String>| {
        let bad = since(earlier, name, destination);
        let was_bad = bad.is_some();
        let trouble = trouble.map(|what| (what, Some(bad.unwrap_or_else(|| record.started.clone()))));
        let when = (!fresh).then(|| record.started.clone());
        let now = Sight::now(about(kind, name, destination), std::slice::from_ref(name), trouble);
        Sight { fresh, was_bad, when, ..now }
    };
    let whole = Sight {
        success: fresh.then(|| success(job)).flatten(),
        ..sight(Kind::Run, None, of_whole(record, job))
    };
    let mut all = vec![whole];
    for store in job.destinations.iter().chain(&job.copies) {
        if store.status == job::Status::Skipped {
            // `status` judges how long a destination may stay away.
            continue;
        }
        let is_well = store.status == job::Status::Success;
        let why = || store.error.clone().unwrap_or_else(|| store.status.word().to_owned());
        all.push(sight(Kind::Run, Some(&store.destination), (!is_well).then(why)));
        if is_well && fresh {
            all.push(sight(Kind::Due, Some(&store.destination), None));
        }
    }
    all
}

/// Says what was wrong with a job beside its destinations.
fn of_whole(record: &Record, job: &JobRecord) -> Option<String> {
    let mut all = job.errors.clone();
    if all.is_empty() && !job.status.is_fine() && !job.lacks() {
        all.push(job.status.word().to_owned());
    }
    if !record.left.is_empty() {
        all.push(format!("could not be undone, `rlvm sweep` tries again: {}", record.left.join("; ")));
    }
    (!all.is_empty()).then(|| all.join("\n"))
}

fn success(job: &JobRecord) -> Option<String> {
    let all = job.destinations.iter().chain(&job.copies).filter(|it| it.status == job::Status::Success);
    let names: Vec<&str> = all.map(|it| it.destination.as_str()).collect();
    (job.status == job::Status::Success).then(|| format!("stored at {}", names.join(", ")))
}

/// Says since when each run of a job has failed there; nothing if the last one did not.
fn since(earlier: &[Record], job: &Name, destination: Option<&Name>) -> Option<String> {
    let is_bad = |record: &Record| -> Option<bool> {
        let of = record.jobs.iter().find(|it| it.job == *job)?;
        match destination {
            None => Some(of_whole(record, of).is_some()),
            Some(name) => {
                let mut stores = of.destinations.iter().chain(&of.copies);
                let status = stores.find(|it| it.destination == *name)?.status;
                (status != job::Status::Skipped).then_some(status != job::Status::Success)
            }
        }
    };
    let all = earlier.iter().rev().filter_map(|it| Some((it, is_bad(it)?)));
    all.take_while(|(_, bad)| *bad).last().map(|(record, _)| record.started.clone())
}

fn broken(job: &Name, why: &str, earlier: &[Record]) -> Sight {
    let trouble = Some((why.to_owned(), since(earlier, job, None)));
    Sight::now(about(Kind::Run, job, None), std::slice::from_ref(job), trouble)
}

fn pruned(done: &Pruned) -> Sight {
    let trouble = done.error.clone().map(|why| (format!("old backups are not removed: {why}"), None));
    let about =
        About { kind: Kind::Prune, job: done.job.clone(), destination: Some(done.destination.clone()) };
    Sight::now(about, done.job.as_slice(), trouble)
}

fn verified(checked: &Checked) -> Vec<Sight> {
    let trouble =
        (checked.outcome != Outcome::Well).then(|| (of_verification(checked), Some(checked.started.clone())));
    let whole = About { kind: Kind::Verify, job: None, destination: Some(checked.destination.clone()) };
    let was_made = |job: &Name| {
        let about = about(Kind::VerifyDue, job, Some(&checked.destination));
        Sight::now(about, std::slice::from_ref(job), None)
    };
    let mut all = vec![Sight::now(whole, &checked.jobs, trouble)];
    all.extend(checked.jobs.iter().map(was_made));
    all
}

/// Says what a verification found, or why it could not be made.
fn of_verification(checked: &Checked) -> String {
    let word = match checked.outcome {
        Outcome::Well => "well",
        Outcome::Damaged => "damaged",
        Outcome::Unreachable => "not verified, out of reach",
        Outcome::Failed => "not verified",
    };
    let drills = checked.drills.iter().filter(|it| it.outcome != Outcome::Well);
    let of = |drill: &DrillRecord| {
        let first = drill.unlike.first().map(|(path, why)| format!("{path}: {why}"));
        let why = drill.error.clone().or(first).unwrap_or_default();
        format!("{}, snapshot {}: {why}", drill.job, drill.snapshot)
    };
    let all: Vec<String> = checked.error.clone().into_iter().chain(drills.map(of)).collect();
    if all.is_empty() { word.into() } else { format!("{word}: {}", all.join("\n")) }
}

/// Takes what is late of a line, and a repository that cannot be read if that is critical: nobody knows then whether its
/// backups are late. Of one that is only out of reach for now nothing is said.
fn looked(line: &Line) -> Vec<Sight> {
    let is = |all: &[Verdict]| line.judged.iter().find(|it| all.contains(&it.verdict));
    let sight = |kind, trouble| {
        let about = about(kind, &line.job, Some(&line.destination));
        Sight::now(about, std::slice::from_ref(&line.job), trouble)
    };
    let newest = line.newest.as_ref().map(|newest| format!("; the newest is of {}", minute(newest)));
    let critical = |all| is(all).filter(|it| it.level == Level::Critical);
    let overdue = critical(&[Verdict::Gone, Verdict::Overdue, Verdict::NeverStored])
        .or_else(|| critical(&[Verdict::NotInitialised, Verdict::Unreadable, Verdict::Unreachable]));
    let first = overdue.filter(|it| it.verdict == Verdict::NeverStored).and(line.due.clone());
    let overdue = overdue.map(|judged| {
        let since = line.due.clone().filter(|_| first.is_none());
        (judged.message.clone() + newest.as_deref().unwrap_or_default(), since)
    });
    let unverified = is(&[Verdict::VerifyOverdue]).map(|it| (it.message.clone(), line.verified.clone()));
    let due = (overdue.is_some() || line.snapshots.is_some())
        .then(|| Sight { waits: first, ..sight(Kind::Due, overdue) });
    due.into_iter().chain([sight(Kind::VerifyDue, unverified)]).collect()
}
