//! Files that became something else, names of any bytes, and what changes meanwhile: what a restore in place does of that.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{NEAR, left, record, site, stored};
use crate::lab::{Lab, Restic, restics};

/// Lists the names of a field of each in a list of objects, below /srv/www.
pub(super) fn names(list: &Value, field: &str) -> BTreeSet<String> {
    let all = list.as_array().unwrap().iter().map(|it| it[field].as_str().unwrap());
    all.map(|path| path.strip_prefix("/srv/www/").unwrap_or(path).to_owned()).collect()
}

pub(super) fn comparison(stdout: &str) -> Value {
    let mut all = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.find(|it| it["type"] == "comparison").unwrap()["comparison"].clone()
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
        ran.stderr.contains("/srv/www/shop/logo")
            && ran.stderr.contains("a file stands where a directory was"),
        "{ran:?}"
    );
    assert_eq!(lab.read("/srv/www/shop"), "PRECIOUS\n");
    // With nobody to ask it is only shown.
    let ran = lab.expect(64, &["restore", "web", "--in-place"]);
    assert!(ran.stdout.contains("/srv/www/shop (a file now, was a directory)"), "{ran:?}");
    assert_eq!(lab.read("/srv/www/shop"), "PRECIOUS\n");
    lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
    assert_eq!(lab.read("/srv/www/shop/logo"), "logo\n");
    // What holds it is made anew, and nothing else.
    lab.ok(&["rm", "-r", "/srv/www"]);
    lab.expect(0, &["restore", "web", "--in-place", "--yes", "--path", "/srv/www/shop/logo/"]);
    assert_eq!(lab.ok(&["find", "/srv/www"]), "/srv/www\n/srv/www/shop\n/srv/www/shop/logo\n");
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
    assert_eq!(lacking, ["d", "d/in", "e", "e/in", "file", "kind", "new"].map(str::to_owned).into());
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
            ran.stderr.contains("is cut short: restic listed 4 files and directories, but counted 7"),
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
        assert!(ran.stderr.contains("the backup has no file with exactly this name"), "{ran:?}");
        // Nor is one that looks like it: each is fetched, and what is not the same name stays.
        for manner in [&[][..], &["--only-missing"]] {
            lab.ok(&["python3", "-c", "import os; os.rename(b'/srv/www/lat\\xe9', b'/srv/www/lat\\xe7')"]);
            let all = [&["restore", "web", "--in-place", "--yes", "--path", "/srv/www"], manner].concat();
            let ran = lab.expect(0, &all);
            assert_eq!(told("[b'lat\\xe9', b'lat\\xe7']"), "stored\n".repeat(2), "{ran:?}");
            lab.ok(&["python3", "-c", "import os; os.remove(b'/srv/www/lat\\xe7')"]);
        }
        let other =
            "import os; os.mkdir(b'/srv/www/d\\xe8'); open('/root/paths', 'wb').write(b'/srv/www/d\\xe8\\0')";
        lab.ok(&["python3", "-c", other]);
        lab.ok(&["python3", "-c", "import shutil; shutil.rmtree(b'/srv/www/d\\xe9')"]);
        let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--path-from", "/root/paths"]);
        assert!(ran.stderr.contains("the backup has no file with exactly this name"), "{ran:?}");
        lab.ok(&["sh", "-c", "printf '' > /root/paths"]);
        lab.expect(64, &["restore", "web", "--in-place", "--yes", "--path-from", "/root/paths"]);
    }
}

#[test]
fn a_name_that_only_looks_the_same_hides_no_missing_file() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        let python = |lab: &Lab, script: &str| lab.ok(&["python3", "-c", &format!("import os\n{script}")]);
        python(
            &lab,
            "os.makedirs(b'/srv/www/z/\\xff1')\nfor n in [b'f\\xff', b'z/\\xff1/x']: open(b'/srv/www/' + n, 'w').write('stored')",
        );
        let lab = stored(lab);
        let there =
            |name: &str| python(&lab, &format!("print(os.path.exists(b'/srv/www/{name}'))")) == "True\n";
        for manner in [&[][..], &["--only-missing"], &["--compare-content"]] {
            let restore = |path: &str| {
                lab.expect(0, &[&["restore", "web", "--in-place", "--yes", "--path", path], manner].concat())
            };
            // A file that is really named with the replacement character, and one whose name cannot be shown.
            python(&lab, "os.rename(b'/srv/www/f\\xff', '/srv/www/f\\ufffd'.encode())");
            let ran = restore("/srv/www");
            assert!(there("f\\xff") && there("f\\xef\\xbf\\xbd"), "{} {manner:?} {ran:?}", version.dir);
            python(&lab, "os.remove('/srv/www/f\\ufffd'.encode())");
            // A directory that was renamed.
            python(&lab, "os.rename(b'/srv/www/z/\\xff1', b'/srv/www/z/\\xfe1')");
            let ran = restore("/srv/www/z");
            assert!(there("z/\\xff1/x") && there("z/\\xfe1/x"), "{} {manner:?} {ran:?}", version.dir);
            python(&lab, "os.remove(b'/srv/www/z/\\xfe1/x'); os.rmdir(b'/srv/www/z/\\xfe1')");
        }
        // One that the backup does not have.
        python(
            &lab,
            "os.makedirs(b'/srv/www/z/\\xfd1'); os.rename(b'/srv/www/z/\\xff1', b'/srv/away')\n\
                      open('/root/paths', 'wb').write(b'/srv/www/z/\\xfd1\\0')",
        );
        let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--path-from", "/root/paths"]);
        assert!(ran.stderr.contains("the backup has no file with exactly this name"), "{ran:?}");
    }
}

