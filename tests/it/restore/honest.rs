//! Files that look as they were and are not: what a restore in place says of them, and what `--compare-content` does.

use serde_json::Value;

use super::{
    NEAR,
    kinds::{comparison, names},
    left, record, stored,
    talk::talk,
};
use crate::lab::{Lab, restics};

/// Makes files, and some that hold no data. restic 0.14 lists no inode numbers, so each gets a ctime of its own.
const MAKE: &str = "mkdir -p /srv/www/d; cd /srv/www; echo stored > content; echo other > same; echo x > d/in
    ln -s /stored link; sleep 0.1; ln -s /same same-link; sleep 0.1; mkfifo pipe; sleep 0.1; mknod null c 1 3; echo x > attribute
    python3 -c 'import os; os.setxattr(\"attribute\", \"user.note\", b\"stored\")'";

/// Changes them, and keeps size, time, owner and mode.
const CHANGE: &str = "cd /srv/www; cp -p content /srv/was; echo livest > content; touch -r /srv/was content
    time=$(stat -c %.9Y link); ln -sfn /livest link; touch -h -d @$time link
    time=$(stat -c %.9Y null); rm null; mknod null c 1 5; touch -d @$time null
    python3 -c 'import os; os.setxattr(\"attribute\", \"user.note\", b\"livest\")'";

/// Tells the files that [`CHANGE`] changes.
const TELL: &str = "cd /srv/www; cat content; readlink link; stat -c %T null
    python3 -c 'import os; print(os.getxattr(\"attribute\", \"user.note\").decode())'";

const STORED: &str = "stored\n/stored\n3\nstored\n";

fn sh(lab: &Lab, script: &str) -> String {
    lab.ok(&["sh", "-ec", script])
}

fn all(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Checks that nothing differs, and that nothing was left uncompared.
#[track_caller]
fn is_as_stored(lab: &Lab, more: &[&str]) {
    let ran = lab.expect(0, &[&["restore", "web", "--in-place", "--yes", "--json"], more].concat());
    let found = comparison(&ran.stdout);
    assert_eq!(["new", "differing", "not_compared"].map(|it| &found[it]), [0, 0, 0], "{ran:?}");
}

#[test]
fn equal_size_and_time_prove_nothing() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(&lab, MAKE);
        let lab = stored(lab);
        is_as_stored(&lab, &[]);

        sh(&lab, CHANGE);
        let changed = sh(&lab, TELL);
        assert_eq!(changed, "livest\n/livest\n5\nlivest\n");
        let ran = lab.expect(64, &["restore", "web", "--in-place"]);
        let said = "  2 files have the stored size and time, but changed or moved since the backup: \
                    their contents were not compared; --compare-content compares them\n";
        assert!(ran.stdout.contains(said), "{ran:?}");
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--only-missing", "--yes", "--json"]);
        assert_eq!(comparison(&ran.stdout)["not_compared"], 4, "{ran:?}");
        assert_eq!((sh(&lab, TELL), left(&lab)), (changed.clone(), String::new()));

        // With contents, and still nothing is changed.
        for more in [&["--dry-run"][..], &["--dry-run", "--yes"]] {
            let words = ["restore", "web", "--in-place", "--compare-content"];
            let ran = lab.expect(0, &[&words[..], more].concat());
            for name in ["content", "link", "null", "attribute"] {
                assert!(ran.stdout.contains(&format!("      /srv/www/{name}\n")), "{ran:?}");
            }
            assert!(ran.stdout.contains("Nothing was restored"), "{ran:?}");
            assert_eq!((sh(&lab, TELL), left(&lab)), (changed.clone(), String::new()));
        }

        // What holds no data is compared in any case.
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--json"]);
        let found = comparison(&ran.stdout);
        assert_eq!(names(&found["overwritten"], "path"), all(&["link", "null"]), "{ran:?}");
        assert_eq!(
            (&found["not_compared"], &found["not_compared_bytes"]),
            (&Value::from(2), &Value::from(9))
        );
        let record = record(&ran.stdout);
        assert_eq!((&record["status"], &record["not_compared"]), (&"success".into(), &Value::from(2)));
        assert_eq!(record["unchanged"], 6, "{ran:?}");
        assert_eq!(sh(&lab, TELL), "livest\n/stored\n3\nlivest\n");
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        assert!(ran.stdout.contains("No difference was found"), "{ran:?}");

        let words = ["restore", "web", "--in-place", "--compare-content"];
        let ran = lab.expect(64, &[&words[..], &["--json"]].concat());
        assert_eq!(comparison(&ran.stdout)["differing_bytes"], 9, "{ran:?}");
        let ran = lab.expect(0, &[&words[..], &["--yes", "--json"]].concat());
        let found = comparison(&ran.stdout);
        assert_eq!(names(&found["overwritten"], "path"), all(&["content", "attribute"]), "{ran:?}");
        assert_eq!(found["not_compared"], 0, "{ran:?}");
        assert_eq!(sh(&lab, TELL), STORED);
        is_as_stored(&lab, &["--compare-content"]);
        assert_eq!(left(&lab), "");
    }
}

