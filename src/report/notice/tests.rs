//! Notifiers through days: what happens, and what they are told of it.

use super::*;
use crate::{
    job::{self, JobRecord, StoreRecord, VERSION},
    report::status::{Judged, Level, Line, Verdict},
    verify,
};

/// A state with a notifier, `ops`, of these words, for two jobs that store at two destinations.
fn state(notifier: &str) -> State {
    let yaml = format!(
        "version: 1\nhost: web01\ndestinations:\n  near: {{ local: {{ path: /a }}, password_file: /p }}\n  \
           far: {{ local: {{ path: /b }}, password_file: /p }}\nnotify:\n  ops: {{ {notifier} }}\n\
         defaults: {{ schedule: '30 2 * * *' }}\n\
         jobs:\n  web: {{ {JOB}, notify: [ops] }}\n  mail: {{ {JOB}, notify: [ops] }}\n  quiet: {{ {JOB} }}\n"
    );
    crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap_or_else(|err| panic!("{err}")).state
}

const JOB: &str = "to: [near, far], sources: [{ path: /etc }]";
const URL: &str = "webhook: { url: 'https://a.lan/x' }";

fn ops() -> Name {
    "ops".parse().unwrap()
}

/// A run at an hour of a day: `web +near -far` stored at one and not at the other, `web !why` failed as a whole.
fn run(day: u32, words: &str) -> Record {
    let mut jobs: Vec<JobRecord> = Vec::new();
    for word in words.split(' ') {
        let (sign, name) = word.split_at(1);
        let store = |status, error: Option<&str>| StoreRecord {
            destination: name.parse().unwrap(),
            status,
            attempts: 1,
            seconds: 1.0,
            error: error.map(Into::into),
            summary: None,
            unjudged: Vec::new(),
            unreadable: 0,
            first_unreadable: Vec::new(),
        };
        match sign {
            "+" => jobs.last_mut().unwrap().destinations.push(store(job::Status::Success, None)),
            "-" => {
                let job = jobs.last_mut().unwrap();
                job.status = job::Status::Incomplete;
                job.destinations.push(store(job::Status::Failed, Some("locked")));
            }
            "!" => {
                let job = jobs.last_mut().unwrap();
                job.status = job::Status::Failed;
                job.errors.push(name.into());
            }
            _ => jobs.push(JobRecord {
                job: word.parse().unwrap(),
                status: job::Status::Success,
                errors: Vec::new(),
                warnings: Vec::new(),
                froze: None,
                destinations: Vec::new(),
                copies: Vec::new(),
            }),
        }
    }
    Record {
        format_version: VERSION,
        rlvm_version: "0.1.0".into(),
        run: "0123456789ab".parse().unwrap(),
        host: "web01".parse().unwrap(),
        started: format!("2026-11-{day:02}T02:30:00Z"),
        ended: format!("2026-11-{day:02}T02:31:00Z"),
        seconds: 60.0,
        status: job::together(jobs.iter().map(|it| it.status)),
        jobs,
        warnings: Vec::new(),
        left: Vec::new(),
    }
}

/// A notifier through days: what it is told of each thing, in short.
struct Story {
    state: State,
    told: Told,
    records: Vec<Record>,
    /// Whether it can be told anything.
    works: bool,
}

impl Story {
    fn new(notifier: &str) -> Self {
        Self { state: state(notifier), told: Told::default(), records: Vec::new(), works: true }
    }

    fn what(&mut self, what: What<'_>, now: &str) -> String {
        let notices = decide(&self.state, what, &self.records, &self.told, now.parse().unwrap());
        let mut said = Vec::new();
        for notice in notices {
            let result = if self.works { Ok(()) } else { Err("dead".to_owned()) };
            let nothing = notice.items.is_empty();
            self.told.note(&notice.notifier, &notice.marks, if nothing { &Ok(()) } else { &result }, now);
            said.extend(notice.items.iter().map(|item| {
                let place =
                    |name: &Option<Name>| name.as_ref().map(|it| format!(" {it}")).unwrap_or_default();
                let since =
                    item.since.as_deref().map(|it| format!(" since {}", &it[8..10])).unwrap_or_default();
                let again = if item.again { " again" } else { "" };
                let (job, to) = (place(&item.about.job), place(&item.about.destination));
                format!("{:?}{job}{to}{since}{again}", item.occasion)
            }));
        }
        said.join(", ")
    }

    fn run(&mut self, day: u32, words: &str) -> String {
        let record = run(day, words);
        let ended = record.ended.clone();
        let said = self.what(What::Run(&record), &ended);
        self.records.push(record);
        said
    }

