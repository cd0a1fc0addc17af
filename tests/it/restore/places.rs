//! Where from: the nearest place that has it, the next one if it fails, and never half of it in silence.

use super::{FAR, NEAR, left, record, site, site_on, stored, tell};
use crate::{
    lab::{Lab, REST_PASSWORD, REST_USER, restics},
    support::BACKUP,
};

/// Writes over something in the middle of the largest pack of a repository.
fn damage(lab: &Lab, repository: &str) {
    let script = "pack=$(find \"$1/data\" -type f -printf '%s %p\\n' | sort -n | tail -1 | cut -d' ' -f2-); \
                  printf XXXXXXXX | dd of=\"$pack\" bs=1 seek=200000 conv=notrunc status=none";
    lab.ok(&["sh", "-c", script, "sh", repository]);
}

fn large() -> Lab {
    let lab = Lab::new();
    site_on(&lab);
    lab.ok(&["sh", "-c", "head -c 1000000 /dev/urandom > /srv/www/large"]);
    lab
}

#[test]
fn what_one_place_cannot_give_the_next_one_does() {
    // R75
    for version in restics() {
        let mut lab = large();
        lab.use_restic(&version);
        let lab = stored(lab);
        let before = tell(&lab, "/srv/www");
        damage(&lab, NEAR);
        let ran = lab.expect(0, &["restore", "web", "--target", "/srv/out"]);
        assert!(ran.stderr.contains("near: 1 name cannot be restored from this destination"), "{ran:?}");
        assert!(ran.stdout.contains("from far"), "{ran:?}");
        assert_eq!(tell(&lab, "/srv/out/srv/www"), before, "{}", version.dir);

        // Both: what is not whole is listed, and takes nothing's place.
        damage(&lab, FAR);
        let ran = lab.expect(8, &["restore", "web", "--target", "/srv/both", "--json"]);
        let ended = record(&ran.stdout);
        assert_eq!((&ended["files"], &ended["files_placed"]), (&4.into(), &3.into()), "{ended}");
        let lacking = &ended["unrestored"];
        assert_eq!((&lacking[0]["path"], lacking.as_array().unwrap().len()), (&"/srv/www/large".into(), 1));
        assert!(lacking[0]["why"].as_str().unwrap().contains("ciphertext verification failed"), "{lacking}");
        lab.ok(&["sh", "-c", "echo live > /srv/www/large; rm /srv/www/index.html"]);
        let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes"]);
        assert!(
            ran.stderr.contains("RESTORE INCOMPLETE: 1 path not restored; 1 of 4 files put back in place from near, 2 left as they are, in ")
                && ran.stderr.contains("/srv/www/large"),
            "{ran:?}"
        );
        assert_eq!(
            (lab.read("/srv/www/large"), lab.read("/srv/www/index.html")),
            ("live\n".into(), "hello\n".into())
        );
        assert_eq!(left(&lab), "");
    }
}

#[test]
fn a_place_that_is_down_is_said() {
    let lab = site();
    lab.ok(&["mv", NEAR, "/srv/elsewhere"]);
    let ran = lab.expect(0, &["restore", "web", "--target", "/srv/out"]);
    assert!(ran.stderr.contains("warning: near: ") && ran.stdout.contains("from far"), "{ran:?}");
    let ran = lab.expect(1, &["restore", "web", "--target", "/srv/out2", "--from", "near"]);
    assert!(ran.stderr.contains("cannot look for the backup, since no destination can be read"), "{ran:?}");
    lab.ok(&["mv", "/srv/elsewhere", NEAR]);
    let ran = lab.expect(1, &["restore", "web", "--target", "/srv/out2", "--snapshot", "2001-01-01"]);
    assert!(ran.stderr.contains("no destination has the requested backup"), "{ran:?}");
    lab.ok(&["sh", "-c", "cp -p /etc/rlvm/near.pass /root; echo wrong > /etc/rlvm/near.pass"]);
    let ran = lab.expect(0, &["restore", "web", "--target", "/srv/out3"]);
    assert!(ran.stderr.contains("near: wrong password"), "{ran:?}");
    let ran = lab.expect(64, &["restore", "web", "--target", "/srv/x", "--from", "nowhere"]);
    assert!(ran.stderr.contains("destinations of this job: near, far"), "{ran:?}");
}