#[test]
fn what_was_restored_or_copied_is_compared_and_not_fetched_twice() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(&lab, MAKE);
        let mut lab = stored(lab);
        sh(&lab, "cp -a /srv/www /srv/copy; rm -r /srv/www; mv /srv/copy /srv/www");
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        assert!(ran.stdout.contains("4 files have the stored size and time"), "{ran:?}");
        assert!(ran.stdout.contains("No difference was found"), "{ran:?}");
        sh(
            &lab,
            "cd /srv/www; cp -p content /srv/was; echo livest > content; touch -r /srv/was content; rm d/in",
        );
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = restore ] && echo call >> /srv/calls\nexec {}/restic \"$@\"\n",
            version.dir
        );
        lab.file_of("/opt/counting/restic", &script, 0, 0o755);
        lab.use_restic(&crate::lab::Restic { dir: "/opt/counting".into(), ..version.clone() });
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--compare-content", "--json"]);
        let found = comparison(&ran.stdout);
        assert_eq!((&found["new"], &found["differing"]), (&1.into(), &1.into()), "{ran:?}");
        assert_eq!(lab.read("/srv/calls"), "call\n");
        assert_eq!(
            (lab.read("/srv/www/content"), lab.read("/srv/www/d/in")),
            ("stored\n".into(), "x\n".into())
        );
        // After a restore to an empty place.
        lab.use_restic(&version);
        sh(&lab, "rm -r /srv/www");
        lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        is_as_stored(&lab, &["--compare-content"]);
        assert_eq!(left(&lab), "");
    }
}

#[test]
fn what_changes_after_it_was_compared_stays() {
    // R75
    let lab = Lab::new();
    sh(&lab, "mkdir /srv/www; cd /srv/www; for n in fifo link dir write; do echo stored > $n; done");
    let lab = stored(lab);
    let change = "cd /srv/www; for n in fifo link dir write; do cp -p $n /srv/was; echo livest > $n; touch -r /srv/was $n; done";
    let swap = "cd /srv/www; rm fifo link dir; mkfifo fifo; ln -s /etc/passwd link; mkdir dir; echo PRECIOUS > dir/in; \
                cp -p write /srv/was; echo latest > write; touch -r /srv/was write";
    let after = "cd /srv/www; stat -c %F fifo; readlink link; cat dir/in write";
    let restore = ["restore", "web", "--in-place", "--compare-content"];
    // While a person looks at the comparison.
    sh(&lab, change);
    let passwd = lab.read("/etc/passwd");
    let inside = format!("!{swap}|yes");
    let ran = talk(&lab, &inside, &restore);
    assert_eq!(ran.code, Some(8), "{}", ran.stdout);
    for name in ["fifo", "link", "dir", "write"] {
        assert!(ran.stdout.contains(&format!(": /srv/www/{name}: ")), "{}", ran.stdout);
    }
    assert_eq!(sh(&lab, after), "fifo\n/etc/passwd\nPRECIOUS\nlatest\n");
    assert_eq!((lab.read("/etc/passwd"), left(&lab)), (passwd, String::new()));
    // Before it is compared, while restic fetches.
    sh(&lab, "cd /srv/www; rm -r *; for n in fifo link dir write; do echo stored > $n; done; sleep 0.1");
    lab.expect(0, &["run", "web"]);
    sh(&lab, change);
    let script = format!("#!/bin/sh\n[ \"$1\" = restore ] && (\n{swap}\n)\nexec /usr/bin/restic \"$@\"\n");
    lab.file_of("/usr/local/bin/restic", &script, 0, 0o755);
    let ran = lab.expect(8, &[&restore[..], &["--yes", "--json"]].concat());
    let lacking = names(&record(&ran.stdout)["unrestored"], "path");
    assert_eq!(lacking, all(&["fifo", "link", "dir", "write"]), "{ran:?}");
    assert_eq!(comparison(&ran.stdout)["differing"], 0, "{ran:?}");
    assert_eq!(sh(&lab, after), "fifo\n/etc/passwd\nPRECIOUS\nlatest\n");
    assert_eq!(left(&lab), "");
}

#[test]
fn a_comparison_that_ends_early_leaves_nothing_and_tries_the_next_place() {
    // R56, R75
    let lab = Lab::new();
    sh(&lab, "mkdir /srv/www; cd /srv/www; head -c 900000 /dev/urandom > big; echo stored > content");
    let lab = stored(lab);
    sh(
        &lab,
        "cd /srv/www; cp -a big new; mv new big; cp -p content /srv/was; echo livest > content; touch -r /srv/was content",
    );
    let restore = ["restore", "web", "--in-place", "--compare-content"];
    for answer in ["^C", "no"] {
        let ran = talk(&lab, answer, &restore);
        assert_eq!(ran.code, Some(if answer == "no" { 1 } else { 130 }), "{}", ran.stdout);
        assert!(ran.stdout.contains("/srv/www/content"), "{}", ran.stdout);
        assert_eq!((lab.read("/srv/www/content"), left(&lab)), ("livest\n".into(), String::new()));
    }
    // Data of the nearest place is damaged.
    sh(
        &lab,
        &format!(
            "find {NEAR}/data -type f -size +400k -exec sh -c 'head -c 800000 /dev/zero | dd of={{}} conv=notrunc status=none' ';'"
        ),
    );
    let ran = lab.expect(0, &[&restore[..], &["--dry-run"]].concat());
    assert!(ran.stderr.contains("2 files cannot be read from near"), "{ran:?}");
    assert!(ran.stdout.contains("      /srv/www/content\n"), "{ran:?}");
    let ran = lab.expect(0, &[&restore[..], &["--yes", "--json"]].concat());
    assert_eq!(
        (&record(&ran.stdout)["destination"], lab.read("/srv/www/content")),
        (&"far".into(), "stored\n".into())
    );
    assert_eq!(left(&lab), "");
}