    /// Looks: `web:near overdue`, `never`, `fresh`, or `blind` where nothing could be read.
    fn look(&mut self, now: &str, lines: &str) -> String {
        let status = status(now, lines);
        self.what(What::Looked(&status), now)
    }
}

fn status(now: &str, lines: &str) -> Status {
    let line = |text: &str| {
        let (place, verdict) = text.split_once(' ').unwrap();
        let (job, destination) = place.split_once(':').unwrap();
        let (verdict, level) = match verdict {
            "overdue" => (Verdict::Overdue, Level::Critical),
            "never" => (Verdict::NeverStored, Level::Critical),
            "unverified" => (Verdict::VerifyOverdue, Level::Warning),
            "blind" => (Verdict::Unreachable, Level::Critical),
            "damaged" => (Verdict::Unreadable, Level::Critical),
            "away" => (Verdict::Unreachable, Level::Warning),
            _ => (Verdict::Fresh, Level::Ok),
        };
        Line {
            judged: vec![Judged { verdict, level, message: "in words".into() }],
            snapshots: (![Verdict::Unreachable, Verdict::Unreadable].contains(&verdict)).then_some(1),
            due: Some(format!("{}T02:30:00Z", &now[..10])),
            ..Line::new(job.parse().unwrap(), destination.parse().unwrap(), false)
        }
    };
    Status {
        format_version: "1.0".into(),
        rlvm_version: "0.1.0".into(),
        host: "web01".parse().unwrap(),
        time: now.into(),
        level: Level::Ok,
        lines: lines.split(", ").filter(|it| !it.is_empty()).map(line).collect(),
        remarks: Vec::new(),
        cached: false,
    }
}

#[test]
fn told_once_then_daily_and_its_end_always() {
    // R78
    let mut it = Story::new(URL);
    assert_eq!(it.run(1, "web +near +far"), "");
    assert_eq!(it.run(2, "web +near -far"), "Failure web far since 02");
    // The same night once more, by hand.
    assert_eq!(it.run(2, "web +near -far"), "");
    assert_eq!(it.run(3, "web +near -far"), "Failure web far since 02 again");
    // Another trouble is another.
    assert_eq!(it.run(3, "web -near -far"), "Failure web near since 03");
    assert_eq!(it.run(3, "web !hook"), "Failure web since 03");
    // At one of them alone says nothing of the other.
    assert_eq!(it.run(4, "web +near"), "Recovery web since 03, Recovery web near since 03");
    assert_eq!(it.run(4, "web +near +far"), "Recovery web far since 02");
    assert_eq!(it.run(5, "web +near +far"), "");
    assert!(it.told.notifiers[&ops()].troubles.is_empty());
}

#[test]
fn a_storm_is_one_and_others_jobs_are_none_of_it() {
    let mut it = Story::new(URL);
    let record = run(2, "web -near -far mail !hook quiet -near");
    let notices =
        decide(&it.state, What::Run(&record), &[], &it.told, "2026-11-02T03:00:00Z".parse().unwrap());
    assert_eq!((notices.len(), notices[0].items.len()), (1, 3));
    assert_eq!(it.run(2, "quiet -near"), "");
    assert_eq!(
        it.what(
            What::Broken(&["web".parse().unwrap(), "quiet".parse().unwrap()], "no lvs"),
            "2026-11-03T02:30:00Z"
        ),
        "Failure web since 03"
    );
}

#[test]
fn each_is_told_what_it_asks_for() {
    for (on, expected) in [
        ("[failure]", ["", "Failure web far since 02", "", ""]),
        ("[recovery]", ["", "", "Recovery web far since 02", ""]),
        ("[success]", ["Success web", "", "Success web", "Success web"]),
        ("[overdue]", ["", "", "", ""]),
        ("[failure, success]", ["Success web", "Failure web far since 02", "Success web", "Success web"]),
    ] {
        let mut it = Story::new(&format!("on: {on}, {URL}"));
        let nights =
            [(1, "web +near +far"), (2, "web +near -far"), (3, "web +near +far"), (4, "web +near +far")];
        assert_eq!(nights.map(|(day, words)| it.run(day, words)), expected, "{on}");
    }
    let mut often = Story::new(&format!("repeat: 1m, {URL}"));
    assert_eq!([often.run(2, "web -far"), often.run(3, "web -far")].map(|it| it.len() > 5), [true, true]);
    let mut watched = Story::new("webhook: { url: 'https://a.lan/x', format: healthchecks }");
    assert_eq!(watched.run(2, "web -far"), "");
}

