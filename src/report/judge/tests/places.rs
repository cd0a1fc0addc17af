//! Destinations that get copies, and such as may be away.

use super::*;

#[test]
fn a_copy_of_an_incomplete_backup_is_incomplete() {
    let copied = format!("{DAILY}, copy: {{ offsite: {{ from: vault }} }}");
    let time = "2026-11-21T01:30:05Z";
    let mut world = World::of(&[time]).runs(&["incomplete 2026-11-21T01:30:00Z"]);
    let copy = Listed { id: "ab".repeat(32), original: Some(id_of(time)), ..listed(time) };
    world.said.insert("offsite".parse().unwrap(), Ok(vec![copy]));
    let status = world.status(&copied, NOW);
    for line in &status.lines {
        let judged: Vec<Verdict> = line.judged.iter().map(|it| it.verdict).collect();
        assert_eq!((line.level, judged[0]), (Level::Warning, Verdict::Incomplete), "{}", line.destination);
    }
}

#[test]
fn a_destination_that_may_be_away_is_judged_by_its_own_age() {
    let away = || World {
        said: [("vault".parse().unwrap(), Err(Found::Unreachable("/mnt must be mounted and is not".into())))]
            .into(),
        ..World::default()
    };
    let stored = |time: &str| World::of(&[time]);
    for (world, level, words) in [
        (stored("2026-11-09T12:00:00Z"), Level::Ok, "stored 12d ago"),
        (stored("2026-11-06T12:00:00Z"), Level::Critical, "stored 15d ago, and `may_be_absent` is 2w"),
        (away().runs(&["success 2026-11-09T12:00:00Z"]), Level::Ok, "stored 12d ago"),
        (away().runs(&["success 2026-11-09T12:00:00Z", "skipped 2026-11-20T12:00:00Z"]), Level::Ok, "12d"),
        (
            away().runs(&["success 2026-11-06T12:00:00Z", "skipped 2026-11-20T12:00:00Z"]),
            Level::Critical,
            "15d",
        ),
        (away(), Level::Warning, "nothing was ever stored"),
        (away().runs(&["skipped 2026-11-20T12:00:00Z"]), Level::Warning, "nothing was ever stored"),
        (
            away().runs(&["skipped 2026-11-01T12:00:00Z", "skipped 2026-11-20T12:00:00Z"]),
            Level::Critical,
            "nothing was ever stored",
        ),
    ] {
        let mut state = state_of(DAILY);
        state.destinations.get_mut(&"vault".parse::<Name>().unwrap()).unwrap().may_be_absent =
            Some("14d".parse().unwrap());
        let zone = TimeZone::posix(ZONE).unwrap();
        let World { said, runs, checks, made, running } = &world;
        let now = NOW.parse().unwrap();
        let asked = Asked { state: &state, now, zone: &zone, said, made, runs, checks, running };
        let status = judge(&asked, Vec::new());
        let judged = &status.lines[0].judged;
        assert_eq!(status.level, level, "{words}: {judged:?}");
        assert!(judged.iter().any(|it| it.message.contains(words)), "{words}: {judged:?}");
    }
}

#[test]
fn a_run_that_failed_after_it_stored_is_seen() {
    let time = "2026-11-21T01:30:05Z";
    let mut world = World::of(&[time]).runs(&["success 2026-11-21T01:30:00Z"]);
    assert_eq!(world.status(DAILY, NOW).level, Level::Ok);
    let job = &mut world.runs[0].jobs[0];
    (job.status, job.errors) = (job::Status::Failed, vec!["hook after: it failed with exit code 1".into()]);
    let judged = world.judged(DAILY, NOW);
    assert!(judged.starts_with("Warning failing: ") && judged.contains("hook after"), "{judged}");
    // A newer backup tells that it passed.
    let newer = World { runs: world.runs, ..World::of(&[time, "2026-11-21T09:00:00Z"]) };
    assert!(!newer.judged(DAILY, NOW).contains("hook after"));
}

#[test]
fn what_a_failed_run_left_is_no_backup() {
    let (old, new) = ("2026-11-20T01:30:05Z", "2026-11-21T01:30:05Z");
    let mut world = World::of(&[old, new]).runs(&["success 2026-11-21T01:30:00Z"]);
    let stored = &mut world.runs[0].jobs[0].destinations[0];
    assert!(stored.summary.as_ref().is_some_and(|summary| id_of(new).starts_with(&summary.snapshot_id)));
    stored.status = job::Status::Failed;
    stored.error = Some("stored from a snapshot that was full".into());
    let status = world.status(DAILY, NOW);
    let line = &status.lines[0];
    assert_eq!((line.level, line.snapshots), (Level::Critical, Some(1)));
    assert_eq!(line.newest_id.as_deref(), Some(id_of(old).as_str()));
}

#[test]
fn a_first_backup_that_still_runs_is_no_failure() {
    let mut world = World::of(&[]);
    world.running.insert("web".parse().unwrap(), "2026-11-20T01:30:00Z".parse().unwrap());
    let running = "Ok running: nothing is stored yet; the job runs since Fri 2026-11-20 02:30";
    assert_eq!(world.judged(DAILY, NOW), running);
    assert_eq!(world.judged("", NOW), running);
    // One that failed before is failing all the same; one that has stored is judged by that.
    let failed = world.runs(&["failed 2026-11-19T01:30:00Z"]).judged(DAILY, NOW);
    assert!(failed.starts_with("Critical failing: ") && failed.contains("; Ok running: "), "{failed}");
    let mut world = World::of(&["2026-11-18T01:30:05Z"]);
    world.running.insert("web".parse().unwrap(), "2026-11-20T01:30:00Z".parse().unwrap());
    assert!(world.judged(DAILY, NOW).starts_with("Critical overdue: "));
}
