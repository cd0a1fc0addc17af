//! Writes one HTML page about the backups of one or more hosts. The page loads nothing, runs no scripts and needs no
//! other file. Pure.

mod cards;
mod matrix;
mod spark;
mod words;

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use self::words::{absolute, badge, esc, moment, span};
use super::{
    show::word,
    status::{Level, Remark, Status},
};

/// How the page looks. It stands in the page itself.
const STYLE: &str = include_str!("page/style.css");
/// How old a status may be before the page says that it is, in seconds: a day, and two hours for whoever collects it.
const OLD: i64 = 26 * 3600;

/// Writes the page. `now` is when it is made: ages count from then.
pub fn page(all: &[Status], now: Timestamp) -> String {
    let mut hosts: Vec<Host<'_>> = all.iter().map(|status| Host::new(status, now)).collect();
    hosts.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.status.host.cmp(&b.status.host)));
    let title = title(&hosts);
    let worst = hosts.iter().map(|host| host.level).max().unwrap_or_default();
    let overview = if hosts.len() > 1 { overview(&hosts, now) } else { String::new() };
    let sections: String =
        hosts.iter().enumerate().map(|(number, host)| host.section(number, hosts.len() == 1, now)).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{}: {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">Skip to the backups</a>\n\
         <header>\n<h1>{title}</h1>\n{}<p class=\"made\">Made {} by rlvm {}. A page grows old: ages are as of then.</p>\n</header>\n\
         <main id=\"main\" tabindex=\"-1\">\n{overview}{sections}</main>\n\
         <footer><p>Judged from the declared schedules and the snapshots that are in the repositories.</p></footer>\n\
         </body>\n</html>\n",
        policy(),
        word(worst),
        headline(&hosts, worst),
        stamp(now),
        esc(env!("CARGO_PKG_VERSION")),
    )
}

/// Forbids all but this very style: no script, no picture, no font, no frame, nothing of elsewhere.
fn policy() -> String {
    let digest = Base64::encode_string(&Sha256::digest(STYLE.as_bytes()));
    format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
}

/// A host on the page.
struct Host<'a> {
    status: &'a Status,
    /// The worst of it, its age too.
    level: Level,
    /// What else is to be said, the worst first.
    remarks: Vec<Remark>,
}

/// How many lines are of each level.
#[derive(Clone, Copy, Default)]
struct Counts {
    critical: usize,
    warning: usize,
    ok: usize,
}

impl<'a> Host<'a> {
    fn new(status: &'a Status, now: Timestamp) -> Self {
        let mut remarks = status.remarks.clone();
        remarks.extend(age(status, now));
        remarks.sort_by_key(|it| std::cmp::Reverse(it.level));
        let said = status.lines.iter().map(|it| it.level).chain(remarks.iter().map(|it| it.level));
        let level = said.max().unwrap_or_default().max(status.level);
        Self { status, level, remarks }
    }

    fn counts(&self) -> Counts {
        self.status.lines.iter().fold(Counts::default(), |counts, line| counts.with(line.level))
    }

    fn section(&self, number: usize, alone: bool, now: Timestamp) -> String {
        let Status { host, lines, rlvm_version, time, .. } = self.status;
        let id = format!("h{number}");
        let body = if lines.is_empty() {
            "<p>No job stores anything: the state declares none.</p>\n".to_owned()
        } else {
            matrix::matrix(lines, &id, now)
        };
        format!(
            "<section class=\"host\" aria-labelledby=\"{id}\">\n<h2 id=\"{id}\"><bdi>{}</bdi> {}</h2>\n\
             <p class=\"made\">Asked {}, by rlvm {}.</p>\n{body}{}{}</section>\n",
            esc(host.as_str()),
            badge(self.level),
            moment(time, now),
            esc(rlvm_version),
            cards::to_do(lines, &self.remarks, &id),
            cards::cards(lines, &id, alone, now),
        )
    }
}

impl Counts {
    fn with(self, of: Level) -> Self {
        match of {
            Level::Critical => Self { critical: self.critical + 1, ..self },
            Level::Warning => Self { warning: self.warning + 1, ..self },
            Level::Ok => Self { ok: self.ok + 1, ..self },
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            critical: self.critical + other.critical,
            warning: self.warning + other.warning,
            ok: self.ok + other.ok,
        }
    }

    fn sum(self) -> usize {
        self.critical + self.warning + self.ok
    }

