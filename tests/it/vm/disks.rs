//! What machines start from.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{command, word};
use crate::tree::{DebianTree, image};

/// Which disks a machine has.
pub(super) struct Layout {
    /// Their files and sizes, in order: `/dev/vda` first.
    pub(super) disks: &'static [(&'static str, &'static str)],
    /// Where `/` is.
    pub(super) root: &'static str,
}

/// `/dev/vda` with the root file system, and two blank ones, `/dev/vdb` and `/dev/vdc`.
pub(super) const STANDARD: Layout =
    Layout { disks: &[(ROOT, "4G"), ("b.qcow2", "2G"), ("c.qcow2", "2G")], root: "/dev/vda" };

/// What [`LVM`] is made in: its disks follow the standard one.
pub(super) const MOVING: Layout =
    Layout { disks: &[(ROOT, "4G"), VG0, DATA, BTRFS, VAULT], root: "/dev/vda" };

/// `/` on a logical volume, as tests/vm/lvm.sh lays it out.
pub(super) const LVM: Layout = Layout { disks: &[VG0, DATA, BTRFS, VAULT], root: "/dev/mapper/vg0-root" };

/// The file of the root file system, which lies on the image of tests/vm/image.sh.
pub(super) const ROOT: &str = "root.qcow2";
const VG0: (&str, &str) = ("vg0.qcow2", "5G");
const DATA: (&str, &str) = ("data.qcow2", "260M");
const BTRFS: (&str, &str) = ("btrfs.qcow2", "256M");
const VAULT: (&str, &str) = ("vault.qcow2", "1G");

/// The disks of one machine. They take what is written to them, and are gone when this is dropped.
pub(crate) struct Disks {
    dir: TempDir,
    layout: &'static Layout,
}

impl Disks {
    /// Makes those of a machine that was never started.
    pub(crate) fn new() -> Self {
        Self::blank(&STANDARD)
    }

    /// Makes those of a machine whose root file system is a tree as it is now.
    pub(crate) fn of(tree: &DebianTree) -> Self {
        let new = Self::empty(&STANDARD);
        let base = new.at("disk");
        tree.disk(&base);
        new.onto(&base)
    }

    /// Makes those of a machine that was never started, and has these.
    pub(super) fn blank(layout: &'static Layout) -> Self {
        Self::empty(layout).onto(&image().join("disk"))
    }

    /// Makes copies of those in a directory, which are never written to.
    pub(super) fn over(dir: &Path, layout: &'static Layout) -> Self {
        let new = Self::empty(layout);
        for (name, _) in layout.disks {
            copy_on_write(&dir.join(name), "qcow2", &new.at(name));
        }
        new
    }

    /// Takes some away, so that these are left.
    pub(super) fn left(self, layout: &'static Layout) -> Self {
        Self { layout, ..self }
    }

    fn empty(layout: &'static Layout) -> Self {
        Self { dir: TempDir::with_prefix("rlvm-vm-").unwrap(), layout }
    }

    /// Makes the first one a copy of this one, and the others blank.
    fn onto(self, base: &Path) -> Self {
        for (name, size) in self.layout.disks {
            let at = self.at(name);
            match *name {
                ROOT => copy_on_write(base, "raw", &at),
                _ => create(&[word(&at), size]),
            }
        }
        self
    }

    /// Returns which there are.
    pub(super) const fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// Returns a file beside them, or one of them.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn copy_on_write(base: &Path, format: &str, at: &Path) {
    create(&["-b", word(base), "-F", format, word(at)]);
}

fn create(words: &[&str]) {
    command("qemu-img", "qemu-utils", &[&["create", "-q", "-f", "qcow2"], words].concat());
}
