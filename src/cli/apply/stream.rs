//! Prints what apply does while it works: text, JSON lines, or both.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::Apply;
use crate::{
    apply::{Event, Outcome},
    cli::{context::Context, exit::Exit, output::is_broken_pipe, progress::ApplyBar},
    host::interrupted,
    model::Address,
    plan::{
        Change, Plan,
        json::{ChangeJson, FORMAT},
        show::{self, Paint},
    },
    resource::Severity,
};

/// Where apply says what it does: text, JSON lines, or both.
pub(super) struct Stream<'a> {
    context: &'a Context<'a>,
    json: Option<Box<dyn Write>>,
    text: bool,
    /// The first failure to write.
    broken: Option<std::io::Error>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Version {
        format_version: &'a str,
        rlvm_version: &'a str,
    },
    PlannedChange {
        change: &'a ChangeJson,
    },
    Finding {
        finding: &'a crate::resource::Finding,
    },
    ChangeSummary {
        planned: crate::plan::Summary,
        done: usize,
        failed: &'a [crate::model::Address],
        skipped: &'a [crate::model::Address],
        stopped: bool,
    },
}

impl<'a> Stream<'a> {
    pub(super) fn open(verb: &Apply, context: &'a Context<'a>) -> Result<Self> {
        let json: Option<Box<dyn Write>> = match &verb.json_into {
            Some(path) => Some(context.files.create(path)?),
            None if verb.json => Some(Box::new(std::io::stdout())),
            None => None,
        };
        let mut stream = Self { context, json, text: !verb.json, broken: None };
        let told =
            stream.line(&Line::Version { format_version: FORMAT, rlvm_version: env!("CARGO_PKG_VERSION") });
        stream.ignore_broken_pipe(told)?;
        Ok(stream)
    }

    /// Treats a closed pipe as success: apply has done its work, also if nobody reads the output.
    fn ignore_broken_pipe(&mut self, told: Result<()>) -> Result<()> {
        match told {
            Err(err) if is_broken_pipe(&err) => {
                self.broken.get_or_insert(std::io::Error::other(format!("{err:#}")));
                Ok(())
            }
            other => other,
        }
    }

    fn line(&mut self, line: &impl Serialize) -> Result<()> {
        if let Some(json) = &mut self.json {
            let mut bytes = serde_json::to_vec(line)?;
            bytes.push(b'\n');
            json.write_all(&bytes)?;
        }
        Ok(())
    }

    pub(super) fn planned(&mut self, plan: &Plan) -> Result<()> {
        let told = self.try_planned(plan);
        self.ignore_broken_pipe(told)
    }

    fn try_planned(&mut self, plan: &Plan) -> Result<()> {
        for change in plan.all_changes() {
            self.line(&Line::PlannedChange { change: &change.into() })?;
        }
        for finding in &plan.findings {
            self.line(&Line::Finding { finding })?;
        }
        if self.text {
            let printer = &self.context.printer;
            printer.say(&show::text(plan, printer.style))?;
            if self.context.global.quiet {
                let matters = plan.findings.iter().filter(|it| it.severity != Severity::Notice).cloned();
                let mut said = String::new();
                show::write_findings(&mut said, &matters.collect::<Vec<_>>(), printer.err_style());
                printer.note(&said);
            }
        }
        Ok(())
    }

    /// Ends before the first op.
    pub(super) fn refuse(&mut self, plan: &Plan, exit: Exit) -> Result<Exit> {
        let (failed, skipped) = (Vec::new(), Vec::new());
        let told = self.line(&Line::ChangeSummary {
            planned: plan.summary(),
            done: 0,
            failed: &failed,
            skipped: &skipped,
            stopped: false,
        });
        self.ignore_broken_pipe(told)?;
        let worst = if exit == Exit::Refused { Severity::Refusal } else { Severity::Error };
        self.nothing_changed(plan, worst);
        Ok(exit)
    }

    /// Says how many findings of the worst kind kept everything as it is.
    fn nothing_changed(&self, plan: &Plan, worst: Severity) {
        let count = plan.findings.iter().filter(|finding| finding.severity == worst).count();
        let noun = if worst == Severity::Refusal { "refusal" } else { "error" };
        let s = if count == 1 { "" } else { "s" };
        self.context.printer.note(&format!("Nothing was changed: {count} {noun}{s}.\n"));
    }

