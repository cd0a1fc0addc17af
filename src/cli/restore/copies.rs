//! Compares files that look as they were with copies that restic restores into a private directory, before anything is shown.
//!
//! Links, FIFOs and devices hold no data, so they are always compared. Files are compared if the caller asks for it: then all
//! that the restore may need is fetched before the comparison, and what differs is put in place from there.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::{
    attempt::{Fetched, Prepared, owner, restores, version},
    decide::Alike,
    places::Candidate,
    stage::Stage,
    world::World,
};
use crate::{
    effect::Op,
    host::{Sort, interrupted},
    model::{HostPath, UserName},
    restic::{RestoreHeard, Unrestored},
};

/// How many names restic gets in one call, and how long they may be together, in bytes: restic compares each name in a
/// directory with each of them.
const MOST: (usize, usize) = (2_000, 200_000);
/// How many calls there are at most. What is left is not compared.
const CALLS: usize = 5;

/// Compares all files that look as they were with what was fetched. A file that cannot be compared is refused.
pub(super) fn compare_contents(world: &World<'_>, what: &mut Prepared, fetched: &Fetched) -> Result<()> {
    compare(world, what, &fetched.staging, &fetched.unrestored, true)
}

/// Fetches links, FIFOs and devices that look as they were, and compares them. One that cannot be compared stays.
pub(super) fn compare_links(
    world: &World<'_>,
    stage: &Stage<'_>,
    from: &Candidate<'_>,
    what: &mut Prepared,
    dir: &HostPath,
) -> Result<()> {
    let root = UserName::root();
    let access = from.place.access(&root);
    let links = what.decided.alike.iter().map(|it| &what.nodes[it.node]).filter(|it| it.sort != Sort::File);
    let calls = calls(links.map(|it| it.path.as_str()));
    let owner = owner(world, from)?;
    let staging = stage.make(dir, &owner.user, &owner.group)?;
    let version = version(world, &access)?;
    let mut failed = Vec::new();
    for paths in &calls {
        let mut said = RestoreHeard::default();
        let call = (&access, from.snapshot.id.as_str(), version);
        restores((stage, &staging), call, paths, &mut said, &mut |_| {})?;
        failed.extend(said.failed(paths.iter().map(String::as_str)));
    }
    compare(world, what, &staging, &failed, false)?;
    stage.close(&Op::RemoveStaging { path: staging })
}

/// Divides names into what one call of restic gets each.
fn calls<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<Vec<String>> {
    let mut calls: Vec<Vec<String>> = Vec::new();
    let mut length = 0;
    for path in paths {
        length += path.len();
        let full = |last: &Vec<String>| last.len() == MOST.0 || length > MOST.1;
        if calls.last().is_none_or(full) {
            if calls.len() == CALLS {
                break;
            }
            calls.push(Vec::new());
            length = path.len();
        }
        if let Some(last) = calls.last_mut() {
            last.push(path.to_owned());
        }
    }
    calls
}

fn compare(
    world: &World<'_>,
    what: &mut Prepared,
    staging: &HostPath,
    failed: &[Unrestored],
    files: bool,
) -> Result<()> {
    let failed: BTreeSet<&str> = failed.iter().map(|it| it.path.as_str()).collect();
    let stop = || interrupted().is_some();
    let mut copies = world.host.copies(staging)?;
    for it in std::mem::take(&mut what.decided.alike) {
        let node = &what.nodes[it.node];
        // One that restic could not restore in full is listed as such.
        if failed.contains(node.path.as_str()) || node.sort == Sort::File && !files {
            continue;
        }
        let equality = copies.compare(&it.path, &way(&it)?, &it.stamp, &stop)?;
        if stop() {
            bail!("stopped by a signal");
        }
        what.decided.settle(node, &it, equality, files);
    }
    Ok(())
}

/// Returns the directory from where on no link is followed.
fn way(it: &Alike) -> Result<HostPath> {
    let names = it.path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).take(it.way);
    names
        .map(|name| Ok(std::str::from_utf8(name)?))
        .try_fold(HostPath::fixed("/"), |way, name: Result<&str>| Ok(way.join(name?)?))
}

/// Says that it is not known whether some files differ; nothing if there are none.
pub(super) fn said_of_alike(count: u64, only_missing: bool) -> Option<String> {
    let (files, have, they) = match count {
        0 => return None,
        1 => ("1 file".to_owned(), "has", "its contents were"),
        count => (format!("{count} files"), "have", "their contents were"),
    };
    let help = if only_missing { "" } else { "; --compare-content compares them" };
    Some(format!(
        "{files} {have} the stored size and time, but changed or moved since the backup: {they} not compared{help}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Stamp;

    #[test]
    fn names_are_divided_by_number_and_length() {
        let lengths = |count: usize, length: usize| {
            let path = "x".repeat(length);
            calls(std::iter::repeat_n(path.as_str(), count)).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(lengths(0, 9), Vec::<usize>::new());
        assert_eq!(lengths(2_001, 9), [2_000, 1]);
        assert_eq!(lengths(5, 80_000), [2, 2, 1]);
        assert_eq!(lengths(12_000, 9), [2_000; 5]);
    }

    #[test]
    fn what_was_not_compared_is_said() {
        assert_eq!(said_of_alike(0, false), None);
        assert_eq!(
            said_of_alike(1, true).unwrap(),
            "1 file has the stored size and time, but changed or moved since the backup: its contents were not compared"
        );
        let said = said_of_alike(2, false).unwrap();
        assert!(said.starts_with("2 files have the stored"), "{said}");
        assert!(
            said.ends_with("their contents were not compared; --compare-content compares them"),
            "{said}"
        );
    }

    #[test]
    fn the_way_is_made_of_the_first_names() {
        for (path, way_, expected) in [(&b"/srv/www/x"[..], 2, "/srv/www"), (b"/lat\xe9", 0, "/")] {
            let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime: 1, ctime: 1 };
            let it = Alike { node: 0, path: path.into(), way: way_, stamp };
            assert_eq!(way(&it).unwrap().as_str(), expected);
        }
    }
}
