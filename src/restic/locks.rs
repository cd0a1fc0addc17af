//! Locks in a repository: whose they are, and whether they were left behind (R69).

use serde::Deserialize;

use super::Access;
use crate::{
    effect::{NotReadOnly, Query},
    host::Output,
};

/// A lock, as it says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LockInfo {
    /// The host on which it was taken.
    pub hostname: String,
    /// The process that took it.
    pub pid: u32,
}

impl LockInfo {
    /// Reads what `restic cat lock` said; nothing if that is none, or it is gone by now.
    pub fn read(output: &Output) -> Option<Self> {
        serde_json::from_str(&output.stdout).ok().filter(|_| output.code == Some(0))
    }
}

/// Reads the ids that `restic list locks` printed; it says other things too on the same stream.
pub fn lock_ids(stdout: &str) -> impl Iterator<Item = &str> {
    let is_id = |line: &&str| line.len() >= 8 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    stdout.lines().map(str::trim).filter(is_id)
}

impl Access<'_> {
    /// Asks a lock whose it is.
    ///
    /// # Errors
    ///
    /// Never, as long as the call stands in the reviewed list.
    pub fn lock(&self, id: &str) -> Result<Query, NotReadOnly> {
        let cmd = self.call(&["cat", "lock", id, "--no-lock", "--no-cache"]);
        Query::new(cmd.ok(&[0, 1]).timeout(self.limit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_as_restic_shows_them() {
        let id = "a0dc29db41ea50560584f2ee8934125f09c8a851c15bacba0a694285e802517e";
        let said = format!("repository 1234abcd opened\n\ncreated new cache\n{id}\n");
        assert_eq!(lock_ids(&said).collect::<Vec<_>>(), [id]);
        let json = r#"{ "time": "2026-11-21T14:31:57.5Z", "exclusive": false, "hostname": "vm", "username": "root", "pid": 9819 }"#;
        let output = Output { code: Some(0), stdout: json.into(), ..Output::default() };
        assert_eq!(LockInfo::read(&output), Some(LockInfo { hostname: "vm".into(), pid: 9819 }));
        assert_eq!(LockInfo::read(&Output { code: Some(1), ..output }), None);
    }
}
