//! `rlvm run` without volumes: files, real restics, local and remote destinations, what is kept and what is told. What
//! needs a kernel with volumes is in `vm::run`.

#![expect(clippy::unwrap_used, reason = "tests look at the machine")]

use std::{process::Stdio, time::Duration};

use serde_json::Value;

use crate::{
    lab::{Lab, restics},
    support::{BACKUP, Ran},
};

const NEAR: &str = "/srv/backup/near";
const FAR: &str = "/srv/backup/far";

/// Two destinations, and a job with these words.
fn state(lab: &Lab, job: &str) {
    lab.state(&format!(
        "destinations:\n  \
           near: {{ local: {{ path: {NEAR} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n  \
           far: {{ local: {{ path: {FAR} }}, password_file: /etc/rlvm/far.pass, generate_password: true }}\n\
         jobs:\n  \
           web: {{ sources: [{{ path: /srv/www }}], to: [near, far]{job} }}\n"
    ));
}

/// Puts both repositories on the machine.
fn repositories(lab: &Lab) {
    lab.repository(NEAR, "/etc/rlvm/near.pass");
    lab.repository(FAR, "/etc/rlvm/far.pass");
}

/// Replaces the keys of both repositories, which rlvm has made.
fn make_keys_cheap(lab: &Lab) {
    lab.make_key_cheap(NEAR, "/etc/rlvm/near.pass");
    lab.make_key_cheap(FAR, "/etc/rlvm/far.pass");
}

fn applied(job: &str) -> Lab {
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    repositories(&lab);
    state(&lab, job);
    lab.apply();
    lab
}

/// Lists the snapshots of a repository.
#[track_caller]
fn snapshots(lab: &Lab, repository: &str) -> Vec<Value> {
    let name = repository.rsplit('/').next().unwrap();
    let file = format!("/etc/rlvm/{name}.pass");
    let words = ["restic", "-q", "--no-cache", "--no-lock", "--repo", repository, "--password-file", &file];
    let listed = lab.ok(&[&words[..], &["snapshots", "--json"]].concat());
    serde_json::from_str(&listed).unwrap()
}

/// Returns the last record.
#[track_caller]
fn record(lab: &Lab) -> Value {
    let all = lab.ok(&["sh", "-c", "cat /var/lib/rlvm/records/*.jsonl"]);
    serde_json::from_str(all.lines().last().unwrap()).unwrap()
}

/// Counts the programs that a hook has started and left.
fn sleeping(lab: &Lab) -> u32 {
    let script = "for at in /proc/[0-9]*; do tr '\\0' ' ' <$at/cmdline 2>/dev/null; echo; done | grep -c '^sleep 4321'";
    lab.run(&["sh", "-c", script]).stdout.trim().parse().unwrap()
}

#[test]
fn stored_at_all_with_a_parent_a_record_and_a_log() {
    // R51, R60, R65, R79
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        lab.file("/srv/www/index.html", "hello\n");
        state(&lab, "");
        lab.apply();
        make_keys_cheap(&lab);
        let said = lab.expect(0, &["run", "web"]).stdout;
        assert!(said.contains("Backup complete: 1 job"), "{said}");
        let of = |repository| snapshots(&lab, repository);
        let (near, far) = (of(NEAR), of(FAR));
        assert_eq!((near.len(), far.len()), (1, 1));
        assert_eq!(near[0]["paths"], serde_json::json!(["/srv/www"]));
        assert_eq!(
            (&near[0]["hostname"], &near[0]["tags"]),
            (&"web01".into(), &serde_json::json!(["rlvm:job=web"]))
        );
        let kept = record(&lab);
        assert_eq!((&kept["format_version"], &kept["status"]), (&1.into(), &"success".into()));
        let stored = &kept["jobs"][0]["destinations"];
        for (index, snapshot) in [&near[0], &far[0]].into_iter().enumerate() {
            let id = stored[index]["summary"]["snapshot_id"].as_str().unwrap();
            assert!(snapshot["id"].as_str().unwrap().starts_with(id), "{kept}");
        }
        let log = lab.read("/var/log/rlvm/web.log");
        assert_eq!(
            log.matches("$ ").filter(|_| true).count(),
            log.lines().filter(|it| it.contains(": $ ")).count()
        );
        assert!(log.contains("near: $ ") && log.contains("restic backup"), "{log}");

        lab.expect(0, &["run", "web"]);
        assert_eq!(snapshots(&lab, NEAR)[1]["parent"], near[0]["id"], "{}", version.dir);
        assert_eq!(record(&lab)["jobs"][0]["destinations"][0]["summary"]["files_unmodified"], 1);
        // What it leaves for a sweep is nothing.
        assert_eq!(lab.ok(&["ls", "/var/lib/rlvm/journal"]), "");
    }
}

