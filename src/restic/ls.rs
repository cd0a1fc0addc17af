//! Reads the file list of a snapshot.

use jiff::Timestamp;
use serde::Deserialize;

use super::Access;
use crate::{
    effect::{Cmd, NotReadOnly, Query},
    model::HostPath,
};

/// How long it may take, in seconds: without a cache restic reads each directory over the network.
const LIST: u64 = 3600;
/// The bits of Go's `os.FileMode` for what Unix has above the permission bits, each with Unix's own.
const ABOVE: [(u32, u32); 3] = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];

/// Something that a snapshot holds, under restic's own names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// Where it stood. Bytes that are no UTF-8 have become U+FFFD: such a path cannot be asked for.
    pub path: String,
    /// What it is.
    #[serde(rename = "type")]
    pub sort: NodeSort,
    /// How many bytes a file has.
    #[serde(default)]
    pub size: u64,
    /// Go's `os.FileMode`: [`Node::bits`] has it as Unix does.
    #[serde(default)]
    pub mode: u32,
    /// To whom it belongs.
    #[serde(default)]
    pub uid: u32,
    /// To which group.
    #[serde(default)]
    pub gid: u32,
    /// Of when it is, as RFC 3339 has it: [`Node::mtime`].
    #[serde(default, rename = "mtime")]
    written: String,
    /// When the inode last changed, as RFC 3339 has it: [`Node::ctime`].
    #[serde(default, rename = "ctime")]
    changed: String,
    /// Its inode number. restic 0.14 does not list it.
    #[serde(default)]
    pub inode: Option<u64>,
}

/// What sort of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeSort {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link. Where it leads no version lists.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A character device.
    Chardev,
    /// A block device.
    Dev,
    /// A socket, or what no version says yet.
    #[serde(other)]
    Socket,
}

impl Access<'_> {
    /// Lists all that a snapshot holds, a line each, and takes no lock. A large one prints more than a look keeps: it is
    /// heard line by line.
    ///
    /// # Errors
    ///
    /// Never, as long as the call stands in the reviewed list.
    pub fn ls(&self, snapshot: &str) -> Result<Query, NotReadOnly> {
        let cmd = self.call_cached(&["ls", "--json", "--no-lock"]).args(["--", snapshot]);
        Query::new(cmd.ok(&[0, 1, 10, 11, 12]).timeout(LIST).stoppable())
    }
}

impl Access<'_> {
    /// Lists what a snapshot holds at the top of some directories, a line each, and takes no lock. `--`, its id and the
    /// directories follow. restic keeps its cache there: a backup has just filled it.
    pub fn list_tops(&self, cache: &HostPath) -> Cmd {
        let cmd = self.call(&["ls", "--json", "--no-lock"]).arg("--cache-dir").path(cache);
        cmd.ok(&[0, 1, 10, 11, 12]).timeout(LIST).stoppable()
    }

    /// Counts all that a snapshot holds, and takes no lock: files of any kind and directories, as [`Access::ls`] lists them
    /// (tried with 0.14.0, 0.18.0 and 0.19.1). A list has no end that proves it to be whole. What it prints reads [`counted`].
    ///
    /// # Errors
    ///
    /// Never, as long as the call stands in the reviewed list.
    pub fn count(&self, snapshot: &str) -> Result<Query, NotReadOnly> {
        let cmd = self.call(&["stats", "--json", "--no-lock", "--no-cache", "--mode", "restore-size"]);
        Query::new(cmd.args(["--", snapshot]).ok(&[0, 1, 10, 11, 12]).timeout(LIST).stoppable())
    }
}

/// Reads what [`Access::count`] printed: how many files and directories there are.
pub fn counted(stdout: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Stats {
        total_file_count: u64,
    }
    stdout.lines().rev().find_map(|line| Some(serde_json::from_str::<Stats>(line).ok()?.total_file_count))
}

/// What a snapshot holds of each source, as [`Access::list_tops`] lists it.
pub struct Contents<'a> {
    is_there: bool,
    /// The sources, each with whether anything of it was listed.
    sources: Vec<(&'a HostPath, bool)>,
}

impl<'a> Contents<'a> {
    /// Begins with nothing listed yet.
    pub fn of(sources: &'a [HostPath]) -> Self {
        Self { is_there: false, sources: sources.iter().map(|path| (path, false)).collect() }
    }

    /// Reads a line. The first one is the snapshot itself: 0.14 ends well without one if there is no such snapshot.
    pub fn line(&mut self, line: &str) {
        #[derive(Deserialize)]
        struct First {
            struct_type: String,
        }
        if !self.is_there {
            let first = serde_json::from_str::<First>(line);
            self.is_there = first.is_ok_and(|first| first.struct_type == "snapshot");
            return;
        }
        if self.sources.iter().all(|(_, found)| *found) {
            return;
        }
        let Some(node) = Node::read(line) else { return };
        for (source, found) in &mut self.sources {
            let below = node.path.strip_prefix(source.as_str().trim_end_matches('/'));
            *found |= match below {
                Some("") => node.sort != NodeSort::Dir,
                Some(below) => below.len() > 1 && below.starts_with('/'),
                None => false,
            };
        }
    }

    /// Says whether the snapshot is there.
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// Lists the sources of which it holds nothing.
    pub fn without(&self) -> impl Iterator<Item = &'a HostPath> {
        self.sources.iter().filter(|(_, found)| !found).map(|(source, _)| *source)
    }
}

/// Says whether restic complains that there is no such snapshot: 0.18 and 0.19; 0.14 says it and ends well.
pub fn is_no_snapshot(complaint: &str) -> bool {
    complaint.contains("no matching ID found")
}

