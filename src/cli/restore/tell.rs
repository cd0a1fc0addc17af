//! Prints the progress and the result of a restore: a progress bar on a terminal, lines elsewhere, JSON with `--json`.

use std::{cell::RefCell, time::Duration};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use super::{one_line, safe};
use crate::{
    cli::{context::Context, output::Printer},
    model::{HostPath, Name},
    plan::show::Paint,
    restic::{Restoring, Unrestored},
};

/// How many that failed are named to a person.
const NAMED: usize = 50;

/// How a restore went, for machines.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record {
    /// 1.
    pub(super) format_version: u32,
    /// The job.
    pub(super) job: Name,
    /// Where it came from.
    pub(super) destination: Name,
    /// The snapshot.
    pub(super) snapshot: String,
    /// Of when it is.
    pub(super) time: String,
    /// Of which host.
    pub(super) hostname: String,
    /// What was asked for.
    pub(super) paths: Vec<String>,
    /// Below which directory it stands; `/` if it was put back in place.
    pub(super) below: HostPath,
    /// `success`, `incomplete` or `interrupted`.
    pub(super) status: &'static str,
    /// How many files there were to be restored: of any kind, directories apart.
    pub(super) files: u64,
    /// How many bytes they have.
    pub(super) bytes: u64,
    /// How many files and directories were put in place.
    pub(super) placed: u64,
    /// How many files were put in place in full: of any kind, directories apart.
    pub(super) files_placed: u64,
    /// How many were left as they are.
    pub(super) unchanged: u64,
    /// How many of these have the stored size and time, but changed since the backup, and were not compared.
    pub(super) not_compared: u64,
    /// What was not restored, or not in full.
    pub(super) unrestored: Vec<Unrestored>,
    /// How long it took.
    pub(super) seconds: f64,
}

/// Tells how a restore goes.
pub(super) struct Teller {
    printer: Printer,
    json: bool,
    quiet: bool,
    terminal: bool,
    bar: RefCell<ProgressBar>,
}

impl Teller {
    pub(super) fn new(context: &Context<'_>, json: bool) -> Self {
        let terminal = context.environment.err_terminal && !json && !context.global.quiet;
        let bar = RefCell::new(ProgressBar::hidden());
        let teller = Self { printer: context.printer, json, quiet: context.global.quiet, terminal, bar };
        teller.object(&json!({ "type": "version", "format_version": 1 }));
        teller
    }

    fn object(&self, value: &Value) {
        if self.json {
            // Who does not listen any more does not stop a restore.
            drop(self.printer.print(&format!("{value}\n")));
        }
    }

    /// Tells what a person may skip.
    pub(super) fn line(&self, text: &str) {
        if !self.json && !self.quiet {
            let line = format!("{}\n", safe(text));
            self.bar.borrow().suspend(|| drop(self.printer.print(&line)));
        }
    }

    /// Tells what a person should know.
    pub(super) fn warn(&self, text: &str) {
        if self.json {
            return self.object(&json!({ "type": "warning", "message": text }));
        }
        self.problem(Paint::Changed, "warning", text);
    }

    fn problem(&self, paint: Paint, word: &str, text: &str) {
        let line = format!("{}: {}\n", self.printer.err_style().paint(paint, word), safe(text));
        self.bar.borrow().suspend(|| self.printer.note(&line));
    }

    /// Tells what is to be changed. `is_needed` prints it with `--quiet` too.
    pub(super) fn compared(&self, value: &impl Serialize, text: &str, is_needed: bool) -> Result<()> {
        if self.json {
            let value = serde_json::to_value(value)?;
            self.object(&json!({ "type": "comparison", "comparison": value }));
            return Ok(());
        }
        if is_needed { self.printer.print(text) } else { self.printer.say(text) }
    }

    /// Begins to restore.
    pub(super) fn begin(&self, destination: &Name, snapshot: &str, bytes: u64, files: u64) {
        self.object(&json!({ "type": "restoring", "destination": destination, "snapshot": snapshot,
                             "total_bytes": bytes, "total_files": files }));
        if self.terminal {
            let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
            let template = "{spinner} {prefix} [{bar:30}] {bytes}/{total_bytes} {elapsed}";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = bar.with_style(style).with_prefix(destination.to_string());
            bar.enable_steady_tick(Duration::from_millis(120));
            self.bar.replace(bar);
        }
    }