#[test]
fn a_missing_source_stores_nothing_whatever_restic_says() {
    // R59
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        lab.file("/srv/www/index.html", "hello\n");
        repositories(&lab);
        state(&lab, "");
        lab.apply();
        lab.ok(&["mv", "/srv/www", "/srv/gone"]);
        let ran = lab.expect(1, &["run", "web"]);
        assert!(
            ran.stderr.contains("/srv/www is not there") && ran.stderr.contains("BACKUP FAILED"),
            "{ran:?}"
        );
        assert!(snapshots(&lab, NEAR).is_empty());
        assert_eq!(record(&lab)["status"], "failed");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    // R59, R64: as a user who may not read it.
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        lab.file("/srv/www/-a 'b'", "x\n");
        lab.file_of("/srv/www/secret", "x\n", 0, 0o600);
        state(&lab, ", user: backup");
        lab.apply();
        make_keys_cheap(&lab);
        let ran = lab.expect(8, &["run", "web"]);
        assert!(
            ran.stderr.contains("/srv/www/secret") && ran.stderr.contains("1 file could not be read"),
            "{ran:?}"
        );
        let kept = record(&lab);
        assert_eq!(
            (&kept["status"], &kept["jobs"][0]["destinations"][0]["unreadable"]),
            (&"incomplete".into(), &1.into())
        );
        lab.own("/srv/www/secret", BACKUP, 0o600);
        lab.expect(0, &["run", "web"]);
    }
}

#[test]
fn one_bad_destination_and_the_other_has_its_backup() {
    // R54, R56: a wrong password, and one that somebody has made anew (R33).
    let lab = applied("");
    lab.expect(0, &["run", "web"]);
    lab.ok(&["cp", "/etc/rlvm/near.pass", "/root/near.pass"]);
    lab.file_of("/etc/rlvm/near.pass", "wrong\n", 0, 0o600);
    let ran = lab.expect(8, &["run", "web"]);
    assert!(ran.stderr.contains("not stored at near: wrong password"), "{ran:?}");
    assert_eq!(snapshots(&lab, FAR).len(), 2);
    lab.ok(&["cp", "/root/near.pass", "/etc/rlvm/near.pass"]);
    lab.expect(0, &["run", "web"]);
    assert_eq!((snapshots(&lab, NEAR).len(), snapshots(&lab, FAR).len()), (2, 3));

    lab.ok(&["mv", NEAR, "/srv/old"]);
    let words = ["restic", "-q", "init", "--repo", NEAR, "--password-file", "/etc/rlvm/near.pass"];
    lab.ok(&words);
    let ran = lab.expect(8, &["run", "web"]);
    assert!(ran.stderr.contains("not stored at near: this is another repository"), "{ran:?}");
    assert!(snapshots(&lab, NEAR).is_empty());
    lab.ok(&["rm", "-r", NEAR]);
    let ran = lab.expect(8, &["run", "web"]);
    assert!(ran.stderr.contains("not stored at near"), "{ran:?}");
}

