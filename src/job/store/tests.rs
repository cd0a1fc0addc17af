//! Stores by a stand-in for restic: a shell script. What each prints is restic's own, of 0.18 and 0.19.

use std::{
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::super::{JobRecord, JobRun, Night, Run, Status, Store, Waits, run};
use crate::{
    effect::{Cmd, Step},
    host::Real,
    model::{HostPath, Name, Span},
    source::{Frozen, Instead},
};

const SUMMARY: &str =
    r#"echo '{"message_type":"summary","total_files_processed":1,"snapshot_id":"0123456789"}'"#;

/// What the repository says of that snapshot.
const TOPS: &str =
    r#"echo '{"struct_type":"snapshot","id":"0123456789"}'; echo '{"path":"/srv/www/a","type":"file"}'"#;

/// Waits that a test can afford.
const QUICK: Waits = Waits {
    first: Duration::from_millis(20),
    longest: Duration::from_millis(40),
    locked: Duration::from_millis(20),
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn path(text: &str) -> HostPath {
    text.parse().unwrap()
}

fn store(script: &str) -> Store {
    let cmd = Cmd::new("sh").args(["-c", script]).ok(&[0, 3]).timeout(60).stoppable();
    let retry_for: Span = "1s".parse().unwrap();
    let forget = Cmd::new("true");
    let list = Cmd::new("sh").args(["-c", TOPS]).stoppable();
    Store {
        destination: name("far"),
        cmd,
        forget,
        list,
        may_be_absent: false,
        retry_for,
        paths: vec![path("/srv/www")],
    }
}

pub(super) fn job(called: &str, script: &str) -> JobRun {
    JobRun {
        name: name(called),
        unfit: Vec::new(),
        gaps: Vec::new(),
        uncovered: Vec::new(),
        may_be_empty: false,
        needs: Vec::new(),
        is_frozen: false,
        before: Vec::new(),
        stop: Vec::new(),
        stores: vec![store(script)],
        copies: Vec::new(),
        parallel: 1,
        timeout: None,
        snapshot_max_age: None,
        after: Vec::new(),
        failed: Vec::new(),
        finally: Vec::new(),
    }
}

/// Runs jobs without anything around them.
fn ran(jobs: Vec<JobRun>) -> Vec<JobRecord> {
    ran_with(Vec::new(), jobs)
}

fn ran_with(frozen: Vec<Frozen>, jobs: Vec<JobRun>) -> Vec<JobRecord> {
    let host = Real::open(Path::new("/"), "/usr/local/bin:/usr/bin:/bin").unwrap();
    let id = "0123456789ab".parse().unwrap();
    let run_of = Run { id, prepare: Vec::new(), frozen, held: Vec::new(), view: None, jobs };
    let since = Instant::now();
    let said = Mutex::new(Vec::new());
    let night = Night {
        host: &host,
        run: &run_of.id,
        journal: None,
        signal: &|| false,
        elapsed: &|| since.elapsed(),
        refuses: &|_| None,
        away: &|_, _| None,
        unlocks: &|_| false,
        stored_last: &|_, _| None,
        patience: Duration::ZERO,
        waits: QUICK,
        tell: &|event| said.lock().unwrap().push(format!("{event:?}")),
        log: &|_, _, _| {},
    };
    run(&run_of, &night).jobs
}

#[test]
fn a_restic_that_tries_again_for_ever_is_ended_with_the_patience() {
    let script = "while :; do echo 'Stat(<config/>) returned error, retrying after 1.5s: dial tcp: connect: \
                  connection refused' >&2; sleep 0.1; done";
    let since = Instant::now();
    let records = ran(vec![job("web", script)]);
    let record = &records[0].destinations[0];
    let why = record.error.as_deref().unwrap_or_default();
    assert_eq!(why, "nothing was transferred for 1s: dial tcp: connect: connection refused");
    assert_eq!((record.status, record.attempts), (Status::Failed, 1));
    let took = since.elapsed();
    assert!(Duration::from_secs(1) < took && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_network_that_comes_back_in_time_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let tries = dir.path().join("tries");
    // 0.14 gives up at once.
    let script = format!(
        "echo try >>{0}; [ \"$(wc -l <{0})\" -ge 4 ] && {SUMMARY} && exit 0; \
         echo 'Fatal: unable to open config file: client.Head: connect: connection refused' >&2; exit 1",
        tries.display()
    );
    let records = ran(vec![job("web", &script)]);
    let record = &records[0].destinations[0];
    assert_eq!((record.status, record.attempts), (Status::Success, 4), "{record:?}");
}

#[test]
fn a_jobs_timeout_counts_its_own_time_alone() {
    let quick = format!("sleep 0.1; {SUMMARY}");
    let with = |job: JobRun, timeout: &str| JobRun { timeout: Some(timeout.parse().unwrap()), ..job };
    let jobs = vec![
        job("first", &format!("sleep 1.5; {SUMMARY}")),
        with(job("second", &quick), "1s"),
        with(job("third", "sleep 10"), "1s"),
    ];
    let records = ran(jobs);
    let said: Vec<_> = records.iter().map(|it| (it.status, it.destinations[0].error.as_deref())).collect();
    let late = Some("took longer than its `timeout` of 1s and was ended");
    assert_eq!(said, [(Status::Success, None), (Status::Success, None), (Status::Failed, late)]);
}

#[test]
fn a_snapshot_that_is_too_old_is_removed_before_other_jobs_are_stored() {
    let dir = tempfile::tempdir().unwrap();
    let removed = dir.path().join("removed");
    let touch = Cmd::new("touch").arg(removed.to_str().unwrap());
    let at: HostPath = "/srv".parse().unwrap();
    let step = Step::undone(Cmd::new("true"), touch);
    let frozen = Frozen { at: at.clone(), from: Instead::Directory(at), step, fills: None, holds: false };
    let live = job("live", &format!("[ -e {} ] && {SUMMARY}", removed.display()));
    let slow =
        JobRun { needs: vec![0], snapshot_max_age: Some("1s".parse().unwrap()), ..job("slow", "sleep 10") };
    let records = ran_with(vec![frozen], vec![live, slow]);
    assert_eq!(records[0].destinations[0].status, Status::Success, "{records:?}");
    let slow = &records[1].destinations[0];
    let why = "stopped: its snapshots reached `snapshot_max_age` (1s), and are removed";
    assert_eq!((slow.status, slow.error.as_deref()), (Status::Failed, Some(why)));
}

#[test]
fn a_backup_without_a_source_or_without_a_file_is_none() {
    let error =
        r#"echo '{"message_type":"error","error":{"message":"open: permission denied"},"item":"/srv/ITEM"}'"#;
    let empty = SUMMARY.replace(":1,", ":0,");
    let gap = || vec!["source /srv/b is an empty directory".to_owned()];
    let missing = "source /srv/www is missing from the backup: ";
    let no_file = "the backup has no file: mount the sources";
    let (failed, incomplete) = (Status::Failed, Status::Incomplete);
    for (script, change, expected, said) in [
        (
            format!("{}; {SUMMARY}; exit 3", error.replace("ITEM", "www/a")),
            None,
            incomplete,
            "1 file could not be read",
        ),
        (format!("{}; {SUMMARY}; exit 3", error.replace("ITEM", "www")), None, failed, missing),
        // 0.14 ends well, later ones with 3.
        (format!("echo /srv/www does not exist, skipping >&2; {SUMMARY}"), None, failed, missing),
        (format!("echo /srv/www cannot be accessed, skipping >&2; {SUMMARY}; exit 3"), None, failed, missing),
        (empty.clone(), None, failed, no_file),
        (empty.clone(), Some(JobRun { may_be_empty: true, ..job("web", &empty) }), Status::Success, ""),
        (
            SUMMARY.into(),
            Some(JobRun { gaps: gap(), ..job("web", SUMMARY) }),
            incomplete,
            "source /srv/b is an empty",
        ),
    ] {
        let mut job = change.unwrap_or_else(|| job("web", &script));
        if said == no_file {
            // It is gone once it is removed.
            job.stores[0].list = Cmd::new("true");
        }
        let records = ran(vec![job]);
        let record = &records[0].destinations[0];
        let why = record.error.clone().unwrap_or_default();
        assert_eq!(record.status, expected, "{script}: {why}");
        assert!(why.starts_with(said) && why.is_empty() == said.is_empty(), "{script}: {why}");
        assert_eq!(why.contains("restic's snapshot 0123456789 is removed"), said == no_file, "{why}");
    }
}

#[test]
fn a_backup_is_looked_at_before_it_counts() {
    let dir = tempfile::tempdir().unwrap();
    let first = r#"echo '{"struct_type":"snapshot","id":"0123456789"}'"#;
    let refused = "Fatal: unable to open config file: connect: connection refused";
    let second = format!(
        "echo try >>{0}; [ \"$(wc -l <{0})\" -ge 3 ] || {{ echo '{refused}' >&2; exit 1; }}; {TOPS}",
        dir.path().join("tries").display()
    );
    let with = |list: &str, change: &dyn Fn(&mut JobRun)| {
        let mut job = job("web", SUMMARY);
        job.stores[0].list = Cmd::new("sh").args(["-c", list]).stoppable();
        change(&mut job);
        job
    };
    let same = |_: &mut JobRun| {};
    let (missing, nothing) =
        ("but it is not in the repository", "nothing of source /srv/www is in the backup");
    for (job, expected, said) in [
        // 0.14 ends well, later ones do not.
        (with("echo 'Ignoring \"0\": no matching ID found' >&2", &same), Status::Failed, missing),
        (with("echo 'no matching ID found for prefix \"0\"' >&2; exit 1", &same), Status::Failed, missing),
        (
            with("echo 'Fatal: wrong password' >&2; exit 12", &same),
            Status::Incomplete,
            "it could not be checked: Fatal: wrong password",
        ),
        (with(first, &same), Status::Incomplete, nothing),
        (with(first, &|job| job.may_be_empty = true), Status::Success, ""),
        (
            with(first, &|job| job.gaps = vec!["source /srv/www is empty".into()]),
            Status::Incomplete,
            "is empty",
        ),
        (with(&second, &same), Status::Success, ""),
    ] {
        let shown = job.stores[0].list.to_string();
        let record = ran(vec![job]).remove(0).destinations.remove(0);
        let why = record.error.clone().unwrap_or_default();
        assert_eq!((record.status, record.attempts), (expected, 1), "{shown}: {why}");
        assert!(why.contains(said) && why.is_empty() == said.is_empty(), "{shown}: {why}");
        assert!(said != "is empty" || !why.contains(nothing), "{why}");
    }
}
