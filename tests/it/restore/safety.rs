//! What is refused, what is never followed, and what a crash leaves.

use std::{process::Stdio, time::Duration};

use super::{NEAR, left, site, tell};
use crate::{
    lab::Lab,
    support::{BACKUP, require},
};

#[test]
fn a_target_is_always_named_and_never_written_over() {
    // R75
    let lab = site();
    lab.file("/srv/full/x", "x\n");
    lab.file("/srv/file", "x\n");
    lab.dir("/srv/theirs", BACKUP, 0o755);
    lab.dir("/srv/open", 0, 0o777);
    lab.dir("/srv/led", BACKUP, 0o755);
    lab.ok(&["ln", "-s", "/srv", "/srv/led/link"]);
    lab.ok(&["chown", "-h", "4000", "/srv/led/link"]);
    for (words, code, said) in [
        (&["restore", "web"][..], 64, "give either --target DIR or --in-place"),
        (&["restore", "--target", "/srv/x"], 64, "no job is named"),
        (&["restore", "web", "--target", "/srv/x", "--in-place"], 64, "cannot be used with"),
        (&["restore", "web", "--target", "x"], 64, "must be an absolute path"),
        (&["restore", "web", "--target", "/srv/x", "--path", "www"], 64, "must be an absolute path"),
        (&["restore", "web", "--target", "/srv/x", "--only-missing"], 64, "cannot be used with"),
        (&["restore", "shop", "--target", "/srv/x"], 1, "there is no job shop"),
        (
            &["restore", "web", "--target", "/srv/x", "--path", "/srv/ww"],
            1,
            "the backup does not contain /srv/ww",
        ),
        (&["restore", "web", "--target", "/srv/full"], 6, "/srv/full is not empty: 1 name"),
        (
            &["restore", "web", "--target", "/srv/file"],
            6,
            "cannot restore into /srv/file: it is not a directory",
        ),
        (&["restore", "web", "--target", "/srv/theirs"], 6, "/srv/theirs belongs to backup"),
        (&["restore", "web", "--target", "/srv/led/link/x"], 6, "symbolic link"),
        (&["restore", "web", "--target", "/srv/open/x"], 6, "others can write /srv/open"),
    ] {
        let ran = lab.expect(code, words);
        assert!(ran.stderr.contains(said), "{words:?}: {ran:?}");
    }
    assert!(!lab.at("/srv/x").exists() && !lab.at("/srv/open/x").exists());
    lab.expect(0, &["restore", "web", "--target", "/srv/full", "--into-existing"]);
    assert_eq!(lab.read("/srv/full/srv/www/index.html"), "hello\n");
    let ran = lab.expect(6, &["restore", "web", "--target", "/srv/full", "--into-existing"]);
    assert!(ran.stderr.contains("3 files of the backup exist in /srv/full already"), "{ran:?}");
    assert_eq!(left(&lab), "");
}

#[test]
fn a_target_inside_a_repository_is_refused() {
    let lab = site();
    lab.ok(&["ln", "-s", "/srv/backup", "/srv/link"]);
    let before = lab.tree_hash();
    for target in
        [NEAR, "/srv/backup/near/", "/srv/backup/near/data/00", "/srv/backup/far/x", "/srv/link/near/x"]
    {
        let ran = lab.expect(6, &["restore", "web", "--target", target, "--into-existing"]);
        let place = if target.contains("far") { ("far", "/srv/backup/far") } else { ("near", NEAR) };
        let said = format!("destination {} keeps its repository at {}", place.0, place.1);
        assert!(ran.stderr.contains(&said) && ran.stderr.contains("\nhelp: "), "{target}: {ran:?}");
    }
    assert_eq!(lab.tree_hash(), before);
    // A name that only begins like a repository's is another directory.
    for target in ["/srv/backup/near2", "/srv/backup/near-restored"] {
        lab.expect(0, &["restore", "web", "--target", target]);
        assert_eq!(lab.read(&format!("{target}/srv/www/index.html")), "hello\n");
    }
    assert_eq!(left(&lab), "");
}

#[test]
fn too_little_room_is_said_before_and_a_full_target_lists_what_is_not_there() {
    let lab = Lab::new();
    lab.ok(&[
        "sh",
        "-c",
        "mkdir -p /srv/www; head -c 900000 /dev/urandom > /srv/www/large; echo x > /srv/www/small",
    ]);
    let lab = super::stored(lab);
    lab.ok(&[
        "sh",
        "-c",
        "mkdir /srv/small; mount -t tmpfs -o size=500k,mode=755 tmpfs /srv/small; mkdir /srv/small/in",
    ]);
    let words = ["restore", "web", "--target", "/srv/small/in"];
    let ran = lab.expect(6, &words);
    assert!(ran.stderr.contains("but the file system of /srv/small/in has only 500.00 KiB free"), "{ran:?}");
    let ran = lab.expect(8, &[&words[..], &["--ignore-space"]].concat());
    assert!(
        ran.stderr.contains("/srv/www/large: ") && ran.stderr.contains("no space left on device"),
        "{ran:?}"
    );
    // Which one comes first is not said; what is not whole is.
    let whole = lab.run(&["cat", "/srv/small/in/srv/www/small"]).stdout == "x\n";
    assert!(whole || ran.stderr.contains("/srv/www/small: "), "{ran:?}");
    assert_eq!(lab.ok(&["ls", "-A", "/srv/small/in"]), "srv\n");
}

