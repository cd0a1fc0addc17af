//! Watches how full snapshots are while they are read (R67). A full snapshot is invalid, so a backup that was read
//! from it must not count.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{JobRun, run::Runner, undo::lock};
use crate::{
    effect::Cmd,
    model::Name,
    source::{Fills, LogicalVolume, volumes},
};

/// How often they are looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// How full one may be before it is extended, in percent.
const EARLY: u8 = 70;
/// How many looks in a row may fail before all snapshots count as broken. `lvs` fails while another command holds the
/// lock of a volume group, or while udev is slow.
const MISSES: u32 = 3;

/// What is known from the looks so far.
#[derive(Default)]
struct Watch {
    /// How many looks in a row have failed.
    misses: u32,
    /// Which warnings a person has seen: the snapshot's place in [`super::Run::frozen`], and what happened to it.
    told: BTreeSet<(usize, Filled)>,
}

/// What was done for a snapshot that fills up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Filled {
    Extended,
    NoRoom,
    Failed,
}

/// What a look says of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Judged {
    /// It is what was frozen.
    Well,
    /// It is what was frozen, and it fills up.
    Fills(LogicalVolume),
    /// It is not what was frozen, or nobody knows.
    Broken,
}

impl Watch {
    /// Judges a look at the snapshots, in their order. Returns nothing if the look failed and another one may succeed.
    fn judge(&mut self, look: Option<&[LogicalVolume]>, watched: &[&Fills]) -> Option<Vec<Judged>> {
        let Some(all) = look else {
            self.misses += 1;
            return (self.misses >= MISSES).then(|| watched.iter().map(|_| Judged::Broken).collect());
        };
        self.misses = 0;
        let one = |fills: &&Fills| match all.iter().find(|it| it.name == fills.snapshot) {
            Some(seen) if seen.is_invalid() || seen.full.is_some_and(|full| full >= 100) => Judged::Broken,
            Some(seen) if seen.full.is_some_and(|full| full >= EARLY) => Judged::Fills(seen.clone()),
            Some(_) => Judged::Well,
            None => Judged::Broken,
        };
        Some(watched.iter().map(one).collect())
    }

    /// Says whether this happens to a snapshot for the first time.
    fn is_first(&mut self, index: usize, what: Filled) -> bool {
        self.told.insert((index, what))
    }
}

/// Watches until it is to stop: warns, extends where there is room, and says which are broken.
pub(super) fn watch(runner: &Runner<'_>, stop: &AtomicBool) {
    let mut watch = Watch::default();
    let mut nap = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
        nap += Duration::from_millis(100);
        if nap >= PERIOD {
            nap = Duration::ZERO;
            for (index, fills, seen) in look(runner, &mut watch).unwrap_or_default() {
                extend(runner, &mut watch, (index, fills), &seen);
            }
        }
    }
}

/// Looks when something of a job is stored: says whether all that it was read from is still what was frozen. Returns false if the snapshots cannot be looked at.
pub(super) fn is_whole(runner: &Runner<'_>, job: &JobRun) -> bool {
    let mut watch = Watch::default();
    while look(runner, &mut watch).is_none() {
        thread::sleep(PERIOD);
    }
    let broken = lock(&runner.broken);
    !job.needs.iter().any(|need| broken.contains(need))
}

/// Looks once, and takes down which are broken. Returns those that fill up; nothing if the look failed and another one
/// may succeed.
fn look<'a>(runner: &Runner<'a>, watch: &mut Watch) -> Option<Vec<(usize, &'a Fills, LogicalVolume)>> {
    let needed = |index: usize| runner.live().any(|(job, _)| job.needs.contains(&index));
    let watched =
        runner.run.frozen.iter().enumerate().filter_map(|(index, it)| Some((index, it.fills.as_ref()?)));
    let watched: Vec<(usize, &Fills)> = watched.filter(|(index, _)| needed(*index)).collect();
    if watched.is_empty() {
        return Some(Vec::new());
    }
    let all = volumes(runner.night.host.looker().as_ref());
    if let Err(err) = &all {
        let names: Vec<&Name> = runner.run.jobs.iter().map(|job| &job.name).collect();
        (runner.night.log)(&names, "fill", &format!("cannot look how full the snapshots are: {err:#}"));
    }
    let fills: Vec<&Fills> = watched.iter().map(|(_, fills)| *fills).collect();
    let judged = watch.judge(all.as_deref().ok(), &fills)?;
    let mut full = Vec::new();
    for ((index, fills), judged) in watched.into_iter().zip(judged) {
        match judged {
            Judged::Well => {}
            Judged::Fills(seen) => full.push((index, fills, seen)),
            Judged::Broken => drop(lock(&runner.broken).insert(index)),
        }
    }
    Some(full)
}