impl Node {
    /// Reads a line; nothing of the first one, which is the snapshot itself, and of what is no JSON.
    pub fn read(line: &str) -> Option<Self> {
        if line.starts_with('{') { serde_json::from_str(line).ok() } else { None }
    }

    /// Returns the permission bits as Unix has them.
    pub fn bits(&self) -> u32 {
        let above = ABOVE.iter().filter(|(go, _)| self.mode & go != 0).map(|(_, unix)| unix);
        above.fold(self.mode & 0o777, |bits, bit| bits | bit)
    }

    /// Returns its last write, in nanoseconds since 1970; nothing if restic's date makes no sense.
    pub fn mtime(&self) -> Option<i64> {
        nanoseconds(&self.written)
    }

    /// Returns the last change of its inode, in nanoseconds since 1970; nothing if restic does not list it. All versions list
    /// it to the nanosecond (tried with 0.14.0, 0.18.0 and 0.19.1).
    pub fn ctime(&self) -> Option<i64> {
        nanoseconds(&self.changed)
    }
}

fn nanoseconds(date: &str) -> Option<i64> {
    let time: Timestamp = date.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_versions() {
        // Copied from 0.14.0, 0.18.0 and 0.19.1.
        let first = r#"{"time":"2026-11-21T17:32:25.94Z","tree":"9e","paths":["/s"],"hostname":"vm","id":"8d","short_id":"8d","struct_type":"snapshot"}"#;
        assert_eq!(Node::read(first), None);
        assert_eq!(Node::read("subprocess ssh: {a banner}"), None);
        let old = r#"{"name":"big","type":"file","path":"/s/a/big","uid":0,"gid":4,"size":300000,"mode":420,"permissions":"-rw-r--r--","mtime":"2026-11-21T17:32:22.637478348Z","atime":"2026-11-21T17:32:22Z","ctime":"2026-11-21T17:32:22Z","struct_type":"node"}"#;
        let node = Node::read(old).unwrap();
        assert_eq!((node.path.as_str(), node.sort, node.size), ("/s/a/big", NodeSort::File, 300_000));
        assert_eq!((node.uid, node.gid, node.bits()), (0, 4, 0o644));
        assert_eq!(node.mtime(), Some(1_795_282_342_637_478_348));
        assert_eq!((node.ctime(), node.inode), (Some(1_795_282_342_000_000_000), None));
        let new = r#"{"name":"s","type":"dir","path":"/s","uid":0,"gid":0,"mode":2147484141,"permissions":"drwxr-xr-x","mtime":"2026-11-21T18:32:25.91+01:00","inode":10010877,"message_type":"node","struct_type":"node"}"#;
        let node = Node::read(new).unwrap();
        assert_eq!((node.sort, node.bits(), node.size), (NodeSort::Dir, 0o755, 0));
        assert_eq!((node.ctime(), node.inode), (None, Some(10_010_877)));
        for (mode, bits) in [(0o4755, 0o755), (1 << 23 | 0o755, 0o4755), (1 << 20 | 1 << 22 | 0o777, 0o3777)]
        {
            let line = format!(r#"{{"type":"socket","path":"/s/n","mode":{mode}}}"#);
            let node = Node::read(&line).unwrap();
            assert_eq!((node.sort, node.bits(), node.mtime()), (NodeSort::Socket, bits, None));
        }
        for (sort, expected) in [
            ("fifo", NodeSort::Fifo),
            ("chardev", NodeSort::Chardev),
            ("dev", NodeSort::Dev),
            ("irregular", NodeSort::Socket),
        ] {
            assert_eq!(Node::read(&format!(r#"{{"type":"{sort}","path":"/s/n"}}"#)).unwrap().sort, expected);
        }
    }

    #[test]
    fn contents_of_each_source() {
        let node =
            |path: &str, sort: &str| format!(r#"{{"path":"{path}","type":"{sort}","struct_type":"node"}}"#);
        let sources: Vec<HostPath> =
            ["/", "/srv/a", "/srv/b", "/srv/f", "/srv/ab"].map(|it| it.parse().unwrap()).into();
        let without = |lines: &[String]| {
            let mut contents = Contents::of(&sources);
            for line in lines {
                contents.line(line);
            }
            let all: Vec<&str> = contents.without().map(HostPath::as_str).collect();
            (contents.is_there(), all.join(" "))
        };
        let first = r#"{"id":"8d","paths":["/srv"],"struct_type":"snapshot"}"#.to_owned();
        let all = "/ /srv/a /srv/b /srv/f /srv/ab";
        assert_eq!(without(&[]), (false, all.into()));
        assert_eq!(without(&[node("/srv/a/x", "file")]), (false, all.into()));
        let lines = [
            first.clone(),
            node("/srv/a", "dir"),
            node("/srv/ab", "dir"),
            node("/srv/ab/x", "symlink"),
            node("/srv/b", "dir"),
            node("/srv/f", "file"),
        ];
        assert_eq!(without(&lines), (true, "/srv/a /srv/b".into()));
        assert_eq!(without(&[first]), (true, all.into()));
    }

    #[test]
    fn counts_of_all_versions() {
        // Copied from 0.14.0, 0.18.0 and 0.19.1, which print the same.
        let stats = "{\"total_size\":2000008,\"total_file_count\":17,\"snapshots_count\":1}\n";
        assert_eq!(counted(&format!("a banner\n{stats}\n")), Some(17));
        assert_eq!((counted(""), counted("{\"message_type\":\"exit_error\"}")), (None, None));
    }
}
