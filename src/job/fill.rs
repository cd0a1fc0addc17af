//! Watches how full snapshots are while they are read (R67): one that is full is worth nothing, and nothing may be taken
//! for stored from it.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{run::Runner, undo::lock};
use crate::{
    effect::Cmd,
    model::Name,
    source::{Fills, LogicalVolume, volumes},
};

/// How often they are looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// How full one may be before it is extended, in percent.
const EARLY: u8 = 70;

/// Watches until it is to stop: warns, extends where there is room, and says which are broken.
pub(super) fn watch(runner: &Runner<'_>, stop: &AtomicBool) {
    let mut told = BTreeSet::new();
    let mut nap = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
        nap += Duration::from_millis(100);
        if nap >= PERIOD {
            nap = Duration::ZERO;
            look(runner, &mut told);
        }
    }
}

/// Looks a last time, when all is stored: what was full meanwhile is broken, and so is what cannot be looked at.
pub(super) fn check(runner: &Runner<'_>) {
    if runner.run.frozen.iter().any(|it| it.fills.is_some()) {
        look(runner, &mut (0..runner.run.frozen.len()).collect());
    }
}

fn look(runner: &Runner<'_>, told: &mut BTreeSet<usize>) {
    let needed = |index: usize| runner.live().any(|(job, _)| job.needs.contains(&index));
    let watched =
        runner.run.frozen.iter().enumerate().filter_map(|(index, it)| Some((index, it.fills.as_ref()?)));
    let watched: Vec<(usize, &Fills)> = watched.filter(|(index, _)| needed(*index)).collect();
    if watched.is_empty() {
        return;
    }
    let all = volumes(runner.night.host.looker().as_ref());
    for (index, fills) in watched {
        let seen = all.as_ref().ok().and_then(|all| all.iter().find(|it| it.name == fills.snapshot));
        match seen {
            Some(seen) if !seen.is_invalid() && seen.full.is_none_or(|full| full < 100) => {
                if seen.full.is_some_and(|full| full >= EARLY) && told.insert(index) {
                    extend(runner, fills, seen);
                    // It may fill up again.
                    told.remove(&index);
                }
            }
            _ => drop(lock(&runner.broken).insert(index)),
        }
    }
}

/// Extends a snapshot by as much as it was given first, if the group has room.
fn extend(runner: &Runner<'_>, fills: &Fills, seen: &LogicalVolume) {
    let all: Vec<&Name> = runner.run.jobs.iter().map(|job| &job.name).collect();
    let free = seen.free / seen.extent;
    let (full, origin) = (seen.full.unwrap_or_default(), &fills.origin);
    if free == 0 {
        runner.warn(&format!(
            "the snapshot of {origin} is {full} % full, and {} has no room to extend it",
            origin.group()
        ));
        return;
    }
    let more = fills.extents.min(free).to_string();
    let cmd =
        Cmd::new("lvextend").args(["--quiet", "--extents", &format!("+{more}"), &fills.snapshot.to_string()]);
    match runner.night.must(&all, "fill", &cmd.timeout(60).whole(), &|| false) {
        Ok(()) => runner.warn(&format!(
            "the snapshot of {origin} was {full} % full, and is extended: `snapshot_size` is small"
        )),
        Err(err) => runner
            .warn(&format!("the snapshot of {origin} is {full} % full, and cannot be extended: {err:#}")),
    }
}