    /// Says that the changed definitions are written down, and which wait for what; returns those.
    pub(super) fn defined(&mut self, plan: &Plan, waits: &[(Address, Address)]) -> Vec<Address> {
        let (bar, mut waiting) = (ApplyBar::new(false, 0), Vec::new());
        for Change { address, actions, .. } in &plan.definitions {
            if let Some((_, needed)) = waits.iter().find(|(what, _)| what == address) {
                let reason = format!(
                    "it needs {needed}, which rlvm could not create or open; the previous definition stays active"
                );
                self.event(&Event::ApplySkipped { address, reason }, &bar);
                waiting.push(address.clone());
                continue;
            }
            self.event(&Event::ApplyStart { address, actions }, &bar);
            self.event(&Event::ApplyComplete { address, actions }, &bar);
        }
        waiting
    }

    pub(super) fn event(&mut self, event: &Event<'_>, bar: &ApplyBar) {
        // A failed output stream must not stop the work. It is reported at the end.
        if let Err(err) = self.try_event(event, bar) {
            self.broken.get_or_insert(std::io::Error::other(format!("{err:#}")));
        }
    }

    fn try_event(&mut self, event: &Event<'_>, bar: &ApplyBar) -> Result<()> {
        self.line(event)?;
        let style = self.context.printer.err_style();
        let said = match event {
            Event::ApplyStart { .. } | Event::ApplyWorking { .. } | Event::ApplyProgress { .. } => {
                bar.show(event);
                return Ok(());
            }
            Event::ApplyComplete { address, .. } => {
                format!("{} {address}\n", style.paint(Paint::Added, "done"))
            }
            Event::ApplyErrored { address, error } => {
                format!("{} {address}: {error}\n", style.paint(Paint::Removed, "failed"))
            }
            Event::ApplySkipped { address, reason } => {
                format!("{} {address}: {reason}\n", style.paint(Paint::Changed, "skipped"))
            }
        };
        let always = matches!(event, Event::ApplyErrored { .. });
        let wanted = self.text && !self.context.global.quiet;
        bar.end_one(|| {
            if wanted || always {
                self.context.printer.note(&said);
            }
        });
        Ok(())
    }

    pub(super) fn finish(mut self, plan: &Plan, outcome: &Outcome) -> Result<Exit> {
        let told = self.try_finish(plan, outcome);
        self.ignore_broken_pipe(told)?;
        let Outcome { failed, stopped, .. } = outcome;
        if let Some(broken) = self.broken {
            self.context
                .printer
                .note(&format!("warning: some output of apply could not be written: {broken}\n"));
        }
        if *stopped {
            self.context.printer.note("Stopped by a signal. Apply again to go on.\n");
            return Ok(Exit::of_signal(interrupted()));
        }
        Ok(if failed.is_empty() && !plan.has(Severity::Error) { Exit::Ok } else { Exit::Partial })
    }

    fn try_finish(&mut self, plan: &Plan, outcome: &Outcome) -> Result<()> {
        let Outcome { done, failed, skipped, stopped } = outcome;
        self.line(&Line::ChangeSummary {
            planned: plan.summary(),
            done: *done,
            failed,
            skipped,
            stopped: *stopped,
        })?;
        if self.text && plan.is_empty() && plan.has(Severity::Error) {
            self.nothing_changed(plan, Severity::Error);
        }
        if self.text && !plan.is_empty() {
            let mut parts = vec![format!("{done} done")];
            parts.extend((!failed.is_empty()).then(|| format!("{} failed", failed.len())));
            parts.extend((!skipped.is_empty()).then(|| format!("{} skipped", skipped.len())));
            let errors = plan.findings.iter().filter(|finding| finding.is_error()).count();
            let s = if errors == 1 { "" } else { "s" };
            parts.extend((errors > 0).then(|| format!("{errors} error{s} in the plan")));
            let whole = failed.is_empty() && errors == 0 && !stopped;
            let word = if whole { "Apply complete" } else { "Apply incomplete" };
            self.context.printer.say(&format!("\n{word}: {}.\n", parts.join(", ")))?;
        }
        Ok(())
    }
}
