//! Writes the text of notifications.

use std::fmt::Write;

use serde::Serialize;

use super::{
    notice::Item,
    told::{About, Kind, minute},
};
use crate::{
    model::{HostName, HostPath, mask_passwords},
    state::Occasion,
};

/// How many things a subject names.
const NAMED: usize = 3;
/// How much of one thing's words is told, in characters.
const LONGEST: usize = 1500;

/// What is told, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The worst occasion of all.
    pub occasion: Occasion,
    /// In one line.
    pub subject: String,
    /// In full, the subject left out.
    pub text: String,
    /// The ends of logs, under the text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log: String,
}

/// The end of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Where the log is.
    pub log: HostPath,
    /// Its last lines.
    pub lines: Vec<String>,
}

impl Message {
    /// Writes it.
    pub fn new(host: &HostName, items: &[Item], logs: &HostPath, tails: &[Tail]) -> Self {
        let mut items: Vec<&Item> = items.iter().collect();
        items.sort_by_key(|item| rank(item.occasion));
        let occasion = items.first().map_or(Occasion::Success, |item| item.occasion);
        let blocks: Vec<String> = items.iter().map(|item| block(item, logs)).collect();
        let tail = |tail: &Tail| format!("the end of {}:\n{}\n", tail.log, tail.lines.join("\n"));
        Self {
            occasion,
            subject: scrub(&format!("{host}: {}", subject(occasion, &items))),
            text: scrub(&blocks.join("\n")),
            log: scrub(
                &tails.iter().filter(|it| !it.lines.is_empty()).map(tail).collect::<Vec<_>>().join("\n"),
            ),
        }
    }

    /// Writes one that is only to be seen.
    pub fn test(host: &HostName, notifier: &str) -> Self {
        Self {
            occasion: Occasion::Success,
            subject: format!("{host}: a test of the notifier {notifier}"),
            text: "Messages like this one will say when backups fail.\n".into(),
            log: String::new(),
        }
    }

    /// Returns the text with the ends of logs.
    pub fn whole(&self) -> String {
        if self.log.is_empty() { self.text.clone() } else { format!("{}\n{}", self.text, self.log) }
    }
}

/// Puts the worst first.
const fn rank(occasion: Occasion) -> u8 {
    match occasion {
        Occasion::Failure => 0,
        Occasion::Verify => 1,
        Occasion::Overdue => 2,
        Occasion::Recovery => 3,
        Occasion::Success => 4,
    }
}

fn subject(occasion: Occasion, items: &[&Item]) -> String {
    let what = match occasion {
        Occasion::Failure => "backup failed",
        Occasion::Recovery => "backup works again",
        Occasion::Overdue => "backup overdue",
        Occasion::Verify => "verification failed",
        Occasion::Success => "backup done",
    };
    let of: Vec<&&Item> = items.iter().filter(|item| item.occasion == occasion).collect();
    let mut names: Vec<String> = of.iter().take(NAMED).map(|item| name(&item.about)).collect();
    if items.len() > names.len() {
        names.push(format!("{} more", items.len() - names.len()));
    }
    format!("{what}: {}", names.join(", "))
}

/// Names what something is about: `system at vault`.
fn name(about: &About) -> String {
    match (&about.job, &about.destination) {
        (Some(job), Some(destination)) => format!("{job} at {destination}"),
        (Some(one), None) | (None, Some(one)) => one.to_string(),
        (None, None) => String::new(),
    }
}

fn block(item: &Item, logs: &HostPath) -> String {
    let About { kind, job, .. } = &item.about;
    let word = if item.occasion == Occasion::Failure && *kind == Kind::Run { "failed: " } else { "" };
    let mut text =
        format!("{}: {word}{}\n", name(&item.about), cut(&item.what, LONGEST).replace('\n', "\n  "));
    if let Some(since) = &item.since {
        let (since, told) = (minute(since), if item.again { ", told before" } else { "" });
        let before = if item.occasion == Occasion::Recovery { "was in trouble since" } else { "since" };
        let _ = writeln!(text, "  {before} {since}{told}");
    }
    if matches!(item.occasion, Occasion::Recovery | Occasion::Success) {
        return text;
    }
    let _ = match (kind, job) {
        (Kind::Run, Some(job)) => {
            let logs = logs.as_str().trim_end_matches('/');
            writeln!(text, "  more: rlvm why {job}; what programs said: {logs}/{job}.log")
        }
        (Kind::Due, Some(job)) => writeln!(text, "  more: rlvm status; to catch up: rlvm run {job}"),
        (Kind::Prune, Some(job)) => writeln!(text, "  to try again: rlvm prune {job}"),
        (Kind::Verify | Kind::VerifyDue, _) => {
            writeln!(text, "  more: rlvm status; to try again: rlvm verify")
        }
        (Kind::Prune, None) => writeln!(text, "  to try again: rlvm prune --client {}", name(&item.about)),
        (_, None) => Ok(()),
    };
    text
}

