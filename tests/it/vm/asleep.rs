//! A machine that has started, asleep: its disk and its memory, kept below target/ for all tests to wake up from.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::{
    disks::{Disks, NAMES},
    qemu::{self, Qemu},
};
use crate::{support::sha256, tree::image};

/// Makes the disks of a machine to wake up, and says where its memory is. Whoever calls has the turn.
pub(super) fn disks() -> (Disks, PathBuf) {
    let at = place();
    if !at.is_dir() {
        fall_asleep(&at);
    }
    (Disks::over(&at.join(NAMES[0]), "qcow2"), at.join("memory"))
}

/// Another QEMU, or another machine, does not wake up from this memory.
fn place() -> PathBuf {
    let version = Command::new(qemu::PROGRAM).arg("--version").output();
    let version = version.expect("this test needs QEMU: ./tests/vm/image.sh").stdout;
    let key = sha256(&[version, qemu::MACHINE.join(" ").into_bytes()].concat());
    image().canonicalize().unwrap().join(format!("asleep-{}", &key[..12]))
}

fn fall_asleep(at: &std::path::Path) {
    let disks = Disks::new();
    let mut qemu: Qemu = qemu::boot(&disks);
    // Programs of the first calls are in memory then.
    qemu.ask("systemctl is-system-running; install --version; sync", &[]);
    let new = TempDir::with_prefix_in("asleep-new-", at.parent().unwrap()).unwrap();
    qemu.save(&new.path().join("memory"));
    // It lies on the cached disk by an absolute name.
    fs::copy(disks.at(NAMES[0]), new.path().join(NAMES[0])).unwrap();
    // Another test binary may have been first: then this one is removed.
    let _ = fs::rename(new.path(), at);
}
