//! Tables of what is judged of what.

mod places;

use super::*;
use crate::state;

/// Put forward at 2:00 on 29 March 2026, back at 3:00 on 25 October: POSIX's words, no file needed.
const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
const NOW: &str = "2026-11-21T12:00:00Z";

/// A job `web` at `vault`, with more of it, and a destination for copies.
fn state_of(job: &str) -> State {
    let yaml = format!(
        "version: 1\nhost: web01\nwas: [old01]\ndestinations:\n  \
         vault: {{ local: {{ path: /a }}, password_file: /p, was: [safe] }}\n  \
         offsite: {{ local: {{ path: /b }}, password_file: /p }}\njobs:\n  \
         web: {{ was: [www], to: [vault], sources: [{{ path: /etc }}]{job} }}\n"
    );
    state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state
}

/// A snapshot: `TIME [HOST [JOB [MIB]]]`.
fn listed(words: &str) -> Listed {
    let mut words = words.split(' ');
    let time = words.next().unwrap();
    let (host, job) = (words.next().unwrap_or("web01"), words.next().unwrap_or("web"));
    let summary = words.next().map(|mib| crate::restic::Counts {
        total_bytes_processed: mib.parse::<u64>().unwrap() << 20,
        ..crate::restic::Counts::default()
    });
    let id = id_of(time);
    let (time, hostname, tags) = (time.to_owned(), host.to_owned(), vec![format!("rlvm:job={job}")]);
    Listed { id, time, hostname, tags, summary, ..Listed::default() }
}

/// The id of a snapshot of a time.
fn id_of(time: &str) -> String {
    time.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// A run that began then and took 10 minutes: `STATUS TIME`, of a destination that failed or not. Its snapshot is of five
/// seconds later.
fn run(words: &str) -> Record {
    let (status, started) = words.split_once(' ').unwrap();
    let began: Timestamp = started.parse().unwrap();
    let ended = Timestamp::from_second(began.as_second() + 600).unwrap();
    let id = id_of(&Timestamp::from_second(began.as_second() + 5).unwrap().to_string());
    let error = if status == "success" { "null" } else { "\"no such host\"" };
    let json = format!(
        r#"{{"format_version":1,"rlvm_version":"x","run":"0123456789ab","host":"web01","started":"{started}","ended":"{ended}",
        "seconds":600,"status":"{status}","jobs":[{{"job":"web","status":"{status}","destinations":[{{"destination":"vault",
        "status":"{status}","attempts":1,"seconds":60,"error":{error},"unreadable":2,
        "summary":{{"snapshot_id":"{id}","data_added":77}}}}]}}]}}"#
    );
    Record::read(&json).unwrap()
}

/// A verification: `OUTCOME TIME`.
fn check(words: &str) -> Checked {
    let (outcome, time) = words.split_once(' ').unwrap();
    let json = format!(
        r#"{{"format_version":1,"kind":"verify","rlvm_version":"x","host":"web01","destination":"vault","jobs":["web"],
        "started":"{time}","ended":"{time}","seconds":1,"outcome":"{outcome}","read":"nothing"}}"#
    );
    Checked::read(&json).unwrap()
}

#[derive(Default)]
struct World {
    said: BTreeMap<Name, Said>,
    runs: Vec<Record>,
    checks: Vec<Checked>,
    running: BTreeMap<Name, Timestamp>,
    made: BTreeSet<Name>,
}

impl World {
    fn of(vault: &[&str]) -> Self {
        let said: Said = Ok(vault.iter().map(|it| listed(it)).collect());
        Self { said: [("vault".parse().unwrap(), said)].into(), ..Self::default() }
    }

    fn runs(self, runs: &[&str]) -> Self {
        Self { runs: runs.iter().map(|it| run(it)).collect(), ..self }
    }

    fn checks(self, checks: &[&str]) -> Self {
        Self { checks: checks.iter().map(|it| check(it)).collect(), ..self }
    }

    fn status(&self, job: &str, now: &str) -> Status {
        let (state, zone) = (state_of(job), TimeZone::posix(ZONE).unwrap());
        let asked = Asked {
            state: &state,
            now: now.parse().unwrap(),
            zone: &zone,
            said: &self.said,
            made: &self.made,
            runs: &self.runs,
            checks: &self.checks,
            running: &self.running,
        };
        judge(&asked, Vec::new())
    }

