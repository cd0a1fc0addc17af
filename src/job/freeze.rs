//! Freezes everything that a run needs, before the first byte is read (R50).

use std::cell::RefCell;

use anyhow::Result;

use super::{
    Event,
    night::{Said, succeeded},
    run::Runner,
    undo::lock,
};
use crate::{
    effect::{Cmd, Op},
    model::Name,
    source::Frozen,
};

/// How many lines of a program are kept until they can be logged.
const MOST_LINES: usize = 100;

/// Freezes all. What cannot be frozen fails the jobs that need it; the others go on (R55).
pub(super) fn freeze(runner: &Runner<'_>) {
    let needed: Vec<usize> = {
        let of_job = runner.live().flat_map(|(job, _)| job.needs.iter().copied());
        let mut needed: Vec<usize> = of_job.collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    };
    let of = |index: &usize| Some((*index, runner.run.frozen.get(*index)?));
    let needed: Vec<(usize, &Frozen)> = needed.iter().filter_map(of).collect();
    if needed.is_empty() || (runner.night.signal)() {
        for (job, _) in runner.live().filter(|_| (runner.night.signal)()) {
            let why = runner.why_stopped(job);
            runner.fail(job, &why);
        }
        return;
    }
    let all: Vec<&Name> = runner.live().map(|(job, _)| &job.name).collect();
    let places: Vec<&str> = needed.iter().map(|(_, it)| it.at.as_str()).collect();
    (runner.night.tell)(&Event::Begins { jobs: &all, what: &format!("freeze {}", places.join(" ")) });
    if let Err(err) = announce(runner, &needed) {
        runner.live().for_each(|(job, _)| runner.fail(job, &format!("{err:#}")));
        return;
    }
    let began = (runner.night.elapsed)();
    let failed = at_one_point(runner, &all, &needed);
    let took = (runner.night.elapsed)().saturating_sub(began);
    (runner.night.tell)(&Event::Frozen(took));
    for (job, _) in runner.live() {
        if let Some((_, why)) = failed.iter().find(|(index, _)| job.needs.contains(index)) {
            runner.fail(job, why);
        } else if !job.needs.is_empty() {
            runner.froze(job, took.as_secs_f64());
        }
    }
}

/// Writes down what undoes all of it: nothing is written while file systems are held still.
fn announce(runner: &Runner<'_>, needed: &[(usize, &Frozen)]) -> Result<()> {
    for (_, frozen) in needed {
        if let Some(undo) = &frozen.step.undo {
            let open = runner.undo.will(undo)?;
            lock(&runner.snapshots).push(open);
        }
    }
    runner.holds(&runner.run.held)?;
    runner.undo.sync()
}

/// Freezes, with the other file systems held still if there are several. Returns what failed.
fn at_one_point(runner: &Runner<'_>, all: &[&Name], needed: &[(usize, &Frozen)]) -> Vec<(usize, String)> {
    let held: Vec<_> =
        runner.run.held.iter().filter(|at| needed.iter().any(|(_, it)| it.at == **at)).cloned().collect();
    let results = RefCell::new(Vec::new());
    let mut work =
        || results.borrow_mut().extend(needed.iter().map(|(index, it)| (*index, act(runner, &it.step.act))));
    if let Err(err) = runner.night.host.held(&held, &mut work) {
        runner.warn(&format!("sources are frozen one after the other: {err:#}"));
        if results.borrow().is_empty() {
            results.borrow_mut().extend(needed.iter().map(|(index, it)| (*index, act(runner, &it.step.act))));
        }
    }
    if let Err(err) = runner.holds(&[]) {
        runner.warn(&format!("{err:#}"));
    }
    let mut failed = Vec::new();
    for (index, (cmd, lines, result)) in results.into_inner() {
        (runner.night.log)(all, "freeze", &format!("$ {cmd}"));
        for line in &lines {
            (runner.night.log)(all, "freeze", line);
        }
        if result.is_ok() {
            lock(&runner.made).insert(index);
        }
        failed.extend(result.err().map(|err| (index, format!("cannot freeze: {err:#}"))));
    }
    failed
}

/// Does one, and keeps what it says for later.
fn act(runner: &Runner<'_>, op: &Op) -> (String, Vec<String>, Result<()>) {
    let mut lines = Vec::new();
    let result = match op {
        Op::Run(cmd) => run(runner, cmd, &mut lines),
        op => runner.night.host.act(op),
    };
    (op.to_string(), lines, result)
}

fn run(runner: &Runner<'_>, cmd: &Cmd, lines: &mut Vec<String>) -> Result<()> {
    let mut heard = |_, line: &str| {
        if lines.len() < MOST_LINES {
            lines.push(line.into());
        }
    };
    let ended = runner.night.quiet(cmd, false, &|| false, &mut heard)?;
    let last = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("; ");
    succeeded(cmd, &Said { ended, last })
}
