//! Who is told what: by what notifiers ask for, what happened, and what they were told before.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    status::{Level, Line, Status, Verdict},
    told::{About, Kind, Mark, Told, Trouble, is_time, minute},
};
use crate::{
    job::{self, JobRecord, Record},
    model::Name,
    state::{Notifier, Occasion, State},
    verify::{Checked, DrillRecord, Outcome},
};

/// In seconds.
const DAY: i64 = 86_400;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// A run ended.
    Run(&'a Record),
    /// A run could not be made: its jobs, and why.
    Broken(&'a [Name], &'a str),
    /// Old backups were removed, or not.
    Pruned(&'a [Pruned]),
    /// Destinations were verified.
    Verified(&'a [Checked]),
    /// It was looked how the backups are.
    Looked(&'a Status),
}

/// How it went with a job's old backups at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The job.
    pub job: Name,
    /// The destination.
    pub destination: Name,
    /// Why they are still there.
    pub error: Option<String>,
}

/// Something that a notifier is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// On what occasion.
    pub occasion: Occasion,
    /// About what.
    #[serde(flatten)]
    pub about: About,
    /// In words.
    pub what: String,
    /// Since when there is, or was, trouble.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Whether it was told before.
    pub again: bool,
}

/// What a notifier is told, and what it then knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The notifier.
    pub notifier: Name,
    /// What it is told: nothing if it is only to be noted.
    pub items: Vec<Item>,
    /// What it then knows.
    pub marks: Vec<Mark>,
}

/// Something that was seen, well or not.
struct Sight {
    about: About,
    /// Whose notifiers are told.
    jobs: Vec<Name>,
    /// What is wrong, and since when, if that is known.
    trouble: Option<(String, Option<String>)>,
    /// What a success is, in words, if it is one to tell.
    success: Option<String>,
    /// Whether it happened just now: what did not is only told if it could not be told then.
    fresh: bool,
    /// Whether the time before was no success, by the records.
    was_bad: bool,
    /// When it was so, if that was not just now.
    when: Option<String>,
    /// The last time that there was for a job of which nothing was ever stored.
    waits: Option<String>,
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
    fn concerns(&self, state: &State, notifier: &Name) -> bool {
        let names = |job: &Name| state.jobs.get(job).is_some_and(|job| job.notify.contains(notifier));
        self.jobs.iter().any(names)
    }

    /// Says whether it is too early to tell: nothing is stored yet of a job that is new. Not so once a day and one of its
    /// times have passed.
    fn is_early(&self, known: Option<&Trouble>, now: Timestamp) -> bool {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let Some(due) = self.waits.as_deref().and_then(time) else { return false };
        let since = known.and_then(|it| time(&it.since));
        since.is_none_or(|since| due <= since || now.as_second() - since.as_second() < DAY)
    }

    /// Says whether it was so before the trouble that is known of began.
    fn is_older(&self, known: &Trouble) -> bool {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        self.when.as_deref().and_then(time).is_some_and(|when| time(&known.since) >= Some(when))
    }
}

/// Decides who is told what. `earlier` are the records before, the oldest first.
pub fn decide(state: &State, what: What<'_>, earlier: &[Record], told: &Told, now: Timestamp) -> Vec<Notice> {
    let sights = sights(what, earlier);
    let of = |(name, notifier): (&Name, &Notifier)| {
        let mut notice = Notice { notifier: name.clone(), items: Vec::new(), marks: Vec::new() };
        for sight in sights.iter().filter(|sight| sight.concerns(state, name)) {
            tell(&mut notice, notifier, sight, told, now);
        }
        once(&mut notice.items);
        (!notice.items.is_empty() || !notice.marks.is_empty()).then_some(notice)
    };
    state.notify.iter().filter(|(_, it)| !it.is_watch()).filter_map(of).collect()
}

/// How the run of what a service watches ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The notifier.
    pub notifier: Name,
    /// Whether all is stored.
    pub well: bool,
    /// What is told with it.
    pub items: Vec<Item>,
}

/// Says what is signalled to services that watch for silence: how each run ends, and nothing else.
pub fn signals(state: &State, what: What<'_>) -> Vec<Signal> {
    if !matches!(what, What::Run(_) | What::Broken(..)) {
        return Vec::new();
    }
    let sights = sights(what, &[]);
    let of = |(name, _): (&Name, &Notifier)| {
        let sights: Vec<&Sight> = sights.iter().filter(|sight| sight.concerns(state, name)).collect();
        let items = sights.iter().filter_map(|sight| {
            let (occasion, what) = match (&sight.trouble, &sight.success) {
                (Some((what, _)), _) => (Occasion::Failure, what.clone()),
                (None, Some(what)) => (Occasion::Success, what.clone()),
                (None, None) => return None,
            };
            Some(Item { occasion, about: sight.about.clone(), what, since: None, again: false })
        });
        let (items, well) = (items.collect(), sights.iter().all(|sight| sight.trouble.is_none()));
        (!sights.is_empty()).then(|| Signal { notifier: name.clone(), well, items })
    };
    state.notify.iter().filter(|(_, it)| it.is_watch()).filter_map(of).collect()
}

