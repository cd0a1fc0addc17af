//! What is shown before a restore in place: all that it replaces, where it lies, and nothing that is not true.

use super::{
    NEAR,
    kinds::{comparison, names},
    left, record, site, stored,
    talk::talk,
    tell,
};
use crate::lab::{Lab, Restic, restics};

fn sh(lab: &Lab, script: &str) -> String {
    lab.ok(&["sh", "-ec", script])
}

#[test]
fn all_names_of_a_changed_file_come_back_in_one_run() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(&lab, "mkdir -p /srv/www/d; cd /srv/www; echo stored > a; ln a b; ln a d/c");
        let lab = stored(lab);
        sh(&lab, "echo changed > /srv/www/a");
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--json"]);
        assert_eq!(record(&ran.stdout)["files_placed"], 3, "{ran:?}");
        assert_eq!(sh(&lab, "cd /srv/www; cat a b d/c; stat -c %h a"), "stored\nstored\nstored\n3\n");
        // Somebody writes to it in between: no name is replaced.
        sh(&lab, "echo changed > /srv/www/a");
        let ran = talk(&lab, "!echo PRECIOUS > /srv/www/b|yes", &["restore", "web", "--in-place"]);
        assert_eq!(ran.code, Some(8), "{}", ran.stdout);
        assert_eq!(sh(&lab, "cd /srv/www; cat a b d/c"), "PRECIOUS\n".repeat(3));
        assert_eq!(left(&lab), "");
    }
}

#[test]
fn the_comparison_is_shown_with_quiet_too() {
    // R75
    let lab = site();
    sh(&lab, "echo changed > /srv/www/index.html");
    for words in
        [&["-q", "restore", "web", "--in-place"][..], &["-q", "restore", "web", "--in-place", "--dry-run"]]
    {
        let ran = talk(&lab, "no", words);
        assert!(ran.stdout.contains("      /srv/www/index.html\n"), "{words:?}: {}", ran.stdout);
    }
    assert_eq!(lab.read("/srv/www/index.html"), "changed\n");
    let ran = lab.expect(0, &["-q", "restore", "web", "--in-place", "--yes"]);
    assert!(!ran.stdout.contains("OVERWRITTEN"), "{ran:?}");
}

#[test]
fn a_name_looks_like_no_line_of_its_own() {
    // R75
    let lab = Lab::new();
    let python = |lab: &Lab, script: &str| lab.ok(&["python3", "-c", &format!("import os\n{script}")]);
    python(
        &lab,
        "os.makedirs('/srv/www')\nfor n in ['a\\n  no files with differences', '\\u202egnp.x']: open('/srv/www/' + n, 'w').write('a')",
    );
    let lab = stored(lab);
    python(&lab, "for n in os.listdir('/srv/www'): open('/srv/www/' + n, 'w').write('other')");
    let ran = lab.expect(64, &["restore", "web", "--in-place"]);
    assert!(ran.stdout.contains("      /srv/www/a\u{fffd}  no files with differences\n"), "{ran:?}");
    assert!(ran.stdout.contains("      /srv/www/\u{fffd}gnp.x\n"), "{ran:?}");
    python(&lab, "for n in os.listdir('/srv/www'): os.remove('/srv/www/' + n); os.mkdir('/srv/www/' + n)");
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes"]);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("\n  no files with differences: "), "{ran:?}");
    assert!(ran.stderr.contains("not restored: /srv/www/a\u{fffd}  no files"), "{ran:?}");
}

#[test]
fn json_ends_with_a_record_if_nothing_is_to_be_done() {
    // R75
    let lab = site();
    let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--json"]);
    let record = record(&ran.stdout);
    assert_eq!((&record["status"], &record["files"]), (&"success".into(), &3.into()), "{ran:?}");
    assert_eq!((&record["placed"], &record["unchanged"]), (&0.into(), &3.into()), "{ran:?}");
}

