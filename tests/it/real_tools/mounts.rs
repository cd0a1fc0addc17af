//! R21: what must be mounted is, or nothing is made below it. Asked of the kernel, in a mount namespace.

use std::fs;

use super::{inside, said, says};
use crate::support::Scratch;

const STATE: &str = "version: 1\nhost: web01\ndirectories:\n  /srv/backup: { mounted: true, mode: \"0755\", adopt: true }\n  /srv/backup/more: {}\ndestinations:\n  vault: { local: { path: /srv/backup/web01 }, password_file: /etc/rlvm/v, generate_password: true }\n";

/// A machine that is the running system: rlvm is called without `--root`, inside.
fn machine() -> Scratch {
    let scratch = Scratch::with_real_restic();
    scratch.file("/etc/rlvm/state/hosts/web01.yaml", STATE);
    scratch.dir("/srv/backup", 0, 0o755);
    scratch
}

fn below(scratch: &Scratch) -> usize {
    fs::read_dir(scratch.at("/srv/backup")).unwrap().count()
}

#[test]
fn nothing_is_made_below_a_mount_that_is_missing() {
    // R21
    let scratch = machine();
    let words = &[
        "error: directory:/srv/backup: /srv/backup must be mounted and is not",
        "help: `mount /srv/backup`, then plan again; nothing is made on the disk below it",
        "repository:vault: skipped: it needs directory:/srv/backup",
    ];
    let plan = ["/rlvm", "--host", "web01", "plan"];
    let apply = ["/rlvm", "--host", "web01", "apply", "--yes"];
    said(&inside(&scratch, "", &plan), 1, words);
    said(&inside(&scratch, "", &apply), 7, words);
    assert_eq!(below(&scratch), 0);
    // Another mount beside or below is not this one.
    let beside = "mkdir -p srv/backup2; mount -t tmpfs none srv/backup2";
    said(&inside(&scratch, beside, &apply), 7, words);
    assert_eq!(below(&scratch), 0);

    // Mounted: all goes there, and nothing on the disk below.
    let disk = scratch.beside("disk");
    fs::create_dir(&disk).unwrap();
    let mount = format!("mount --bind {} srv/backup", disk.display());
    said(&inside(&scratch, &mount, &apply), 0, &["Apply complete"]);
    assert_eq!(below(&scratch), 0);
    assert!(disk.join("web01/config").is_file() && disk.join("more").is_dir());
    said(&inside(&scratch, &mount, &plan), 0, &["No changes. The host matches the state."]);

    // Gone again, with a ledger that knows the repository: it is neither made anew nor called gone.
    let said = said(&inside(&scratch, "", &apply), 7, words);
    assert!(!said.contains("is gone from"), "{said}");
    assert_eq!(below(&scratch), 0);
}

#[test]
fn a_mount_is_known_by_where_roots_links_lead_and_with_blanks_in_its_name() {
    let scratch = machine();
    let state = STATE.replace("/srv/backup", "\"/srv/disks/my disk\"").replace("\"/more\"", "/more\"");
    let state = state.replace("\"/srv/disks/my disk\"/web01", "\"/srv/disks/my disk/web01\"");
    let state = state.replace("\"/srv/disks/my disk\"/more", "\"/srv/disks/my disk/more\"");
    scratch.file("/etc/rlvm/state/hosts/web01.yaml", &state);
    scratch.dir("/media/my disk", 0, 0o755);
    std::os::unix::fs::symlink("/media", scratch.at("/srv/disks")).unwrap();
    let plan = ["/rlvm", "--host", "web01", "plan"];
    said(&inside(&scratch, "", &plan), 1, &["/srv/disks/my disk must be mounted and is not"]);
    said(
        &inside(&scratch, "mount -t tmpfs -o mode=755 none 'media/my disk'", &plan),
        0,
        &["repository:vault"],
    );
}

#[test]
fn in_a_tree_it_is_deferred_and_still_nothing_is_made_below() {
    let scratch = Scratch::new();
    scratch.state(STATE.strip_prefix("version: 1\nhost: web01\n").unwrap());
    scratch.dir("/srv/backup", 0, 0o755);
    for args in [&["plan"][..], &["apply", "--yes"]] {
        says(&scratch, args, 0, &["note: directory:/srv/backup: deferred: whether it is mounted"]);
    }
    assert_eq!(below(&scratch), 0);
    assert!(scratch.restic_calls().iter().all(|call| !call.starts_with("init")));
}
