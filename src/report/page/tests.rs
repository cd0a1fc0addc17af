//! The page, as text: what it says, and that nothing gets out of its place. How it looks is tried in a browser.

use proptest::prelude::*;

use super::*;
use crate::report::status::{Judged, Line, Size, Verdict};

const NOW: &str = "2026-11-21T18:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn line(job: &str, destination: &str, said: &[(Verdict, Level, &str)]) -> Line {
    let level = said.iter().map(|it| it.1).max().unwrap_or_default();
    let judged = said
        .iter()
        .map(|(verdict, level, message)| Judged {
            verdict: *verdict,
            level: *level,
            message: (*message).into(),
        })
        .collect();
    Line { level, judged, ..Line::new(job.parse().unwrap(), destination.parse().unwrap(), false) }
}

fn status(host: &str, lines: Vec<Line>) -> Status {
    let level = lines.iter().map(|line| line.level).max().unwrap_or_default();
    Status {
        format_version: "1.0".into(),
        rlvm_version: "0.1.0".into(),
        host: host.parse().unwrap(),
        time: NOW.into(),
        cached: false,
        level,
        lines,
        remarks: Vec::new(),
    }
}

/// A backup of which all is known.
fn whole() -> Line {
    let fresh = (Verdict::Fresh, Level::Ok, "stored at 02:31, for 02:30");
    Line {
        newest: Some("2026-11-21T02:31:07Z".into()),
        newest_id: Some("0123456789abcdef".into()),
        oldest: Some("2026-08-01T02:30:00Z".into()),
        snapshots: Some(17),
        bytes: Some(5 << 30),
        due: Some("2026-11-21T02:30:00Z".into()),
        next: Some("2026-11-22T02:30:00Z".into()),
        verified: Some("2026-11-16T04:00:00Z".into()),
        drilled: Some("2026-11-16T04:09:00Z".into()),
        seconds: Some(83.4),
        added: Some(12_345_678),
        sizes: [4_u64, 4, 5]
            .iter()
            .enumerate()
            .map(|(at, size)| Size { time: format!("2026-11-{:02}T02:30:00Z", 19 + at), bytes: size << 30 })
            .collect(),
        ..line("system", "vault", &[fresh])
    }
}

fn bad() -> Line {
    let late = (Verdict::Overdue, Level::Critical, "no snapshot for 2026-11-20 02:30: 39 hours late");
    let never = (Verdict::NeverVerified, Level::Warning, "never verified, and every 30 days is asked for");
    Line {
        copy: true,
        newest: Some("2026-11-19T02:31:00Z".into()),
        overdue_seconds: Some(39 * 3600),
        failing_since: Some("2026-11-20T02:30:00Z".into()),
        ..line("system", "offsite", &[late, never])
    }
}

/// Leaves out the style, which has a file of its own.
fn without_style(page: &str) -> String {
    let (before, rest) = page.split_once("<style>").unwrap();
    let digest = Base64::encode_string(&Sha256::digest(STYLE.as_bytes()));
    before.replace(&digest, "[DIGEST]") + rest.split_once("</style>").unwrap().1
}

#[test]
fn one_host_whole() {
    let mut status = status("web01", vec![bad(), whole()]);
    status.remarks.push(Remark {
        about: "drift".into(),
        level: Level::Warning,
        message: "2 changes: rlvm plan".into(),
    });
    insta::assert_snapshot!("one_host", without_style(&page(&[status], now())));
}

#[test]
fn several_hosts_worst_first() {
    let mut old = status("db01", vec![line("db", "vault", &[(Verdict::Fresh, Level::Ok, "stored")])]);
    old.time = "2026-11-18T18:00:00Z".into();
    let all = [status("app01", Vec::new()), old, status("web01", vec![bad()])];
    insta::assert_snapshot!("several_hosts", without_style(&page(&all, now())));
}