#[test]
fn hooks_run_once_and_are_told() {
    // R57, R66
    let hooks = ", hooks: { before: [{ run: \"echo before $RLVM_JOB ${#RLVM_RUN} $(id -un) $HOME >> /srv/said\" }], \
                 after: [{ run: \"echo after $RLVM_STATUS >> /srv/said\" }], failed: [{ run: \"echo failed $RLVM_STATUS $RLVM_FAILED >> /srv/said\" }], \
                 finally: [{ run: \"echo finally $RLVM_STATUS >> /srv/said\" }] }";
    let lab = applied(hooks);
    lab.expect(0, &["run", "web"]);
    assert_eq!(lab.read("/srv/said"), "before web 12 root /root\nafter success\nfinally success\n");
    lab.ok(&["sh", "-c", "rm /srv/said; cp /etc/rlvm/far.pass /root"]);
    lab.file_of("/etc/rlvm/far.pass", "wrong\n", 0, 0o600);
    lab.expect(8, &["run", "web"]);
    let said = lab.read("/srv/said");
    assert_eq!(said, "before web 12 root /root\nfailed incomplete far\nfinally incomplete\n");

    // One that fails before ends the job, and what is for failures runs all the same.
    lab.ok(&["cp", "/root/far.pass", "/etc/rlvm/far.pass"]);
    let bad = hooks.replace("echo before", "false; exit 3; echo before");
    state(&lab, &bad);
    lab.apply();
    lab.ok(&["rm", "/srv/said"]);
    let before = snapshots(&lab, NEAR).len();
    let ran = lab.expect(1, &["run", "web"]);
    assert!(ran.stderr.contains("hook before 1: /bin/sh failed with exit code 3"), "{ran:?}");
    assert_eq!(lab.read("/srv/said"), "failed failed\nfinally failed\n");
    assert_eq!(snapshots(&lab, NEAR).len(), before);
}

#[test]
fn no_password_of_an_address_is_told_or_kept() {
    let said = "echo rest:https://a:hunter22@one.lan/ https://b:hunter22@two.lan; \
                echo s3:http://c:hunter22@three.lan and sftp://d:hunter22@four.lan >&2; exit 3";
    let lab = applied(&format!(", hooks: {{ before: [{{ run: \"{said}\" }}] }}"));
    let mut told = String::new();
    for args in [&["run", "web"][..], &["run", "--json", "web"], &["-vv", "run", "web"]] {
        let ran = lab.expect(1, args);
        told += &(ran.stdout + &ran.stderr);
    }
    told += &lab.rlvm(&["status", "--json"]).stdout;
    let log = lab.ok(&["cat", "/var/log/rlvm/web.log"]);
    for text in [&told, &log, &record(&lab).to_string()] {
        assert!(!text.contains("hunter22"), "{text}");
    }
    for masked in
        ["https://***@one.lan", "https://***@two.lan", "http://***@three.lan", "sftp://***@four.lan"]
    {
        assert!(log.contains(masked), "{masked}\n{log}");
    }
}

#[test]
fn a_hook_that_hangs_is_ended_with_all_that_it_started() {
    // R58
    let lab = applied(
        ", hooks: { before: [{ run: \"sleep 4321 & sleep 4321\", timeout: 1s, on_failure: continue }] }",
    );
    lab.expect(0, &["run", "web"]);
    let kept = record(&lab);
    let said = kept["jobs"][0]["warnings"][0].as_str().unwrap();
    assert!(said.contains("took longer than 1 s"), "{kept}");
    assert_eq!(sleeping(&lab), 0);
}

