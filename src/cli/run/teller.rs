//! Prints the progress of a run: progress bars on a terminal, lines elsewhere, JSON with `--json`.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::{
    cli::{
        behind::{self, To},
        context::Context,
        output::Printer,
    },
    job::{Event, JobRecord, Record, Run, Status, StoreRecord},
    model::{Name, RunId, mask_passwords},
    plan::show::Paint,
};

/// Tells what happens. From the first one on nothing that is printed holds the run up.
pub(super) struct Teller {
    printer: Printer,
    run: RunId,
    how: How,
    bars: MultiProgress,
    of: Mutex<BTreeMap<(Name, Name), ProgressBar>>,
}

/// How it is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Json,
    /// Only what is wrong.
    Quiet,
    Lines,
    Bars,
}

impl Teller {
    pub(super) fn new(context: &Context<'_>, json: bool, quiet: bool, run: &Run) -> Self {
        behind::start();
        let how = match () {
            () if json => How::Json,
            () if quiet => How::Quiet,
            () if context.environment.err_terminal => How::Bars,
            () => How::Lines,
        };
        let teller = Self {
            printer: context.printer,
            run: run.id.clone(),
            how,
            bars: MultiProgress::with_draw_target(if how == How::Bars {
                behind::screen()
            } else {
                ProgressDrawTarget::hidden()
            }),
            of: Mutex::default(),
        };
        let jobs: Vec<&str> = run.jobs.iter().map(|job| job.name.as_str()).collect();
        if how == How::Json {
            teller.object(json!({ "type": "version", "format_version": 1, "run": run.id, "jobs": jobs }));
        } else {
            teller.line(&format!("run {} of {}", run.id, jobs.join(", ")));
        }
        teller
    }

    /// Tells what happens.
    pub(super) fn tell(&self, event: &Event<'_>) {
        if self.how == How::Json {
            let text = self.text(object(event));
            return match event {
                Event::Progress { .. } => drop(behind::print_passing(To::Out, text.as_bytes())),
                _ => drop(self.printer.print(&text)),
            };
        }
        match event {
            Event::Begins { jobs, what } => {
                let jobs: Vec<&str> = jobs.iter().map(|job| job.as_str()).collect();
                self.line(&format!("{}: {what}", jobs.join(", ")));
            }
            Event::Frozen(took) => self.line(&format!("frozen in {}", seconds(took.as_secs_f64()))),
            Event::Storing { job, destination, attempt } => self.storing(job, destination, *attempt),
            Event::Progress { job, destination, progress } => {
                if let Some(bar) = self.bars().get(&((*job).clone(), (*destination).clone())) {
                    bar.set_length(progress.total_bytes);
                    bar.set_position(progress.bytes_done);
                }
            }
            Event::Stored { job, record } => self.stored(job, record),
            Event::Warning(why) => self.warn(why),
            Event::Error { job, why } => self.problem(Paint::Removed, "error", &format!("job {job}: {why}")),
        }
    }

    /// Tells what a person should know.
    pub(super) fn warn(&self, why: &str) {
        if self.how == How::Json {
            return self.object(json!({ "type": "warning", "message": why }));
        }
        self.problem(Paint::Changed, "warning", why);
    }

    /// Tells how it ended, and what was left out of what was told.
    ///
    /// # Errors
    ///
    /// If what is printed of a run that is fine cannot be written, unless the reader went away.
    pub(super) fn end(&self, record: &Record) -> Result<()> {
        for bar in self.bars().values() {
            bar.finish_and_clear();
        }
        behind::settle();
        if let Some(why) = behind::left_out() {
            self.warn(&why);
        }
        self.told(record)?;
        behind::settle();
        match behind::failure() {
            Some(err) if record.status.is_fine() && err.kind() != ErrorKind::BrokenPipe => {
                Err(err).context("cannot print how the run went")
            }
            _ => Ok(()),
        }
    }

    fn told(&self, record: &Record) -> Result<()> {
        match self.how {
            How::Json => {
                let mut value = serde_json::to_value(record)?;
                if let Value::Object(fields) = &mut value {
                    fields.insert("type".into(), "record".into());
                }
                self.object(value);
            }
            How::Quiet => {
                if !record.status.is_fine() {
                    self.printer.note(&last(record));
                }
            }
            How::Lines | How::Bars => {
                let line = last(record);
                if record.status.is_fine() {
                    self.printer.print(&line)?;
                } else {
                    self.printer.note(&line);
                }
            }
        }
        Ok(())
    }

