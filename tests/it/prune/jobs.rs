//! Old backups of this host's own jobs, removed where they are stored, with each real restic.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    process::Stdio,
    time::Duration,
};

use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use crate::{
    lab::{Lab, REST_PASSWORD, REST_USER, restics},
    support::BACKUP,
};

pub(super) const VAULT: &str = "/srv/backup/vault";
pub(super) const OFFSITE: &str = "/srv/backup/offsite";
pub(super) const PASSWORD: &str = "hunter22";

/// Two destinations, the second for copies, and a job as `backup`, which was called `sys`, with another one beside it.
pub(super) fn state(lab: &Lab, job: &str) {
    limited(lab, job, "");
}

/// The same, with limits for the data that a prune at `vault` leaves.
pub(super) fn limited(lab: &Lab, job: &str, limits: &str) {
    lab.state(&format!(
        "was: [old01]\n\
         destinations:\n  \
           vault: {{ local: {{ path: {VAULT} }}, password_file: /etc/rlvm/vault.pass{limits} }}\n  \
           offsite: {{ local: {{ path: {OFFSITE} }}, password_file: /etc/rlvm/offsite.pass }}\n\
         defaults: {{ user: backup }}\n\
         jobs:\n  \
           system: {{ was: [sys], sources: [{{ path: /etc }}], to: [vault], copy: {{ offsite: {{ from: vault }} }}{job} }}\n  \
           db: {{ sources: [{{ path: /etc }}], to: [vault], retention: {{ daily: 1 }}, enabled: false }}\n  \
           all: {{ sources: [{{ path: /etc }}], to: [vault] }}\n"
    ));
}

pub(super) fn prepared() -> Lab {
    let lab = Lab::new();
    for name in ["vault", "offsite"] {
        lab.file_of(&format!("/etc/rlvm/{name}.pass"), &format!("{PASSWORD}\n"), BACKUP, 0o600);
    }
    lab.repository(VAULT, "/etc/rlvm/vault.pass");
    lab.repository(OFFSITE, "/etc/rlvm/offsite.pass");
    lab
}

/// Runs a program as `backup`, with the repository's password.
fn as_backup<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let start =
        ["setpriv", "--reuid=4000", "--regid=4000", "--clear-groups", "env", "RESTIC_PASSWORD=hunter22"];
    [&start[..], words].concat()
}

#[track_caller]
pub(super) fn restic(lab: &Lab, repository: &str, words: &[&str]) -> String {
    lab.ok(&as_backup(&[&["restic", "-q", "--no-cache", "--repo", repository], words].concat()))
}

/// Makes a backup of so many days ago.
#[track_caller]
fn backup(lab: &Lab, repository: &str, days: i64, host: &str, tags: &str, path: &str) {
    lab.file(path, &format!("{days} {host} {tags}"));
    let time = (Timestamp::now() - (24 * days).hours()).strftime("%F %T").to_string();
    let words = ["backup", "--time", &time, "--host", host];
    restic(lab, repository, &[&words[..], &["--tag", tags, path]].concat());
}