/// A restic that says that it could not restore a path in full.
fn faulty(lab: &mut Lab, version: &Restic, path: &str) {
    let real = format!("{}/restic", version.dir);
    let line = if version.version < rlvm::restic::Version(0, 16, 0) {
        format!("ignoring error for {path}: lchown failed")
    } else {
        format!(
            r#"{{"message_type":"error","error":{{"message":"lchown failed"}},"during":"restore","item":"{path}"}}"#
        )
    };
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = restore ] || exec {real} \"$@\"\n{real} \"$@\"\necho '{line}' >&2; exit 1\n"
    );
    lab.file_of("/opt/faulty/restic", &script, 0, 0o755);
    lab.use_restic(&Restic { dir: "/opt/faulty".into(), ..version.clone() });
}

#[test]
fn files_of_a_directory_that_restic_cannot_restore_in_full_come_back() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(&lab, "mkdir -p /srv/www/d/e; cd /srv/www; echo x > d/f; echo x > d/e/g; echo x > h; chmod 755 d");
        let mut lab = stored(lab);
        faulty(&mut lab, &version, "/srv/www/d");
        let restore = ["restore", "web", "--in-place", "--yes", "--from", "near"];
        for (before, mode) in [("rm d/f d/e/g h; chmod 750 d", "750"), ("rm -r d h", "700")] {
            sh(&lab, &format!("cd /srv/www; {before}"));
            let ran = lab.expect(8, &restore);
            assert!(ran.stderr.contains("not restored: /srv/www/d: lchown failed"), "{ran:?}");
            assert!(
                ran.stderr.contains("1 path not restored; 3 of 3 files put back in place"),
                "{before}: {ran:?}"
            );
            assert_eq!(sh(&lab, "cd /srv/www; cat d/f d/e/g h; stat -c %a d"), format!("x\nx\nx\n{mode}\n"));
        }
        // It replaces nothing.
        sh(&lab, "cd /srv/www; rm -r d; echo PRECIOUS > d");
        let ran = lab.expect(8, &restore);
        for path in ["d", "d/f", "d/e", "d/e/g"] {
            assert!(ran.stderr.contains(&format!("not restored: /srv/www/{path}: ")), "{path}: {ran:?}");
        }
        assert_eq!(lab.read("/srv/www/d"), "PRECIOUS\n");
        assert_eq!(left(&lab), "");
    }
}

#[test]
fn where_a_link_above_leads_is_shown() {
    // R75
    let lab = site();
    sh(
        &lab,
        "mkdir /srv/disk; mount -t tmpfs -o mode=755 tmpfs /srv/disk; cp -a /srv/www/shop /srv/disk/
         rm -r /srv/www/shop; ln -s /srv/disk/shop /srv/www/shop; rm /srv/disk/shop/logo",
    );
    let words = ["restore", "web", "--in-place", "--path", "/srv/www/shop/logo"];
    let ran = lab.expect(64, &words);
    assert!(
        ran.stdout.contains(
            "  /srv/www/shop resolves to /srv/disk/shop: rlvm restores the files to that directory\n"
        ),
        "{ran:?}"
    );
    let ran = lab.expect(0, &[&words[..], &["--yes", "--json"]].concat());
    let leads = serde_json::json!([{ "path": "/srv/www/shop", "to": "/srv/disk/shop" }]);
    assert_eq!(comparison(&ran.stdout)["leads"], leads);
    assert_eq!(sh(&lab, "cat /srv/disk/shop/logo"), "logo\n");
    // The link is set to another directory during the question.
    sh(&lab, "rm /srv/disk/shop/logo; mkdir /srv/other");
    let ran = talk(&lab, "!ln -sfn /srv/other /srv/www/shop|yes", &words);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("changed after the comparison"), "{}", ran.stdout);
    assert_eq!(lab.ok(&["ls", "-A", "/srv/other"]), "");
    assert_eq!(left(&lab), "");
}