#[test]
fn a_snapshot_of_a_time_of_an_id_and_only_ones_own() {
    // R79
    let lab = site();
    let words = ["restic", "-q", "--no-cache", "--repo", NEAR, "--password-file", "/etc/rlvm/near.pass"];
    let backup = |host: &str, tag: &str, time: &str, text: &str| {
        lab.file("/srv/www/index.html", text);
        lab.ok(&[&words[..], &["backup", "--host", host, "--tag", tag, "--time", time, "/srv/www"]].concat());
    };
    backup("web01", "rlvm:job=web", "2026-01-02 03:00:00", "two\n");
    backup("web01", "rlvm:job=web", "2026-01-03 03:00:00", "three\n");
    backup("web02", "rlvm:job=web", "2026-01-04 03:00:00", "of another host\n");
    backup("web01", "rlvm:job=mail", "2026-01-05 03:00:00", "of another job\n");
    let ids = lab.ok(&[&words[..], &["snapshots", "--json"]].concat());
    let ids: serde_json::Value = serde_json::from_str(&ids).unwrap();
    let foreign = ids.as_array().unwrap().iter().find(|it| it["hostname"] == "web02").unwrap();
    let foreign = foreign["id"].as_str().unwrap();
    let mut number = 0;
    let mut restored = |snapshot: &str, more: &[&str]| {
        number += 1;
        let target = format!("/srv/out{number}");
        let words = ["restore", "web", "--from", "near", "--snapshot", snapshot, "--target", &target];
        lab.expect(0, &[&words[..], more].concat());
        lab.read(&format!("{target}/srv/www/index.html"))
    };
    assert_eq!(restored("2026-01-02", &[]), "two\n");
    assert_eq!(restored("2026-01-03 02:59", &[]), "two\n");
    assert_eq!(restored("2026-01-05", &[]), "three\n");
    assert_eq!(restored("latest", &[]), "hello\n");
    assert_eq!(restored(foreign, &["--any-host"]), "of another host\n");
    let ran = lab.expect(1, &["restore", "web", "--snapshot", &foreign[..8], "--target", "/srv/x"]);
    assert!(ran.stderr.contains("of host web02 and job web; to restore it: --any-host"), "{ran:?}");
    let ran = lab.expect(1, &["restore", "web", "--snapshot", "2026-01-01", "--target", "/srv/x"]);
    assert!(ran.stderr.contains("near: has 3 snapshots, from Fri 2026-01-02"), "{ran:?}");
    lab.expect(64, &["restore", "web", "--snapshot", "yesterday", "--target", "/srv/x"]);
    lab.expect(64, &["restore", "web", "--snapshot", "latest", "--any-host", "--target", "/srv/x"]);
}

#[test]
fn another_place_gives_no_other_backup() {
    let lab = stored(large());
    lab.file_of("/srv/www/index.html", "new\n", BACKUP, 0o644);
    lab.expect(0, &["run", "web", "--to", "near"]);
    damage(&lab, NEAR);
    lab.ok(&["sh", "-c", "echo live > /srv/www/large; rm /srv/www/index.html"]);
    // Far has all of it, as it was before.
    let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes"]);
    assert!(
        ran.stderr.contains("skipped the older backup at far, of")
            && ran.stderr.contains("; to restore it: --from far"),
        "{ran:?}"
    );
    assert_eq!(
        (lab.read("/srv/www/index.html"), lab.read("/srv/www/large")),
        ("new\n".into(), "live\n".into())
    );
    // Near cannot be asked: the records know that it has a newer one.
    lab.ok(&["mv", NEAR, "/srv/away"]);
    let ran = lab.expect(6, &["restore", "web", "--in-place", "--yes"]);
    assert!(
        ran.stderr.contains("cannot restore in place from far: near stored a newer backup at ")
            && ran.stderr.contains(" and cannot be read now\nhelp: ")
            && ran.stderr.contains("--from far"),
        "{ran:?}"
    );
    assert_eq!(
        (lab.read("/srv/www/index.html"), lab.read("/srv/www/large")),
        ("new\n".into(), "live\n".into())
    );
    let ran = lab.expect(0, &["restore", "web", "--target", "/srv/out"]);
    assert!(
        ran.stderr.contains("warning: the backup at far is older than the one that near stored at "),
        "{ran:?}"
    );
    lab.expect(0, &["restore", "web", "--in-place", "--yes", "--from", "far"]);
    assert_eq!(lab.read("/srv/www/index.html"), "hello\n");
}

