//! Directories with `mounted: true` while nothing is mounted there: nothing is stored, made or removed on the disk below.

#![expect(clippy::unwrap_used, reason = "tests look at the machine")]

use crate::{hangs::Hang, lab::Lab, support::Ran};

const STATE: &str = r#"
directories:
  /srv/mnt/usb: { mounted: true, mode: "1777" }
  /srv/data/disk: { mounted: true, mode: "1777" }
destinations:
  near: { local: { path: /srv/near }, password_file: /etc/rlvm/near, generate_password: true }
  usb: { local: { path: /srv/mnt/usb/r }, password_file: /etc/rlvm/usb, generate_password: true }
jobs:
  at: { sources: [{ path: /srv/data/disk }], to: [near] }
  below: { sources: [{ path: /srv/data/disk/d }], to: [near] }
  above: { sources: [{ path: /srv/data }], to: [near] }
  without: { sources: [{ path: /srv/data }], to: [near], exclude: [/srv/data/disk] }
  linked: { sources: [{ path: /srv/link/d }], to: [near] }
  both: { sources: [{ path: /srv/www }], to: [near, usb] }
"#;

/// What is added to the state, to see what apply still does.
const MORE: &str = "cron:\n  x: { schedule: \"@daily\", command: \"true\" }\n";

fn mounted() -> Lab {
    let lab = Lab::new();
    for at in ["/srv/mnt/usb", "/srv/data/disk"] {
        lab.ok(&["mkdir", "-p", at]);
        lab.ok(&["mount", "-t", "tmpfs", "none", at]);
    }
    lab.ok(&["mkdir", "-p", "/srv/data/disk/d", "/srv/www"]);
    lab.ok(&[
        "sh",
        "-c",
        "echo x >/srv/data/disk/d/f; echo x >/srv/data/f; echo x >/srv/www/f; ln -s /srv/data/disk /srv/link",
    ]);
    lab.repository("/srv/near", "/etc/rlvm/near");
    lab.state(STATE);
    lab.apply();
    lab
}