/// Says or sets what a directory has beside owner and mode.
const ATTRIBUTES: &str = "import os, struct, sys\n\
    acl = lambda user: struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *it) for it in \
        [(1, 7, 2**32 - 1), (2, 7, user), (4, 5, 2**32 - 1), (16, 7, 2**32 - 1), (32, 5, 2**32 - 1)])\n\
    names = ['user.note', 'system.posix_acl_access', 'system.posix_acl_default']\n\
    at = '/srv/www/' + sys.argv[2]\n\
    has = lambda name: name in os.listxattr(at)\n\
    if sys.argv[1] == 'set': [os.setxattr(at, it, b'stored' if it[0] == 'u' else acl(33)) for it in names]\n\
    if sys.argv[1] == 'other': [os.setxattr(at, it, b'other' if it[0] == 'u' else acl(4000)) for it in names]\n\
    if sys.argv[1] == 'none': [os.removexattr(at, it) for it in names if has(it)]\n\
    if sys.argv[1] == 'more': os.setxattr(at, 'user.mine', b'mine')\n\
    print(os.stat(at).st_mode, sorted((it, os.getxattr(at, it)) for it in os.listxattr(at)))";

#[test]
fn directories_that_are_there_get_all_back() {
    // R75
    let lab = Lab::new();
    let does = |what: &str, name: &str| lab.ok(&["python3", "-c", ATTRIBUTES, what, name]);
    lab.ok(&["sh", "-c", "mkdir -p /srv/www/a /srv/www/b /srv/www/c; echo x > /srv/www/a/f"]);
    let [a, b] = ["a", "b"].map(|it| does("set", it));
    let c = does("tell", "c");
    let lab = stored(lab);
    let does = |what: &str, name: &str| lab.ok(&["python3", "-c", ATTRIBUTES, what, name]);
    does("other", "a");
    does("none", "b");
    does("set", "c");
    does("more", "b");
    lab.ok(&["chmod", "700", "/srv/www/a", "/srv/www/b", "/srv/www/c"]);
    lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
    assert_eq!(does("tell", "a"), a);
    // What only the live one has stays, but for an ACL, which lets somebody in.
    assert_eq!(does("tell", "b"), b.replace("('user.note'", "('user.mine', b'mine'), ('user.note'"));
    assert_eq!(does("tell", "c"), c.replace("[]", "[('user.note', b'stored')]"));
}

#[test]
fn a_link_that_an_old_restic_altered_takes_no_place() {
    // R75
    let all = restics();
    let old = all.iter().find(|it| it.version < rlvm::restic::Version(0, 16, 0)).unwrap();
    let new = all.iter().find(|it| it.version >= rlvm::restic::Version(0, 16, 0)).unwrap();
    let make = "import os; os.symlink(b'to-\\xe9', b'/srv/www/in/link')";
    let mut lab = Lab::new();
    lab.use_restic(new);
    lab.ok(&["sh", "-c", "mkdir -p /srv/www/in; echo x > /srv/www/f"]);
    lab.ok(&["python3", "-c", make]);
    let mut lab = stored(lab);
    let said =
        "alters symbolic links whose targets are no UTF-8, such as /srv/www/in/link: pin restic 0.16.0";
    assert!(!lab.expect(0, &["run", "web"]).stderr.contains(said));
    lab.use_restic(old);
    assert!(lab.expect(0, &["run", "web"]).stderr.contains(said));
    assert!(!lab.expect(0, &["run", "--scheduled", "web"]).stderr.contains(said));
    lab.use_restic(new);
    lab.expect(0, &["run", "web"]);
    // Without such a link nothing is said.
    lab.ok(&["mv", "/srv/www/in/link", "/srv/link"]);
    lab.use_restic(old);
    assert!(!lab.expect(0, &["run", "web"]).stderr.contains("symbolic links"));
    lab.ok(&["mv", "/srv/link", "/srv/www/in/link"]);
    lab.use_restic(new);
    lab.expect(0, &["run", "web"]);
    lab.ok(&["sh", "-c", "ln -sfn mine /srv/www/in/link; rm /srv/www/f"]);
    lab.use_restic(old);
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes"]);
    assert!(ran.stderr.contains("warning: restic 0.14.0 alters link targets that are not UTF-8"), "{ran:?}");
    assert!(ran.stderr.contains("not restored: /srv/www/in/link: its link target is not UTF-8"), "{ran:?}");
    assert_eq!(
        (lab.ok(&["readlink", "/srv/www/in/link"]), lab.read("/srv/www/f")),
        ("mine\n".into(), "x\n".into())
    );
    lab.use_restic(new);
    let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
    assert!(!ran.stderr.contains("warning"), "{ran:?}");
    lab.ok(&["python3", "-c", "import os; assert os.readlink(b'/srv/www/in/link') == b'to-\\xe9'"]);
}