    /// Says what is judged of the first line.
    fn judged(&self, job: &str, now: &str) -> String {
        let status = self.status(job, now);
        assert_eq!(status.level, status.lines[0].level);
        let all = status.lines[0].judged.iter();
        all.map(|it| format!("{:?} {}: {}", it.level, it.verdict.word(), it.message))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

const DAILY: &str = ", schedule: \"30 2 * * *\"";

#[test]
fn how_fresh() {
    // R76: 2:30 in the host's zone is 1:30 UTC in winter.
    let jitter = format!("{DAILY}, jitter: 2h");
    let timeout = format!("{DAILY}, timeout: 6h");
    let disabled = format!("{DAILY}, enabled: false");
    for (job, stored, now, expected) in [
        (DAILY, &["2026-11-21T01:30:05Z"][..], NOW, "Ok fresh: stored 10h 29m ago"),
        // Of the last time but one.
        (
            DAILY,
            &["2026-11-20T01:30:05Z"],
            "2026-11-21T01:30:00Z",
            "Ok due: due since Sat 2026-11-21 02:30: the run may be at it",
        ),
        (
            DAILY,
            &["2026-11-20T01:30:05Z"],
            "2026-11-21T02:30:00Z",
            "Ok due: due since Sat 2026-11-21 02:30: the run may be at it",
        ),
        (
            DAILY,
            &["2026-11-20T01:30:05Z"],
            "2026-11-21T02:30:01Z",
            "Critical overdue: overdue by 1h: nothing is stored for Sat 2026-11-21 02:30",
        ),
        (
            DAILY,
            &["2026-11-18T01:30:05Z"],
            NOW,
            "Critical overdue: overdue by 2d 10h: nothing is stored for Thu 2026-11-19 02:30",
        ),
        (
            &jitter,
            &["2026-11-20T01:30:05Z"],
            "2026-11-21T04:30:00Z",
            "Ok due: due since Sat 2026-11-21 02:30: the run may be at it",
        ),
        (
            &jitter,
            &["2026-11-20T01:30:05Z"],
            "2026-11-21T04:30:01Z",
            "Critical overdue: overdue by 3h: nothing is stored for Sat 2026-11-21 02:30",
        ),
        (
            &timeout,
            &["2026-11-20T01:30:05Z"],
            "2026-11-21T07:30:00Z",
            "Ok due: due since Sat 2026-11-21 02:30: the run may be at it",
        ),
        (DAILY, &[], NOW, "Critical never_stored: nothing was ever stored"),
        // By hand, at boot, and on no day of any calendar.
        ("", &["2020-11-20T01:30:05Z"], NOW, "Ok unscheduled: it runs by hand"),
        ("", &[], NOW, "Warning never_stored: nothing was ever stored"),
        (", schedule: '@reboot'", &["2020-11-20T01:30:05Z"], NOW, "Ok unscheduled: it runs at boot"),
        (&disabled, &["2020-11-20T01:30:05Z"], NOW, "Ok unscheduled: the job is disabled"),
        (&disabled, &[], NOW, "Ok unscheduled: the job is disabled"),
        // A clock was wrong: what is there beside counts.
        (
            DAILY,
            &["2026-11-21T01:30:05Z", "2027-01-01T00:00:00Z"],
            NOW,
            "Warning from_the_future: snapshot 32303237 is of Fri 2027-01-01 01:00, which is yet to come: a clock was wrong; Ok fresh: stored 10h 29m ago",
        ),
        (DAILY, &["2026-11-21T12:30:00Z"], NOW, "Ok fresh: stored 0s ago"),
        // The clock is put forward over 2:30, and back to it.
        (DAILY, &["2026-03-29T01:00:01Z"], "2026-03-29T12:00:00Z", "Ok fresh: stored 10h 59m ago"),
        (
            DAILY,
            &["2026-03-28T01:30:05Z"],
            "2026-03-29T01:00:00Z",
            "Ok due: due since Sun 2026-03-29 03:00: the run may be at it",
        ),
        (DAILY, &["2026-10-25T00:30:05Z"], "2026-10-25T12:00:00Z", "Ok fresh: stored 11h 29m ago"),
    ] {
        assert_eq!(World::of(stored).judged(job, now), expected, "{job} {stored:?} {now}");
    }
}

#[test]
fn snapshots_that_are_gone_are_not_taken_for_never_stored() {
    let disabled = format!("{DAILY}, enabled: false");
    let gone =
        "gone: all snapshots are gone: the run of Thu 2026-11-19 02:30 stored one, and none is there now";
    let judged = |job: &str, there: &[&str], runs: &[&str]| World::of(there).runs(runs).judged(job, NOW);
    let stored = "success 2026-11-19T01:30:00Z";
    for job in [DAILY, "", ", schedule: '@reboot'"] {
        assert_eq!(judged(job, &[], &[stored]), format!("Critical {gone}"), "{job}");
    }
    assert!(judged(&disabled, &[], &[stored]).starts_with(&format!("Warning {gone}")));
    // A run that failed since is said beside.
    let failed = judged(DAILY, &[], &[stored, "failed 2026-11-20T01:30:00Z"]);
    assert!(failed.contains(gone) && failed.contains("Critical failing"), "{failed}");
    // One that is left, one of the future, one of a run that is not over yet, and runs that stored nothing.
    for (there, runs) in [
        (&["2026-11-19T01:30:05Z"][..], &[stored][..]),
        (&["2027-01-01T00:00:00Z"], &[stored]),
        (&[], &["success 2026-11-21T11:55:00Z"]),
        (&[], &["failed 2026-11-19T01:30:00Z"]),
    ] {
        let judged = judged(DAILY, there, runs);
        assert!(!judged.contains("gone:"), "{there:?} {runs:?}: {judged}");
    }
}

#[test]
fn whose_it_is() {
    // R79
    for (snapshot, count) in [
        ("2026-11-21T01:30:05Z web01 web", 1),
        ("2026-11-21T01:30:05Z old01 web", 1),
        ("2026-11-21T01:30:05Z web01 www", 1),
        ("2026-11-21T01:30:05Z web02 web", 0),
        ("2026-11-21T01:30:05Z web01 web2", 0),
    ] {
        let status = World::of(&[snapshot]).status(DAILY, NOW);
        assert_eq!(status.lines[0].snapshots, Some(count), "{snapshot}");
    }
}

#[test]
fn what_the_records_tell() {
    let yesterday = ["2026-11-20T01:30:05Z"];
    let failed = World::of(&yesterday).runs(&[
        "success 2026-11-19T01:30:00Z",
        "failed 2026-11-20T13:30:00Z",
        "interrupted 2026-11-21T01:30:00Z",
    ]);
    let said = "Critical overdue: overdue by 10h 30m: nothing is stored for Sat 2026-11-21 02:30; \
                Critical failing: failing since Fri 2026-11-20 14:30 (2 runs): no such host";
    assert_eq!(failed.judged(DAILY, NOW), said);
    let line = &failed.status(DAILY, NOW).lines[0];
    assert_eq!(line.failing_since.as_deref(), Some("2026-11-20T13:30:00Z"));
    assert_eq!((line.seconds, line.added, line.overdue_seconds), (Some(60.0), Some(77), Some(37_800)));
    // No longer due once it has failed: the run is not at it.
    let soon = World::of(&yesterday).runs(&["failed 2026-11-21T01:30:00Z"]);
    assert!(soon.judged(DAILY, "2026-11-21T01:45:00Z").starts_with("Critical overdue: overdue by 15m"));
    // One by hand, of a day that is stored.
    let by_hand = World::of(&["2026-11-21T01:30:05Z"]).runs(&["failed 2026-11-21T09:00:00Z"]);
    let said = "Warning failing: failing since Sat 2026-11-21 10:00 (1 run): no such host; Ok fresh: stored 10h 29m ago";
    assert_eq!(by_hand.judged(DAILY, NOW), said);
    assert!(by_hand.judged("", NOW).starts_with("Critical failing"));
    // The repository knows better.
    let again = World::of(&["2026-11-21T02:00:00Z"]).runs(&["failed 2026-11-21T01:30:00Z"]);
    assert_eq!(again.judged(DAILY, NOW), "Ok fresh: stored 10h ago");
    let incomplete = World::of(&["2026-11-21T01:30:05Z"]).runs(&["incomplete 2026-11-21T01:30:00Z"]);
    let said = "Warning incomplete: 2 files could not be read; Ok fresh: stored 10h 29m ago";
    assert_eq!(incomplete.judged(DAILY, NOW), said);
    // Until there is another one, whatever becomes of later runs.
    let incomplete = incomplete.runs(&["incomplete 2026-11-21T01:30:00Z", "failed 2026-11-21T09:00:00Z"]);
    assert!(incomplete.judged(DAILY, NOW).contains(said), "{}", incomplete.judged(DAILY, NOW));
    // What runs take is what they may take: twice 10 minutes.
    let usual = World::of(&yesterday).runs(&["success 2026-11-20T01:30:00Z"]);
    assert!(usual.judged(DAILY, "2026-11-21T01:50:00Z").starts_with("Ok due"));
    assert!(usual.judged(DAILY, "2026-11-21T01:50:01Z").starts_with("Critical overdue"));
}

#[test]
fn how_large() {
    let days = |sizes: &[&str]| -> Vec<String> {
        let day = |(place, mib): (usize, &&str)| {
            format!("2026-11-{:02}T01:30:05Z web01 web {mib}", 22 - sizes.len() + place)
        };
        sizes.iter().enumerate().map(day).collect()
    };
    for (sizes, expected) in [
        (
            &["100", "100", "100", "49"][..],
            "Warning shrinking: shrinking: 49.0 MiB, and 100.0 MiB is usual; Ok fresh: stored 10h 29m ago",
        ),
        (&["100", "100", "100", "50"], "Ok fresh: stored 10h 29m ago"),
        (&["100", "100", "20"], "Ok fresh: stored 10h 29m ago"),
        (
            &["100", "100", "100", "999"],
            "Warning growing: growing: 999.0 MiB, and 100.0 MiB is usual; Ok fresh: stored 10h 29m ago",
        ),
        // It was so before.
        (&["20", "100", "100", "21", "22", "20", "20"], "Ok fresh: stored 10h 29m ago"),
    ] {
        let all = days(sizes);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(World::of(&all).judged(DAILY, NOW), expected, "{sizes:?}");
    }
    let status = World::of(&["2026-11-20T01:30:05Z web01 web 1", "2026-11-21T01:30:05Z"]).status(DAILY, NOW);
    assert_eq!((status.lines[0].bytes, status.lines[0].sizes.len()), (None, 1));
}

#[test]
fn how_proven() {
    let monthly = format!("{DAILY}, verify: {{ schedule: '0 6 1 * *' }}");
    let fresh = "Ok fresh: stored 10h 29m ago";
    let (old, new) = ("2026-10-20T01:30:05Z", "2026-11-21T01:30:05Z");
    for (job, stored, runs, checks, expected) in [
        (
            &*monthly,
            &[old, new][..],
            &[][..],
            &[][..],
            "Warning never_verified: never verified: it was due on Sun 2026-11-01 06:00; ",
        ),
        // Its time has not come yet, or has just come.
        (&monthly, &[new], &[], &[], ""),
        // Little is kept; the records know since when there are backups.
        (
            &monthly,
            &[new],
            &["success 2026-09-01T01:30:00Z"],
            &[],
            "Warning never_verified: never verified: it was due on Tue 2026-09-01 06:00; ",
        ),
        (DAILY, &[old, new], &[], &[], ""),
        (&monthly, &[old, new], &[], &["well 2026-11-01T05:00:00Z"], ""),
        (
            &monthly,
            &[old, new],
            &[],
            &["well 2026-10-01T05:00:00Z"],
            "Warning verify_overdue: last verified on Thu 2026-10-01 07:00: it was due on Sun 2026-11-01 06:00; ",
        ),
        (
            DAILY,
            &[new],
            &[],
            &["well 2026-10-01T05:00:00Z", "damaged 2026-11-01T05:00:00Z"],
            "Critical verify_failed: the verification of Sun 2026-11-01 06:00 failed: damaged; ",
        ),
        (
            DAILY,
            &[new],
            &[],
            &["unreachable 2026-11-01T05:00:00Z"],
            "Warning verify_failed: the verification of Sun 2026-11-01 06:00 failed: unreachable; ",
        ),
        (DAILY, &[new], &[], &["damaged 2026-11-01T05:00:00Z", "well 2026-11-02T05:00:00Z"], ""),
    ] {
        let world = World::of(stored).runs(runs).checks(checks);
        assert_eq!(world.judged(job, NOW), format!("{expected}{fresh}"), "{job} {checks:?}");
    }
}

#[test]
fn how_well_kept() {
    let days: Vec<String> = (1..=21).map(|day| format!("2026-11-{day:02}T01:30:05Z")).collect();
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    let weekly =
        |keep: u32| format!("{DAILY}, retention: {{ daily: {keep} }}, prune: {{ schedule: '0 5 * * 0' }}");
    let by_hand = format!("{DAILY}, retention: {{ daily: 7 }}");
    let fresh = "Ok fresh: stored 10h 29m ago";
    // On Sunday the 15th 15 were there.
    let said = "Warning retention_unmet: 8 snapshots that retention should have removed on Sun 2026-11-15 05:00 still exist: the job is not pruned; ";
    assert_eq!(World::of(&days).judged(&weekly(7), NOW), format!("{said}{fresh}"));
    assert_eq!(World::of(&days[8..]).judged(&weekly(7), NOW), fresh, "pruned then");
    assert_eq!(World::of(&days).judged(&weekly(14), NOW), fresh);
    let said =
        "Warning retention_unmet: 21 snapshots, and 7 are kept: prune it, or give it a `prune: schedule`; ";
    assert_eq!(World::of(&days).judged(&by_hand, NOW), format!("{said}{fresh}"));
    assert_eq!(World::of(&days[8..]).judged(&by_hand, NOW), fresh);
}

#[test]
fn what_is_the_matter_with_the_repository() {
    // R22
    let away = || Found::Unreachable("Fatal: no such host".into());
    for (found, runs, made, expected) in [
        (
            Found::Absent,
            &[][..],
            false,
            "Critical not_initialised: there is no repository: run rlvm plan, then rlvm apply",
        ),
        (
            Found::Absent,
            &[],
            true,
            "Critical not_initialised: the repository is gone: mount what it lies on, or see rlvm plan",
        ),
        (
            Found::WrongPassword,
            &[],
            true,
            "Critical unreadable: wrong password: the password file does not open it",
        ),
        (Found::Damaged("x".into()), &[], true, "Critical unreadable: damaged: x"),
        (away(), &[], true, "Critical unreachable: unreachable: no such host"),
        // The records know that it was fresh a moment ago.
        (away(), &["success 2026-11-21T01:30:00Z"], true, "Warning unreachable: unreachable: no such host"),
        (away(), &["success 2026-11-19T01:30:00Z"], true, "Critical unreachable: unreachable: no such host"),
        (
            Found::Locked,
            &["success 2026-11-21T01:30:00Z"],
            true,
            "Warning unreadable: locked by something else",
        ),
    ] {
        let mut world = World::default().runs(runs);
        world.said.insert("vault".parse().unwrap(), Err(found));
        world.made.extend(made.then(|| "vault".parse().unwrap()));
        assert_eq!(world.judged(DAILY, NOW), expected);
        let line = &world.status(DAILY, NOW).lines[0];
        assert_eq!((line.snapshots, line.newest.as_deref()), (None, None));
    }
}

#[test]
fn a_line_each_the_worst_first() {
    let copied = format!("{DAILY}, copy: {{ offsite: {{ from: vault }} }}");
    let mut world = World::of(&["2026-11-21T01:30:05Z web01 web 9"]);
    world.said.insert("offsite".parse().unwrap(), Ok(vec![listed("2026-11-19T01:30:05Z")]));
    let remark = Remark { about: "drift".into(), level: Level::Warning, message: "a\x1b".into() };
    let (state, zone) = (state_of(&copied), TimeZone::posix(ZONE).unwrap());
    let now = NOW.parse().unwrap();
    let World { said, made, running, .. } = &world;
    let asked = Asked { state: &state, now, zone: &zone, said, made, runs: &[], checks: &[], running };
    let status = judge(&asked, vec![remark]);
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status, "it is read back");
    assert!(json.contains("\"cached\":false"));
    let style = crate::plan::show::Style::default();
    insta::assert_snapshot!(super::super::show::text(&status, &zone, style));
    insta::assert_snapshot!("metrics", super::super::metrics::text(&status));
}
