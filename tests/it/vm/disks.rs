//! What machines start from.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{command, word};
use crate::tree::{DebianTree, image};

/// The disks of one machine: `/dev/vda` with its root file system, and two blank ones of 2 GiB, `/dev/vdb` and
/// `/dev/vdc`. They take what is written to them, and are gone when this is dropped.
pub(crate) struct Disks {
    dir: TempDir,
}

/// Their files, in order; the guest's names follow.
pub(super) const NAMES: [&str; 3] = ["root.qcow2", "b.qcow2", "c.qcow2"];

impl Disks {
    /// Makes those of a machine that was never started.
    pub(crate) fn new() -> Self {
        Self::over(&image().join("disk"), "raw")
    }

    /// Makes those of a machine whose root file system is a tree as it is now.
    pub(crate) fn of(tree: &DebianTree) -> Self {
        let dir = TempDir::with_prefix("rlvm-vm-").unwrap();
        tree.disk(&dir.path().join("disk"));
        let base = dir.path().join("disk");
        Self { dir }.with(&base, "raw")
    }

    /// Makes those whose first one is a copy of this one, which is never written to.
    pub(super) fn over(base: &Path, format: &str) -> Self {
        Self { dir: TempDir::with_prefix("rlvm-vm-").unwrap() }.with(base, format)
    }

    fn with(self, base: &Path, format: &str) -> Self {
        for name in NAMES {
            let at = self.at(name);
            let what: &[&str] = match name {
                "root.qcow2" => &["-b", word(base), "-F", format, word(&at)],
                _ => &[word(&at), "2G"],
            };
            let words = [&["create", "-q", "-f", "qcow2"], what].concat();
            command("qemu-img", "qemu-utils", &words);
        }
        self
    }

    /// Returns a file beside them.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