/// Sets or removes the ACL of a FIFO and a device.
const ACL: &str = "import os, struct, sys\n\
    acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *it) for it in \
        [(1, 6, 2**32 - 1), (2, 4, 33), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 4, 2**32 - 1)])\n\
    name = 'system.posix_acl_access'\n\
    for it in ['/srv/www/fifo', '/srv/www/device']:\n  \
        if sys.argv[1] == 'set': os.setxattr(it, name, acl)\n  \
        if sys.argv[1] == 'remove': os.removexattr(it, name)\n  \
        print(os.listxattr(it))";

#[test]
fn acls_of_fifos_and_devices_are_compared() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(&lab, "mkdir /srv/www; cd /srv/www; echo x > file; mkfifo -m 644 fifo; mknod -m 644 device c 1 3");
        let has = lab.ok(&["python3", "-c", ACL, "set"]);
        let lab = stored(lab);
        lab.ok(&["python3", "-c", ACL, "remove"]);
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--json"]);
        let overwritten = names(&comparison(&ran.stdout)["overwritten"], "path");
        assert_eq!(overwritten, ["device", "fifo"].map(str::to_owned).into(), "{ran:?}");
        assert_eq!(lab.ok(&["python3", "-c", ACL, "tell"]), has, "{}", version.dir);
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        assert!(ran.stdout.contains("All files are there and unchanged."), "{ran:?}");
    }
}

/// Damages the largest file's data at the nearest destination.
const DAMAGE: &str = "find /srv/backup/near/data -type f -size +400k -exec sh -c \
    'head -c 800000 /dev/zero | dd of={} conv=notrunc status=none' ';'";

#[test]
fn one_answer_counts_for_all_destinations() {
    // R56, R75
    let lab = Lab::new();
    sh(
        &lab,
        "mkdir /srv/www; cd /srv/www; head -c 900000 /dev/urandom > big; echo stored > small; echo stored > more",
    );
    let lab = stored(lab);
    sh(&lab, DAMAGE);
    let change = "cd /srv/www; echo live > big; echo live > small";
    sh(&lab, change);
    let restore = ["restore", "web", "--in-place"];
    // The second destination replaces the same files: nothing is asked twice.
    let ran = talk(&lab, "yes", &restore);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    assert!(ran.stdout.contains("continuing with far"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("Type `yes`").count(), 1, "{}", ran.stdout);
    assert_eq!(lab.read("/srv/www/small"), "stored\n");
    // It would replace one more: that is asked, and a `no` counts for both.
    sh(&lab, change);
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = restore ] && echo live > /srv/www/more\nexec /usr/bin/restic \"$@\"\n# {NEAR}\n"
    );
    lab.file_of("/usr/local/bin/restic", &script, 0, 0o755);
    let ran = talk(&lab, "yes|no", &restore);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("Overwrite 3 files?"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Nothing was restored."), "{}", ran.stdout);
    assert_eq!(sh(&lab, "cd /srv/www; cat big small more"), "live\n".repeat(3));
    assert_eq!(left(&lab), "");
}

#[test]
fn a_dry_run_in_place_shows_the_comparison_alone() {
    // R75
    let lab = site();
    sh(&lab, "cd /srv/www; echo changed > index.html; rm shop/logo; ln -sfn x 'shop/a b '\\''c'\\''.html'");
    let before = tell(&lab, "/srv");
    let shown = |more: &[&str]| {
        let real = lab.expect(64, &[&["restore", "web", "--in-place"], more].concat()).stdout;
        let ran = lab.expect(0, &[&["restore", "web", "--in-place", "--dry-run"], more].concat());
        assert_eq!(ran.stdout, format!("{real}Nothing was restored.\n"), "{ran:?}");
        assert_eq!(tell(&lab, "/srv"), before);
        ran.stdout
    };
    let all = shown(&[]);
    assert!(all.contains("      /srv/www/index.html\n") && all.contains("1 missing file"), "{all}");
    let missing = shown(&["--only-missing"]);
    assert!(missing.contains("stay as they are (--only-missing):\n      /srv/www/index.html\n"), "{missing}");
    let ran = lab.expect(0, &["restore", "web", "--in-place", "--dry-run", "--yes", "--json"]);
    assert_eq!(comparison(&ran.stdout)["differing"], 2, "{ran:?}");
    // What the restore would refuse, a dry run refuses.
    sh(&lab, "mkdir /srv/other; mount --bind /srv/other /srv/www/shop");
    lab.expect(6, &["restore", "web", "--in-place", "--dry-run"]);
    assert_eq!(left(&lab), "");
}