/// Returns how many snapshots a job has at `near`.
fn snapshots(lab: &Lab, job: &str) -> usize {
    let ran = lab.expect(0, &["snapshots", job, "--to", "near", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    value["snapshots"].as_array().map_or(0, Vec::len)
}

fn says(ran: &Ran, words: &str) -> bool {
    ran.stdout.contains(words) || ran.stderr.contains(words)
}

#[test]
fn run_stores_nothing_from_or_to_a_missing_mount() {
    let lab = mounted();
    lab.expect(0, &["run", "--all"]);
    // The mount point still exists below the mount, with a directory that has the source's name.
    lab.ok(&["umount", "/srv/data/disk", "/srv/mnt/usb"]);
    lab.ok(&["mkdir", "-p", "/srv/data/disk/d"]);
    for (job, code) in [("at", 8), ("below", 8), ("above", 8), ("linked", 8), ("without", 0)] {
        let before = snapshots(&lab, job);
        let ran = lab.rlvm(&["run", job]);
        assert_eq!(ran.code == Some(0), code == 0, "{job}: {ran:?}");
        assert_eq!(says(&ran, "/srv/data/disk must be mounted and is not"), code != 0, "{job}: {ran:?}");
        assert_eq!(snapshots(&lab, job) > before, code == 0, "{job}");
    }
    let ran = lab.expect(8, &["run", "both"]);
    assert!(says(&ran, "/srv/mnt/usb must be mounted and is not") && !says(&ran, "rlvm apply"), "{ran:?}");
}

/// Stands in restic's place, and unmounts a source when a backup begins.
const UNMOUNTER: &str = "#!/bin/sh
[ \"$1\" != backup ] || umount /srv/data/disk
exec /srv/restic \"$@\"
";

#[test]
fn a_source_that_is_unmounted_during_a_backup_is_no_success() {
    let lab = mounted();
    lab.expect(0, &["run", "above"]);
    let restic = lab.ok(&["sh", "-c", "readlink -f $(command -v restic)"]);
    lab.ok(&["cp", restic.trim(), "/srv/restic"]);
    lab.file_of("/srv/unmounter", UNMOUNTER, 0, 0o755);
    lab.ok(&["mount", "--bind", "/srv/unmounter", restic.trim()]);
    let ran = lab.expect(8, &["run", "above"]);
    assert!(says(&ran, "/srv/data/disk must be mounted and is not") && says(&ran, "is removed"), "{ran:?}");
    assert_eq!(snapshots(&lab, "above"), 1);
}

#[test]
fn apply_does_the_rest_while_a_disk_is_away() {
    let lab = mounted();
    lab.ok(&["umount", "/srv/mnt/usb"]);
    lab.state(&format!("{STATE}{MORE}"));
    let ran = lab.expect(7, &["apply", "--yes"]);
    assert!(says(&ran, "/srv/mnt/usb must be mounted and is not"), "{ran:?}");
    assert!(lab.at("/etc/cron.d/x").exists() && lab.ok(&["ls", "-A", "/srv/mnt/usb"]).is_empty());
}

#[test]
fn a_dead_mount_is_an_error_on_what_lies_on_it() {
    let lab = mounted();
    lab.ok(&["umount", "/srv/mnt/usb"]);
    // Its server is gone: each call fails with ENOTCONN.
    drop(Hang::at(&lab, "unread", &["/srv/mnt/usb"]));
    lab.state(&format!("{STATE}{MORE}"));
    let ran = lab.expect(1, &["plan"]);
    assert!(
        says(&ran, "error: directory:/srv/mnt/usb: cannot look at it") && says(&ran, "+ cron:x"),
        "{ran:?}"
    );
    lab.expect(7, &["apply", "--yes"]);
    assert!(lab.at("/etc/cron.d/x").exists());
    // The block leaves the state, and what used the disk with it.
    let without =
        STATE.replace("  /srv/mnt/usb: { mounted: true, mode: \"1777\" }\n", "").replace(", usb]", "]");
    let without: String =
        without.lines().filter(|line| !line.starts_with("  usb:")).map(|line| format!("{line}\n")).collect();
    lab.state(&without);
    lab.apply();
    assert!(!lab.managed().contains(&"directory:/srv/mnt/usb".to_owned()));
    lab.plan_is_empty();
}

#[test]
fn two_disks_in_rotation_are_declared_applied_and_used() {
    let lab = Lab::new();
    lab.ok(&["mkdir", "-p", "/srv/www", "/srv/mnt/a", "/srv/mnt/b", "/srv/disks/a", "/srv/disks/b"]);
    lab.file("/srv/www/f", "x\n");
    let disk = |name: &str| {
        format!(
            "  {name}: {{ local: {{ path: /srv/mnt/{name}/r }}, password_file: /etc/rlvm/disks, generate_password: true, \
             may_be_absent: 30d }}\n"
        )
    };
    lab.state(&format!(
        "directories: {{ /srv/mnt/a: {{ mounted: true }}, /srv/mnt/b: {{ mounted: true }} }}\n\
         destinations:\n{}{}jobs:\n  j: {{ sources: [{{ path: /srv/www }}], to: [a, b], schedule: \"@daily\", \
         retention: {{ last: 9 }}, hooks: {{ after: [{{ run: echo after >>/srv/said }}], failed: [{{ run: echo failed >>/srv/said }}], \
         finally: [{{ run: echo finally >>/srv/said }}] }} }}\n",
        disk("a"),
        disk("b")
    ));
    // A disk's own owner and mode stay as they are.
    lab.ok(&["chmod", "0755", "/srv/disks/a"]);
    lab.ok(&["chown", "1000:1000", "/srv/disks/b"]);
    for (there, away) in [("a", "b"), ("b", "a"), ("a", "b")] {
        lab.ok(&["mount", "--bind", &format!("/srv/disks/{there}"), &format!("/srv/mnt/{there}")]);
        lab.apply();
        let ran = lab.expect(0, &["run", "j"]);
        assert!(says(&ran, &format!("stored at {there}")), "{ran:?}");
        assert!(
            says(&ran, &format!("skipped {away}: /srv/mnt/{away} must be mounted and is not")),
            "{ran:?}"
        );
        assert!(says(&ran, "Backup complete: 1 job") && says(&ran, "1 destination skipped"), "{ran:?}");
        lab.expect(0, &["plan"]);
        let status = lab.expect(0, &["status"]);
        assert!(says(&status, "Status: 0 critical"), "{status:?}");
        // What may be absent is skipped by all verbs, and is a failure for whoever asks for it by name.
        for verb in [&["verify"][..], &["prune"], &["snapshots"]] {
            let ran = lab.expect(0, verb);
            assert!(says(&ran, &format!("{away}: ")) && !says(&ran, "error"), "{verb:?}: {ran:?}");
        }
        lab.expect(9, &["verify", "--to", away]);
        lab.ok(&["umount", &format!("/srv/mnt/{there}")]);
        assert_eq!(lab.ok(&["sh", "-c", "ls -A /srv/mnt/a /srv/mnt/b | grep -v :"]).trim(), "");
    }
    // Both are away: nothing is stored, nothing failed, and the last backups are young enough.
    lab.ok(&["rm", "/srv/said"]);
    let ran = lab.expect(0, &["run", "j"]);
    assert!(says(&ran, "Nothing stored"), "{ran:?}");
    assert_eq!(lab.ok(&["cat", "/srv/said"]), "finally\n", "neither success nor failure is reported");
    lab.expect(0, &["status"]);
    lab.plan_is_empty();
}

#[test]
fn what_may_be_absent_needs_a_declared_mount() {
    let lab = Lab::new();
    lab.state(
        "destinations:\n  a: { local: { path: /srv/mnt/a/r }, password_file: /etc/rlvm/a, generate_password: true, \
         may_be_absent: 30d }\n",
    );
    let ran = lab.expect(1, &["apply", "--yes"]);
    assert!(says(&ran, "`may_be_absent` needs a directory with `mounted: true`"), "{ran:?}");
    assert!(!lab.at("/srv/mnt/a").exists());
}
