//! Every kind of file against every kind: what a restore in place does on the disk, and whether it said so before.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{left, record, site, stored};
use crate::lab::{Lab, Restic, restics};

const KINDS: &str = include_str!("kinds.py");

fn tell(lab: &Lab) -> Value {
    serde_json::from_str(&lab.ok(&["python3", "-c", KINDS, "tell"])).unwrap()
}

/// Lists the names of a field of each in a list of objects, below /srv/www.
fn names(list: &Value, field: &str) -> BTreeSet<String> {
    let all = list.as_array().unwrap().iter().map(|it| it[field].as_str().unwrap());
    all.map(|path| path.strip_prefix("/srv/www/").unwrap_or(path).to_owned()).collect()
}

fn comparison(stdout: &str) -> Value {
    let mut all = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.find(|it| it["type"] == "comparison").unwrap()["comparison"].clone()
}

#[test]
fn nothing_gives_way_unshown_and_nothing_lacks_unsaid() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        lab.ok(&["python3", "-c", KINDS, "store"]);
        let lab = stored(lab);
        let was = tell(&lab);
        lab.ok(&["python3", "-c", KINDS, "live"]);
        let before = tell(&lab);
        for only_missing in [true, false] {
            let words = ["restore", "web", "--in-place", "--yes", "--json"];
            let more: &[&str] = if only_missing { &["--only-missing"] } else { &[] };
            let ran = lab.expect(8, &[&words[..], more].concat());
            let comparison = comparison(&ran.stdout);
            let shown = names(&comparison["overwritten"], "path");
            let lacking = names(&record(&ran.stdout)["unrestored"], "path");
            let after = tell(&lab);
            let (mut replaced, mut refused) = (0, 0);
            for (name, before) in before.as_object().unwrap() {
                let (was, after) = (&was[name], &after[name]);
                let what = format!("{} {name}: {was} {before} {after}", version.dir);
                if before != after {
                    replaced += 1;
                    assert!(!only_missing && after == was, "{what}");
                    assert!(shown.contains(name) || shown.contains(&format!("{name}/in")), "{what}");
                    assert!(
                        !name.contains("-mount") && (!name.ends_with("-dir") || was[0] == "dir"),
                        "{what}"
                    );
                }
                // What is left alone for --only-missing is there, if it is of that kind.
                let there = after == was || (only_missing && after[0] == was[0]);
                if !there {
                    refused += 1;
                    let inside = format!("{name}/in");
                    assert!(lacking.contains(name) || lacking.contains(&inside), "{what}\n{lacking:?}");
                }
            }
            assert_eq!(after["aim"], was["aim"]);
            // Of the 9 kinds that are live, 6 give way to all but a directory; to that, 3; and a directory's file to its own.
            assert_eq!(replaced, if only_missing { 0 } else { 36 + 3 + 1 }, "{ran:?}");
            // Never a directory and what is mounted: a file's own kind apart, they stay, as do links where a directory was.
            assert!(refused >= 20, "{refused}");
        }
        // Once more: what was put back is as it was.
        let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--json"]);
        assert_eq!(names(&comparison(&ran.stdout)["overwritten"], "path"), BTreeSet::new());
        assert_eq!(left(&lab), "");
    }
}