#[test]
fn no_link_that_another_user_planted_is_followed() {
    let lab = Lab::new();
    lab.dir("/srv/www", BACKUP, 0o755);
    lab.file_of("/srv/www/conf/passwd", "from the backup\n", BACKUP, 0o644);
    lab.file_of("/srv/www/ok", "ok\n", BACKUP, 0o644);
    lab.own("/srv/www/conf", BACKUP, 0o755);
    let lab = super::stored(lab);
    let passwd = lab.read("/etc/passwd");
    lab.ok(&["sh", "-c", "cd /srv/www; rm -r conf ok; ln -s /etc conf; chown -h 4000 conf"]);
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes"]);
    assert!(ran.stderr.contains("/srv/www/conf") && ran.stderr.contains("symbolic link"), "{ran:?}");
    assert_eq!((lab.read("/etc/passwd"), lab.read("/srv/www/ok")), (passwd.clone(), "ok\n".into()));
    // A directory of somebody else's, moved to where one of theirs was.
    lab.ok(&["sh", "-c", "cd /srv/www; rm conf; mkdir conf; chown root conf; echo root > conf/passwd"]);
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes"]);
    assert!(ran.stderr.contains("who could have put it there"), "{ran:?}");
    assert_eq!(lab.read("/srv/www/conf/passwd"), "root\n");
    assert_eq!(lab.ok(&["stat", "-c", "%u", "/srv/www/conf"]), "0\n");
    assert_eq!(left(&lab), "");
}

/// A restic that begins to restore, and does not end.
fn slow(lab: &mut Lab) {
    lab.file_of(
        "/usr/local/bin/restic",
        "#!/bin/sh\n[ \"$1\" = restore ] || exec /usr/bin/restic \"$@\"\n\
         for word; do [ \"$last\" = --target ] && echo half > \"$word/half\"; last=$word; done\n\
         echo $$ > /srv/begun\nexec sleep 4321\n",
        0,
        0o755,
    );
}

fn begun(lab: &Lab, words: &[&str]) -> std::process::Child {
    let mut command = lab.command(words);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..600 {
        if lab.at("/srv/begun").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

#[test]
fn killed_or_stopped_it_leaves_nothing() {
    // R56
    require("/usr/bin", "pgrep", "procps");
    let mut lab = site();
    let before = tell(&lab, "/srv/www");
    slow(&mut lab);
    for in_place in [false, true] {
        let words: &[&str] = if in_place {
            lab.ok(&["rm", "/srv/www/index.html"]);
            &["restore", "web", "--in-place", "--yes"]
        } else {
            &["restore", "web", "--target", "/srv/out"]
        };
        for signal in ["INT", "TERM", "KILL"] {
            lab.ok(&["rm", "-f", "/srv/begun"]);
            let mut child = begun(&lab, words);
            assert!(lab.at("/srv/begun").exists() && !left(&lab).is_empty(), "{signal}: it does not begin");
            lab.ok(&["sh", "-c", &format!("kill -{signal} $(pgrep -x rlvm)")]);
            let code = child.wait().unwrap().code();
            if signal == "KILL" {
                lab.expect(0, &["sweep"]);
            } else {
                assert_eq!(code, Some(if signal == "INT" { 130 } else { 143 }), "{signal}");
            }
            assert_eq!(left(&lab), "", "{signal}");
            assert!(!lab.at("/srv/out").exists(), "{signal}");
            assert_eq!(lab.run(&["pgrep", "-fx", "sleep 4321"]).stdout, "", "{signal}");
        }
    }
    lab.ok(&["rm", "/usr/local/bin/restic"]);
    lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
    assert_eq!(tell(&lab, "/srv/www").lines().count(), before.lines().count());
}

#[test]
fn dry_run_prints_what_can_be_pasted_and_does_nothing() {
    let lab = site();
    let before = lab.tree_hash();
    let ran = lab.expect(
        0,
        &["restore", "web", "--target", "/srv/a b", "--path", "/srv/www/shop/a b 'c'.html", "--dry-run"],
    );
    assert_eq!(lab.tree_hash(), before);
    lab.ok(&["sh", "-ec", &ran.stdout]);
    assert_eq!(lab.read("/srv/a b/srv/www/shop/a b 'c'.html"), "shop\n");
    assert!(!lab.at("/srv/a b/srv/www/index.html").exists());
}

#[test]
fn in_place_on_a_file_system_of_its_own() {
    let lab = Lab::new();
    let script = "mkdir -p /srv/disk /srv/www && mount --bind /srv/disk /srv/www && cd /srv/www && mkdir shop && \
                  echo hello > index.html && echo shop > \"shop/a b\" && echo logo > shop/logo";
    lab.ok(&["sh", "-c", script]);
    let lab = super::stored(lab);
    let before = tell(&lab, "/srv/disk/shop");
    lab.ok(&["rm", "-r", "/srv/www/shop"]);
    lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
    assert_eq!(tell(&lab, "/srv/disk/shop"), before);
    // Another one in it.
    lab.ok(&["sh", "-c", "rm -r /srv/www/shop/*; mkdir /srv/other; mount --bind /srv/other /srv/www/shop"]);
    let ran = lab.expect(6, &["restore", "web", "--in-place", "--yes"]);
    assert!(
        ran.stderr
            .contains("cannot restore /srv/www in place: another file system is mounted at /srv/www/shop"),
        "{ran:?}"
    );
    lab.expect(0, &["restore", "web", "--in-place", "--yes", "--path", "/srv/www/shop"]);
    assert_eq!(lab.ok(&["ls", "/srv/other"]), "a b\nlogo\n");
    assert_eq!(left(&lab), "");
}