/// Decides what one notifier is told of one sight.
fn tell(notice: &mut Notice, notifier: &Notifier, sight: &Sight, told: &Told, now: Timestamp) {
    let known = told.trouble(&notice.notifier, &sight.about);
    let about = sight.about.clone();
    let item = |occasion, what: &str, since: Option<String>, again| Item {
        occasion,
        about: sight.about.clone(),
        what: what.to_owned(),
        since,
        again,
    };
    if let Some((what, since)) = &sight.trouble {
        let since =
            known.map(|it| it.since.clone()).or_else(|| since.clone()).unwrap_or_else(|| now.to_string());
        let again = known.is_some_and(|it| it.told.is_some());
        let is_time = if sight.fresh { is_time(known, notifier.repeat, now) } else { !again };
        let occasion = about.kind.occasion();
        let tells = notifier.is_told(occasion) && is_time && !sight.is_early(known, now);
        if tells {
            notice.items.push(item(occasion, what, Some(since.clone()), again));
        }
        notice.marks.push(Mark::Trouble { about, since, tells });
        return;
    }
    // Of one that nothing is known of, the records know.
    let unknown = sight.fresh && !told.notifiers.contains_key(&notice.notifier);
    if known.is_some_and(|known| sight.is_older(known)) {
        return;
    }
    // What nobody was told of, a job that was new, ends without a word.
    let quiet = sight.about.kind == Kind::Due && known.is_some_and(|known| known.told.is_none());
    let recovers = known.is_some() || unknown && sight.was_bad;
    if recovers && !quiet && notifier.is_told(Occasion::Recovery) {
        let since = known.map(|it| it.since.clone());
        notice.items.push(item(Occasion::Recovery, again(about.kind), since, false));
    }
    if known.is_some() {
        notice.marks.push(Mark::Well(about));
    }
    if let Some(what) = sight.success.as_ref().filter(|_| notifier.is_told(Occasion::Success)) {
        notice.items.push(item(Occasion::Success, what, None, false));
    }
}

const fn again(kind: Kind) -> &'static str {
    match kind {
        Kind::Run | Kind::Due => "stored again",
        Kind::Prune => "old backups are removed again",
        Kind::Verify | Kind::VerifyDue => "found well again",
    }
}

/// Leaves one of those that say the same: what was overdue and has failed is stored again once.
fn once(items: &mut Vec<Item>) {
    let mut seen = BTreeSet::new();
    let place = |item: &Item| {
        (item.occasion, item.about.job.clone(), item.about.destination.clone(), item.what.clone())
    };
    items.retain(|item| seen.insert(place(item)));
}

fn sights(what: What<'_>, earlier: &[Record]) -> Vec<Sight> {
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
    if all.is_empty() && job.status != job::Status::Success && !job.lacks() {
        all.push(job.status.word().to_owned());
    }
    if !record.left.is_empty() {
        all.push(format!("could not be undone, `rlvm sweep` tries again: {}", record.left.join("; ")));
    }
    (!all.is_empty()).then(|| all.join("\n"))
}

fn success(job: &JobRecord) -> Option<String> {
    let names: Vec<&str> =
        job.destinations.iter().chain(&job.copies).map(|it| it.destination.as_str()).collect();
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
                Some(stores.find(|it| it.destination == *name)?.status != job::Status::Success)
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
    let about = about(Kind::Prune, &done.job, Some(&done.destination));
    Sight::now(about, std::slice::from_ref(&done.job), trouble)
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

/// Takes what is late of a line. Of a repository that cannot be read nothing is known.
fn looked(line: &Line) -> Vec<Sight> {
    let is = |all: &[Verdict]| line.judged.iter().find(|it| all.contains(&it.verdict));
    let sight = |kind, trouble| {
        let about = about(kind, &line.job, Some(&line.destination));
        Sight::now(about, std::slice::from_ref(&line.job), trouble)
    };
    let newest = line.newest.as_ref().map(|newest| format!("; the newest is of {}", minute(newest)));
    let overdue = is(&[Verdict::Overdue, Verdict::NeverStored]).filter(|it| it.level == Level::Critical);
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

#[cfg(test)]
mod tests;