/// Takes the last lines that a run has left in a log.
pub fn lines_of(log: &str, run: Option<&str>, count: usize) -> Vec<String> {
    let is_of = |line: &&str| run.is_none_or(|run| line.split(' ').nth(1) == Some(run));
    let mut lines: Vec<String> = log.lines().rev().filter(is_of).take(count).map(ToOwned::to_owned).collect();
    lines.reverse();
    lines
}

/// Cuts a text that is too long.
pub(super) fn cut(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters.saturating_sub(2)).chain(" …".chars()).collect()
}

/// Takes out what no message carries: passwords in addresses, control characters.
fn scrub(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    mask_passwords(text).chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(occasion: Occasion, kind: Kind, job: &str, to: Option<&str>, what: &str) -> Item {
        let about = About {
            kind,
            job: Some(job).filter(|it| !it.is_empty()).map(|it| it.parse().unwrap()),
            destination: to.map(|it| it.parse().unwrap()),
        };
        let since = Some("2026-11-20T02:30:00Z".to_owned());
        Item { occasion, about, what: what.into(), since, again: false }
    }

    fn message(items: &[Item], tails: &[Tail]) -> String {
        let host = "web01".parse().unwrap();
        let message = Message::new(&host, items, &"/var/log/rlvm".parse().unwrap(), tails);
        format!("{}\n\n{}", message.subject, message.whole())
    }

    #[test]
    fn what_people_read() {
        let failed = item(Occasion::Failure, Kind::Run, "system", Some("vault"), "locked by something else");
        let tail = Tail {
            log: "/var/log/rlvm/system.log".parse().unwrap(),
            lines: vec![
                "2026-11-20T02:30:00Z 0123456789ab vault: Fatal: unable to open rest:https://u:p@h/".into(),
            ],
        };
        insta::assert_snapshot!("failure", message(std::slice::from_ref(&failed), &[tail]));
        let storm = [
            item(Occasion::Recovery, Kind::Run, "mail", Some("near"), "stored again"),
            Item { again: true, ..failed },
            item(Occasion::Failure, Kind::Run, "home", None, "the hook `before` failed\nexit code 1"),
            item(Occasion::Failure, Kind::Prune, "home", Some("far"), "old backups are not removed: refused"),
            item(Occasion::Failure, Kind::Run, "web", Some("far"), "some files could not be read"),
        ];
        insta::assert_snapshot!("storm", message(&storm, &[]));
        let rest = [
            item(
                Occasion::Overdue,
                Kind::Due,
                "home",
                Some("far"),
                "overdue by 2 days: nothing is stored for 02:30",
            ),
            item(Occasion::Verify, Kind::Verify, "", Some("far"), "damaged: pack 1234 is not what it was"),
            Item { since: None, ..item(Occasion::Success, Kind::Run, "mail", None, "stored at near, far") },
        ];
        insta::assert_snapshot!("rest", message(&rest, &[]));
    }

    #[test]
    fn no_password_of_an_address_and_no_control_character() {
        assert_eq!(
            scrub("rest:https://me:pw@host/a and https://v:q@b \u{1b}[31m"),
            "rest:https://***@host/a and https://***@b \u{fffd}[31m"
        );
        assert_eq!(scrub("https://u:p:q@r@host"), "https://***@host");
    }

    #[test]
    fn the_lines_of_a_run_alone() {
        let log = "t1 aaaaaaaaaaaa near: one\nt2 bbbbbbbbbbbb near: two\nt3 bbbbbbbbbbbb near: three\n";
        assert_eq!(lines_of(log, Some("bbbbbbbbbbbb"), 9).len(), 2);
        assert_eq!(lines_of(log, Some("bbbbbbbbbbbb"), 1), ["t3 bbbbbbbbbbbb near: three"]);
        assert_eq!(lines_of(log, None, 9).len(), 3);
        assert!(lines_of(log, None, 0).is_empty());
    }
}