/// Extends a snapshot by as much as it was given first, if the group has room.
fn extend(runner: &Runner<'_>, watch: &mut Watch, (index, fills): (usize, &Fills), seen: &LogicalVolume) {
    let all: Vec<&Name> = runner.run.jobs.iter().map(|job| &job.name).collect();
    let free = seen.free / seen.extent;
    let (full, origin) = (seen.full.unwrap_or_default(), &fills.origin);
    let more = fills.extents.min(free).to_string();
    let cmd =
        Cmd::new("lvextend").args(["--quiet", "--extents", &format!("+{more}"), &fills.snapshot.to_string()]);
    let extended = || runner.night.must(&all, "fill", &cmd.timeout(60).whole(), &|| false);
    let (what, message) = if free == 0 {
        let group = origin.group();
        let message =
            format!("the snapshot of {origin} is {full} % full, and {group} has no room to extend it");
        (Filled::NoRoom, message)
    } else if let Err(err) = extended() {
        let message = format!("the snapshot of {origin} is {full} % full, and cannot be extended: {err:#}");
        (Filled::Failed, message)
    } else {
        let message =
            format!("the snapshot of {origin} was {full} % full, and is extended: `snapshot_size` is small");
        (Filled::Extended, message)
    };
    // It is looked at every two seconds.
    if watch.is_first(index, what) {
        runner.warn(&message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fills() -> Fills {
        let (origin, snapshot) = ("vg0/srv".parse().unwrap(), "vg0/rlvm-x-0".parse().unwrap());
        Fills { origin, snapshot, extents: 2 }
    }

    fn seen(attributes: &str, full: Option<u8>) -> LogicalVolume {
        LogicalVolume {
            name: "vg0/rlvm-x-0".parse().unwrap(),
            size: 8 << 20,
            attributes: attributes.into(),
            tags: Vec::new(),
            pool: None,
            device: None,
            full,
            free: 0,
            extent: 4 << 20,
        }
    }

    #[test]
    fn some_failed_looks_in_a_row_break_no_snapshot() {
        let fills = fills();
        let well = [seen("swi-aos---", Some(20))];
        let mut watch = Watch::default();
        let mut judge = |look: Option<&[LogicalVolume]>| watch.judge(look, &[&fills]);
        for _ in 0..3 {
            assert_eq!(judge(None), None);
            assert_eq!(judge(None), None);
            assert_eq!(judge(Some(&well)), Some(vec![Judged::Well]));
        }
        assert_eq!((judge(None), judge(None)), (None, None));
        assert_eq!(judge(None), Some(vec![Judged::Broken]), "the third in a row");
    }

    #[test]
    fn a_full_or_missing_snapshot_is_broken_at_once() {
        let fills = fills();
        let judge = |look: &[LogicalVolume]| Watch::default().judge(Some(look), &[&fills]).unwrap().remove(0);
        let fuller = seen("swi-aos---", Some(EARLY));
        assert_eq!(judge(&[]), Judged::Broken);
        assert_eq!(judge(&[seen("swi-aos---", Some(100))]), Judged::Broken);
        assert_eq!(judge(&[seen("swi-Ios---", None)]), Judged::Broken);
        assert_eq!(judge(&[seen("Vwi-aotz-k", None)]), Judged::Well);
        assert_eq!(judge(std::slice::from_ref(&fuller)), Judged::Fills(fuller));
    }

    #[test]
    fn each_warning_is_given_once_a_snapshot() {
        let mut watch = Watch::default();
        let all = [(0, Filled::NoRoom), (0, Filled::NoRoom), (1, Filled::NoRoom), (0, Filled::Extended)];
        let first: Vec<bool> = all.into_iter().map(|(index, what)| watch.is_first(index, what)).collect();
        assert_eq!(first, [true, false, true, true]);
    }
}
