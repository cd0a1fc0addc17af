//! Machines that have started, asleep: their disks and their memory, kept below target/ for all tests to wake up from.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{
    command,
    disks::{Disks, LVM, Layout, MOVING, ROOT, STANDARD},
    qemu, word,
};
use crate::{support::sha256, tree::image, turn};

/// What a root file system lies on, beside it: the whole may be moved.
const BASE: &str = "../disk";
/// What lays the logical volumes out.
const LVM_SCRIPT: &str = include_str!("../../vm/lvm.sh");

/// Makes the disks of a standard machine to wake up, and says where its memory is.
pub(super) fn standard() -> (Disks, PathBuf) {
    wake("asleep", "", &STANDARD, Disks::new)
}

/// Does the same for one whose `/` is on a logical volume.
pub(super) fn lvm() -> (Disks, PathBuf) {
    wake("asleep-lvm", LVM_SCRIPT, &LVM, || {
        let disks = Disks::blank(&MOVING);
        let mut qemu = qemu::boot(&disks);
        let ran = qemu.ask(LVM_SCRIPT, &[]);
        assert_eq!(ran.code, Some(0), "tests/vm/lvm.sh: {}{}", ran.stdout, ran.stderr);
        qemu.kill();
        disks.left(&LVM)
    })
}

/// Makes copies of a machine's disks; the machine is made first if it is not there, once for all that wait for it.
fn wake(
    name: &str,
    made_by: &str,
    layout: &'static Layout,
    make: impl FnOnce() -> Disks,
) -> (Disks, PathBuf) {
    let at = place(name, made_by, layout);
    let making = turn::take(name);
    if !at.is_dir() {
        fall_asleep(&make(), &at);
    }
    drop(making);
    (Disks::over(&at, layout), at.join("memory"))
}

/// Another QEMU, or another machine, does not wake up from this memory.
fn place(name: &str, made_by: &str, layout: &Layout) -> PathBuf {
    let version = Command::new(qemu::PROGRAM).arg("--version").output();
    let version = version.expect("this test needs QEMU: ./tests/vm/image.sh").stdout;
    let machine =
        [&qemu::MACHINE.join(" "), &*qemu::append(layout), &format!("{:?}", layout.disks), made_by, BASE];
    let key = sha256(&[version, machine.join("\n").into_bytes()].concat());
    image().canonicalize().unwrap().join(format!("{name}-{}", &key[..12]))
}

fn fall_asleep(disks: &Disks, at: &Path) {
    let mut qemu = qemu::boot(disks);
    // Programs of the first calls are in memory then.
    qemu.ask("systemctl is-system-running; install --version; lvs; restic version; sync", &[]);
    let new = TempDir::with_prefix_in("asleep-new-", at.parent().unwrap()).unwrap();
    qemu.save(&new.path().join("memory"));
    for (name, _) in disks.layout().disks {
        let copy = new.path().join(name);
        fs::copy(disks.at(name), &copy).unwrap();
        if *name == ROOT {
            let words = ["rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", BASE, word(&copy)];
            command("qemu-img", "qemu-utils", &words);
        }
    }
    fs::rename(new.path(), at).unwrap();
}
