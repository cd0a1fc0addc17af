//! Lists paths inside sources that are not stored: repositories, rlvm's cache, and file systems that the kernel
//! generates.

use super::Facts;
use crate::{
    host::Mounts,
    model::{HostPath, Name},
};

/// Lists patterns of what is rlvm's own below the paths of a job: its cache, and the local repositories of all destinations.
/// Two of these in one source would store each other, and grow with each run. A repository that is a source itself is
/// asked for, unless it would be stored in itself.
pub(super) fn rlvms_own(paths: &[HostPath], to: &Name, facts: &Facts) -> Vec<String> {
    let lies = |path: &HostPath| facts.ground.places.get(path).unwrap_or(path).clone();
    let is_asked_for = |place: &HostPath| paths.iter().any(|path| lies(path).is_within(place));
    let repositories = facts.places.iter().filter(|(name, place)| *name == to || !is_asked_for(place));
    let all = repositories.map(|(_, place)| place).chain([&facts.cache]);
    let mut patterns: Vec<String> =
        all.flat_map(|place| paths.iter().filter_map(|path| seen_below(path, &lies(path), place))).collect();
    patterns.sort();
    patterns.dedup();
    patterns
}

/// Returns the pattern of a place as restic sees it below a path, which may lead elsewhere; nothing if it is not there.
fn seen_below(path: &HostPath, lies: &HostPath, place: &HostPath) -> Option<String> {
    if !place.is_within(lies) {
        return None;
    }
    let rest = place.as_str().get(lies.as_str().trim_end_matches('/').len()..)?;
    let seen: HostPath = format!("{}{rest}", path.as_str().trim_end_matches('/')).parse().ok()?;
    Some(pattern(&seen))
}

/// Lists patterns of what must not be stored whatever a job says: what the kernel makes up (R53). Even with
/// `--one-file-system` restic lists the files there, and one that vanishes meanwhile makes the backup incomplete
/// (seen with 0.18 and /run). A source that lies there is stored.
pub(super) fn left_out(paths: &[HostPath], mounts: &Mounts) -> Vec<String> {
    let is_asked_for = |at: &HostPath| paths.iter().any(|path| path.is_within(at));
    let below = paths.iter().flat_map(|path| mounts.below(path));
    let below = below.filter(|mount| mount.is_pseudo() && !is_asked_for(&mount.at));
    let mut at: Vec<&HostPath> = below.map(|mount| &mount.at).collect();
    at.sort();
    at.dedup();
    // What lies below one that is left out is left out with it.
    let covered = |place: &HostPath| at.iter().any(|other| **other != *place && place.is_within(other));
    at.iter().filter(|place| !covered(place)).map(|place| format!("{}/*", pattern(place))).collect()
}

/// Writes a path as a pattern that means just it (Go's filepath.Match).
fn pattern(path: &HostPath) -> String {
    path.as_str().chars().fold(String::new(), |mut text, letter| {
        if "*?[\\".contains(letter) {
            text.push('\\');
        }
        text.push(letter);
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{expand::UserFacts, source::Ground};

    #[test]
    fn every_local_repository_of_the_state_is_excluded() {
        let path = |text: &str| -> HostPath { text.parse().unwrap() };
        let name = |text: &str| -> Name { text.parse().unwrap() };
        let facts = Facts {
            ground: Ground { places: [(path("/link"), path("/srv"))].into(), ..Ground::default() },
            repositories: BTreeMap::new(),
            places: [
                (name("a"), path("/srv/a")),
                (name("b"), path("/srv/b*")),
                (name("far"), path("/mnt/far")),
            ]
            .into(),
            stops: BTreeMap::new(),
            user_facts: UserFacts::default(),
            cache: path("/var/cache/rlvm"),
            runs: path("/run/rlvm/run"),
            own: None,
            nests: true,
        };
        for (sources, expected) in [
            (&["/srv"][..], &["/srv/a", "/srv/b\\*"][..]),
            (&["/"], &["/mnt/far", "/srv/a", "/srv/b\\*", "/var/cache/rlvm"]),
            (&["/link"], &["/link/a", "/link/b\\*"]),
            (&["/home"], &[]),
            // One that is named is stored, but never in itself.
            (&["/srv/b*"], &[]),
            (&["/srv", "/srv/b*/data"], &["/srv/a"]),
            (&["/srv/a"], &["/srv/a"]),
        ] {
            let paths: Vec<HostPath> = sources.iter().map(|it| path(it)).collect();
            assert_eq!(rlvms_own(&paths, &name("a"), &facts), expected, "{sources:?}");
        }
    }

    #[test]
    fn pseudo_mounts_are_excluded_unless_a_source_lies_there() {
        let mounts = Mounts::table(&[
            ("/", "ext4"),
            ("/proc", "proc"),
            ("/run", "tmpfs"),
            ("/data", "tmpfs"),
            ("/home", "ext4"),
        ]);
        for (sources, expected) in [
            (&["/"][..], &["/data/*", "/proc/*", "/run/*"][..]),
            (&["/", "/data"], &["/proc/*", "/run/*"]),
            (&["/", "/data/d", "/home"], &["/proc/*", "/run/*"]),
            (&["/home"], &[]),
            (&["/data"], &[]),
        ] {
            let paths: Vec<HostPath> = sources.iter().map(|path| path.parse().unwrap()).collect();
            assert_eq!(left_out(&paths, &mounts), expected, "{sources:?}");
        }
    }
}
