//! Finds symbolic links on the way to the paths that a restore in place was asked for: the files are where the links lead.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{wish::Wish, world::World};
use crate::model::HostPath;

/// A path with a symbolic link in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Leads {
    /// The path up to the link, as it was asked for.
    pub(super) path: String,
    /// The directory that it leads to.
    pub(super) to: String,
}

/// Lists where symbolic links lead on the way to each path. A link at the end of a path is a file of its own, and a link that is
/// not followed leads nowhere.
pub(super) fn leads<'a>(world: &World<'_>, wishes: impl Iterator<Item = &'a Wish>) -> Vec<Leads> {
    let mut known: BTreeMap<String, Option<HostPath>> = BTreeMap::new();
    let mut look = |path: &HostPath| {
        known.entry(path.to_string()).or_insert_with(|| world.host.resolved(path).ok().flatten()).clone()
    };
    let ways: BTreeSet<String> = wishes.map(|wish| wish.split().0.to_string()).collect();
    let ways = ways.iter().filter_map(|way| way.parse::<HostPath>().ok());
    let found: BTreeSet<Leads> = ways.filter_map(|way| link_on_path(&way, &mut look)).collect();
    found.into_iter().collect()
}

/// Returns the shortest part of a path that tells where all of it is; nothing if no link is in it.
fn link_on_path(way: &HostPath, look: &mut dyn FnMut(&HostPath) -> Option<HostPath>) -> Option<Leads> {
    let real = look(way)?;
    if real == *way {
        return None;
    }
    let mut parts: Vec<HostPath> = way.ancestors().collect();
    parts.sort_by_key(|it| it.as_str().len());
    let tells = |at: &HostPath, to: &HostPath| {
        let rest = way.as_str().strip_prefix(at.as_str())?;
        (at != to && format!("{}{rest}", to.as_str().trim_end_matches('/')) == real.as_str()).then_some(())
    };
    let found = parts.into_iter().chain([way.clone()]).find_map(|at| {
        let to = look(&at)?;
        tells(&at, &to).map(|()| (at, to))
    });
    let (at, to) = found.unwrap_or_else(|| (way.clone(), real.clone()));
    Some(Leads { path: at.to_string(), to: to.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_part_that_tells_all_is_named() {
        let links = [("/a/link", "/real"), ("/real/in/two", "/other"), ("/run2", "/run")];
        let mut look = |path: &HostPath| {
            let mut at = path.to_string();
            for (from, to) in links {
                if let Some(rest) = at.strip_prefix(from).filter(|it| it.is_empty() || it.starts_with('/')) {
                    at = format!("{to}{rest}");
                }
            }
            at.parse().ok()
        };
        for (way, expected) in [
            ("/a", None),
            ("/a/link", Some(("/a/link", "/real"))),
            ("/a/link/x/y", Some(("/a/link", "/real"))),
            ("/a/link/in/two/z", Some(("/a/link/in/two", "/other"))),
            ("/run2/x", Some(("/run2", "/run"))),
            ("/", None),
        ] {
            let found = link_on_path(&way.parse().unwrap(), &mut look);
            let found = found.as_ref().map(|it| (it.path.as_str(), it.to.as_str()));
            assert_eq!(found, expected, "{way}");
        }
    }
}
