//! Writes the matrix of a host: one row per job, one column per destination.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::words::{badge, moment, verdict};
use crate::{
    model::Name,
    report::{
        show::word,
        status::{Line, Verdict},
    },
};

/// Writes the matrix.
///
/// Where the page is narrow each row stands as a block, and each cell names its destination itself. That takes the
/// meaning of a table away from what is read out, so its roles are said.
pub(super) fn matrix(lines: &[Line], id: &str, now: Timestamp) -> String {
    let destinations: BTreeSet<&Name> = lines.iter().map(|line| &line.destination).collect();
    let mut jobs: BTreeMap<&Name, BTreeMap<&Name, &Line>> = BTreeMap::new();
    for line in lines {
        jobs.entry(&line.job).or_default().insert(&line.destination, line);
    }
    let heads: String = destinations
        .iter()
        .map(|name| format!("<th role=\"columnheader\" scope=\"col\">{name}</th>"))
        .collect();
    let rows: String = jobs.iter().map(|(job, cells)| row(job, cells, &destinations, now)).collect();
    format!(
        "<h3 id=\"{id}m\">Jobs and destinations</h3>\n\
         <div class=\"wide\" role=\"region\" aria-labelledby=\"{id}m\" tabindex=\"0\">\n\
         <table class=\"matrix\" role=\"table\" aria-labelledby=\"{id}m\">\n\
         <thead role=\"rowgroup\"><tr role=\"row\"><th role=\"columnheader\" scope=\"col\">Job</th>{heads}</tr></thead>\n\
         <tbody role=\"rowgroup\">\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

fn row(job: &Name, cells: &BTreeMap<&Name, &Line>, destinations: &BTreeSet<&Name>, now: Timestamp) -> String {
    let cells: String = destinations
        .iter()
        .map(|name| match cells.get(name) {
            Some(line) => cell(line, now),
            None => "<td role=\"cell\" class=\"none\"><span aria-hidden=\"true\">–</span><span class=\"unseen\">not stored \
                     there</span></td>"
                .into(),
        })
        .collect();
    format!("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">{job}</th>{cells}</tr>\n")
}

fn cell(line: &Line, now: Timestamp) -> String {
    let said: Vec<&str> = line.judged.iter().map(|it| verdict(it.verdict)).collect();
    let said = if said.is_empty() { "nothing to say".into() } else { said.join(", ") };
    let copy = if line.copy { " <span class=\"copy\">copy</span>" } else { "" };
    let blind = line.judged.iter().any(|it| matches!(it.verdict, Verdict::Unreachable | Verdict::Unreadable));
    let newest = match &line.newest {
        Some(time) => moment(time, now),
        None if blind => "not known".into(),
        None => "no snapshot".into(),
    };
    format!(
        "<td role=\"cell\" class=\"{}\"><span class=\"label\" aria-hidden=\"true\">{}</span>{}{copy} \
         <span class=\"said\">{said}</span> {newest}</td>",
        word(line.level),
        line.destination,
        badge(line.level),
    )
}
