//! Checks what restic restored into a private directory against the file list of the backup.

use std::collections::{BTreeMap, BTreeSet};

use super::nodes::Node;
use crate::{
    host::{Sort, Staged},
    restic::Unrestored,
};

/// Returns requested files that restic did not report as failed, but that are missing or differ in type, size, mode or owner.
/// Names that differ only in bytes that are not UTF-8 are counted separately. Owners are compared only with `owners`.
pub(super) fn lacking<'a>(
    wanted: impl Iterator<Item = &'a Node>,
    staged: &[Staged],
    failed: &[Unrestored],
    owners: bool,
) -> Vec<Unrestored> {
    let mut there: BTreeMap<&str, Vec<&Staged>> = BTreeMap::new();
    for it in staged {
        there.entry(&it.path).or_default().push(it);
    }
    let failed: BTreeSet<&str> = failed.iter().map(|it| it.path.as_str()).collect();
    let mut lacking = Vec::new();
    for node in wanted.filter(|node| !failed.contains(node.path.as_str())) {
        let why = match there.get_mut(node.path.as_str()) {
            None => Some("restic did not restore it and gave no reason".into()),
            Some(all) => match all.iter().position(|it| fault(node, it, owners).is_none()) {
                Some(at) => {
                    all.remove(at);
                    continue;
                }
                None => all.first().and_then(|it| fault(node, it, owners)),
            },
        };
        let why = why.unwrap_or_else(|| "restic restored it as another type of file".into());
        lacking.push(Unrestored { path: node.path.clone(), why });
    }
    lacking
}

/// Says what is not as it was stored.
fn fault(node: &Node, it: &Staged, owners: bool) -> Option<String> {
    let (is, was) = ((it.uid, it.gid), (node.uid, node.gid));
    match () {
        () if it.sort != node.sort => Some("restic restored it as another type of file".into()),
        () if it.altered => {
            Some("its link target is not UTF-8, and restic before 0.16 alters such a target".into())
        }
        () if it.size != node.size => Some(format!("it has {} bytes instead of {}", it.size, node.size)),
        () if owners && is != was => {
            Some(format!("it belongs to {}:{} instead of {}:{}", is.0, is.1, was.0, was.1))
        }
        // A link's mode says nothing.
        () if it.mode != node.mode && node.sort != Sort::Link => {
            Some(format!("it has mode {:04o} instead of {:04o}", it.mode, node.mode))
        }
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(path: &str, sort: Sort, size: u64) -> Node {
        Node { path: path.into(), sort, size, mode: 0o644, uid: 0, gid: 0, mtime: 7, identity: None }
    }

    #[test]
    fn nothing_is_missing_in_silence() {
        let wanted = [
            node("/a", Sort::File, 3),
            node("/b", Sort::File, 3),
            node("/c", Sort::File, 3),
            node("/d", Sort::Fifo, 0),
            node("/alt", Sort::Link, 0),
            node("/x\u{fffd}", Sort::File, 1),
            node("/x\u{fffd}", Sort::File, 2),
        ];
        let staged = |path: &str, sort, size| Staged {
            path: path.into(),
            sort,
            size,
            mode: 0o644,
            uid: 0,
            gid: 0,
            altered: path == "/alt",
        };
        let there = [
            staged("/a", Sort::File, 3),
            staged("/b", Sort::File, 2),
            staged("/alt", Sort::Link, 0),
            staged("/x\u{fffd}", Sort::File, 2),
            staged("/x\u{fffd}", Sort::File, 1),
        ];
        let failed = [Unrestored { path: "/c".into(), why: "x".into() }];
        let lacking = lacking(wanted.iter(), &there, &failed, true);
        let said: Vec<String> = lacking.iter().map(|it| format!("{}: {}", it.path, it.why)).collect();
        assert_eq!(
            said,
            [
                "/b: it has 2 bytes instead of 3",
                "/d: restic did not restore it and gave no reason",
                "/alt: its link target is not UTF-8, and restic before 0.16 alters such a target"
            ]
        );
    }
}