/// Lists the backups: how many days ago, host, tags.
pub(super) fn there(lab: &Lab, repository: &str) -> Vec<String> {
    let listed = restic(lab, repository, &["snapshots", "--no-lock", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let shown = |it: &Value| {
        let time: Timestamp = it["time"].as_str().unwrap().parse().unwrap();
        let hours = Timestamp::now().duration_since(time).as_hours();
        let tags = it["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let tags: Vec<&str> = tags.collect();
        format!("{:02} {} {}", (hours + 12) / 24, it["hostname"].as_str().unwrap(), tags.join(","))
    };
    let mut all: Vec<String> = listed.as_array().unwrap().iter().map(shown).collect();
    all.sort();
    all
}

/// Makes three backups of the job, of ten, two and one days ago.
pub(super) fn three(lab: &Lab, repository: &str) {
    for days in [10, 2, 1] {
        backup(lab, repository, days, "web01", "rlvm:job=system", "/srv/what");
    }
}

pub(super) const KEEP_ONE: &str = ", retention: { last: 1 }";

#[test]
fn its_own_and_nobody_elses() {
    // R63
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        state(&lab, ", retention: { last: 1, keep_within: 36h }");
        lab.apply();
        for (days, host, tags, path) in [
            (40, "web01", "rlvm:job=system,protected", "/srv/what"),
            (9, "web01", "rlvm:job=sys", "/srv/what"),
            (5, "web01", "rlvm:job=system", "/srv/other"),
            (4, "web01", "rlvm:job=system", "/srv/what"),
            (2, "web01", "rlvm:job=system", "/srv/what"),
            (1, "web01", "rlvm:job=system", "/srv/what"),
            (10, "old01", "rlvm:job=system", "/srv/what"),
            (7, "old01", "rlvm:job=system", "/srv/what"),
            // Of others.
            (9, "web02", "rlvm:job=system", "/srv/what"),
            (8, "web02", "rlvm:job=system", "/srv/what"),
            (6, "web01", "rlvm:job=db", "/srv/what"),
            (6, "web01", "rlvm:job=all", "/srv/what"),
            (6, "web01", "rlvm:job=system2", "/srv/what"),
            (6, "web01", "mine", "/srv/what"),
        ] {
            backup(&lab, VAULT, days, host, tags, path);
        }
        three(&lab, OFFSITE);
        let said = lab.expect(0, &["prune"]).stdout;
        assert!(said.contains("system at vault: 4 removed, 4 kept\n"), "{said}");
        assert!(said.contains("system at offsite: 1 removed, 2 kept\n"), "{said}");
        let kept = [
            "01 web01 rlvm:job=system",
            "02 web01 rlvm:job=system",
            "06 web01 mine",
            "06 web01 rlvm:job=all",
            "06 web01 rlvm:job=db",
            "06 web01 rlvm:job=system2",
            "07 old01 rlvm:job=system",
            "08 web02 rlvm:job=system",
            "09 web02 rlvm:job=system",
            "40 web01 protected,rlvm:job=system",
        ];
        let there = there(&lab, VAULT);
        assert_eq!(there.iter().map(|it| sorted_tags(it)).collect::<Vec<_>>(), kept, "{}", version.version);
        for repository in [VAULT, OFFSITE] {
            restic(&lab, repository, &["check", "--read-data"]);
        }
        for (path, _) in lab.tree().iter().filter(|(path, _)| path.starts_with("/srv/backup/")) {
            let meta = std::fs::symlink_metadata(lab.at(path)).unwrap();
            assert_eq!(meta.uid(), BACKUP, "{path}: the job could not read it any more");
        }
        let again: Value = serde_json::from_str(&lab.expect(0, &["prune", "--json"]).stdout).unwrap();
        assert_eq!(again["destinations"][1]["jobs"][0]["removed"], 0, "{again}");
        assert_eq!(again["destinations"][1]["jobs"][0]["kept"], 4, "{again}");
    }
}

fn sorted_tags(shown: &str) -> String {
    let (start, tags) = shown.rsplit_once(' ').unwrap();
    let mut tags: Vec<&str> = tags.split(',').collect();
    tags.sort_unstable();
    format!("{start} {}", tags.join(","))
}

#[test]
fn what_a_dry_run_prints_can_be_pasted() {
    let lab = prepared();
    state(&lab, KEEP_ONE);
    lab.apply();
    three(&lab, VAULT);
    three(&lab, OFFSITE);
    let before = lab.tree();
    let printed = lab.expect(0, &["prune", "--dry-run", "system"]).stdout;
    assert!(!printed.contains(PASSWORD) && printed.contains("runuser -u backup"), "{printed}");
    assert_eq!(printed.lines().filter(|line| !line.starts_with('#')).count(), 4, "{printed}");
    assert_eq!(lab.tree(), before);
    lab.ok(&["sh", "-ec", &printed]);
    assert_eq!((there(&lab, VAULT).len(), there(&lab, OFFSITE).len()), (1, 1));
}

#[test]
fn a_destination_that_fails_leaves_the_other() {
    // R63
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        state(&lab, KEEP_ONE);
        lab.apply();
        three(&lab, VAULT);
        three(&lab, OFFSITE);
        lab.file_of("/etc/rlvm/vault.pass", "another\n", BACKUP, 0o600);
        let failed = lab.expect(1, &["prune"]);
        let words = format!("error: system at vault: {VAULT}: wrong password\n");
        assert!(failed.stderr.contains(&words), "{}", failed.stderr);
        assert!(failed.stderr.contains("error: 1 of 2: not pruned"), "{}", failed.stderr);
        assert!(failed.stdout.contains("system at offsite: 2 removed, 1 kept"), "{}", failed.stdout);
        assert_eq!((there(&lab, VAULT).len(), there(&lab, OFFSITE).len()), (3, 1));
    }
    let lab = prepared();
    state(&lab, KEEP_ONE);
    let unknown = lab.expect(1, &["prune", "all"]);
    assert!(unknown.stderr.contains("no job all is pruned here\nhelp: there are: db, system"), "{unknown:?}");
}

#[test]
fn nothing_goes_by_a_clock_that_jumped() {
    // R63
    const DAILY: &str = ", retention: { keep_within: 3d }, schedule: \"30 2 * * *\"";
    for (days, words) in [
        (&[10, 9, 1, -400][..], "the newest backup is of "),
        (&[400, 399, 1], "there is no backup between "),
        (&[400, 399, 390], "there is no backup between "),
    ] {
        let lab = prepared();
        state(&lab, DAILY);
        lab.apply();
        for days in days {
            backup(&lab, VAULT, *days, "web01", "rlvm:job=system", "/srv/what");
        }
        three(&lab, OFFSITE);
        let refused = lab.expect(6, &["prune"]);
        let said = &refused.stderr;
        assert!(said.contains("error: system at vault: the clock may have jumped: "), "{said}");
        assert!(said.contains(words) && said.contains("--clock-is-right"), "{said}");
        assert_eq!((there(&lab, VAULT).len(), there(&lab, OFFSITE).len()), (days.len(), 2));
        lab.expect(0, &["prune", "--clock-is-right"]);
        assert!(there(&lab, VAULT).len() < days.len());
    }
}

#[test]
fn a_place_that_only_adds_is_no_success() {
    // R63: restic 0.18 ends well there.
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        lab.file_of("/etc/rlvm/rest.user", &format!("{REST_USER}\n"), 0, 0o600);
        lab.file_of("/etc/rlvm/rest.login", &format!("{REST_PASSWORD}\n"), 0, 0o600);
        lab.file_of("/etc/rlvm/rest.pass", &format!("{PASSWORD}\n"), 0, 0o600);
        lab.repository_of("/srv/rest/r", PASSWORD, 0);
        let rest = lab.rest(&["--append-only"]);
        lab.state(
            "destinations:\n  worm:\n    rest: { url: \"http://rest.lan:8000/r\", plain_http: true, user_file: /etc/rlvm/rest.user, password_file: /etc/rlvm/rest.login }\n    password_file: /etc/rlvm/rest.pass\njobs:\n  system: { sources: [{ path: /etc }], to: [worm], retention: { last: 1 } }\n",
        );
        lab.apply();
        for days in [3, 2, 1] {
            backup(&lab, &rest.url("r"), days, "web01", "rlvm:job=system", "/srv/what");
        }
        let failed = lab.expect(1, &["prune"]);
        let said = &failed.stderr;
        assert!(said.contains("2 of 2 backups that were to go are still there ("), "{said}");
        assert!(said.contains("its server prunes it: `ssh: users: CLIENT: prune: { keep_within"), "{said}");
        assert_eq!(there(&lab, &rest.url("r")).len(), 3, "{}", version.version);
    }
}