#[test]
fn a_failed_backup_is_not_the_latest_and_not_copied() {
    let lab = Lab::new();
    for dir in ["/srv/www", "/srv/closed"] {
        lab.file_of(&format!("{dir}/file"), "first\n", BACKUP, 0o644);
        lab.own(dir, BACKUP, 0o755);
    }
    lab.state(&format!(
        "destinations:\n  \
           near: {{ local: {{ path: {NEAR} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n  \
           far: {{ local: {{ path: {FAR} }}, password_file: /etc/rlvm/far.pass, generate_password: true }}\n\
         jobs:\n  web: {{ user: backup, sources: [{{ path: /srv/www }}, {{ path: /srv/closed }}], to: [near], \
         copy: {{ far: {{ from: near }} }} }}\n"
    ));
    lab.apply();
    lab.expect(0, &["run", "web"]);
    lab.own("/srv/closed", 0, 0o700);
    lab.expect(8, &["run", "web", "--to", "near"]);
    let ran = lab.expect(8, &["run", "web", "--to", "far"]);
    assert!(ran.stderr.contains("not copied: nothing was stored at near"), "{ran:?}");
    let ran = lab.expect(0, &["restore", "web", "--target", "/srv/out"]);
    assert!(ran.stderr.contains(", because its backup failed; to restore it: --snapshot "), "{ran:?}");
    assert_eq!(lab.read("/srv/out/srv/closed/file"), "first\n");
}

#[test]
fn as_another_user_owners_are_given_back_by_root_alone() {
    // What is on this host root reads itself; over the network restic stays the job's user.
    let lab = Lab::new();
    lab.file_of("/srv/www/index.html", "hello\n", 33, 0o644);
    lab.file_of("/srv/www/own", "own\n", BACKUP, 0o600);
    lab.own("/srv/www", BACKUP, 0o755);
    lab.file_of("/etc/rlvm/rest.user", &format!("{REST_USER}\n"), BACKUP, 0o600);
    lab.file_of("/etc/rlvm/rest.login", &format!("{REST_PASSWORD}\n"), BACKUP, 0o600);
    let rest = lab.rest(&[]);
    lab.state(&format!(
        "destinations:\n  \
           far: {{ rest: {{ url: \"http://rest.lan:8000/r\", plain_http: true, user_file: /etc/rlvm/rest.user, \
                   password_file: /etc/rlvm/rest.login }}, password_file: /etc/rlvm/far.pass, generate_password: true }}\n  \
           near: {{ local: {{ path: {NEAR} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n\
         jobs:\n  web: {{ sources: [{{ path: /srv/www }}], to: [far, near], user: backup }}\n"
    ));
    lab.apply();
    lab.expect(0, &["run", "web"]);
    let owners =
        |at: &str| lab.ok(&["stat", "-c", "%u %a", at, &format!("{at}/index.html"), &format!("{at}/own")]);
    let before = owners("/srv/www");
    lab.expect(0, &["restore", "web", "--target", "/srv/out"]);
    assert_eq!(owners("/srv/out/srv/www"), before);
    // Nothing of root's is left among what the user must be able to read.
    assert_eq!(lab.ok(&["find", NEAR, "-not", "-user", "backup"]), "");
    let ran = lab.expect(0, &["restore", "web", "--target", "/srv/theirs", "--from", "far"]);
    assert!(
        ran.stderr.contains("warning: restic reads far as user backup, who cannot set file owners"),
        "{ran:?}"
    );
    assert_eq!(owners("/srv/theirs/srv/www"), before.replace("33 ", "4000 "));
    assert_eq!(lab.ok(&["stat", "-c", "%u %a", "/srv/theirs"]), "0 700\n");
    lab.ok(&["rm", "/srv/www/own"]);
    let ran = lab.expect(6, &["restore", "web", "--in-place", "--yes", "--from", "far"]);
    assert!(ran.stderr.contains("cannot restore in place from far"), "{ran:?}");
    lab.expect(0, &["restore", "web", "--in-place", "--yes", "--from", "far", "--path", "/srv/www/own"]);
    assert_eq!(owners("/srv/www"), before);
    drop(rest);
    let ran = lab.expect(0, &["restore", "web", "--target", "/srv/down"]);
    assert!(ran.stderr.contains("warning: far: "), "{ran:?}");
    assert_eq!(left(&lab), "");
}