#[test]
fn links_on_the_way_are_followed_and_those_in_it_are_not() {
    // R75
    let lab = site();
    let script = "cd /srv/www; mv shop /srv/moved; ln -s /srv/moved shop; rm /srv/moved/logo; echo mine > /srv/moved/mine";
    lab.ok(&["sh", "-c", script]);
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes"]);
    assert!(ran.stderr.contains("/srv/www/shop: a symbolic link stands where a directory was"), "{ran:?}");
    assert_eq!(
        lab.ok(&["sh", "-c", "readlink /srv/www/shop; ls /srv/moved"]),
        "/srv/moved\na b 'c'.html\nmine\n"
    );
    // Asked for by a path that leads through it.
    lab.expect(0, &["restore", "web", "--in-place", "--yes", "--path", "/srv/www/shop/logo"]);
    assert_eq!(lab.read("/srv/moved/logo"), "logo\n");
    assert_eq!(lab.ok(&["readlink", "/srv/www/shop"]), "/srv/moved\n");
    // It leads nowhere: nothing is made where it leads.
    lab.ok(&["sh", "-c", "mv /srv/moved /srv/away; ln -sfn /srv/nowhere /srv/www/shop"]);
    lab.expect(8, &["restore", "web", "--in-place", "--yes", "--path", "/srv/www/shop/logo"]);
    // One whose target is longer than a name may be.
    lab.ok(&["sh", "-c", "ln -sfn $(printf 'x%.0s' $(seq 300)) /srv/www/shop; rm /srv/www/index.html"]);
    lab.expect(8, &["restore", "web", "--in-place", "--yes", "--path", "/srv/www/shop/logo"]);
    lab.expect(8, &["restore", "web", "--in-place", "--yes"]);
    assert_eq!(lab.read("/srv/www/index.html"), "hello\n");
    assert_eq!(lab.ok(&["ls", "-A", "/srv/away"]), "a b 'c'.html\nlogo\nmine\n");
    assert_eq!(left(&lab), "");
}

#[test]
fn many_paths_are_asked_for_at_once() {
    // R75
    let lab = Lab::new();
    lab.ok(&["sh", "-c", "mkdir /srv/www; cd /srv/www; seq 2000 | xargs touch; echo other > other"]);
    let lab = stored(lab);
    let find = "find /srv/www -type f -not -name other -print0 > /root/paths; rm /srv/www/*";
    lab.ok(&["sh", "-c", find]);
    let restore = "ulimit -n 256; rlvm restore web --in-place --yes --path-from - < /root/paths";
    lab.ok(&["sh", "-c", restore]);
    assert_eq!(lab.ok(&["sh", "-c", "ls /srv/www | wc -l"]), "2000\n");
    assert!(!lab.at("/srv/www/other").exists());
    lab.ok(&["sh", "-c", "seq 10001 | sed s,^,/srv/www/, | tr '\\n' '\\0' > /root/paths"]);
    let ran = lab.expect(64, &["restore", "web", "--in-place", "--yes", "--path-from", "/root/paths"]);
    assert!(
        ran.stderr.contains("10001 paths cannot be restored at once: the limit is 10,000 paths"),
        "{ran:?}"
    );
    assert_eq!(left(&lab), "");
}

#[test]
fn nothing_is_put_below_a_mount_that_is_missing() {
    // R75
    let lab = Lab::new();
    lab.ok(&[
        "sh",
        "-c",
        "mkdir /srv/disk /srv/www; mount --bind /srv/disk /srv/www; echo hello > /srv/www/f",
    ]);
    lab.state(&format!(
        "directories: {{ /srv/www: {{ mounted: true }} }}\ndestinations:\n  \
           near: {{ local: {{ path: {NEAR} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n\
         jobs:\n  web: {{ sources: [{{ path: /srv/www }}], to: [near] }}\n"
    ));
    lab.repository(NEAR, "/etc/rlvm/near.pass");
    lab.apply();
    lab.expect(0, &["run", "web"]);
    lab.ok(&["umount", "/srv/www"]);
    for words in [&["--in-place", "--yes"][..], &["--target", "/srv/www/out"]] {
        let ran = lab.expect(6, &[&["restore", "web"], words].concat());
        assert!(ran.stderr.contains("/srv/www must be mounted and is not"), "{ran:?}");
        assert_eq!(lab.ok(&["ls", "-A", "/srv/www"]), "");
    }
    lab.ok(&["sh", "-c", "rm /srv/disk/f; mount --bind /srv/disk /srv/www"]);
    lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
    assert_eq!(lab.read("/srv/disk/f"), "hello\n");
    assert_eq!(left(&lab), "");
}