    /// Writes them, the worst first, those that are none left out.
    fn words(self) -> String {
        let all = [(self.critical, "critical"), (self.warning, "warning"), (self.ok, "ok")];
        let all = all.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
        all.collect::<Vec<_>>().join(", ")
    }
}

/// Says that a status is old: a host that is gone says nothing bad of itself.
fn age(status: &Status, now: Timestamp) -> Option<Remark> {
    let time: Timestamp = status.time.parse().ok()?;
    let seconds = now.as_second().saturating_sub(time.as_second());
    (seconds > OLD).then(|| Remark {
        about: "status".into(),
        level: Level::Warning,
        message: format!(
            "what is said here is {} old: nothing has been heard of the host since",
            span(seconds.unsigned_abs())
        ),
    })
}

fn title(hosts: &[Host<'_>]) -> String {
    match hosts {
        [host] => format!("Backups of {}", esc(host.status.host.as_str())),
        hosts => format!("Backups of {} hosts", hosts.len()),
    }
}

/// Says in a sentence how things are.
fn headline(hosts: &[Host<'_>], worst: Level) -> String {
    let counts = hosts.iter().map(Host::counts).fold(Counts::default(), Counts::and);
    let remarks = hosts.iter().flat_map(|it| &it.remarks).filter(|it| it.level > Level::Ok).count();
    let backups = match counts.sum() {
        0 => "no backups are declared".to_owned(),
        1 => format!("1 backup: {}", counts.words()),
        sum => format!("{sum} backups: {}", counts.words()),
    };
    let beside = match remarks {
        0 => String::new(),
        1 => "; 1 remark".into(),
        several => format!("; {several} remarks"),
    };
    format!("<p class=\"headline {}\">{} {backups}{beside}</p>\n", word(worst), badge(worst))
}

fn stamp(now: Timestamp) -> String {
    format!("<time datetime=\"{now}\">{}</time>", absolute(now))
}

/// Lists the hosts, each with a way to its part of the page.
fn overview(hosts: &[Host<'_>], now: Timestamp) -> String {
    let row = |(number, host): (usize, &Host<'_>)| {
        let Status { host: name, time, lines, .. } = host.status;
        let newest = lines.iter().filter_map(|it| it.newest.as_deref()).max();
        let counts = if lines.is_empty() { "no backups".into() } else { host.counts().words() };
        format!(
            "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\"><a href=\"#h{number}\"><bdi>{}</bdi></a></th>\
             <td role=\"cell\">{}</td><td role=\"cell\"><span class=\"label\" aria-hidden=\"true\">Backups</span>{counts}</td>\
             <td role=\"cell\"><span class=\"label\" aria-hidden=\"true\">Newest</span>{}</td>\
             <td role=\"cell\"><span class=\"label\" aria-hidden=\"true\">Asked</span>{}</td></tr>\n",
            esc(name.as_str()),
            badge(host.level),
            newest.map_or("none".into(), |it| moment(it, now)),
            moment(time, now),
        )
    };
    let rows: String = hosts.iter().enumerate().map(row).collect();
    let heads: String = ["Host", "Level", "Backups", "Newest", "Asked"]
        .map(|head| format!("<th role=\"columnheader\" scope=\"col\">{head}</th>"))
        .concat();
    format!(
        "<section aria-labelledby=\"hosts\">\n<h2 id=\"hosts\">Hosts</h2>\n<table class=\"hosts\" role=\"table\" aria-labelledby=\"hosts\">\n\
         <thead role=\"rowgroup\"><tr role=\"row\">{heads}</tr></thead>\n<tbody role=\"rowgroup\">\n{rows}</tbody>\n</table>\n</section>\n"
    )
}

/// Keeps of several statuses of one host the latest; returns the hosts of which there were more.
pub fn latest(all: Vec<Status>) -> (Vec<Status>, Vec<String>) {
    let mut kept: BTreeMap<_, Status> = BTreeMap::new();
    let mut twice = Vec::new();
    for status in all {
        let time = |it: &Status| it.time.parse::<Timestamp>().ok();
        match kept.get(&status.host) {
            Some(there) => {
                twice.push(status.host.to_string());
                if time(there) < time(&status) {
                    kept.insert(status.host.clone(), status);
                }
            }
            None => drop(kept.insert(status.host.clone(), status)),
        }
    }
    (kept.into_values().collect(), twice)
}

#[cfg(test)]
mod tests;
