//! `rlvm sweep`: cleans up after runs that died.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use super::{context::Context, exit::Exit, kept::applied, locks::Locks, records};
use crate::{
    expand::{expand, repository_of},
    host::{Busy, NOT_YET, Real, Store},
    job::{Left, sweep},
    model::{Name, RunId},
};

/// Remove what dead runs have left: snapshots, mounts, locks; start stopped services
///
/// A run that was killed or lost power leaves a journal of everything that it had open. Sweep ends its programs,
/// removes its snapshots (by exact name and tag), its directories and its locks in repositories, and starts what it
/// stopped. Sweep leaves running jobs and everything else alone. Each `rlvm run` sweeps first, and so does each boot,
/// by an entry that apply installs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm sweep
  rlvm sweep --json")]
pub(super) struct SweepVerb {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was swept, for machines.
#[derive(Debug, Serialize)]
struct Swept {
    format_version: &'static str,
    runs: Vec<Ended>,
}

/// A run that had died.
#[derive(Debug, Serialize)]
pub(super) struct Ended {
    run: String,
    undone: Vec<String>,
    left: Vec<String>,
}

impl SweepVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.running("what runs have left is swept")?;
        let runs = sweep_all(context, &host, !self.json)?;
        let left = runs.iter().any(|run| !run.left.is_empty());
        if self.json {
            context.printer.json(&Swept { format_version: "1.0", runs })?;
        } else if runs.is_empty() {
            context.printer.say("Nothing to sweep.\n")?;
        }
        Ok(if left { Exit::Failed } else { Exit::Ok })
    }
}

/// Sweeps after every run that has died. What could not be undone is told, and tried again the next time.
pub(super) fn sweep_all(context: &Context<'_>, host: &Real, told: bool) -> Result<Vec<Ended>> {
    let store = Store::new(host, &context.home()?.join("journal")?);
    let locks = Locks::new(context, host)?;
    let (mut ended, mut destinations) = (Vec::new(), BTreeSet::new());
    for name in store.names()? {
        // A run that died before its journal had its name had opened nothing.
        let is_new = name.strip_suffix(NOT_YET).is_some_and(|run| run.parse::<RunId>().is_ok());
        if is_new && store.is_idle(&name, context.environment.now)? {
            store.remove(&name)?;
        }
        // Not a journal's name: not ours.
        let Ok(run) = name.parse::<RunId>() else { continue };
        let mut journal = match store.hold_existing(&name) {
            Ok(Some(journal)) => journal,
            // Its run has ended meanwhile, or another sweep has.
            Ok(None) => continue,
            Err(err) if err.downcast_ref::<Busy>().is_some() => continue,
            Err(err) => return Err(err),
        };
        let left = Left::read(&name, &journal.read()?).with_context(|| {
            format!("what the run {run} has left cannot be told; look for `{run}` in `lvs -o +lv_tags` and /run/rlvm/run")
        })?;
        let mut swept = sweep(&left, host);
        if swept.are_ended {
            locks.remember(&left)?;
        }
        if let Err(err) = record(context, host, &left) {
            swept.left.push(format!("its record cannot be kept: {err:#}"));
        }
        if swept.left.is_empty() {
            store.remove(&name)?;
        }
        if told && !swept.done.is_empty() {
            context.printer.remark(&format!("swept after run {run}, which had died:\n"));
            swept.done.iter().for_each(|done| context.printer.remark(&format!("  {done}\n")));
        }
        for why in &swept.left {
            context.printer.note(&format!("error: run {run}, which had died, is not swept: {why}\n"));
        }
        destinations.extend(left.destinations);
        ended.push(Ended { run: name, undone: swept.done, left: swept.left });
    }
    if !destinations.is_empty() {
        unlock_all(context, host, &locks, &destinations, told);
    }
    Ok(ended)
}

/// Keeps the record of a run of jobs that has died: what it had not checked is no backup.
fn record(context: &Context<'_>, host: &Real, left: &Left) -> Result<()> {
    let Some(record) = left.record() else { return Ok(()) };
    // It was kept before the run died, or by a sweep that could not undo all.
    if records::kept(context, host)?.has(&record.run) {
        return Ok(());
    }
    records::add(context, host, &record.started, &record.line()?)
}

/// Removes the locks that dead runs have left. A repository that is away keeps its locks: whatever they stop looks for them
/// itself.
fn unlock_all(
    context: &Context<'_>,
    host: &Real,
    locks: &Locks<'_>,
    destinations: &BTreeSet<Name>,
    told: bool,
) {
    let unlocked = || -> Result<()> {
        let state = applied(context, host)?;
        let expanded = expand(&state, &context.user_facts(host, &state)?, &context.scope()?);
        for destination in destinations {
            let Some(repository) = repository_of(&expanded, destination) else { continue };
            match locks.free(destination, repository) {
                Ok(count) if told && count > 0 => {
                    let s = if count == 1 { "" } else { "s" };
                    context
                        .printer
                        .remark(&format!("removed {count} lock{s} left behind at {destination}\n"));
                }
                Ok(_) => {}
                Err(err) => context.printer.note(&format!("warning: {destination}: {err:#}\n")),
            }
        }
        Ok(())
    };
    if let Err(err) = unlocked() {
        context.printer.note(&format!("warning: locks of dead runs cannot be looked for: {err:#}\n"));
    }
}