/// Leaves a lock behind: restic reads from a pipe, and is killed meanwhile. Its host is what the machine is called then.
fn leave_a_lock(lab: &Lab, host: &str) {
    let script = format!(
        "hostname {host}; mkfifo -m 666 /srv/pipe-{host}; exec 8<>/srv/pipe-{host}
         restic -q --no-cache --repo {VAULT} backup --stdin <&8 & pid=$!
         until [ -n \"$(ls {VAULT}/locks | grep -v tmp)\" ]; do sleep 0.1; done
         kill -9 $pid; wait $pid || true"
    );
    lab.ok(&["unshare", "--uts", "env", "RESTIC_PASSWORD=hunter22", "sh", "-euc", &script]);
    lab.ok(&["chown", "-R", "4000:4000", VAULT]);
}

fn locks(lab: &Lab) -> usize {
    std::fs::read_dir(lab.at(VAULT).join("locks")).unwrap().count()
}

#[test]
fn locks_that_no_run_of_rlvm_took_stay() {
    // R69
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        state(&lab, KEEP_ONE);
        lab.apply();
        three(&lab, VAULT);
        // This host's name and a number that no process has prove nothing: a container may have both.
        leave_a_lock(&lab, "web01");
        let locked = lab.expect(1, &["-vv", "prune", "--wait", "1s"]);
        assert!(locked.stderr.contains(" on web01 by root"), "{}", locked.stderr);
        assert_eq!((there(&lab, VAULT).len(), locks(&lab)), (3, 1), "{}", version.version);
        restic(&lab, VAULT, &["unlock", "--remove-all"]);
        leave_a_lock(&lab, "web02");
        let locked = lab.expect(1, &["-vv", "prune", "--wait", "1s"]);
        // It would leave this one, and not one that is half an hour old.
        assert!(!locked.stderr.contains("restic unlock --no-cache"), "{}", locked.stderr);
        assert!(locked.stderr.contains("error: system at vault: "), "{}", locked.stderr);
        assert!(locked.stderr.contains("the repository is locked by PID "), "{}", locked.stderr);
        assert!(locked.stderr.contains(" on web02 by root"), "{}", locked.stderr);
        assert_eq!((there(&lab, VAULT).len(), locks(&lab)), (3, 1));
    }
}

