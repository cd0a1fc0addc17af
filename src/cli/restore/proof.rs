//! Says how sure it is that a live file is what was stored, from what the backup's list and the kernel tell of both. Pure.
//!
//! Size and time of last write do not prove it: `touch -r` sets the time, and a copy keeps it. The time of the inode's last
//! change (ctime) does. The kernel sets it with each change of content, target, owner, mode, name or attributes, and no program
//! can choose it (inode(7)). What has the stored ctime and inode number is unchanged. Anything else that looks the same may
//! differ in content or attributes.
//!
//! Not seen: a program that writes through a mapping (mmap(2)) while the file is stored. The kernel may set the times of such a
//! write before the write, so the backup itself may hold another content.

use std::collections::HashMap;

use jiff::Timestamp;

use super::nodes::Node;
use crate::host::{Sort, Stamp, There};

/// The file systems that keep a ctime. FAT, sshfs and rclone show the time of the last write in its place, and a server's
/// answers may be old.
const KEEPING: [&str; 13] = [
    "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "overlay", "ramfs", "tmpfs", "xfs",
    "zfs",
];
/// For how long two changes may have one ctime, in nanoseconds: the kernel's clock ticks at least 100 times a second.
const TICK: i64 = 20_000_000;
/// The same on a file system that keeps whole seconds.
const COARSE: i64 = 2_000_000_000;

/// What tells one file from another one, and from what it was before a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The last change of the inode, in nanoseconds since 1970.
    pub(super) ctime: i64,
    /// Its number. restic 0.14 does not list it.
    pub(super) inode: Option<u64>,
}

/// How alike a live file and a stored one are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// The live file was not changed since the backup.
    Proven,
    /// Type, size, time, owner and mode are equal. Content, target and attributes may differ.
    Alike,
    /// They differ.
    Differs,
}

/// Says whether a file system of this type keeps a ctime.
pub(super) fn keeps_ctime(kind: &str) -> bool {
    KEEPING.contains(&kind)
}

/// Says how alike they are. `proves` says whether the live file system keeps a ctime.
pub(super) fn likeness(node: &Node, there: &There, stamp: &Stamp, proves: bool) -> Likeness {
    let owned = (there.uid, there.gid) == (node.uid, node.gid);
    let looks = match node.sort {
        // Its time moves with each file that comes and goes.
        Sort::Directory => there.mode == node.mode,
        // Its mode says nothing.
        Sort::Link => there.mtime == node.mtime,
        _ => there.mode == node.mode && there.size == node.size && there.mtime == node.mtime,
    };
    if there.sort != node.sort || !owned || !looks {
        return Likeness::Differs;
    }
    match node.sort {
        // There is nothing more to a socket. A directory's attributes are set back in any case.
        Sort::Directory | Sort::Socket => Likeness::Proven,
        _ if proves && is_it(node, stamp) => Likeness::Proven,
        _ => Likeness::Alike,
    }
}

/// Says whether the inode is the stored one, and was not changed or renamed since.
pub(super) fn is_it(node: &Node, stamp: &Stamp) -> bool {
    let same = |it: Identity| it.ctime == stamp.ctime && it.inode.is_none_or(|inode| inode == stamp.ino);
    node.identity.is_some_and(same)
}

