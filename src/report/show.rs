//! Prints the status as text.

use std::fmt::Write;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    status::{Level, Line, Status},
    words,
};
use crate::plan::show::{Paint, Style, visible};

/// Writes a line a job and destination, the remarks, and the closing line.
pub fn text(status: &Status, zone: &TimeZone, style: Style) -> String {
    let mut out = String::new();
    let head = ["LEVEL", "JOB", "DESTINATION", "NEWEST", "COUNT", "SIZE", "WHAT"].map(str::to_owned);
    let rows: Vec<[String; 7]> =
        std::iter::once(head).chain(status.lines.iter().map(|line| row(line, zone))).collect();
    if !status.lines.is_empty() {
        let mut shown = words::columns(&rows).into_iter();
        let head = shown.next().unwrap_or_default();
        let _ = writeln!(out, "{}", style.paint(Paint::Faint, &head));
        for (line, shown) in status.lines.iter().zip(shown) {
            let rest = shown.strip_prefix(word(line.level)).unwrap_or(&shown);
            let _ = writeln!(out, "{}{rest}", style.paint(paint(line.level), word(line.level)));
        }
        out.push('\n');
    }
    for remark in &status.remarks {
        let level = style.paint(paint(remark.level), word(remark.level));
        let _ = writeln!(out, "{level}: {}: {}", remark.about, visible(&remark.message));
    }
    if !status.remarks.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(out, "{}", style.paint(Paint::Strong, &closing(status)));
    out
}

fn row(line: &Line, zone: &TimeZone) -> [String; 7] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let newest = line.newest.as_ref().and_then(|time| time.parse::<Timestamp>().ok());
    let what: Vec<String> = line.judged.iter().map(|it| visible(&it.message)).collect();
    [
        word(line.level).into(),
        line.job.to_string(),
        format!("{}{}", line.destination, if line.copy { " (copy)" } else { "" }),
        or_dash(newest.map(|time| words::at(time, zone))),
        or_dash(line.snapshots.map(|count| count.to_string())),
        or_dash(line.bytes.map(words::size)),
        what.join("; "),
    ]
}

/// Returns the word for a level.
pub fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Critical => "critical",
    }
}

fn paint(level: Level) -> Paint {
    match level {
        Level::Ok => Paint::Added,
        Level::Warning => Paint::Changed,
        Level::Critical => Paint::Removed,
    }
}

/// Writes the closing line. It is made of the same levels as the exit code.
fn closing(status: &Status) -> String {
    let levels = status.lines.iter().map(|line| line.level);
    let levels: Vec<Level> = levels.chain(status.remarks.iter().map(|remark| remark.level)).collect();
    let count = |level: Level| levels.iter().filter(|it| **it == level).count();
    let (critical, warnings, ok) = (count(Level::Critical), count(Level::Warning), count(Level::Ok));
    let s = |count: usize| if count == 1 { "" } else { "s" };
    match (critical, warnings, ok) {
        (0, 0, 0) => "There is nothing to look at: no job stores anything.".into(),
        (0, 0, ok) => format!("All is well: {ok} backup{} as declared.", s(ok)),
        _ => format!("Status: {critical} critical, {warnings} warning{}, {ok} ok.", s(warnings)),
    }
}