#[test]
fn what_could_not_be_told_is_told_later() {
    let mut it = Story::new(URL);
    it.works = false;
    assert_eq!(it.run(2, "web +near -far"), "Failure web far since 02");
    // An hour later, and again as long as it is dead.
    let lines = "web:near fresh, web:far fresh";
    assert_eq!(it.look("2026-11-02T04:00:00Z", lines), "Failure web far since 02");
    it.works = true;
    assert_eq!(it.look("2026-11-02T05:00:00Z", lines), "Failure web far since 02");
    assert_eq!(it.look("2026-11-02T06:00:00Z", lines), "");
    // What was told when it happened is not told each day by a look: no run is no news.
    assert_eq!(it.look("2026-11-05T06:00:00Z", lines), "");
    it.works = false;
    assert_eq!(it.run(6, "web +near +far"), "Recovery web far since 02");
    it.works = true;
    assert_eq!(it.look("2026-11-06T06:00:00Z", lines), "Recovery web far since 02");
    assert_eq!(it.look("2026-11-06T07:00:00Z", lines), "");
    // A run that left no record has not recovered because the one before was well.
    assert_eq!(
        it.what(What::Broken(&["web".parse().unwrap()], "x"), "2026-11-07T02:30:00Z"),
        "Failure web since 07"
    );
    assert_eq!(it.look("2026-11-07T07:00:00Z", lines), "");
    assert_eq!(it.run(8, "web +near +far"), "Recovery web since 07");
}

#[test]
fn records_know_what_a_new_notifier_does_not() {
    let mut it = Story::new(URL);
    it.records = vec![run(1, "web +far"), run(2, "web -far"), run(3, "web -far"), run(3, "mail +far")];
    assert_eq!(it.run(4, "web -far"), "Failure web far since 02");
    let mut it = Story::new(URL);
    it.records = vec![run(2, "web -far")];
    assert_eq!(it.run(3, "web +far"), "Recovery web far");
    assert_eq!(it.run(4, "web +far"), "");
}

#[test]
fn nothing_has_run() {
    let mut it = Story::new(URL);
    assert_eq!(
        it.look("2026-11-02T09:00:00Z", "web:near fresh, web:far overdue"),
        "Overdue web far since 02"
    );
    assert_eq!(it.look("2026-11-02T10:00:00Z", "web:near fresh, web:far overdue"), "");
    assert_eq!(it.look("2026-11-03T09:00:00Z", "web:far overdue"), "Overdue web far since 02 again");
    // It was told, and is told again after a day.
    assert_eq!(it.look("2026-11-03T10:00:00Z", "web:far blind"), "");
    // What was overdue and then failed is stored again once.
    assert_eq!(it.run(3, "web +near -far"), "Failure web far since 03");
    assert_eq!(it.run(4, "web +near +far"), "Recovery web far since 03");
    assert_eq!(it.look("2026-11-04T10:00:00Z", "web:far fresh"), "");
    // By a run elsewhere, a clock put right, a schedule changed.
    assert_eq!(it.look("2026-11-05T09:00:00Z", "web:far overdue"), "Overdue web far since 05");
    assert_eq!(it.look("2026-11-05T10:00:00Z", "web:far fresh"), "Recovery web far since 05");
    assert_eq!(it.look("2026-11-06T10:00:00Z", "quiet:far overdue"), "");
    assert_eq!(it.look("2026-11-07T10:00:00Z", "web:far unverified"), "Verify web far since 07");
}

#[test]
fn a_repository_that_cannot_be_read_is_told() {
    for (word, told) in [("blind", true), ("damaged", true), ("away", false)] {
        let mut it = Story::new(URL);
        let expected = if told { "Overdue web far since 02" } else { "" };
        assert_eq!(it.look("2026-11-02T09:00:00Z", &format!("web:far {word}")), expected, "{word}");
        assert_eq!(it.look("2026-11-02T10:00:00Z", &format!("web:far {word}")), "", "{word}");
        let end = if told { "Recovery web far since 02" } else { "" };
        assert_eq!(it.look("2026-11-02T11:00:00Z", "web:far fresh"), end, "{word}");
    }
}