#[test]
fn contents_are_compared_in_place_alone() {
    let lab = Lab::new();
    for words in [&["--target", "/srv/out"][..], &["--in-place", "--only-missing"], &[]] {
        lab.expect(64, &[&["restore", "web", "--compare-content"], words].concat());
    }
}

/// Lets user 33 into all that is made below /srv and has no ACL of its own.
const DEFAULT_ACL: &str = "import os, struct\n\
    entries = [(1, 7, 2**32 - 1), (2, 7, 33), (4, 5, 2**32 - 1), (16, 7, 2**32 - 1), (32, 5, 2**32 - 1)]\n\
    acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *it) for it in entries)\n\
    os.setxattr('/srv', 'system.posix_acl_default', acl)";

#[test]
fn a_default_acl_of_the_directory_above_lets_nobody_in() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(&lab, "mkdir -p /srv/www/d; echo stored > /srv/www/d/f; chmod 640 /srv/www/d/f");
        let lab = stored(lab);
        lab.ok(&["python3", "-c", DEFAULT_ACL]);
        sh(&lab, "rm -r /srv/www/d");
        lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        lab.expect(0, &["restore", "web", "--target", "/srv/out"]);
        let tell = "import os\nfor at in ['/srv/www', '/srv/out/srv/www']:\n  \
                    for it in ['', '/d', '/d/f']: print(os.listxattr(at + it))";
        assert_eq!(lab.ok(&["python3", "-c", tell]), "[]\n".repeat(6), "{}", version.dir);
    }
}

#[test]
fn a_comparison_needs_room_for_what_it_fetches() {
    // R75
    let lab = Lab::new();
    sh(
        &lab,
        "mkdir /srv/www; mount -t tmpfs -o size=2m,mode=755 tmpfs /srv/www; head -c 1500000 /dev/urandom > /srv/www/big",
    );
    let lab = stored(lab);
    sh(
        &lab,
        "touch -r /srv/www/big /srv/was; echo x >> /srv/www/big; truncate -s 1500000 /srv/www/big; touch -r /srv/was /srv/www/big",
    );
    let restore = ["restore", "web", "--in-place", "--compare-content", "--dry-run"];
    let ran = lab.expect(6, &restore);
    assert!(ran.stderr.contains("--ignore-space"), "{ran:?}");
    let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--json"]);
    assert_eq!(comparison(&ran.stdout)["not_compared"], 1, "{ran:?}");
    sh(&lab, "mount -o remount,size=8m /srv/www");
    lab.expect(0, &restore);
    is_as_stored(&lab, &["--compare-content"]);
    assert_eq!(left(&lab), "");
}

#[test]
fn many_files_are_compared_at_once() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(
            &lab,
            "mkdir /srv/www; cd /srv/www; for n in $(seq 600); do echo stored > f$n; ln -s stored$n l$n; done; sleep 0.1; echo same > same",
        );
        let lab = stored(lab);
        sh(
            &lab,
            "cd /srv/www; touch -r f9 /srv/was; echo livest > f9; touch -h -r /srv/was f9; \
             time=$(stat -c %.9Y l9); ln -sfn livest9 l9; touch -h -d @$time l9; chmod 600 f*; chmod 644 f*; rm f10; \
             chown -h backup l*; chown -h root l*",
        );
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--json"]);
        let found = comparison(&ran.stdout);
        assert_eq!(
            (names(&found["overwritten"], "path"), &found["new"]),
            (all(&["l9"]), &1.into()),
            "{found}"
        );
        assert_eq!(found["not_compared"], 599, "{}", version.dir);
        // A directory that gets its mode back has everything fetched, as so many files have.
        sh(&lab, "chmod 700 /srv/www");
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--json", "--compare-content"]);
        let found = comparison(&ran.stdout);
        assert_eq!(names(&found["overwritten"], "path"), all(&["f9"]), "{found}");
        assert_eq!((&found["not_compared"], &found["same"]), (&0.into(), &1200.into()), "{found}");
        assert_eq!(record(&ran.stdout)["unchanged"], 1200);
        assert_eq!(
            sh(&lab, "cd /srv/www; cat f9 f10; readlink l9; stat -c %a ."),
            "stored\nstored\nstored9\n755\n"
        );
        is_as_stored(&lab, &["--compare-content"]);
        assert_eq!(left(&lab), "");
    }
}
