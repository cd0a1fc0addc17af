//! Compares a restored file with the snapshot's list and with the live file.

use crate::{
    model::Sha256,
    restic::{Node, NodeSort},
};

/// A file that was restored, as it stands in the private directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// How many bytes it has.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// To whom it belongs.
    pub uid: u32,
    /// To which group.
    pub gid: u32,
    /// Last write, in nanoseconds since 1970.
    pub mtime: i64,
    /// The digest of what it holds.
    pub digest: Sha256,
}

/// The live file of the same path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// How many bytes it has.
    pub size: u64,
    /// Last write, in nanoseconds since 1970.
    pub mtime: i64,
    /// Last change of what is known of it, in nanoseconds since 1970.
    pub ctime: i64,
}

impl Live {
    /// Says whether it has not changed since a backup of that time, in nanoseconds since 1970: then it holds the same.
    pub fn is_unchanged(&self, node: &Node, time: i64) -> bool {
        self.size == node.size && node.mtime() == Some(self.mtime) && self.ctime < time
    }
}

/// Says in what a restored file is not what it should be: `live` is the digest of the live file, where that has not
/// changed. Whose it is counts only where it was root that restored it: nobody else can give files away.
pub fn compared(node: &Node, restored: &Restored, live: Option<&Sha256>, by_root: bool) -> Vec<String> {
    debug_assert!(node.sort == NodeSort::File);
    let mut unlike = Vec::new();
    let mut differs = |what: &str, is: String, should: String| {
        if is != should {
            unlike.push(format!("its {what} is {is} and should be {should}"));
        }
    };
    differs("size", restored.size.to_string(), node.size.to_string());
    let mut bits = node.bits();
    if by_root {
        let owner = |uid: u32, gid: u32| format!("{uid}:{gid}");
        differs("owner", owner(restored.uid, restored.gid), owner(node.uid, node.gid));
    } else {
        // For a file of another's the kernel drops them.
        bits &= 0o777;
    }
    let mode = if by_root { restored.mode } else { restored.mode & 0o777 };
    differs("mode", format!("{mode:04o}"), format!("{bits:04o}"));
    if let Some(mtime) = node.mtime() {
        differs("time", time(restored.mtime), time(mtime));
    }
    if live.is_some_and(|live| *live != restored.digest) {
        unlike.push("it holds other bytes than the live file, which has not changed since".into());
    }
    unlike
}

fn time(nanoseconds: i64) -> String {
    jiff::Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(letter: char) -> Sha256 {
        letter.to_string().repeat(64).parse().unwrap()
    }

    fn node() -> Node {
        let setuid = (1 << 23) | 0o755;
        Node::read(&format!(
            r#"{{"type":"file","path":"/a","size":3,"mode":{setuid},"uid":7,"gid":8,"mtime":"2026-11-21T06:00:00.5Z"}}"#
        ))
        .unwrap()
    }

    fn restored() -> Restored {
        let mtime = node().mtime().unwrap();
        Restored { size: 3, mode: 0o4755, uid: 7, gid: 8, mtime, digest: sha('a') }
    }

    #[test]
    fn each_difference_is_told() {
        // R77
        for (restored, live, by_root, expected) in [
            (restored(), None, true, ""),
            (restored(), Some(sha('a')), true, ""),
            (Restored { size: 2, ..restored() }, None, true, "its size is 2 and should be 3"),
            (Restored { mode: 0o755, ..restored() }, None, true, "its mode is 0755 and should be 4755"),
            (Restored { mode: 0o755, uid: 9, ..restored() }, None, false, ""),
            (Restored { mode: 0o700, ..restored() }, None, false, "its mode is 0700 and should be 0755"),
            (Restored { gid: 9, ..restored() }, None, true, "its owner is 7:9 and should be 7:8"),
            (
                Restored { mtime: 0, ..restored() },
                None,
                true,
                "its time is 1970-01-01T00:00:00Z and should be 2026-11-21T06:00:00.5Z",
            ),
            (
                restored(),
                Some(sha('b')),
                false,
                "it holds other bytes than the live file, which has not changed since",
            ),
        ] {
            assert_eq!(compared(&node(), &restored, live.as_ref(), by_root).join("; "), expected);
        }
    }

    #[test]
    fn a_live_file_that_may_have_changed_proves_nothing() {
        let mtime = node().mtime().unwrap();
        let live = Live { size: 3, mtime, ctime: mtime };
        let time = mtime + 10;
        assert!(live.is_unchanged(&node(), time));
        assert!(!live.is_unchanged(&node(), mtime));
        assert!(!Live { ctime: time + 1, ..live.clone() }.is_unchanged(&node(), time));
        assert!(!Live { size: 4, ..live.clone() }.is_unchanged(&node(), time));
        assert!(!Live { mtime: mtime - 1, ..live }.is_unchanged(&node(), time));
    }
}