#[test]
fn a_job_that_is_new_has_a_day_and_one_of_its_times() {
    let mut it = Story::new(URL);
    for (now, expected) in [
        ("2026-11-02T09:00:00Z", ""),
        ("2026-11-02T10:00:00Z", ""),
        ("2026-11-03T03:00:00Z", ""),
        ("2026-11-03T09:00:00Z", "Overdue web far since 02"),
        ("2026-11-03T10:00:00Z", ""),
    ] {
        assert_eq!(it.look(now, "web:far never"), expected, "{now}");
    }
    let mut it = Story::new(URL);
    assert_eq!(it.look("2026-11-02T09:00:00Z", "web:far never"), "");
    assert_eq!(it.run(3, "web +far"), "");
    assert!(it.told.notifiers[&ops()].troubles.is_empty());
}

#[test]
fn what_a_verification_finds() {
    use verify::Outcome::{Damaged, Failed, Unreachable, Well};
    let mut it = Story::new(URL);
    let mut checked = |day: u32, outcome, jobs: &[&str]| {
        let checked = Checked {
            format_version: verify::VERSION,
            kind: verify::Kind::Verify,
            rlvm_version: "0.1.0".into(),
            host: "web01".parse().unwrap(),
            destination: "far".parse().unwrap(),
            jobs: jobs.iter().map(|it| it.parse().unwrap()).collect(),
            started: format!("2026-11-{day:02}T06:00:00Z"),
            ended: format!("2026-11-{day:02}T07:00:00Z"),
            seconds: 3600.0,
            outcome,
            read: verify::Read::All,
            error: (outcome != Well).then(|| "pack 12 is gone".into()),
            drills: Vec::new(),
        };
        it.what(What::Verified(std::slice::from_ref(&checked)), &checked.ended)
    };
    assert_eq!(checked(1, Well, &["web"]), "");
    assert_eq!(checked(2, Damaged, &["quiet"]), "");
    assert_eq!(checked(2, Damaged, &["web", "quiet"]), "Verify far since 02");
    assert_eq!(checked(3, Unreachable, &["web"]), "Verify far since 02 again");
    assert_eq!(checked(3, Failed, &["web"]), "");
    assert_eq!(checked(4, Well, &["web"]), "Recovery far since 02");
}

#[test]
fn old_backups_that_stay() {
    let mut it = Story::new(URL);
    let mut pruned = |now: &str, error: Option<&str>| {
        let (job, destination) = (Some("web".parse().unwrap()), "far".parse().unwrap());
        it.what(What::Pruned(&[Pruned { job, destination, error: error.map(Into::into) }]), now)
    };
    assert_eq!(pruned("2026-11-01T05:00:00Z", None), "");
    assert_eq!(pruned("2026-11-02T05:00:00Z", Some("refused")), "Failure web far since 02");
    assert_eq!(pruned("2026-11-02T06:00:00Z", Some("refused")), "");
    assert_eq!(pruned("2026-11-03T05:00:00Z", None), "Recovery web far since 02");
}

#[test]
fn every_notifier_hears_of_a_clients_prune() {
    let mut it = Story::new(URL);
    let mut pruned = |now: &str, error: Option<&str>| {
        let (job, destination) = (None, "backup-web01".parse().unwrap());
        it.what(What::Pruned(&[Pruned { job, destination, error: error.map(Into::into) }]), now)
    };
    assert_eq!(pruned("2026-11-01T05:00:00Z", None), "");
    assert_eq!(pruned("2026-11-02T05:00:00Z", Some("refused")), "Failure backup-web01 since 02");
    assert_eq!(pruned("2026-11-02T06:00:00Z", Some("refused")), "");
    assert_eq!(pruned("2026-11-03T05:00:00Z", None), "Recovery backup-web01 since 02");
}

#[test]
fn services_that_watch_hear_of_each_run() {
    let state = state("webhook: { url: 'https://a.lan/x', format: healthchecks }");
    let well = |words: &str| {
        let record = run(2, words);
        let signals = signals(&state, What::Run(&record));
        signals.first().map(|it| (it.well, it.items.len()))
    };
    assert_eq!(well("web +near +far"), Some((true, 1)));
    assert_eq!(well("web +near -far"), Some((false, 1)));
    assert_eq!(well("web +near mail !hook"), Some((false, 2)));
    assert_eq!(well("quiet -near"), None);
    let left = Record { left: vec!["lvremove".into()], ..run(2, "web +near") };
    assert!(!signals(&state, What::Run(&left))[0].well);
    assert!(!signals(&state, What::Broken(&["web".parse().unwrap()], "x"))[0].well);
    assert!(signals(&state, What::Looked(&status("2026-11-02T09:00:00Z", "web:far overdue"))).is_empty());
}