#[test]
fn a_target_whose_parent_is_missing_is_refused_at_once() {
    // R75
    let lab = site();
    let ran = lab.expect(6, &["restore", "web", "--target", "/nowhere/a/b"]);
    assert!(ran.stderr.contains("error: cannot create /nowhere/a/b: /nowhere/a does not exist"), "{ran:?}");
    assert!(ran.stderr.contains("help: create it first: mkdir -p /nowhere/a"), "{ran:?}");
    assert!(!ran.stderr.contains("near") && !ran.stdout.contains("far"), "{ran:?}");
}

#[test]
fn what_was_not_put_in_place_with_its_directory_is_listed_and_not_counted() {
    // R75
    let lab = Lab::new();
    sh(
        &lab,
        "mkdir -p /srv/www/new/in /srv/www/led /srv/www/kept; cd /srv/www; for n in new/f new/in/g led/f led/same kept/f; do echo stored > $n; done",
    );
    let lab = stored(lab);
    sh(&lab, "cd /srv/www; rm -r new led/f kept/f");
    // While restic restores, one directory appears and another one becomes a link.
    let script = "#!/bin/sh\n[ \"$1\" = restore ] || exec /usr/bin/restic \"$@\"\ncd /srv/www\n\
                  mkdir new; mv led was; ln -s /srv/www/was led\nexec /usr/bin/restic \"$@\"\n";
    lab.file_of("/usr/local/bin/restic", script, 0, 0o755);
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--json"]);
    let record = record(&ran.stdout);
    let lacking = ["led", "led/f", "new", "new/f", "new/in", "new/in/g"].map(str::to_owned);
    assert_eq!(names(&record["unrestored"], "path"), lacking.into(), "{ran:?}");
    assert_eq!((&record["files_placed"], &record["placed"]), (&1.into(), &1.into()), "{ran:?}");
    assert_eq!(sh(&lab, "cd /srv/www; ls -A new was"), "new:\n\nwas:\nsame\n");
    // Above what was asked for it is said of the path itself.
    lab.ok(&["rm", "/usr/local/bin/restic"]);
    sh(&lab, "cd /srv/www; rm led; mv was led; rmdir new");
    let script = script.replace(
        "mkdir new; mv led was; ln -s /srv/www/was led",
        "mv led was; ln -s /nowhere led; chown -h 33 led",
    );
    lab.file_of("/usr/local/bin/restic", &script, 0, 0o755);
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--path", "/srv/www/led/f"]);
    assert!(ran.stderr.contains("not restored: /srv/www/led/f: /srv/www/led: "), "{ran:?}");
    assert!(!ran.stderr.contains("no file with exactly this name"), "{ran:?}");
    assert_eq!(left(&lab), "");
}

#[test]
fn a_link_of_another_user_decides_nothing() {
    // R75
    let lab = Lab::new();
    sh(
        &lab,
        "mkdir -p /srv/www/u/d /srv/www/e; cd /srv/www; echo stored > u/d/f; echo stored > e/f; chown -R 33:33 u",
    );
    let lab = stored(lab);
    sh(
        &lab,
        "mkdir /srv/disk; mount -t tmpfs -o mode=755 tmpfs /srv/disk; cd /srv/www
         rm -r u/d e/f; ln -s /srv/disk u/d; chown -h 33:33 u/d",
    );
    let words =
        ["restore", "web", "--in-place", "--yes", "--path", "/srv/www/u/d/f", "--path", "/srv/www/e/f"];
    let ran = lab.expect(8, &words);
    assert!(!ran.stdout.contains("leads to"), "{ran:?}");
    assert!(ran.stderr.contains("not restored: /srv/www/u/d/f: "), "{ran:?}");
    assert_eq!((lab.read("/srv/www/e/f"), sh(&lab, "ls -A /srv/disk")), ("stored\n".into(), String::new()));
    assert_eq!(left(&lab), "");
}