#[test]
fn a_file_where_a_directory_was_is_named_or_stays() {
    // R75
    let lab = site();
    lab.ok(&["sh", "-c", "cd /srv/www; rm -r shop; echo PRECIOUS > shop"]);
    // Above what was asked for nothing gives way.
    for more in [&[][..], &["--only-missing"]] {
        let words = ["restore", "web", "--in-place", "--yes", "--path", "/srv/www/shop/logo"];
        let ran = lab.expect(8, &[&words[..], more].concat());
        assert!(
            ran.stderr.contains("not restored: /srv/www/shop/logo: /srv/www/shop is no directory"),
            "{ran:?}"
        );
        assert_eq!(lab.read("/srv/www/shop"), "PRECIOUS\n");
    }
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--only-missing"]);
    assert!(
        ran.stderr.contains("/srv/www/shop/logo") && ran.stderr.contains("a file is there now"),
        "{ran:?}"
    );
    assert_eq!(lab.read("/srv/www/shop"), "PRECIOUS\n");
    // With nobody to ask it is only shown.
    let ran = lab.expect(64, &["restore", "web", "--in-place"]);
    assert!(ran.stdout.contains("/srv/www/shop (a file now, was a directory)"), "{ran:?}");
    assert_eq!(lab.read("/srv/www/shop"), "PRECIOUS\n");
    lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
    assert_eq!(lab.read("/srv/www/shop/logo"), "logo\n");
    // The source itself.
    lab.ok(&["sh", "-c", "rm -r /srv/www; echo PRECIOUS > /srv/www"]);
    let ran = lab.expect(64, &["restore", "web", "--in-place"]);
    assert!(ran.stdout.contains("/srv/www (a file now, was a directory)"), "{ran:?}");
    lab.expect(8, &["restore", "web", "--in-place", "--yes", "--only-missing"]);
    assert_eq!(lab.read("/srv/www"), "PRECIOUS\n");
    lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
    assert_eq!(lab.read("/srv/www/shop/logo"), "logo\n");
    assert_eq!(left(&lab), "");
}

#[test]
fn what_changes_after_it_was_shown_stays() {
    // R75
    let lab = Lab::new();
    lab.ok(&["sh", "-c", "mkdir -p /srv/www/d /srv/www/e; cd /srv/www; for n in new file kind gone d/in e/in; do echo stored > $n; done"]);
    let lab = stored(lab);
    lab.ok(&[
        "sh",
        "-c",
        "cd /srv/www; rm new; rm d/in e/in; for n in file kind gone; do echo live > $n; done",
    ]);
    // While restic restores, somebody else works there.
    let script = "#!/bin/sh\n[ \"$1\" = restore ] || exec /usr/bin/restic \"$@\"\ncd /srv/www\n\
                  echo PRECIOUS > new; echo PRECIOUS >> file; rm kind gone; mkdir kind; echo PRECIOUS > kind/in\n\
                  rm -r d; echo PRECIOUS > d; mv e e-was; mkdir e; echo PRECIOUS > e/other\n\
                  exec /usr/bin/restic \"$@\"\n";
    lab.file_of("/usr/local/bin/restic", script, 0, 0o755);
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--json"]);
    lab.ok(&["rm", "/usr/local/bin/restic"]);
    let lacking = names(&record(&ran.stdout)["unrestored"], "path");
    assert_eq!(lacking, ["d", "e", "file", "kind", "new"].map(str::to_owned).into());
    let read = |name: &str| lab.read(&format!("/srv/www/{name}"));
    for (name, text) in [
        ("new", "PRECIOUS\n"),
        ("file", "live\nPRECIOUS\n"),
        ("kind/in", "PRECIOUS\n"),
        ("d", "PRECIOUS\n"),
        ("e/other", "PRECIOUS\n"),
        ("gone", "stored\n"),
    ] {
        assert_eq!(read(name), text, "{name}");
    }
    assert_eq!(
        lab.ok(&["ls", "-A", "/srv/www/e", "/srv/www/e-was"]),
        "/srv/www/e:\nother\n\n/srv/www/e-was:\n"
    );
    assert_eq!(left(&lab), "");
}

