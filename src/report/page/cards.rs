//! Writes the cards of the page: open problems, and details of each backup.

use jiff::Timestamp;

use super::{
    spark::spark,
    words::{badge, esc, moment, span},
};
use crate::report::{
    show::word,
    status::{Judged, Level, Line, Remark, Verdict},
    words::size,
};

/// Lists what is not as it should be, each with what to do.
pub(super) fn to_do(lines: &[Line], remarks: &[Remark], id: &str) -> String {
    let bad = lines.iter().filter(|line| line.level > Level::Ok);
    let mut items: String = bad.map(line_item).collect();
    items.extend(remarks.iter().map(remark_item));
    if items.is_empty() {
        return String::new();
    }
    format!(
        "<h3 id=\"{id}d\">To be looked at</h3>\n<ul class=\"todo\" aria-labelledby=\"{id}d\">\n{items}</ul>\n"
    )
}

fn line_item(line: &Line) -> String {
    let Line { job, destination, .. } = line;
    let said: String = line
        .judged
        .iter()
        .filter(|it| it.level > Level::Ok)
        .map(|it| format!("<br>{}", esc(&it.message)))
        .collect();
    let mut commands = vec![format!("rlvm why {job}")];
    commands.extend(line.judged.iter().filter(|it| it.level > Level::Ok).filter_map(|it| help(it, line)));
    commands.dedup();
    format!(
        "<li class=\"{}\">{} <strong>{job} at {destination}</strong>{said}{}</li>\n",
        word(line.level),
        badge(line.level),
        how(&commands),
    )
}

fn remark_item(remark: &Remark) -> String {
    let Remark { about, level: of, message } = remark;
    let command = match about.as_str() {
        "drift" => vec!["rlvm plan".to_owned()],
        "notify" => vec!["rlvm notify test".to_owned()],
        "journal" => vec!["rlvm sweep".to_owned()],
        _ => Vec::new(),
    };
    format!(
        "<li class=\"{}\">{} <strong>{}</strong><br>{}{}</li>\n",
        word(*of),
        badge(*of),
        esc(about),
        esc(message),
        how(&command),
    )
}

fn how(commands: &[String]) -> String {
    if commands.is_empty() {
        return String::new();
    }
    let all: Vec<String> = commands.iter().map(|it| format!("<code>{}</code>", esc(it))).collect();
    format!("<br><span class=\"how\">On the host: {}</span>", all.join(" "))
}

/// Names the command that may help. Names of jobs and destinations need no quotes.
fn help(judged: &Judged, line: &Line) -> Option<String> {
    let Line { job, destination, .. } = line;
    Some(match judged.verdict {
        Verdict::Overdue | Verdict::NeverStored | Verdict::Gone | Verdict::Failing | Verdict::Incomplete => {
            format!("rlvm run {job}")
        }
        Verdict::NeverVerified | Verdict::VerifyOverdue | Verdict::VerifyFailed => {
            format!("rlvm verify {job} --to {destination}")
        }
        Verdict::RetentionUnmet => format!("rlvm prune {job}"),
        Verdict::NotInitialised => "rlvm plan".into(),
        Verdict::Shrinking | Verdict::Growing => format!("rlvm snapshots {job} --to {destination}"),
        Verdict::Unreachable | Verdict::Unreadable => "rlvm plan --refresh".into(),
        Verdict::Fresh | Verdict::Due | Verdict::Running | Verdict::Unscheduled | Verdict::FromTheFuture => {
            return None;
        }
    })
}

/// Writes all about each backup.
///
/// `open` says whether they are to be seen at once: of many hosts they would be all there is to see.
pub(super) fn cards(lines: &[Line], id: &str, open: bool, now: Timestamp) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let all: String =
        lines.iter().enumerate().map(|(number, line)| card(line, &format!("{id}-{number}"), now)).collect();
    let open = if open { " open" } else { "" };
    format!(
        "<details{open}>\n<summary><h3 id=\"{id}c\">Each backup</h3></summary>\n\
         <ul class=\"cards\" aria-labelledby=\"{id}c\">\n{all}</ul>\n</details>\n"
    )
}

fn card(line: &Line, id: &str, now: Timestamp) -> String {
    let Line { job, destination, .. } = line;
    let copy = if line.copy { " <span class=\"copy\">copy</span>" } else { "" };
    let said: String = line.judged.iter().map(|it| format!("<li>{}</li>", esc(&it.message))).collect();
    let said = if said.is_empty() { said } else { format!("<ul class=\"plain\">{said}</ul>\n") };
    let facts: String = facts(line, now)
        .into_iter()
        .map(|(name, what)| format!("<div><dt>{name}</dt><dd>{what}</dd></div>\n"))
        .collect();
    format!(
        "<li><article class=\"{}\" aria-labelledby=\"c{id}\">\n<h4 id=\"c{id}\">{job} <span class=\"to\">at</span> \
         {destination}{copy}</h4>\n<p>{}</p>\n{said}{}\n<dl>\n{facts}</dl>\n</article></li>\n",
        word(line.level),
        badge(line.level),
        spark(line, &format!("s{id}")),
    )
}

/// Lists what is known of a backup.
fn facts(line: &Line, now: Timestamp) -> Vec<(&'static str, String)> {
    let time = |it: &Option<String>| it.as_deref().map(|it| moment(it, now));
    let id = line
        .newest_id
        .as_ref()
        .map(|id| format!(" <code>{}</code>", esc(id.get(..8).unwrap_or(id))))
        .unwrap_or_default();
    let checked = |it: &Option<String>| Some(time(it).unwrap_or_else(|| "never".into()));
    let overdue = line.overdue_seconds.filter(|it| *it > 0).map(|it| span(it.unsigned_abs()));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole seconds will do, none below 0"
    )]
    let took = line.seconds.map(|it| span(it.max(0.0).round() as u64));
    let all = [
        ("Newest", time(&line.newest).map(|it| it + &id)),
        ("Overdue for", overdue),
        ("Failing since", time(&line.failing_since)),
        ("Snapshots", line.snapshots.map(|it| it.to_string())),
        ("Oldest", time(&line.oldest)),
        ("Size", line.bytes.map(size)),
        ("Last run added", line.added.map(size)),
        ("Last run took", took),
        ("Was due", time(&line.due)),
        ("Next", time(&line.next)),
        ("Verified", checked(&line.verified)),
        ("Restored a sample", checked(&line.drilled)),
    ];
    all.into_iter().filter_map(|(name, what)| Some((name, what?))).collect()
}