#[test]
fn the_headline_says_how_things_are() {
    let fresh = || line("a", "b", &[(Verdict::Fresh, Level::Ok, "x")]);
    for (all, expected) in [
        (vec![status("a", vec![])], "ok</span> no backups are declared"),
        (vec![status("a", vec![fresh()])], "ok</span> 1 backup: 1 ok<"),
        (vec![status("a", vec![fresh(), bad()])], "critical</span> 2 backups: 1 critical, 1 ok<"),
        (
            vec![
                status("a", vec![fresh()]),
                Status { time: "2026-11-01T00:00:00Z".into(), ..status("b", vec![fresh()]) },
            ],
            "warning</span> 2 backups: 2 ok; 1 remark<",
        ),
    ] {
        let page = page(&all, now());
        let line = page.lines().find(|line| line.contains("class=\"headline")).unwrap();
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn of_one_host_the_latest_counts() {
    let at = |host: &str, time: &str| Status { time: time.into(), ..status(host, Vec::new()) };
    let all = vec![at("a", "2026-11-20T00:00:00Z"), at("b", NOW), at("a", NOW), at("a", "never")];
    let (kept, twice) = latest(all);
    assert_eq!(
        kept.iter().map(|it| (it.host.as_str(), it.time.as_str())).collect::<Vec<_>>(),
        [("a", NOW), ("b", NOW)]
    );
    assert_eq!(twice, ["a", "a"]);
}

#[test]
fn the_policy_allows_this_style_and_nothing_else() {
    let page = page(&[status("web01", vec![whole()])], now());
    let policy =
        page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    let digest = Base64::encode_string(&Sha256::digest(STYLE.as_bytes()));
    assert!(
        policy.starts_with("default-src 'none';") && policy.contains(&format!("'sha256-{digest}'")),
        "{policy}"
    );
    // What would need more than that, or reach out.
    for word in [" style=", "<script", "<img", "<link", "<iframe", " src=", "url(", "@import", "http"] {
        let page = page.replace("http-equiv", "");
        assert!(!page.contains(word), "{word}");
    }
}

/// Lists the tags of a page, each with the names of its attributes, and fails on what is no whole tag.
fn skeleton(page: &str) -> Vec<String> {
    let (mut all, mut rest) = (Vec::new(), page);
    while let Some((_, tag)) = rest.split_once('<') {
        let mut names = String::new();
        let mut inside = false;
        let end = tag
            .char_indices()
            .find(|(_, letter)| {
                match letter {
                    '"' => inside = !inside,
                    '>' if !inside => return true,
                    letter if !inside => names.push(*letter),
                    _ => {}
                }
                false
            })
            .map(|(at, _)| at)
            .expect("a tag that ends");
        assert!(!names.contains('<'), "{names}");
        all.push(names);
        rest = &tag[end + 1..];
    }
    all
}

proptest! {
    #[test]
    fn whatever_is_said_stays_text(hostile in "\\PC*|[<>\"'&a-z/ =-]{0,40}|</(td|style|svg|title)><script>", control in any::<String>()) {
        let with = |text: &str| {
            let mut it = whole();
            it.judged[0].message = text.into();
            for of in [&mut it.newest, &mut it.newest_id, &mut it.oldest, &mut it.due, &mut it.next, &mut it.verified] {
                *of = Some(text.into());
            }
            it.sizes.iter_mut().for_each(|size| size.time = text.into());
            it.judged.push(Judged { verdict: Verdict::Failing, level: Level::Critical, message: text.into() });
            it.level = Level::Critical;
            let mut status = Status { rlvm_version: text.into(), time: text.into(), ..status("web01", vec![it]) };
            status.remarks.push(Remark { about: text.into(), level: Level::Warning, message: text.into() });
            without_style(&page(&[status], now()))
        };
        // `x` is no time either.
        let plain = skeleton(&with("x"));
        for text in [format!("{hostile}!"), format!("{control}!")] {
            let page = with(&text);
            prop_assert_eq!(&skeleton(&page), &plain);
            prop_assert!(!page.chars().any(|c| c.is_control() && c != '\n'));
        }
    }
}

#[test]
fn the_same_twice() {
    let all = [status("web01", vec![bad(), whole()]), status("db01", vec![])];
    assert_eq!(page(&all, now()), page(&all, now()));
}