#[test]
fn a_second_start_says_who_runs_and_a_signal_ends_the_first() {
    // R56, R61
    let lab = applied(", hooks: { before: [{ run: \"touch /srv/began; sleep 60\" }] }");
    let mut first = lab.command(&["run", "web"]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !lab.at("/srv/began").exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let ran = lab.expect(4, &["run", "web"]);
    assert!(ran.stderr.contains("job web runs already") && ran.stderr.contains("process "), "{ran:?}");
    // The first backup is being made: that is no failure, and looking changes nothing.
    let before = lab.tree_hash();
    let status = lab.expect(0, &["status"]);
    assert!(status.stdout.contains("nothing is stored yet; the job runs since "), "{status:?}");
    assert_eq!(lab.tree_hash(), before);
    // A sweep leaves what goes on.
    lab.expect(0, &["sweep"]);
    lab.ok(&["sh", "-c", "kill -TERM $(grep -lx rlvm /proc/[0-9]*/comm | head -1 | cut -d/ -f3)"]);
    assert_eq!(first.wait().unwrap().code(), Some(143));
    assert!(snapshots(&lab, NEAR).is_empty());
    assert_eq!(record(&lab)["status"], "interrupted");
    assert_eq!(lab.ok(&["ls", "/var/lib/rlvm/journal"]), "");
}

#[test]
fn copies_follow_from_good_repositories_alone() {
    // R62
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    lab.state(&format!(
        "destinations:\n  \
           near: {{ local: {{ path: {NEAR} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n  \
           far: {{ local: {{ path: {FAR} }}, password_file: /etc/rlvm/far.pass, generate_password: true }}\n\
         jobs:\n  \
           web: {{ sources: [{{ path: /srv/www }}], to: [near], copy: {{ far: {{ from: near }} }} }}\n  \
           other: {{ sources: [{{ path: /etc }}], to: [near] }}\n"
    ));
    lab.apply();
    lab.expect(0, &["run", "other"]);
    lab.expect(0, &["run", "web"]);
    let far = snapshots(&lab, FAR);
    assert_eq!(far.len(), 1, "only this job's");
    assert_eq!(far[0]["tags"], serde_json::json!(["rlvm:job=web"]));
    lab.file_of("/etc/rlvm/near.pass", "wrong\n", 0, 0o600);
    let ran = lab.expect(8, &["run", "web"]);
    assert!(ran.stderr.contains("not copied: nothing was stored at near"), "{ran:?}");
    assert_eq!(snapshots(&lab, FAR).len(), 1);
}

#[test]
fn an_incomplete_backup_is_copied_and_the_copy_is_incomplete() {
    let lab = Lab::new();
    lab.file_of("/srv/www/index.html", "hello\n", BACKUP, 0o600);
    lab.file_of("/srv/www/secret", "x\n", 0, 0o600);
    lab.state(&format!(
            "destinations:\n  \
               near: {{ local: {{ path: {NEAR} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n  \
               far: {{ local: {{ path: {FAR} }}, password_file: /etc/rlvm/far.pass, generate_password: true }}\n\
             jobs:\n  \
               web: {{ user: backup, sources: [{{ path: /srv/www }}], to: [near], copy: {{ far: {{ from: near }} }} }}\n"
        ));
    lab.apply();
    make_keys_cheap(&lab);
    let is_told = |ran: &Ran| {
        let said = "the backup that was copied from near is incomplete: 1 file could not be read";
        assert!(ran.stderr.contains(said), "{ran:?}");
        let kept = record(&lab);
        let copy = &kept["jobs"][0]["copies"][0];
        assert_eq!((&copy["status"], &copy["unreadable"]), (&"incomplete".into(), &1.into()), "{kept}");
        let status: Value = serde_json::from_str(&lab.rlvm(&["status", "--json"]).stdout).unwrap();
        let lines = status["lines"].as_array().unwrap();
        let verdicts: Vec<&Value> = lines.iter().map(|line| &line["judged"][0]["verdict"]).collect();
        assert_eq!(verdicts, ["incomplete", "incomplete"], "{status}");
    };
    let first = lab.expect(8, &["run", "web", "--to", "far"]);
    assert!(first.stderr.contains("no run has stored this job at near yet"), "{first:?}");
    is_told(&lab.expect(8, &["run", "web"]));
    assert_eq!(snapshots(&lab, FAR).len(), 1);
    // The copy alone, of what is stored already: the source is not even looked at.
    lab.ok(&["sh", "-c", &format!("rm -r {FAR}/snapshots/*; mv /srv/www /srv/gone")]);
    is_told(&lab.expect(8, &["run", "web", "--to", "far"]));
    assert_eq!((snapshots(&lab, NEAR).len(), snapshots(&lab, FAR).len()), (1, 1));
    lab.ok(&["sh", "-c", "mv /srv/gone /srv/www; rm /srv/www/secret"]);
    lab.expect(0, &["run", "web", "--to", "near"]);
    lab.expect(0, &["run", "web", "--to", "far"]);
    assert_eq!((snapshots(&lab, NEAR).len(), snapshots(&lab, FAR).len()), (2, 2));
}

#[test]
fn json_is_one_event_a_line_and_the_record_last() {
    let lab = applied("");
    let Ran { stdout, stderr, .. } = lab.expect(0, &["run", "web", "--json"]);
    assert_eq!(stderr, "");
    let all: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&all[0]["type"], &all[all.len() - 1]["type"]), (&"version".into(), &"record".into()));
    let run = &all[0]["run"];
    assert!(all.iter().all(|it| it["run"] == *run));
    assert_eq!(all.iter().filter(|it| it["type"] == "stored").count(), 2);
}

