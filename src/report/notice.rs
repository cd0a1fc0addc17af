//! Decides which notifications must be sent: by what each notifier asks for, what happened, and what was sent before.

mod sight;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use self::sight::{Sight, sights};
use super::{
    status::Status,
    told::{About, Kind, Mark, Told, is_time},
};
use crate::{
    job::Record,
    model::Name,
    state::{Notifier, Occasion, State},
    verify::Checked,
};

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

/// The result of a prune of a job or of a client of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The job; none if it was a client.
    pub job: Option<Name>,
    /// The destination, or the client's account.
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

#[cfg(test)]
mod tests;
