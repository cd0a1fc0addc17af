//! Every kind of file that was stored against every kind that is there now: what a restore shows, does on the disk, lists and
//! exits with, in place and into a target, with restic 0.14, 0.18 and 0.19.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    kinds::{comparison, names},
    left, record, stored,
};
use crate::{
    lab::{Lab, Restic, restics},
    support::Ran,
};

const KINDS: &str = include_str!("kinds.py");
const STORED: [&str; 7] = ["file", "dir", "linkfile", "linkdir", "dangling", "fifo", "device"];
const LIVE: [&str; 13] = [
    "file",
    "dir",
    "linkfile",
    "linkdir",
    "dangling",
    "fifo",
    "device",
    "mountdir",
    "mountfile",
    "absent",
    "same",
    "touched",
    "swapped",
];

/// What becomes of a cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing was there: it is restored.
    Created,
    /// It is listed as to be overwritten, and is then as it was stored.
    Replaced,
    /// It stays, and that is all right.
    Kept,
    /// It stays, and is listed: exit code 8.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Plain,
    OnlyMissing,
    CompareContent,
}

use Fate::{Created, Kept, Refused, Replaced};
use Manner::{CompareContent, OnlyMissing, Plain};

impl Manner {
    fn words(self) -> &'static [&'static str] {
        match self {
            Plain => &["--in-place", "--yes", "--json"],
            OnlyMissing => &["--in-place", "--yes", "--json", "--only-missing"],
            CompareContent => &["--in-place", "--yes", "--json", "--compare-content"],
        }
    }
}

/// Says what sort of thing a kind is.
fn sort(kind: &str) -> &str {
    if matches!(kind, "linkfile" | "linkdir" | "dangling") { "link" } else { kind }
}

/// Says what must become of a cell: the rule of docs/restore.md.
fn expected(stored: &str, live: &str, manner: Manner) -> Fate {
    match (sort(stored), sort(live)) {
        (_, "absent") => Created,
        (_, "same" | "touched") | ("fifo", "swapped") => Kept,
        ("file" | "dir", "swapped") => {
            if manner == CompareContent {
                Replaced
            } else {
                Kept
            }
        }
        (_, "mountdir" | "mountfile") | ("dir", "link") => Refused,
        (was, "dir") if was != "dir" => Refused,
        (was, now) if was == now || now == "swapped" => {
            if manner == OnlyMissing {
                Kept
            } else {
                Replaced
            }
        }
        _ => {
            if manner == OnlyMissing {
                Refused
            } else {
                Replaced
            }
        }
    }
}

fn python(lab: &Lab, words: &[&str]) -> String {
    lab.ok(&[&["python3", "-c", KINDS], words].concat())
}

fn tell(lab: &Lab, top: &str) -> BTreeMap<String, Value> {
    serde_json::from_str(&python(lab, &["tell", top])).unwrap()
}

fn cells() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    STORED.iter().flat_map(|stored| LIVE.iter().map(move |live| (*stored, *live, format!("{stored}-{live}"))))
}

/// Checks one cell: preview, record and disk.
fn check((stored, live, name): (&str, &str, &str), fate: Fate, ran: &Ran, [was, before, after]: [&Value; 3]) {
    let of = |list: &BTreeSet<String>| list.contains(name) || list.contains(&format!("{name}/in"));
    let shown = comparison(&ran.stdout);
    let lacking = names(&record(&ran.stdout)["unrestored"], "path");
    let what = format!("{stored} over {live}: {fate:?}, {was} {before} {after}");
    // With --only-missing these are the files that differ, and stay.
    let differs = fate == Replaced || fate == Kept && sort(stored) == sort(live);
    assert_eq!(of(&names(&shown["overwritten"], "path")), differs, "overwritten: {what}\n{shown}");
    assert_eq!(of(&names(&shown["blocked"], "path")), fate == Refused, "blocked: {what}\n{shown}");
    assert_eq!(of(&lacking), fate == Refused, "unrestored: {what}\n{lacking:?}");
    let disk = if matches!(fate, Created | Replaced) { was } else { before };
    assert_eq!(after, disk, "disk: {what}");
}

/// Makes a machine with a backup of each cell, and tells what was stored.
fn all_stored(version: &Restic) -> (Lab, BTreeMap<String, Value>) {
    let mut lab = Lab::new();
    lab.use_restic(version);
    python(&lab, &["store"]);
    let lab = stored(lab);
    let was = tell(&lab, "/srv/www");
    (lab, was)
}

#[test]
fn each_kind_over_each_kind_is_shown_and_done_or_listed() {
    // R75
    let none = Value::Null;
    for version in restics() {
        let (lab, was) = all_stored(&version);
        for manner in [OnlyMissing, Plain, CompareContent] {
            // All of it at once.
            python(&lab, &["live"]);
            let before = tell(&lab, "/srv/www");
            let ran = lab.expect(8, &[&["restore", "web"], manner.words()].concat());
            let after = tell(&lab, "/srv/www");
            for (stored, live, name) in cells() {
                let of = |all: &BTreeMap<String, Value>| all.get(&name).unwrap_or(&none).clone();
                let fate = expected(stored, live, manner);
                check((stored, live, &name), fate, &ran, [&of(&was), &of(&before), &of(&after)]);
            }
            assert_eq!(after["aim"], was["aim"]);
            // A file and the file in a directory, each touched or swapped; all kinds if nothing is fetched.
            let alike = match manner {
                Plain => 4,
                OnlyMissing => 14,
                CompareContent => 0,
            };
            assert_eq!(comparison(&ran.stdout)["not_compared"], alike, "{} {manner:?}", version.dir);
        }
        // Once more: what was put back is as it was.
        let ran = lab.expect(8, &["restore", "web", "--in-place", "--yes", "--json", "--compare-content"]);
        assert_eq!(names(&comparison(&ran.stdout)["overwritten"], "path"), BTreeSet::new());
        assert_eq!(left(&lab), "");
    }
}

