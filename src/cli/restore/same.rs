//! Decides whether snapshots at two destinations are the same backup. A restore that continues at another destination
//! must not mix in files of another time.

use jiff::Timestamp;

use super::places::Candidate;
use crate::{
    job::{Record, Status},
    model::Name,
    restic::Listed,
};

/// Says whether it is known that two snapshots are the same backup: one is a copy of the other, both are copies of one, both
/// have the same tree, or a record names both as of one run. Times that are near each other say nothing: files may have changed
/// in between.
pub(super) fn is_same_backup(runs: &[Record], one: &Listed, other: &Listed) -> bool {
    let ids = |it: &Listed| [Some(it.id.clone()), it.original.clone()];
    let shared = ids(one).into_iter().flatten().any(|id| ids(other).into_iter().flatten().any(|it| it == id));
    let tree = !one.tree.is_empty() && one.tree == other.tree;
    let by_one_run = runs.iter().flat_map(|run| &run.jobs).any(|job| {
        let stored = job.destinations.iter().chain(&job.copies).filter_map(|it| it.summary.as_ref());
        let has = |it: &Listed| stored.clone().any(|summary| it.is_called(&summary.snapshot_id));
        has(one) && has(other)
    });
    shared || tree || by_one_run
}

/// Keeps the candidates that are the newest backup, the nearest first. Returns what is to be said of the others.
pub(super) fn only_newest<'a>(
    runs: &[Record],
    all: Vec<&'a Candidate<'a>>,
    when: &dyn Fn(&Listed) -> String,
) -> (Vec<&'a Candidate<'a>>, Vec<String>) {
    let Some(newest) = all.iter().copied().max_by_key(|it| it.snapshot.time()) else {
        return (all, Vec::new());
    };
    let (same, others): (Vec<&Candidate<'_>>, Vec<&Candidate<'_>>) =
        all.into_iter().partition(|it| is_same_backup(runs, newest.snapshot, it.snapshot));
    let say = |it: &&Candidate<'_>| {
        let (name, time) = (&it.place.name, when(it.snapshot));
        format!("skipped the older backup at {name}, of {time}; to restore it: --from {name}")
    };
    let said = others.iter().map(say).collect();
    (same, said)
}

/// Returns the place of a backup that a record tells of and that is newer than what was found, and when its run began: the
/// place cannot be asked, or has lost the backup.
pub(super) fn newer_elsewhere<'a>(
    runs: &'a [Record],
    job: &[Name],
    found: &Listed,
) -> Option<(&'a Name, Timestamp)> {
    let time = found.time()?;
    for run in runs.iter().rev() {
        let Some(of) = run.jobs.iter().find(|it| job.contains(&it.job)) else { continue };
        let stored = of.destinations.iter().chain(&of.copies).filter(|it| it.status <= Status::Incomplete);
        let mut stored = stored.filter_map(|it| Some((&it.destination, it.summary.as_ref()?))).peekable();
        let Some((first, _)) = stored.peek().copied() else { continue };
        if stored.any(|(_, summary)| found.is_called(&summary.snapshot_id)) {
            return None;
        }
        let began: Timestamp = run.started.parse().ok()?;
        return (began > time).then_some((first, began));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: &str, time: &str, original: Option<&str>) -> Listed {
        let original = original.map(|it| it.repeat(32));
        Listed { id: id.repeat(32), time: time.into(), original, ..Listed::default() }
    }

    #[test]
    fn one_backup_at_two_places_is_known_by_its_copy_or_its_tree() {
        let first = Listed { tree: "5a".into(), ..listed("ab", "2026-11-20T01:30:00Z", None) };
        let tree = |tree: &str, it: Listed| Listed { tree: tree.into(), ..it };
        for (other, expected) in [
            (listed("cd", "2026-11-20T01:30:00Z", Some("ab")), true),
            (listed("cd", "2026-11-19T01:30:00Z", Some("ef")), false),
            // Nearness says nothing: the source may have changed in between.
            (listed("cd", "2026-11-20T01:30:00Z", None), false),
            (tree("5b", listed("cd", "2026-11-20T01:30:01Z", None)), false),
            (tree("5a", listed("cd", "2026-11-20T02:29:00Z", None)), true),
            (tree("5a", listed("cd", "2026-11-22T02:31:00Z", None)), true),
        ] {
            assert_eq!(is_same_backup(&[], &first, &other), expected, "{other:?}");
            assert_eq!(is_same_backup(&[], &other, &first), expected, "{other:?}");
        }
        // An unknown tree is no tree.
        let [one, other] = ["ab", "cd"].map(|id| listed(id, "2026-11-20T01:30:00Z", None));
        assert!(!is_same_backup(&[], &one, &other));
    }
}
