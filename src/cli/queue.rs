//! Coordinates work at one destination on this host. Backups, copies, drills and restores run beside each other; a
//! prune or a check runs alone. Otherwise rlvm's own verify or prune would make rlvm's own backup fail, because
//! restic gives up when it finds a lock.
//!
//! A place in the queue is a kernel lock on a file below rlvm's run directory, which a crash frees. Other hosts and
//! other homes have queues of their own; between them restic's locks apply.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use jiff::{Timestamp, tz::TimeZone};

use super::context::Context;
use crate::{
    host::{Busy, Lock, Real, Store, interrupted},
    model::{Name, Schedule, Span},
};

/// How long to wait without a schedule, in seconds.
const UNSCHEDULED: u64 = 3600;
/// The longest wait that nobody has asked for, in seconds.
const LONGEST: u64 = 24 * 3600;
/// How often a place is asked for.
const TICK: Duration = Duration::from_millis(250);

/// The queues of this host's destinations.
pub(super) struct Queue<'a> {
    store: Store<'a>,
    /// What is done, and by which process, for others to read.
    who: String,
}

/// How a destination is worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Beside others: restic takes a shared lock, or none.
    Beside,
    /// Alone: restic takes an exclusive lock.
    Alone,
}

/// A place in the queue, held until it is dropped.
pub(super) struct Turn {
    _lock: Lock,
    /// For whom was waited, and for how long; nothing if at once.
    pub(super) waited: Option<(String, Duration)>,
}

impl<'a> Queue<'a> {
    /// Gets ready; `what` is the verb: `rlvm prune`.
    pub(super) fn new(context: &Context<'_>, host: &'a Real, what: &str) -> Result<Self> {
        let since = Timestamp::try_from(context.environment.now)?;
        let who = format!("{what} (process {} since {since:.0})", std::process::id());
        Ok(Self { store: Store::new(host, &context.lock_dir()?.join("destinations")?), who })
    }

    /// Takes a place at a destination, and waits for it so long, or until a signal asks to stop. `waits` is told once whom
    /// it waits for. Returns who still works there if the time is up.
    pub(super) fn take(
        &self,
        destination: &Name,
        how: Use,
        patience: Duration,
        waits: &dyn Fn(&str),
    ) -> Result<Result<Turn, String>> {
        let (since, mut by) = (Instant::now(), None);
        loop {
            let taken = match how {
                Use::Beside => self.store.share_named(destination.as_str(), &self.who),
                Use::Alone => self.store.lock_named(destination.as_str(), &self.who),
            };
            let busy = match taken {
                Ok(lock) => {
                    let waited = by.map(|by| (by, since.elapsed()));
                    return Ok(Ok(Turn { _lock: lock, waited }));
                }
                Err(err) => match err.downcast::<Busy>() {
                    Ok(busy) if busy.holder().is_empty() => "another rlvm".into(),
                    Ok(busy) => busy.holder().to_owned(),
                    Err(err) => return Err(err),
                },
            };
            if since.elapsed() >= patience || interrupted().is_some() {
                return Ok(Err(busy));
            }
            if by.is_none() {
                waits(&busy);
                by = Some(busy);
            }
            thread::sleep(TICK);
        }
    }

    /// Returns whether somebody works alone at a destination. Asking takes no place.
    pub(super) fn is_taken(&self, destination: &Name) -> Result<bool> {
        Ok(self.store.holder(destination.as_str())?.is_some())
    }
}

/// Says why a wait for a destination ended without a place.
pub(super) fn no_place(by: &str) -> String {
    match interrupted() {
        Some(_) => format!("stopped by a signal while it waited for {by}"),
        None => format!("the destination is still in use by {by}; to wait longer, pass --wait TIME"),
    }
}

/// Says how long something waits for a destination: as declared; else until its next schedule, at most a day.
pub(super) fn patience<'a>(
    declared: Option<Span>,
    schedules: impl Iterator<Item = &'a Schedule>,
    now: Timestamp,
    zone: &TimeZone,
) -> Duration {
    let next = |schedule: &Schedule| {
        let next = schedule.next(now.to_zoned(zone.clone()).datetime())?;
        let next = next.to_zoned(zone.clone()).ok()?.timestamp();
        u64::try_from(next.duration_since(now).as_secs()).ok()
    };
    let until_next = || schedules.filter_map(next).min().unwrap_or(UNSCHEDULED).min(LONGEST);
    Duration::from_secs(declared.map_or_else(until_next, Span::seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_schedule_ends_the_wait() {
        let now: Timestamp = "2026-11-21T02:30:01Z".parse().unwrap();
        for (declared, schedules, seconds) in [
            (None, &[][..], 3600),
            (None, &["30 2 * * *"], 24 * 3600 - 1),
            (None, &["30 2 * * *", "0 4 * * *"], 3600 + 1799),
            (None, &["30 2 * * 0"], 24 * 3600 - 1),
            (None, &["0 6 1 * *"], LONGEST),
            (None, &["*/5 * * * *"], 299),
            (None, &["@reboot"], 3600),
            (Some("2h"), &["*/5 * * * *"], 7200),
            (Some("3d"), &[], 3 * LONGEST),
        ] {
            let schedules: Vec<Schedule> =
                schedules.iter().map(|text: &&str| text.parse().unwrap()).collect();
            let declared = declared.map(|text: &str| text.parse().unwrap());
            let found = patience(declared, schedules.iter(), now, &TimeZone::UTC);
            assert_eq!(found.as_secs(), seconds, "{declared:?} {schedules:?}");
        }
    }
}