#[test]
fn a_list_that_is_cut_short_restores_nothing_in_place() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        lab.ok(&["sh", "-c", "mkdir /srv/www; cd /srv/www; for n in 1 2 3 4 5; do echo stored > $n; done"]);
        let mut lab = stored(lab);
        lab.ok(&["sh", "-c", "rm /srv/www/5"]);
        let real = format!("{}/restic", version.dir);
        let script = format!("#!/bin/sh\n[ \"$1\" = ls ] || exec {real} \"$@\"\n{real} \"$@\" | head -n 5\n");
        lab.file_of("/opt/cut/restic", &script, 0, 0o755);
        lab.use_restic(&Restic { dir: "/opt/cut".into(), ..version.clone() });
        let ran = lab.expect(1, &["restore", "web", "--in-place", "--yes"]);
        assert!(
            ran.stderr.contains("is cut short: restic listed 4 files and directories, and counts 7"),
            "{ran:?}"
        );
        assert!(!lab.at("/srv/www/5").exists());
        lab.use_restic(&version);
        lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        assert_eq!(lab.read("/srv/www/5"), "stored\n");
    }
}

#[test]
fn names_of_any_bytes_are_asked_for_and_given_back() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        let make = "import os; os.makedirs(b'/srv/www/d\\xe9')\n\
                    for n in [b'lat\\xe9', b'lat\\xe8', b'tr\\xe2\\x82', b'new\\nline', b'd\\xe9/in', b'latx']: open(b'/srv/www/' + n, 'w').write('stored')";
        lab.ok(&["python3", "-c", make]);
        let lab = stored(lab);
        let change = "import os\nfor n in [b'lat\\xe9', b'lat\\xe8', b'tr\\xe2\\x82', b'new\\nline', b'd\\xe9/in', b'latx']: open(b'/srv/www/' + n, 'w').write('live one')";
        lab.ok(&["python3", "-c", change]);
        let told = |names: &str| {
            lab.ok(&["python3", "-c", &format!("for n in {names}: print(open(b'/srv/www/' + n).read())")])
        };
        let all = "[b'lat\\xe9', b'lat\\xe8', b'tr\\xe2\\x82', b'new\\nline', b'd\\xe9/in', b'latx']";
        lab.ok(&["python3", "-c", "open('/root/paths', 'wb').write(b'/srv/www/lat\\xe9\\0/srv/www/tr\\xe2\\x82\\0/srv/www/new\\nline\\0/srv/www/d\\xe9/\\0')"]);
        let ran = lab.expect(64, &["restore", "web", "--in-place", "--path-from", "/root/paths"]);
        assert_eq!(told(all), "live one\n".repeat(6), "{ran:?}");
        let ran =
            lab.expect(0, &["restore", "web", "--in-place", "--yes", "--path-from", "/root/paths", "--json"]);
        let only = "[b'lat\\xe8', b'latx']";
        assert_eq!(told(only), "live one\n".repeat(2), "{ran:?}");
        let asked = "[b'lat\\xe9', b'tr\\xe2\\x82', b'new\\nline', b'd\\xe9/in']";
        assert_eq!(told(asked), "stored\n".repeat(4), "{ran:?}");
        // All of it: two names that read the same are shown, and given back.
        lab.ok(&["python3", "-c", change]);
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--json", "--path", "/srv/www/"]);
        assert_eq!(comparison(&ran.stdout)["differing"], 6, "{ran:?}");
        assert_eq!(told(all), "stored\n".repeat(6), "{ran:?}");
        // Into a target, as a shell completes its name.
        lab.expect(0, &["restore", "web", "--target", "/srv/out/", "--path-from", "/root/paths"]);
        assert_eq!(
            lab.ok(&["sh", "-c", "find /srv/out/srv/www -type f | LC_ALL=C tr -d '\\n' | wc -c"]),
            "88\n"
        );
        // Another name that reads the same is not what was asked for.
        lab.ok(&["python3", "-c", "open('/root/paths', 'wb').write(b'/srv/www/lat\\xe7\\0')"]);
        let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--path-from", "/root/paths"]);
        assert!(ran.stderr.contains("the snapshot has no name with these bytes"), "{ran:?}");
        lab.ok(&["sh", "-c", "printf '' > /root/paths"]);
        lab.expect(64, &["restore", "web", "--in-place", "--yes", "--path-from", "/root/paths"]);
    }
}