#[test]
fn who_works_is_waited_for() {
    // R69
    let lab = prepared();
    state(&lab, KEEP_ONE);
    lab.apply();
    three(&lab, VAULT);
    lab.dir("/srv/works", BACKUP, 0o700);
    let script = format!(
        "mkfifo /srv/works/pipe; exec 8<>/srv/works/pipe
         restic -q --no-cache --repo {VAULT} backup --stdin <&8 & echo $! > /srv/works/pid; wait"
    );
    let mut works = lab.program(&as_backup(&["sh", "-c", &script])).spawn().unwrap();
    while locks(&lab) == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut prune = lab.command(&["-vv", "prune"]);
    let mut prune = prune.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(prune.stderr.take().unwrap()).lines().map(Result::unwrap);
    // It has been refused, and asks whose the lock is.
    said.find(|line| line.contains("restic cat lock")).unwrap();
    assert_eq!((prune.try_wait().unwrap(), there(&lab, VAULT).len(), locks(&lab)), (None, 3, 1));
    lab.ok(&["kill", "-INT", lab.read("/srv/works/pid").trim()]);
    works.wait().unwrap();
    // restic leaves it if it is ended within 200 ms after taking it.
    lab.ok(&["sh", "-c", &format!("rm -f {VAULT}/locks/*")]);
    let rest: Vec<String> = said.collect();
    assert!(prune.wait().unwrap().success(), "{rest:?}");
    assert_eq!(there(&lab, VAULT).len(), 1);
}

#[test]
fn who_waits_can_be_ended() {
    let lab = prepared();
    state(&lab, KEEP_ONE);
    lab.apply();
    three(&lab, VAULT);
    leave_a_lock(&lab, "web02");
    let script = format!(
        "rlvm -vv --state {} prune --wait 1h 2>/srv/said & pid=$!
         until grep -q 'restic cat lock' /srv/said; do sleep 0.1; done
         kill -TERM $pid; wait $pid",
        lab.inside("state").display()
    );
    assert_eq!(lab.run(&["sh", "-c", &script]).code, Some(143), "{}", lab.read("/srv/said"));
    assert_eq!((there(&lab, VAULT).len(), locks(&lab)), (3, 1));
}

#[test]
fn the_newest_complete_backup_stays() {
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        state(&lab, KEEP_ONE);
        lab.apply();
        three(&lab, VAULT);
        let listed = restic(&lab, VAULT, &["snapshots", "--no-lock", "--json"]);
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let stored = |it: &Value| {
            format!(
                r#"{{"destination":"vault","status":"incomplete","attempts":1,"seconds":1,"summary":{{"snapshot_id":{}}}}}"#,
                it["id"]
            )
        };
        let stored: Vec<String> = listed[1..].iter().map(stored).collect();
        let record = format!(
            r#"{{"format_version":1,"rlvm_version":"0","run":"0123456789ab","host":"web01","started":"2026-11-01T00:00:00Z","ended":"2026-11-01T00:00:01Z","seconds":1,"status":"incomplete","jobs":[{{"job":"system","status":"incomplete","destinations":[{}]}}]}}"#,
            stored.join(",")
        );
        lab.dir("/var/lib/rlvm/records", 0, 0o700);
        lab.file_of("/var/lib/rlvm/records/2026-11.jsonl", &format!("{record}\n"), 0, 0o600);
        let pruned = lab.expect(0, &["prune", "system"]);
        let said = format!("system at vault: snapshot {} of ", &listed[0]["id"].as_str().unwrap()[..8]);
        assert!(pruned.stderr.contains(&said) && pruned.stderr.contains(" stays: "), "{pruned:?}");
        let days: Vec<String> = there(&lab, VAULT).iter().map(|it| it[..2].to_owned()).collect();
        assert_eq!(days, ["01", "10"], "{}", version.version);
        lab.expect(0, &["prune", "system"]);
        assert_eq!(there(&lab, VAULT).len(), 2);
        // A complete one replaces it.
        backup(&lab, VAULT, 0, "web01", "rlvm:job=system", "/srv/what");
        lab.expect(0, &["prune", "system"]);
        assert_eq!(there(&lab, VAULT).len(), 1);
    }
}