/// Takes away identities that prove nothing: of files that changed so shortly before the backup began that a later change can
/// have the same ctime, and of files without an inode number that another file of the backup can be taken for.
pub(super) fn keep_proofs(nodes: &mut [Node], began: Option<Timestamp>) {
    let began = began.and_then(|it| i64::try_from(it.as_nanosecond()).ok()).unwrap_or_default();
    let settled = |ctime: i64| {
        let tick = if ctime % 1_000_000_000 == 0 { COARSE } else { TICK };
        ctime.saturating_add(tick) < began
    };
    let key = |node: &Node| {
        let identity = node.identity.filter(|it| it.inode.is_none() && node.sort != Sort::Directory)?;
        Some((identity.ctime, node.mtime, node.size, node.mode, node.uid, node.gid))
    };
    let mut alike: HashMap<_, u32> = HashMap::new();
    for key in nodes.iter().filter_map(key) {
        *alike.entry(key).or_default() += 1;
    }
    for node in nodes {
        let is_one = key(node).is_none_or(|key| alike.get(&key).is_none_or(|count| *count == 1));
        node.identity = node.identity.filter(|it| is_one && settled(it.ctime));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn node(sort: Sort, ctime: i64, inode: Option<u64>) -> Node {
        let identity = Some(Identity { ctime, inode });
        Node { path: "/s/x".into(), sort, size: 3, mode: 0o644, uid: 1, gid: 2, mtime: 7, identity }
    }

    #[test]
    fn only_the_same_ctime_and_inode_prove_that_nothing_changed() {
        let like = There { sort: Sort::File, size: 3, mode: 0o644, uid: 1, gid: 2, mtime: 7 };
        let stamp = Stamp { dev: 1, ino: 5, size: 3, mtime: 7, ctime: 9 };
        let (file, old) = (node(Sort::File, 9, Some(5)), node(Sort::File, 9, None));
        let none = Node { identity: None, ..file.clone() };
        let of = |sort| (node(sort, 9, Some(5)), There { sort, ..like });
        let ((link, a_link), (fifo, a_fifo)) = (of(Sort::Link), of(Sort::Fifo));
        let ((device, a_device), (socket, a_socket)) = (of(Sort::CharDevice), of(Sort::Socket));
        let (dir, a_dir) = of(Sort::Directory);
        let (later, moved) = (Stamp { ctime: 10, ..stamp }, Stamp { ino: 6, ..stamp });
        for (what, node, there, stamp, proves, expected) in [
            ("unchanged", &file, like, stamp, true, Likeness::Proven),
            ("unchanged, restic 0.14", &old, like, stamp, true, Likeness::Proven),
            ("a file system without ctime", &file, like, stamp, false, Likeness::Alike),
            ("a later change", &file, like, later, true, Likeness::Alike),
            ("a later change, restic 0.14", &old, like, later, true, Likeness::Alike),
            ("another file", &file, like, moved, true, Likeness::Alike),
            ("nothing is listed that proves it", &none, like, stamp, true, Likeness::Alike),
            ("another size", &file, There { size: 4, ..like }, stamp, true, Likeness::Differs),
            ("another time", &file, There { mtime: 8, ..like }, stamp, true, Likeness::Differs),
            ("another mode", &file, There { mode: 0o600, ..like }, stamp, true, Likeness::Differs),
            ("another owner", &file, There { uid: 9, ..like }, stamp, true, Likeness::Differs),
            ("another group", &file, There { gid: 9, ..like }, stamp, true, Likeness::Differs),
            ("another kind", &file, There { sort: Sort::Fifo, ..like }, stamp, true, Likeness::Differs),
            ("a link", &link, There { mode: 0o777, size: 9, ..a_link }, stamp, true, Likeness::Proven),
            ("a link that changed", &link, a_link, later, true, Likeness::Alike),
            ("a link of another time", &link, There { mtime: 8, ..a_link }, stamp, true, Likeness::Differs),
            ("a FIFO", &fifo, a_fifo, stamp, true, Likeness::Proven),
            ("a device that changed", &device, a_device, later, true, Likeness::Alike),
            ("a socket that changed", &socket, a_socket, later, true, Likeness::Proven),
            ("a directory", &dir, There { mtime: 8, ..a_dir }, later, true, Likeness::Proven),
            ("a directory of another mode", &dir, There { mode: 0, ..a_dir }, stamp, true, Likeness::Differs),
        ] {
            assert_eq!(likeness(node, &there, &stamp, proves), expected, "{what}");
        }
    }

    #[test]
    fn a_ctime_that_a_later_change_can_have_too_proves_nothing() {
        let began = Timestamp::from_second(100).unwrap();
        for (what, ctime, expected) in [
            ("long before", 90 * SECOND + 1, true),
            ("shortly before", 100 * SECOND - TICK - 1, true),
            ("in the same tick", 100 * SECOND - TICK, false),
            ("while the backup ran", 101 * SECOND + 1, false),
            ("whole seconds, long before", 97 * SECOND, true),
            ("whole seconds, shortly before", 98 * SECOND, false),
        ] {
            let mut nodes = [node(Sort::File, ctime, Some(5))];
            keep_proofs(&mut nodes, Some(began));
            assert_eq!(nodes[0].identity.is_some(), expected, "{what}");
        }
        let mut nodes = [node(Sort::File, 1, Some(5))];
        keep_proofs(&mut nodes, None);
        assert_eq!(nodes[0].identity, None);
    }

    #[test]
    fn without_inode_numbers_a_ctime_proves_something_for_one_file_alone() {
        let began = Some(Timestamp::from_second(100).unwrap());
        let proven = |nodes: &mut [Node]| {
            keep_proofs(nodes, began);
            nodes.iter().map(|it| it.identity.is_some()).collect::<Vec<_>>()
        };
        let (one, other) = (node(Sort::File, 1, None), node(Sort::File, 2, None));
        let longer = Node { size: 4, ..one.clone() };
        let dir = node(Sort::Directory, 1, None);
        assert_eq!(proven(&mut [one.clone(), one.clone(), other.clone()]), [false, false, true]);
        assert_eq!(proven(&mut [one, longer, other, dir]), [true; 4]);
        let numbered = node(Sort::File, 1, Some(5));
        assert_eq!(proven(&mut [numbered.clone(), numbered]), [true; 2]);
    }
}
