//! Reads the files of a snapshot that a restore was asked for.

use std::collections::HashSet;

use anyhow::{Result, bail};

use super::{compare::upwards, proof::Identity, wish::Wish, world::World};
use crate::{
    host::{Host as _, Sort, Stream, Task, Work as _, interrupted},
    restic::{self, Access, Came, NodeSort, RestoreHeard},
};

/// A file or directory of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its path; bytes that are no UTF-8 are lost.
    pub(super) path: String,
    /// What it is.
    pub(super) sort: Sort,
    /// How many bytes it has.
    pub(super) size: u64,
    /// Permission bits.
    pub(super) mode: u32,
    /// To whom it belongs.
    pub(super) uid: u32,
    /// To which group.
    pub(super) gid: u32,
    /// Last write, in nanoseconds since 1970.
    pub(super) mtime: i64,
    /// What proves that the live file is this very one, unchanged; nothing if it proves nothing.
    pub(super) identity: Option<Identity>,
}

impl Node {
    fn of(node: restic::Node) -> Self {
        let sort = match node.sort {
            NodeSort::File => Sort::File,
            NodeSort::Dir => Sort::Directory,
            NodeSort::Symlink => Sort::Link,
            NodeSort::Fifo => Sort::Fifo,
            NodeSort::Chardev => Sort::CharDevice,
            NodeSort::Dev => Sort::BlockDevice,
            NodeSort::Socket => Sort::Socket,
        };
        let (mode, mtime) = (node.bits(), node.mtime().unwrap_or_default());
        let size = if sort == Sort::File { node.size } else { 0 };
        let identity = node.ctime().map(|ctime| Identity { ctime, inode: node.inode });
        Self { path: node.path, sort, size, mode, uid: node.uid, gid: node.gid, mtime, identity }
    }

    /// Says whether its path is all that there is to its name, and can be passed on.
    pub(super) fn is_plain(&self) -> bool {
        !self.path.chars().any(|letter| letter == '\u{fffd}' || letter.is_control())
    }
}

/// What a snapshot holds of what was asked for.
pub(super) struct Held {
    /// All of it, each directory before what is in it.
    pub(super) nodes: Vec<Node>,
    /// Which of the paths are not in it.
    pub(super) without: Vec<String>,
    /// How many files and directories were listed, whatever was asked for.
    listed: u64,
}

/// Lists what a snapshot holds of some paths, and proves that the list is whole: restic counts all of it once more.
pub(super) fn proven(world: &World<'_>, access: &Access<'_>, snapshot: &str, paths: &[Wish]) -> Result<Held> {
    let held = held(world, access, snapshot, paths)?;
    let output = world.host.looker().query(&access.count(snapshot)?)?;
    let counted = restic::counted(&output.stdout).filter(|_| output.code == Some(0) && !output.timed_out);
    match counted {
        Some(count) if count == held.listed => Ok(held),
        Some(count) => bail!(
            "the file list of snapshot {snapshot} is cut short: restic listed {} files and directories, but counted {count}",
            held.listed
        ),
        None => bail!("restic cannot count the files of snapshot {snapshot}: {}", output.stderr.trim()),
    }
}

/// Lists what a snapshot holds of some paths; of all if there are none.
pub(super) fn held(world: &World<'_>, access: &Access<'_>, snapshot: &str, paths: &[Wish]) -> Result<Held> {
    let texts: HashSet<&str> = paths.iter().map(|it| it.text.as_str()).collect();
    let query = access.ls(snapshot)?;
    let cmd = query.cmd();
    let (mut nodes, mut said, mut listed) = (Vec::new(), RestoreHeard::default(), 0);
    let mut heard = |stream: Stream, line: &str| match stream {
        Stream::Out => {
            let asked = |path: &str| texts.is_empty() || upwards(path).any(|it| texts.contains(it));
            let node = restic::Node::read(line);
            listed += u64::from(node.is_some());
            nodes.extend(node.filter(|it| asked(&it.path)).map(Node::of));
        }
        Stream::Err => {
            said.line(line);
        }
    };
    let stop = || interrupted().is_some();
    let ended =
        world.host.work(cmd, &mut Task { started: &mut |_, _| {}, heard: &mut heard, stop: &stop })?;
    if ended.timed_out {
        bail!("listing the files of snapshot {snapshot} took longer than {} s", cmd.time_limit());
    }
    match said.came(ended.code) {
        Came::Whole => {}
        Came::Incomplete => bail!("restic could not list all files of snapshot {snapshot}"),
        Came::Failed(why) => bail!("{why}"),
    }
    let there: HashSet<&str> =
        nodes.iter().map(|node| node.path.as_str()).filter(|it| texts.contains(it)).collect();
    let has = |text: &str| text == "/" || there.contains(text);
    let without = paths.iter().map(|it| it.text.clone()).filter(|text| !has(text)).collect();
    Ok(Held { nodes, without, listed })
}
