//! Writes the status in Prometheus' text format, for node-exporter's textfile collector.
//!
//! All metrics are gauges: each file describes the present. Times are Unix times, sizes are in bytes, durations in
//! seconds. Unknown values have no sample.

use std::fmt::Write;

use super::{
    show::word,
    status::{Level, Line, Status, Verdict},
};

/// What a metric is, and what it says of a line.
struct Metric {
    name: &'static str,
    help: &'static str,
    of: fn(&Line) -> Option<f64>,
}

/// Those with the labels `job_name` and `destination`: `job` is Prometheus' own name for what it scrapes.
const OF_LINES: &[Metric] = &[
    Metric {
        name: "rlvm_backup_level",
        help: "How well the backups of a job at a destination are: 0 ok, 1 warning, 2 critical.",
        of: |line| Some(number(line.level)),
    },
    Metric {
        name: "rlvm_backup_last_success_timestamp_seconds",
        help: "Of when the newest snapshot in the repository is.",
        of: |line| time(line.newest.as_deref()),
    },
    Metric {
        name: "rlvm_backup_oldest_timestamp_seconds",
        help: "Of when the oldest snapshot in the repository is.",
        of: |line| time(line.oldest.as_deref()),
    },
    Metric {
        name: "rlvm_backup_due_timestamp_seconds",
        help: "The time that the schedule had last.",
        of: |line| time(line.due.as_deref()),
    },
    Metric {
        name: "rlvm_backup_next_timestamp_seconds",
        help: "The time that the schedule has next.",
        of: |line| time(line.next.as_deref()),
    },
    Metric {
        name: "rlvm_backup_overdue_seconds",
        help: "For how long a backup has been missing, beyond what a run may take; 0 if none is.",
        of: |line| line.snapshots.map(|_| whole(line.overdue_seconds.unwrap_or(0))),
    },
    Metric {
        name: "rlvm_backup_failing_since_timestamp_seconds",
        help: "Since when each run has failed; no sample if the last one did not.",
        of: |line| time(line.failing_since.as_deref()),
    },
    Metric {
        name: "rlvm_backup_snapshots",
        help: "How many snapshots of the job the repository holds.",
        of: |line| line.snapshots.and_then(|it| i64::try_from(it).ok()).map(whole),
    },
    Metric {
        name: "rlvm_backup_size_bytes",
        help: "How many bytes the files of the newest snapshot have.",
        of: |line| bytes(line.bytes),
    },
    Metric {
        name: "rlvm_backup_last_added_bytes",
        help: "How many bytes the last run added to the repository, before they were compressed.",
        of: |line| bytes(line.added),
    },
    Metric {
        name: "rlvm_backup_last_duration_seconds",
        help: "How long the last run took to store it.",
        of: |line| line.seconds,
    },
    Metric {
        name: "rlvm_backup_verified_timestamp_seconds",
        help: "When the repository was last verified and found well.",
        of: |line| time(line.verified.as_deref()),
    },
    Metric {
        name: "rlvm_backup_drilled_timestamp_seconds",
        help: "When a sample was last restored and found right.",
        of: |line| time(line.drilled.as_deref()),
    },
];

/// What remarks may be about.
const REMARKS: &[&str] = &["drift", "journal", "metrics", "notify", "prune", "records", "secret"];

/// The others.
const OF_ALL: &[&str] = &[
    "rlvm_build_info",
    "rlvm_status_timestamp_seconds",
    "rlvm_status_level",
    "rlvm_remarks",
    "rlvm_backup_info",
    "rlvm_backup_verdict",
];

/// Names all metrics.
pub fn names() -> impl Iterator<Item = &'static str> {
    OF_ALL.iter().copied().chain(OF_LINES.iter().map(|metric| metric.name))
}

/// Writes the whole file.
pub fn text(status: &Status) -> String {
    let mut out = String::new();
    head(&mut out, "rlvm_build_info", "Which rlvm wrote this, and for which host.");
    let labels = [("version", status.rlvm_version.as_str()), ("host", status.host.as_str())];
    sample(&mut out, "rlvm_build_info", &labels, 1.0);
    head(&mut out, "rlvm_status_timestamp_seconds", "When the repositories were asked.");
    if let Some(asked) = time(Some(&status.time)) {
        sample(&mut out, "rlvm_status_timestamp_seconds", &[], asked);
    }
    head(&mut out, "rlvm_status_level", "The worst of all levels: 0 ok, 1 warning, 2 critical.");
    sample(&mut out, "rlvm_status_level", &[], number(status.level));
    head(&mut out, "rlvm_remarks", "How many remarks there are on the host itself, by what they are about.");
    let others = status.remarks.iter().map(|remark| remark.about.as_str());
    let mut about: Vec<&str> = REMARKS.iter().copied().chain(others).collect();
    about.sort_unstable();
    about.dedup();
    for about in about {
        let count = status.remarks.iter().filter(|remark| remark.about == about).count();
        sample(
            &mut out,
            "rlvm_remarks",
            &[("about", about)],
            whole(i64::try_from(count).unwrap_or(i64::MAX)),
        );
    }
    let mut lines: Vec<&Line> = status.lines.iter().collect();
    lines.sort_by_key(|line| (&line.job, &line.destination));
    of_lines(&mut out, &lines);
    out
}

fn of_lines(out: &mut String, lines: &[&Line]) {
    head(out, "rlvm_backup_info", "A job at a destination, whether it is a copy, and its level in words.");
    for line in lines {
        let copy = if line.copy { "yes" } else { "no" };
        let more = [("copy", copy), ("level", word(line.level))];
        sample(out, "rlvm_backup_info", &[&of(line)[..], &more].concat(), 1.0);
    }
    for metric in OF_LINES {
        head(out, metric.name, metric.help);
        for line in lines {
            if let Some(value) = (metric.of)(line) {
                sample(out, metric.name, &of(line), value);
            }
        }
    }
    head(out, "rlvm_backup_verdict", "What is said of a job at a destination: 1 if it is, 0 if not.");
    for line in lines {
        for verdict in Verdict::ALL {
            let said = line.judged.iter().any(|it| it.verdict == *verdict);
            let labels = [&of(line)[..], &[("verdict", verdict.word())]].concat();
            sample(out, "rlvm_backup_verdict", &labels, f64::from(u8::from(said)));
        }
    }
}

fn of(line: &Line) -> [(&'static str, &str); 2] {
    [("job_name", line.job.as_str()), ("destination", line.destination.as_str())]
}

fn number(level: Level) -> f64 {
    match level {
        Level::Ok => 0.0,
        Level::Warning => 1.0,
        Level::Critical => 2.0,
    }
}

fn time(text: Option<&str>) -> Option<f64> {
    Some(whole(text?.parse::<jiff::Timestamp>().ok()?.as_second()))
}

fn bytes(count: Option<u64>) -> Option<f64> {
    Some(whole(i64::try_from(count?).unwrap_or(i64::MAX)))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
fn whole(number: i64) -> f64 {
    number as f64
}

fn head(out: &mut String, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(out, "{name}{labels} {value}");
}

/// Writes a label's value as the format asks for it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        sample(&mut out, "x", &[("a", "b\\c\"d\ne"), ("f", "")], 1.5);
        assert_eq!(out, "x{a=\"b\\\\c\\\"d\\ne\",f=\"\"} 1.5\n");
    }

    #[test]
    fn numbers_are_plain() {
        let mut out = String::new();
        sample(&mut out, "x", &[], whole(1_795_228_200));
        sample(&mut out, "x", &[], whole(1 << 50));
        assert_eq!(out, "x 1795228200\nx 1125899906842624\n");
    }
}
