//! A backup counts only if its run has looked at it and said so, and only while it is there: rlvm is killed before that,
//! restic names a snapshot that is not there, a source is stored empty.

#![expect(clippy::unwrap_used, reason = "tests look at the machine")]

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::lab::{Lab, REST_PASSWORD, REST_USER, Restic, restics};

const VAULT: &str = "/srv/backup/vault";
const PASSWORD: &str = "/etc/rlvm/vault.pass";

/// Stands in restic's place. After a backup it kills rlvm, or loses what it has stored, if it was told to.
const STAND_IN: &str = "#!/bin/sh
[ \"$1\" = backup ] || exec REAL \"$@\"
REAL \"$@\" >/srv/said
[ ! -e /srv/kill ] || { rm /srv/kill; kill -9 $(grep -lx rlvm /proc/[0-9]*/comm | cut -d/ -f3); sleep 60; }
[ ! -e /srv/wait ] || { rm /srv/wait; touch /srv/waits; read go </srv/go; }
[ ! -e /srv/lose ] || { rm /srv/lose; rm -f /srv/backup/vault/snapshots/$(ls -t /srv/backup/vault/snapshots | head -1); }
cat /srv/said
";

/// A machine with a job `web`, these words of it, and a restic of this version that does as it is told.
fn applied(version: &Restic, job: &str) -> Lab {
    let mut lab = Lab::new();
    lab.file("/srv/www/index.html", "first\n");
    lab.file("/srv/app/data", "hello\n");
    lab.repository(VAULT, PASSWORD);
    state(&lab, job);
    let real = format!("{}/restic", version.dir);
    lab.file_of("/srv/bin/restic", &STAND_IN.replace("REAL", &real), 0, 0o755);
    lab.find_by("/srv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    lab
}

fn state(lab: &Lab, job: &str) {
    lab.state(&format!(
        "destinations:\n  vault: {{ local: {{ path: {VAULT} }}, password_file: {PASSWORD} }}\n\
         jobs:\n  web: {{ sources: [{{ path: /srv/www }}, {{ path: /srv/app }}], to: [vault], schedule: \"@daily\"{job} }}\n"
    ));
    lab.apply();
}

/// Runs the job, and kills rlvm as soon as restic has stored the snapshot.
fn killed(lab: &Lab) {
    lab.file("/srv/kill", "");
    let mut run = lab.command(&["run", "web"]);
    let status = run.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(!status.success() && !lab.at("/srv/kill").exists(), "{status}");
}

/// Lists the ids of the snapshots, the oldest first.
fn snapshots(lab: &Lab) -> Vec<String> {
    let words = ["restic", "-q", "--no-cache", "--no-lock", "--repo", VAULT, "--password-file", PASSWORD];
    let listed = lab.ok(&[&words[..], &["snapshots", "--json"]].concat());
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    listed.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

/// Returns what status says of the job: the line.
fn line(lab: &Lab) -> Value {
    let status: Value = serde_json::from_str(&lab.rlvm(&["status", "--json"]).stdout).unwrap();
    status["lines"][0].clone()
}

/// Lists the verdicts of a line, each with its level and its message.
fn judged(line: &Value) -> String {
    let all = line["judged"].as_array().unwrap().iter();
    let shown = all.map(|it| format!("{} {}: {}", it["verdict"], it["level"], it["message"]));
    shown.collect::<Vec<_>>().join("\n").replace('"', "")
}

/// Restores the job with these words; returns what index.html then holds, and what was said.
fn restored(lab: &Lab, words: &[&str]) -> (String, String) {
    lab.ok(&["rm", "-rf", "/srv/out"]);
    let ran = lab.expect(0, &[&["restore", "web", "--target", "/srv/out"], words].concat());
    (lab.read("/srv/out/srv/www/index.html"), ran.stderr)
}

#[test]
fn the_backup_of_a_killed_run_counts_for_nothing() {
    for version in restics() {
        let lab = applied(&version, ", retention: { last: 1 }, verify: { drill: { files: 5 } }");
        lab.expect(0, &["run", "web"]);
        let good = snapshots(&lab).remove(0);
        lab.file("/srv/www/index.html", "second\n");
        killed(&lab);
        let all = snapshots(&lab);
        assert_eq!(all.len(), 2, "restic has stored it");
        let doubtful = &all[1];
        let why = "rlvm was killed or the power failed";
        for swept in [false, true] {
            if swept {
                lab.expect(0, &["sweep"]);
                assert_eq!(lab.ok(&["ls", "/var/lib/rlvm/journal"]), "");
                lab.expect(0, &["sweep"]);
                let records = lab.ok(&["sh", "-c", "cat /var/lib/rlvm/records/*.jsonl"]);
                assert_eq!(records.matches("\"status\":\"interrupted\",\"jobs\"").count(), 1, "{records}");
            }
            let line = line(&lab);
            assert_eq!((line["newest_id"].as_str().unwrap(), &line["snapshots"]), (&*good, &1.into()));
            assert!(judged(&line).contains("failing") && judged(&line).contains(why), "{line:#}");
            let table = lab.expect(0, &["snapshots"]).stdout;
            let marked = table.lines().find(|line| line.contains(&doubtful[..8])).unwrap();
            assert!(marked.ends_with("(unchecked: does not count as a backup)"), "{table}");
            assert_eq!(table.matches("does not count").count(), 1, "{table}");
            let json: Value = serde_json::from_str(&lab.expect(0, &["snapshots", "--json"]).stdout).unwrap();
            let status = |place: usize| json["snapshots"][place]["status"].as_str();
            assert_eq!((status(0), status(1)), (Some("complete"), Some("unchecked")), "{json:#}");
            let (text, said) = restored(&lab, &[]);
            let hint = format!("snapshot {} of ", &doubtful[..8]);
            assert!(
                text == "first\n" && said.contains(&hint) && said.contains("to restore it: --snapshot"),
                "{said}"
            );
            assert_eq!(restored(&lab, &["--snapshot", &doubtful[..8]]).0, "second\n");
        }
        let drill: Value = serde_json::from_str(&lab.expect(0, &["verify", "--json"]).stdout).unwrap();
        assert_eq!(drill["destinations"][0]["drills"][0]["snapshot"], *good, "{drill:#}");
        // One is kept: the one that is a backup.
        lab.expect(0, &["prune"]);
        assert!(snapshots(&lab).contains(&good), "{:?}", snapshots(&lab));
        lab.expect(0, &["run", "web"]);
        lab.expect(0, &["prune"]);
        let last = snapshots(&lab);
        assert_eq!(last.len(), 1, "{last:?}");
        assert!(judged(&line(&lab)).starts_with("fresh ok"), "{}", judged(&line(&lab)));
    }
}

#[test]
fn what_a_killed_run_had_said_of_its_backups_counts() {
    let version = restics().pop().unwrap();
    let lab = applied(
        &version,
        ", hooks: { after: [{ run: \"[ ! -e /srv/die ] || kill -9 $(grep -lx rlvm /proc/[0-9]*/comm | cut -d/ -f3)\" }] }",
    );
    lab.file("/srv/die", "");
    let mut run = lab.command(&["run", "web"]);
    assert!(!run.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    for _ in 0..2 {
        let line = line(&lab);
        assert_eq!(line["newest_id"], snapshots(&lab)[0], "{line:#}");
        let said = "failing warning: the last run stored this backup and failed afterwards: rlvm was killed";
        assert!(judged(&line).contains(said), "{}", judged(&line));
        lab.expect(0, &["sweep"]);
    }
    // Without records nothing is known of any backup, and each counts.
    killed(&lab);
    lab.ok(&["sh", "-c", "rlvm sweep; rm -r /var/lib/rlvm/records"]);
    assert_eq!(line(&lab)["snapshots"], 2);
}

#[test]
fn a_backup_that_is_not_checked_yet_does_not_count() {
    let version = restics().pop().unwrap();
    let lab = applied(&version, "");
    lab.expect(0, &["run", "web"]);
    let good = snapshots(&lab).remove(0);
    lab.file("/srv/www/index.html", "second\n");
    lab.file("/srv/wait", "");
    lab.ok(&["mkfifo", "-m", "600", "/srv/go"]);
    let mut run = lab.command(&["run", "web"]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !lab.at("/srv/waits").exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(snapshots(&lab).len(), 2);
    let now = line(&lab);
    assert_eq!((&now["newest_id"], &now["snapshots"]), (&good.into(), &1.into()), "{now:#}");
    assert!(judged(&now).starts_with("fresh ok"), "{}", judged(&now));
    let (text, said) = restored(&lab, &[]);
    assert!(text == "first\n" && said.contains("its run has not checked the backup"), "{said}");
    lab.ok(&["sh", "-c", "echo go >/srv/go"]);
    assert!(run.wait().unwrap().success());
    assert_eq!(line(&lab)["snapshots"], 2);
    assert_eq!(restored(&lab, &[]).0, "second\n");
}

#[test]
fn a_snapshot_that_is_not_there_is_no_backup() {
    for version in restics() {
        let lab = applied(&version, "");
        lab.expect(0, &["run", "web"]);
        lab.file("/srv/lose", "");
        let ran = lab.expect(8, &["run", "web"]);
        let said = "is not in the repository";
        assert!(ran.stderr.contains("not stored at vault: ") && ran.stderr.contains(said), "{ran:?}");
        assert!(judged(&line(&lab)).contains(said), "{}", judged(&line(&lab)));

        // It goes later: what the newest run stored is not there any more, and older ones are.
        lab.expect(0, &["run", "web"]);
        // Status asks after the second in which the run has ended.
        std::thread::sleep(Duration::from_secs(2));
        let all = snapshots(&lab);
        lab.ok(&["rm", "-f", &format!("{VAULT}/snapshots/{}", all[1])]);
        let line = line(&lab);
        let said = format!("gone critical: snapshot {} is gone", &all[1][..8]);
        assert!(judged(&line).starts_with(&said), "{}", judged(&line));
        lab.expect(9, &["status"]);
        lab.expect(0, &["run", "web"]);
        lab.expect(0, &["status"]);
    }
}

#[test]
fn each_source_must_be_in_the_backup() {
    for version in restics() {
        let hook = ", hooks: { before: [{ run: \"rm -f /srv/app/*\" }] }";
        let lab = applied(&version, hook);
        let said = "nothing of source /srv/app is in the backup";
        for (job, well) in [
            (hook, false),
            (", exclude: [\"/srv/app/*\", \"!/srv/www/x\"]", false),
            (", exclude: [\"/srv/app/*\", \"!/srv/www/x\"], may_be_empty: true", true),
            ("", true),
        ] {
            lab.file("/srv/app/data", "hello\n");
            state(&lab, job);
            let ran = lab.expect(if well { 0 } else { 8 }, &["run", "web"]);
            assert_eq!(ran.stderr.contains(said), !well, "{job} {ran:?}");
            let judged = judged(&line(&lab));
            assert_eq!(judged.contains(&format!("incomplete warning: {said}")), !well, "{job} {judged}");
        }
    }
}

#[test]
fn a_server_that_keeps_all_is_not_asked_for_minutes() {
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        // No file at all, so what was stored is to be removed again.
        lab.dir("/srv/www", 0, 0o755);
        lab.dir("/srv/www/empty", 0, 0o755);
        lab.file_of("/etc/rlvm/rest.user", &format!("{REST_USER}\n"), 0, 0o600);
        lab.file_of("/etc/rlvm/rest.login", &format!("{REST_PASSWORD}\n"), 0, 0o600);
        lab.state(
            "destinations:\n  far: { rest: { url: \"http://rest.lan:8000/r\", plain_http: true, \
             user_file: /etc/rlvm/rest.user, password_file: /etc/rlvm/rest.login }, \
             password_file: /etc/rlvm/far.pass, generate_password: true }\n\
             jobs:\n  web: { to: [far], sources: [{ path: /srv/www }] }\n",
        );
        let _rest = lab.rest(&["--append-only"]);
        lab.apply();
        let since = Instant::now();
        let ran = lab.expect(8, &["run", "web"]);
        let took = since.elapsed();
        assert!(took < Duration::from_secs(40), "{}: {took:?} {ran:?}", version.version);
        assert!(ran.stderr.contains("cannot be removed: "), "{}: {ran:?}", version.version);
    }
}
