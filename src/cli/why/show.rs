//! Prints everything about a job as text.

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};

use super::{Bad, From, To, Why};
use crate::{
    cli::list::When,
    job::{JobRecord, Record, StoreRecord},
    model::HostPath,
    state::{Hook, IoNice, NiceClass, OnFailure, Stop},
};

/// How wide what stands before each paragraph is.
const WIDTH: usize = 14;

impl Why {
    /// Writes it in paragraphs.
    pub(super) fn show(&self, zone: &TimeZone) -> String {
        let mut text = format!("job {} of {}\n", self.job, self.host);
        for (name, lines) in self.paragraphs(zone) {
            for (place, line) in lines.iter().flat_map(|line| line.lines()).enumerate() {
                let name = if place == 0 { name } else { "" };
                // What a file is called, or a program said, moves no cursor.
                let line: String =
                    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
                let _ = writeln!(text, "  {name:WIDTH$}{line}");
            }
        }
        text
    }

    fn paragraphs(&self, zone: &TimeZone) -> Vec<(&'static str, Vec<String>)> {
        let places = |all: &[To]| all.iter().map(place).collect::<Vec<_>>();
        let mut destinations = places(&self.destinations);
        if self.destinations.len() > 1 {
            destinations.push(match self.spec.parallel {
                1 => "one after another".into(),
                several => format!("up to {several} side by side"),
            });
        }
        let variables = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let told = "RLVM_RUN; at the end RLVM_STATUS and RLVM_FAILED".to_owned();
        let mut all = vec![
            ("user", vec![self.spec.user.to_string()]),
            ("schedule", self.when()),
            ("sources", self.sources.iter().map(source).collect()),
            ("excluded", self.spec.exclude.iter().map(ToString::to_string).collect()),
            ("unfit", self.unfit.iter().map(bad).collect()),
            ("destinations", destinations),
            ("copies", places(&self.copies)),
            ("keeps", vec![self.keeps.clone()]),
            ("prune", self.pruned()),
            ("stops", self.spec.stop.iter().map(stop).collect()),
            ("hooks", self.hooks()),
            ("limits", self.limits()),
            ("environment", variables.chain([told]).collect()),
            ("cache", vec![self.cache.to_string()]),
            ("last run", self.last.as_ref().map_or_else(|| vec!["never".into()], |it| last(it, zone))),
            ("log", vec![self.log.to_string()]),
            ("records", vec![self.records.to_string()]),
        ];
        all.retain(|(_, lines)| lines.iter().any(|line| !line.is_empty()));
        all
    }

    fn when(&self) -> Vec<String> {
        let Some(schedule) = &self.spec.schedule else { return vec!["by hand".into()] };
        let later = self.spec.jitter.map(|it| format!(", up to {it} later")).unwrap_or_default();
        let off = if self.spec.enabled { "" } else { "; disabled" };
        let next: Vec<String> = self.next.iter().map(When::short).collect();
        let next = if next.is_empty() { String::new() } else { format!("next: {}", next.join(", ")) };
        vec![format!("{schedule}{later}{off}"), next]
    }

    fn pruned(&self) -> Vec<String> {
        let next = self.next_prune.as_ref().map(|it| format!("; next: {}", it.short())).unwrap_or_default();
        let schedule =
            self.spec.prune.schedule.as_ref().map_or_else(|| "by hand".into(), ToString::to_string);
        if self.spec.retention.is_some() { vec![format!("{schedule}{next}")] } else { Vec::new() }
    }

    fn hooks(&self) -> Vec<String> {
        let hooks = &self.spec.hooks;
        let all = [
            ("before", &hooks.before),
            ("after", &hooks.after),
            ("failed", &hooks.failed),
            ("finally", &hooks.finally),
        ];
        let of = |(when, hooks): (&'static str, &Vec<Hook>)| {
            hooks.iter().map(|it| hook(when, it)).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(of).collect()
    }

    fn limits(&self) -> Vec<String> {
        let timeout = self.spec.timeout.map(|it| format!("ended after {it}"));
        let nice = self.spec.nice.map(|it| format!("nice {it}"));
        let ionice = self.spec.ionice.map(|IoNice { class, level }| match (class, level) {
            (NiceClass::Idle, _) => "ionice idle".into(),
            (NiceClass::BestEffort, level) => format!("ionice best effort {}", level.unwrap_or(4)),
        });
        vec![[timeout, nice, ionice].into_iter().flatten().collect::<Vec<_>>().join(", ")]
    }
}

fn bad(bad: &Bad) -> String {
    format!("{}; {}", bad.message, bad.remedy)
}

fn place(to: &To) -> String {
    let from = to.from.as_ref().map(|from| format!(", from {from}")).unwrap_or_default();
    format!("{}: {}{from}", to.name, to.repository)
}

fn source(source: &From) -> String {
    let name = &source.source;
    let mut line = name.clone();
    if let Some(freeze) = &source.frozen {
        let how = match freeze.mib {
            Some(mib) => format!("snapshot of {mib} MiB"),
            None => "snapshot that grows as it needs (thin)".into(),
        };
        line = format!("{line}: mounted at {}, {how}", freeze.at);
    }
    let paths: Vec<&str> = source.paths.iter().map(HostPath::as_str).collect();
    if !paths.is_empty() && paths != [name.as_str()] {
        line = format!("{line}, stores {}", paths.join(" "));
    }
    source.unfit.as_ref().map_or(line.clone(), |unfit| format!("{line}\n  unfit: {}", bad(unfit)))
}

fn stop(stop: &Stop) -> String {
    match stop {
        Stop::Systemd(unit) => format!("systemd {unit}"),
        Stop::Container(name) => format!("container {name}"),
        Stop::Compose(dir) => format!("compose {dir}"),
    }
}

fn hook(when: &str, hook: &Hook) -> String {
    let name = hook.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let fails = if hook.on_failure == OnFailure::Continue { ", may fail" } else { "" };
    let mut lines = hook.run.as_str().lines();
    let first = lines.next().unwrap_or_default();
    let more = if lines.next().is_some() { " …" } else { "" };
    format!("{when}{name} (up to {}{fails}): {first}{more}", hook.timeout)
}

fn last(record: &Record, zone: &TimeZone) -> Vec<String> {
    let local = |text: &str| match text.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M").to_string(),
        Err(_) => text.to_owned(),
    };
    let status = record.jobs.first().map_or(record.status, |job| job.status).word();
    let mut lines =
        vec![format!("{status}, {}, {:.0} s, run {}", local(&record.started), record.seconds, record.run)];
    for JobRecord { errors, warnings, destinations, copies, .. } in &record.jobs {
        lines.extend(errors.iter().map(|why| format!("error: {why}")));
        lines.extend(warnings.iter().map(|why| format!("warning: {why}")));
        lines.extend(destinations.iter().chain(copies).map(stored));
    }
    lines
}

fn stored(store: &StoreRecord) -> String {
    let snapshot = store.summary.as_ref().and_then(|it| it.snapshot_id.get(..8));
    let snapshot = snapshot.map(|id| format!(", snapshot {id}")).unwrap_or_default();
    let error = store.error.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
    format!("{}: {}{snapshot}{error}", store.destination, store.status.word())
}