#[test]
fn directories_that_get_times_and_attributes_back_are_announced() {
    // R75
    let lab = site();
    sh(&lab, "rm /srv/www/shop/logo");
    let said = "  existing directories that contain restored files get their stored time, attributes and ACLs back\n";
    assert!(lab.expect(64, &["restore", "web", "--in-place"]).stdout.contains(said));
    assert!(!lab.expect(64, &["restore", "web", "--in-place", "--only-missing"]).stdout.contains(said));
    sh(&lab, "mount --bind /srv/www /srv/www; mount -o remount,bind,ro /srv/www");
    let ran = lab.expect(6, &["restore", "web", "--in-place", "--yes"]);
    assert!(
        ran.stderr.contains("cannot restore /srv/www in place: its file system is read-only, or"),
        "{ran:?}"
    );
}

#[test]
fn a_file_that_may_be_incomplete_is_listed() {
    // R75
    let versions = restics();
    let mut lab = Lab::new();
    // restic 0.14 does not say where a name that holds `: ` ends.
    lab.use_restic(&versions[0]);
    sh(
        &lab,
        "mkdir -p /srv/www/d/e; cd /srv/www; for n in a 'a: b' d/a 'd/a: b' f; do echo stored > \"$n\"; done",
    );
    let mut lab = stored(lab);
    faulty(&mut lab, &versions[0], "/srv/www/a: b");
    sh(&lab, "cd /srv/www; echo live > a; echo live > 'a: b'; rm -r d f");
    let ran = lab.expect(64, &["restore", "web", "--in-place", "--from", "near"]);
    assert!(ran.stdout.contains("  2 missing directories will be created\n"), "{ran:?}");
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--from", "near", "--json"]);
    let record = record(&ran.stdout);
    assert_eq!(names(&record["unrestored"], "path"), ["a", "a: b"].map(str::to_owned).into(), "{ran:?}");
    assert_eq!(record["files_placed"], 3, "{ran:?}");
    assert_eq!(sh(&lab, "cd /srv/www; cat a 'a: b' d/a 'd/a: b' f"), "live\nlive\nstored\nstored\nstored\n");
    faulty(&mut lab, &versions[0], "/srv/www/d/a: b");
    sh(&lab, "rm -r /srv/www/d");
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--from", "near", "--json"]);
    let record = self::record(&ran.stdout);
    assert_eq!(names(&record["unrestored"], "path"), ["d/a", "d/a: b"].map(str::to_owned).into(), "{ran:?}");
    assert_eq!(left(&lab), "");
}

#[test]
fn a_directory_without_restored_files_keeps_its_attributes() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(
            &lab,
            "mkdir -p /srv/www/quiet /srv/www/other /srv/www/filled; echo stored | tee /srv/www/quiet/f /srv/www/filled/f",
        );
        let set = |lab: &Lab, text: &str| {
            for dir in ["quiet", "filled"] {
                let set = format!("import os; os.setxattr('/srv/www/{dir}', 'user.note', b'{text}')");
                lab.ok(&["python3", "-c", &set]);
            }
        };
        set(&lab, "stored");
        let lab = stored(lab);
        let note = |dir: &str| {
            let ask = format!("import os; print(os.getxattr('/srv/www/{dir}', 'user.note'))");
            lab.ok(&["python3", "-c", &ask])
        };
        set(&lab, "mine");
        sh(&lab, "cd /srv/www; touch -d @1111111111 quiet; chmod 700 other; rm filled/f");
        lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        assert_eq!(note("quiet"), "b'mine'\n", "{}", version.dir);
        assert_eq!(note("filled"), "b'stored'\n", "{}", version.dir);
        assert_eq!(
            sh(&lab, "cd /srv/www; stat -c %Y quiet; stat -c %a other; cat filled/f"),
            "1111111111\n755\nstored\n"
        );
    }
}