    /// Tells how far it is; 0.14 does not say.
    pub(super) fn progress(&self, far: &Restoring) {
        if far.total_bytes > 0 {
            self.bar.borrow().set_length(far.total_bytes);
            self.bar.borrow().set_position(far.bytes_restored);
        }
        if self.json
            && let Ok(Value::Object(mut fields)) = serde_json::to_value(far)
        {
            fields.insert("type".into(), "progress".into());
            self.object(&Value::Object(fields));
        }
    }

    /// Takes the bar off the screen.
    pub(super) fn rest(&self) {
        self.bar.replace(ProgressBar::hidden()).finish_and_clear();
    }

    /// Tells how it ended.
    pub(super) fn end(&self, record: &Record) -> Result<()> {
        if self.json {
            let mut value = serde_json::to_value(record)?;
            if let Value::Object(fields) = &mut value {
                fields.insert("type".into(), "record".into());
            }
            self.object(&value);
            return Ok(());
        }
        for Unrestored { path, why } in record.unrestored.iter().take(NAMED) {
            self.problem(Paint::Removed, "not restored", &one_line(&format!("{path}: {}", why.trim())));
        }
        if record.unrestored.len() > NAMED {
            let more = record.unrestored.len() - NAMED;
            self.problem(Paint::Removed, "not restored", &format!("and {more} more; --json names all"));
        }
        let line = last(record);
        if record.status == "success" {
            self.printer.print(&line)
        } else {
            self.printer.note(&line);
            Ok(())
        }
    }
}

/// The last line: loud if anything is missing.
fn last(record: &Record) -> String {
    let Record { bytes, seconds, below, destination, .. } = record;
    let of = super::compare::files(record.files, "file");
    let in_place = below.as_str() == "/";
    if record.status == "success" && !in_place {
        let bytes = indicatif::HumanBytes(*bytes);
        return format!(
            "Restore complete: {of} of {bytes} from {destination}, below {below}, in {seconds:.1} s.\n"
        );
    }
    // Into a target an incomplete file is restored too: some of it is better than nothing.
    let (done, in_full) = if in_place {
        ("put back in place".into(), "")
    } else {
        (format!("restored below {below}"), " in full")
    };
    let not_compared = match record.not_compared {
        0 => String::new(),
        count => format!(" ({count} of them not compared: --compare-content)"),
    };
    let stay = match record.unchanged {
        0 => String::new(),
        count => format!(", {count} left as they are{not_compared}"),
    };
    let placed =
        format!("{} of {of} {done} from {destination}{stay}, in {seconds:.1} s", record.files_placed);
    match record.status {
        "success" => format!("Restore complete: {placed}.\n"),
        "interrupted" => format!("RESTORE INTERRUPTED: {placed}.\n"),
        _ => {
            let lacking = super::compare::files(record.unrestored.len() as u64, "path");
            format!("RESTORE INCOMPLETE: {lacking} not restored{in_full}; {placed}.\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_loud_if_anything_is_missing() {
        let record = |status, unrestored: usize| Record {
            format_version: 1,
            job: "web".parse().unwrap(),
            destination: "near".parse().unwrap(),
            snapshot: "ab".into(),
            time: String::new(),
            hostname: "web01".into(),
            paths: Vec::new(),
            below: "/x".parse().unwrap(),
            status,
            files: 2,
            bytes: 2048,
            placed: 2,
            files_placed: 1,
            unchanged: 0,
            not_compared: 0,
            unrestored: vec![Unrestored { path: "/a".into(), why: "x".into() }; unrestored],
            seconds: 1.0,
        };
        assert_eq!(
            last(&record("success", 0)),
            "Restore complete: 2 files of 2.00 KiB from near, below /x, in 1.0 s.\n"
        );
        assert_eq!(
            last(&record("incomplete", 1)),
            "RESTORE INCOMPLETE: 1 path not restored in full; 1 of 2 files restored below /x from near, in 1.0 s.\n"
        );
        let in_place = Record { below: "/".parse().unwrap(), unchanged: 1, ..record("incomplete", 2) };
        assert_eq!(
            last(&in_place),
            "RESTORE INCOMPLETE: 2 paths not restored; 1 of 2 files put back in place from near, 1 left as they are, in 1.0 s.\n"
        );
        // With --only-missing a file that differs is left as it is too.
        let some = Record { unchanged: 2, not_compared: 1, ..Record { status: "success", ..in_place } };
        assert_eq!(
            last(&some),
            "Restore complete: 1 of 2 files put back in place from near, 2 left as they are (1 of them not compared: \
             --compare-content), in 1.0 s.\n"
        );
    }
}