#[test]
fn each_kind_asked_for_by_its_path_with_restic_0_14() {
    asked_for_by_path(14);
}

#[test]
fn each_kind_asked_for_by_its_path_with_restic_0_18() {
    asked_for_by_path(18);
}

#[test]
fn each_kind_asked_for_by_its_path_with_restic_0_19() {
    asked_for_by_path(19);
}

/// Asks for each cell by `--path`, with restic 0.`minor`.
fn asked_for_by_path(minor: u32) {
    // R75
    let none = Value::Null;
    for version in restics().into_iter().filter(|it| it.version.1 == minor) {
        let (lab, was) = all_stored(&version);
        for manner in [OnlyMissing, Plain, CompareContent] {
            python(&lab, &["live"]);
            let before = tell(&lab, "/srv/www");
            // What is mounted is on a file system of its own: asked for alone.
            let (mounted, plain): (Vec<_>, Vec<_>) =
                cells().partition(|(_, live, _)| live.starts_with("mount"));
            for refused in [false, true] {
                let asked: Vec<_> = plain
                    .iter()
                    .filter(|(stored, live, _)| (expected(stored, live, manner) == Refused) == refused)
                    .collect();
                let paths: Vec<String> =
                    asked.iter().map(|(_, _, name)| format!("--path=/srv/www/{name}")).collect();
                let mut words = [&["restore", "web"], manner.words()].concat();
                words.extend(paths.iter().map(String::as_str));
                let ran = lab.expect(if refused { 8 } else { 0 }, &words);
                let after = tell(&lab, "/srv/www");
                for (stored, live, name) in asked {
                    let of = |all: &BTreeMap<String, Value>| all.get(name).unwrap_or(&none).clone();
                    let fate = expected(stored, live, manner);
                    check((stored, live, name), fate, &ran, [&of(&was), &of(&before), &of(&after)]);
                }
            }
            let of_mounts = mounted.iter().filter(|_| manner != CompareContent);
            for (stored, live, name) in of_mounts {
                let path = format!("/srv/www/{name}");
                let ran = lab.rlvm(&[&["restore", "web", "--path", &path], manner.words()].concat());
                let after = &tell(&lab, "/srv/www")[name];
                // A directory that is mounted there is what was asked for; a mount point itself is never replaced.
                let entered = (*stored, *live) == ("dir", "mountdir");
                let kept = (*stored, *live, manner) == ("file", "mountfile", OnlyMissing);
                assert_eq!(ran.code == Some(0), entered || kept, "{ran:?}");
                let is_as_stored = entered && manner == Plain;
                assert_eq!(after, if is_as_stored { &was[name] } else { &before[name] }, "{ran:?}");
            }
        }
        assert_eq!(left(&lab), "");
    }
}

#[test]
fn nothing_in_a_target_gives_way() {
    // R75
    let none = Value::Null;
    let top = "/srv/out/srv/www";
    for version in restics() {
        let (lab, was) = all_stored(&version);
        python(&lab, &["live", top]);
        let before = tell(&lab, top);
        let restore = ["restore", "web", "--target", "/srv/out", "--into-existing", "--json"];
        let kinds = || cells().filter(|(_, live, _)| !["same", "touched", "swapped"].contains(live));
        // What is of its kind: the whole restore is refused.
        let is_it =
            |stored: &str, live: &str| sort(stored) == sort(live.strip_prefix("mount").unwrap_or(live));
        let code = |stored: &str, live: &str| match live {
            "absent" => 0,
            _ if is_it(stored, live) => 6,
            _ => 8,
        };
        for wanted in [6, 8, 0] {
            let asked: Vec<_> = kinds().filter(|(stored, live, _)| code(stored, live) == wanted).collect();
            let paths: Vec<String> =
                asked.iter().map(|(_, _, name)| format!("--path=/srv/www/{name}")).collect();
            let calls: Vec<Vec<&str>> = match wanted {
                6 => paths.iter().map(|path| vec![path.as_str()]).collect(),
                _ => vec![paths.iter().map(String::as_str).collect()],
            };
            for paths in calls {
                let ran = lab.expect(wanted, &[&restore[..], &paths].concat());
                let after = tell(&lab, top);
                for (stored, live, name) in &asked {
                    let created = wanted == 0;
                    let disk = if created { &was[name] } else { &before[name] };
                    assert_eq!(after.get(name).unwrap_or(&none), disk, "{stored} over {live}: {ran:?}");
                    if wanted == 8 {
                        let lacking = names(&record(&ran.stdout)["unrestored"], "path");
                        let is_said = lacking.contains(name) || lacking.contains(&format!("{name}/in"));
                        assert!(is_said, "{stored} over {live}: {lacking:?}");
                    }
                }
            }
        }
        assert_eq!(left(&lab), "");
    }
}