    fn storing(&self, job: &Name, destination: &Name, attempt: u32) {
        let again = if attempt > 1 { format!(" (try {attempt})") } else { String::new() };
        if self.how != How::Bars {
            return self.line(&format!("{job}: storing at {destination}{again}"));
        }
        let template = "{spinner} {prefix} [{bar:30}] {bytes}/{total_bytes} {elapsed}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self
            .bars
            .add(ProgressBar::new(0).with_style(style).with_prefix(format!("{job} → {destination}{again}")));
        bar.enable_steady_tick(Duration::from_millis(120));
        if let Some(old) = self.bars().insert((job.clone(), destination.clone()), bar) {
            old.finish_and_clear();
        }
    }

    fn stored(&self, job: &Name, record: &StoreRecord) {
        let bar = self.bars().remove(&(job.clone(), record.destination.clone()));
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let destination = &record.destination;
        let took = seconds(record.seconds);
        let mut line = match &record.summary {
            Some(it) => format!(
                "{job}: stored at {destination} as {} in {took}: {} new, {} changed, {} unchanged files; {} added",
                it.snapshot_id.get(..8).unwrap_or_default(),
                it.counts.files_new,
                it.counts.files_changed,
                it.counts.files_unmodified,
                indicatif::HumanBytes(it.counts.data_added),
            ),
            None => format!("{job}: done at {destination} in {took}"),
        };
        match (&record.error, record.status) {
            (Some(why), Status::Incomplete) => {
                line = format!("{line}; {why}");
                for (item, why) in &record.first_unreadable {
                    line = format!("{line}\n  {item}: {why}");
                }
                self.problem(Paint::Changed, "incomplete", &line);
            }
            (Some(why), Status::Skipped) => self.line(&format!("{job}: skipped {destination}: {why}")),
            (Some(why), _) => {
                self.problem(Paint::Removed, "error", &format!("{job}: not stored at {destination}: {why}"));
            }
            (None, _) => self.line(&line),
        }
    }

    fn line(&self, text: &str) {
        if matches!(self.how, How::Lines | How::Bars) {
            // Who does not listen any more does not stop a backup.
            self.bars.suspend(|| drop(self.printer.print(&format!("{}\n", safe(text)))));
        }
    }

    fn problem(&self, paint: Paint, word: &str, text: &str) {
        let word = self.printer.err_style().paint(paint, word);
        self.bars.suspend(|| self.printer.note(&format!("{word}: {}\n", safe(text))));
    }

    fn object(&self, value: Value) {
        drop(self.printer.print(&self.text(value)));
    }

    /// Writes an event as a line.
    fn text(&self, mut value: Value) -> String {
        if let Value::Object(fields) = &mut value {
            fields.entry("run").or_insert_with(|| json!(self.run));
        }
        mask_passwords(&format!("{value}\n")).into_owned()
    }

    fn bars(&self) -> MutexGuard<'_, BTreeMap<(Name, Name), ProgressBar>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn object(event: &Event<'_>) -> Value {
    match event {
        Event::Begins { jobs, what } => json!({ "type": "begins", "jobs": jobs, "what": what }),
        Event::Frozen(took) => json!({ "type": "frozen", "seconds": took.as_secs_f64() }),
        Event::Storing { job, destination, attempt } => {
            json!({ "type": "storing", "job": job, "destination": destination, "attempt": attempt })
        }
        Event::Progress { job, destination, progress } => {
            json!({ "type": "progress", "job": job, "destination": destination, "bytes_done": progress.bytes_done,
                    "total_bytes": progress.total_bytes, "files_done": progress.files_done })
        }
        Event::Stored { job, record } => json!({ "type": "stored", "job": job, "result": record }),
        Event::Warning(why) => json!({ "type": "warning", "message": why }),
        Event::Error { job, why } => json!({ "type": "error", "job": job, "message": why }),
    }
}

/// The last line: loud if anything failed.
fn last(record: &Record) -> String {
    let took = seconds(record.seconds);
    let bad: Vec<&JobRecord> = record.jobs.iter().filter(|job| !job.status.is_fine()).collect();
    if bad.is_empty() {
        let all = record.jobs.iter().flat_map(|job| job.destinations.iter().chain(&job.copies));
        let away = match all.filter(|it| it.status == Status::Skipped).count() {
            0 => String::new(),
            away => format!("; {} skipped", count(away, "destination")),
        };
        let word = if record.status == Status::Skipped { "Nothing stored" } else { "Backup complete" };
        return format!("{word}: {} in {took}{away}.\n", count(record.jobs.len(), "job"));
    }
    let names: Vec<String> = bad.iter().map(|job| format!("{} {}", job.job, job.status.word())).collect();
    format!(
        "BACKUP {}: {} ({} of {}) in {took}.\n",
        record.status.word().to_uppercase(),
        names.join(", "),
        bad.len(),
        count(record.jobs.len(), "job")
    )
}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

fn seconds(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

/// What a file is called moves no cursor.
fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