#[test]
fn a_dry_run_changes_nothing_and_does_the_work_pasted() {
    let lab = applied("");
    let before = lab.tree_hash();
    let script = lab.expect(0, &["run", "web", "--dry-run"]).stdout;
    assert_eq!(lab.tree_hash(), before);
    lab.ok(&["sh", "-e", "-c", &script]);
    assert_eq!((snapshots(&lab, NEAR).len(), snapshots(&lab, FAR).len()), (1, 1));
}

#[test]
fn a_state_that_is_named_needs_no_apply() {
    // What apply has kept counts, whatever has become of the file.
    let lab = applied("");
    let by_cron = || lab.run(&["rlvm", "run", "web"]);
    assert_eq!(by_cron().code, Some(0));
    lab.ok(&["rm", "-r", "/var/lib/rlvm"]);
    let ran = by_cron();
    assert!(ran.code == Some(1) && ran.stderr.contains("nothing was applied here yet"), "{ran:?}");
    lab.expect(0, &["run", "web"]);
    assert_eq!(snapshots(&lab, NEAR).len(), 2);
    let ran = lab.expect(1, &["run", "wbe"]);
    assert!(ran.stderr.contains("there is no job wbe") && ran.stderr.contains("there are: web"), "{ran:?}");
    lab.expect(64, &["run"]);
}

#[test]
fn a_hook_that_is_killed_with_rlvm_is_swept_and_nobody_else() {
    // R56
    let lab = applied(", hooks: { before: [{ run: \"touch /srv/began; sleep 4321 & sleep 4321\" }] }");
    let mut run = lab.command(&["run", "web"]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !lab.at("/srv/began").exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    // Somebody else's, which looks alike.
    let mut other = lab.program(&["setsid", "sleep", "4321"]);
    let mut other = other.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    lab.ok(&["sh", "-c", "sleep 0.3; kill -9 $(grep -lx rlvm /proc/[0-9]*/comm | head -1 | cut -d/ -f3)"]);
    run.wait().unwrap();
    assert!(sleeping(&lab) >= 2, "what a hook has started lives on");
    let said = lab.expect(0, &["sweep"]);
    assert_eq!(sleeping(&lab), 1, "{said:?}");
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(lab.ok(&["ls", "/var/lib/rlvm/journal"]), "");
}

#[test]
fn a_symlink_as_a_source_is_refused_in_plan_run_and_why() {
    let lab = applied("");
    lab.ok(&["sh", "-c", "mv /srv/www /srv/big; ln -s /srv/big /srv/www"]);
    let said = "/srv/www is a symbolic link to /srv/big: restic would store the link alone";
    let plan = lab.expect(1, &["plan"]);
    assert!(plan.stdout.contains(said), "{plan:?}");
    let before = snapshots(&lab, NEAR).len();
    let run = lab.rlvm(&["run", "web"]);
    assert!(run.code != Some(0) && (run.stdout + &run.stderr).contains(said));
    assert_eq!(snapshots(&lab, NEAR).len(), before);
    let why = lab.rlvm(&["why", "web"]);
    assert!(why.stdout.contains(said), "{why:?}");
    // A link on the way is followed by restic.
    lab.ok(&[
        "sh",
        "-c",
        "rm /srv/www; mkdir /srv/real; mv /srv/big /srv/real/www; ln -s /srv/real /srv/link",
    ]);
    state(&lab, "");
    let text = lab.ok(&["cat", lab.inside("state/hosts/web01.yaml").to_str().unwrap()]);
    lab.state_text(&text.replace("path: /srv/www", "path: /srv/link/www"));
    lab.apply();
    lab.expect(0, &["run", "web"]);
}
