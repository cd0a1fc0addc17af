//! Carries out a plan: runs its ops through [`crate::host::Act`], keeps the ledger, and reports events to the caller.
//!
//! The ledger records durably what apply is about to create before apply creates it, and each result as soon as it
//! exists. So after a crash at any point the ledger knows every resource, and another apply ends in the same state.
//! Changes that depend on a failed change are skipped and named; the others go on.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::{
    effect::Op,
    host::{Act, Host, Observe},
    ledger::{Entry, Origin, Writer},
    model::Address,
    plan::{Action, Change, Plan},
    resource::{Cost, Diff, Finding, Judgement, Looks, NotSeen, Seen, Severity},
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A change begins.
    ApplyStart {
        /// Of what.
        address: &'a Address,
        /// What is done.
        actions: &'a [Action],
    },
    /// An op of a change was done.
    ApplyProgress {
        /// Of what.
        address: &'a Address,
        /// What was done, as a command.
        command: String,
    },
    /// A change that takes long goes on.
    ApplyWorking {
        /// Of what.
        address: &'a Address,
        /// How many files and directories were changed until now.
        changed: u64,
    },
    /// A change is complete.
    ApplyComplete {
        /// Of what.
        address: &'a Address,
        /// What was done.
        actions: &'a [Action],
    },
    /// A change failed; what was there before is as it was, or is looked at by the next plan.
    ApplyErrored {
        /// Of what.
        address: &'a Address,
        /// Why.
        error: String,
    },
    /// A change was not begun.
    ApplySkipped {
        /// Of what.
        address: &'a Address,
        /// Why.
        reason: String,
    },
}

/// How an apply went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was changed.
    pub done: usize,
    /// What failed.
    pub failed: Vec<Address>,
    /// What was not begun, for the failure of something it needs.
    pub skipped: Vec<Address>,
    /// Whether it was asked to stop before the end.
    pub stopped: bool,
}

/// What an apply needs of the world.
pub struct World<'a> {
    /// Looks: at what was made, to know it again.
    pub host: &'a dyn Host,
    /// Acts.
    pub act: &'a dyn Act,
    /// Is told what happens.
    pub watch: &'a mut dyn FnMut(&Event<'_>),
    /// Says whether to stop before the next change.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// Results are made durable so many at a time: what is about to be made is durable before, and that is what a
/// power cut needs.
const BATCH: usize = 64;

/// Carries a plan out.
///
/// # Errors
///
/// If the ledger cannot be written: then nothing more is done.
pub fn apply(plan: &Plan, ledger: &mut Writer<'_>, world: &mut World<'_>) -> Result<Outcome> {
    intend(plan, ledger)?;
    let outcome = Outcome::default();
    let mut run = Run { ledger, plan, outcome, bad: BTreeSet::new(), unsynced: 0 };
    run.before_all(world)?;
    let mut left: VecDeque<&Change> = plan.changes.iter().collect();
    while !left.is_empty() {
        if (world.stop)() {
            run.outcome.stopped = true;
            break;
        }
        let batch = next_batch(&mut left);
        run.batch(&batch, world)?;
    }
    // The last change may have been the one that a signal cut short.
    run.outcome.stopped |= !run.outcome.failed.is_empty() && (world.stop)();
    world.act.settle()?;
    if !run.outcome.stopped {
        run.look_again(plan, world);
    }
    for (address, entry) in &plan.quiet {
        run.ledger.set(address, entry.clone())?;
    }
    run.ledger.sync()?;
    Ok(run.outcome)
}

/// Writes down, durably, what is about to be made: if rlvm dies now, the next one knows whose it is.
fn intend(plan: &Plan, ledger: &mut Writer<'_>) -> Result<()> {
    for change in &plan.changes {
        let Some(entry) = &change.entry else { continue };
        let known = ledger.ledger().entries.get(&change.address);
        let making = change.actions.contains(&Action::Create) && !change.ops.is_empty();
        if making && known.is_none_or(|known| !known.pending) {
            let seen = known.and_then(|known| known.seen.clone());
            ledger.set(&change.address, Some(Entry { pending: true, seen, ..entry.clone() }))?;
        }
    }
    ledger.sync()
}

/// Takes what goes next: the first change; if that is slow, with it all slow ones that need nothing still open.
fn next_batch<'a>(left: &mut VecDeque<&'a Change>) -> Vec<&'a Change> {
    let is_slow = |change: &Change| {
        let resource = change.entry.as_ref().map(|entry| &entry.resource);
        resource.is_some_and(|it| it.cost() != Cost::Quick && !it.is_alone()) && !change.ops.is_empty()
    };
    let Some(first) = left.pop_front() else { return Vec::new() };
    if !is_slow(first) {
        return vec![first];
    }
    let open: BTreeSet<&Address> = left.iter().chain([&first]).map(|change| &change.address).collect();
    let ready = |change: &Change| !change.needs.iter().any(|need| open.contains(need));
    let (together, rest): (Vec<&Change>, Vec<&Change>) =
        left.drain(..).partition(|change| is_slow(change) && ready(change));
    left.extend(rest);
    std::iter::once(first).chain(together).collect()
}

struct Run<'a, 'b> {
    ledger: &'a mut Writer<'b>,
    plan: &'a Plan,
    outcome: Outcome,
    /// What failed or was skipped.
    bad: BTreeSet<Address>,
    unsynced: usize,
}

impl Run<'_, '_> {
    /// Does what comes before all changes. A change that fails there has failed.
    fn before_all(&mut self, world: &mut World<'_>) -> Result<()> {
        for change in self.plan.changes.iter().filter(|change| change.first > 0) {
            let done = change.ops[..change.first].iter().try_for_each(|op| world.act.act(op));
            if let Err(err) = done {
                begin(change, world);
                self.end(change, Err(err), world)?;
            }
        }
        Ok(())
    }

    /// Does changes that do not need one another: one here, several side by side on all cores.
    fn batch(&mut self, batch: &[&Change], world: &mut World<'_>) -> Result<()> {
        let mut ready = Vec::new();
        for change in batch.iter().filter(|change| !self.bad.contains(&change.address)).collect::<Vec<_>>() {
            if let Some(need) = change.needs.iter().find(|need| self.bad.contains(*need)) {
                let reason = format!("it needs {need}, which failed");
                (world.watch)(&Event::ApplySkipped { address: &change.address, reason });
                self.bad.insert(change.address.clone());
                self.outcome.skipped.push(change.address.clone());
                self.unmade(change, world)?;
            } else {
                ready.push(*change);
            }
        }
        if let [change] = ready[..] {
            begin(change, world);
            let World { host, act, watch, .. } = world;
            let mut told = |changed| watch(&Event::ApplyWorking { address: &change.address, changed });
            let result = carry_out(change, self.plan, *act, host.looker().as_ref(), &mut told);
            return self.end(change, result, world);
        }
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (host, act, stop, plan) = (world.host, world.act, world.stop, self.plan);
        let queue = Mutex::new(ready.into_iter());
        let (send, receive) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..cores {
                let (send, queue) = (send.clone(), &queue);
                scope.spawn(move || {
                    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    // Asked first: what is taken out of the queue is done.
                    while let Some(change) = if stop() { None } else { next() } {
                        let told = send.send((change, None)).is_ok();
                        let result = carry_out(change, plan, act, host.looker().as_ref(), &mut |_| {});
                        // Nobody listens any more if the ledger could not be written.
                        if !told || send.send((change, Some(result))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(send);
            receive.iter().try_for_each(|(change, result)| match result {
                Some(result) => self.end(change, result, world),
                None => {
                    begin(change, world);
                    Ok(())
                }
            })
        })?;
        let left = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.outcome.stopped |= left.len() > 0;
        Ok(())
    }

    /// Takes a change's result in.
    fn end(&mut self, change: &Change, result: Result<Done>, world: &mut World<'_>) -> Result<()> {
        let address = &change.address;
        match result {
            Ok(Done { seen, found }) => {
                for op in change.ops.iter().filter(|_| !found) {
                    (world.watch)(&Event::ApplyProgress { address, command: op.to_string() });
                }
                if let Some(was) = &change.was {
                    self.ledger.set(was, None)?;
                }
                let entry = change.entry.clone().map(|entry| Entry {
                    seen: seen.or(entry.seen.clone()),
                    origin: if found { Origin::Matched } else { entry.origin },
                    ..entry
                });
                let actions = if found { &[Action::Adopt] } else { change.actions.as_slice() };
                self.ledger.set(address, entry)?;
                self.outcome.done += 1;
                (world.watch)(&Event::ApplyComplete { address, actions });
            }
            Err(err) => {
                (world.watch)(&Event::ApplyErrored { address, error: format!("{err:#}") });
                self.bad.insert(address.clone());
                self.outcome.failed.push(address.clone());
                self.unmade(change, world)?;
            }
        }
        self.unsynced += 1;
        if self.unsynced >= BATCH {
            self.ledger.sync()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Looks at what is reached by what was changed: a client that cannot get there any more is no success.
    fn look_again(&mut self, plan: &Plan, world: &mut World<'_>) {
        let host = world.host;
        let looks: Vec<Result<Vec<Finding>>> = thread::scope(|scope| {
            let looks = plan.again.iter().map(|(_, resource, last)| {
                scope.spawn(move || {
                    let seen =
                        resource.observe(host.looker().as_ref(), last.as_ref(), false, Looks::default())?;
                    let Judgement { diff, mut findings, way } = resource.judge(&seen, last.as_ref());
                    findings.extend(way.findings);
                    let left = match diff {
                        Diff::Same | Diff::Unmanaged => None,
                        Diff::Refuse(what) => Some(Finding::new(Severity::Error, resource.address(), what)),
                        Diff::Create(_) | Diff::Update(_) => {
                            let message =
                                "it could not be inspected before this apply, and it differs from the state";
                            let finding = Finding::new(Severity::Error, resource.address(), message);
                            Some(finding.remedy("run rlvm apply again"))
                        }
                    };
                    findings.extend(left);
                    Ok(findings)
                })
            });
            let looks: Vec<_> = looks.collect();
            looks.into_iter().map(|look| look.join().unwrap_or_else(|_| bail!("looking failed"))).collect()
        });
        for ((address, ..), look) in plan.again.iter().zip(looks) {
            let bad = match look {
                Ok(findings) => findings.into_iter().find(|it| it.severity == Severity::Error).map(said),
                Err(err) => Some(format!("{err:#}")),
            };
            if let Some(error) = bad {
                (world.watch)(&Event::ApplyErrored { address, error });
                self.outcome.failed.push(address.clone());
            }
        }
    }

    /// Takes back what was written down of something that is not there: else a thing that somebody makes there
    /// later would be taken for rlvm's.
    fn unmade(&mut self, change: &Change, world: &World<'_>) -> Result<()> {
        let known = self.ledger.ledger().entries.get(&change.address);
        let Some(known) = known.filter(|known| known.pending && known.seen.is_none()) else { return Ok(()) };
        let seen = known.resource.observe(world.host.looker().as_ref(), None, false, Looks::default());
        // What cannot be looked at may be there: it stays written down.
        if seen.is_ok_and(|seen| !known.resource.exists(&seen)) {
            self.ledger.set(&change.address, None)?;
        }
        Ok(())
    }
}

/// Tells that a change begins.
fn begin(change: &Change, world: &mut World<'_>) {
    (world.watch)(&Event::ApplyStart { address: &change.address, actions: &change.actions });
}

/// What came of a change.
#[derive(Default)]
struct Done {
    /// What to keep of the look at it.
    seen: Option<Seen>,
    /// Whether it turned out to be there already, so that nothing was done.
    found: bool,
}

/// Carries out one change, and looks at what has to be known again.
fn carry_out(
    change: &Change,
    plan: &Plan,
    act: &dyn Act,
    host: &dyn Observe,
    told: &mut dyn FnMut(u64),
) -> Result<Done> {
    ask_mounts(change, plan, host)?;
    if change.unseen
        && let Some(seen) = find(change, &plan.findings, host)?
    {
        return Ok(Done { seen: Some(seen), found: true });
    }
    for op in &change.ops[change.first..] {
        act.act_telling(op, told)?;
    }
    let Some(entry) = change.entry.as_ref().filter(|_| !change.ops.is_empty()) else {
        return Ok(Done::default());
    };
    let last = entry.seen.as_ref();
    let seen = entry
        .resource
        .observe(host, last, false, Looks::default())
        .context("cannot look at what was made")?;
    let Judgement { diff, way, .. } = entry.resource.judge(&seen, last);
    if let Some(NotSeen::Waits(why) | NotSeen::Left(why)) = way.not_seen {
        bail!("it was done, and could not be looked at: {why}\n  help: plan again");
    }
    match diff {
        Diff::Same | Diff::Unmanaged => Ok(Done { seen: entry.resource.remember(&seen), found: false }),
        Diff::Refuse(why) => bail!("it was done, and yet it is not as declared: {why}"),
        Diff::Create(_) | Diff::Update(_) => bail!("it was done, and yet it is not as declared"),
    }
}

/// Checks that each declared mount that a change writes to is still mounted, for the written path and for the resolved
/// path. Without the mount, the change would land on the disk below.
fn ask_mounts(change: &Change, plan: &Plan, host: &dyn Observe) -> Result<()> {
    let own = change.entry.as_ref().and_then(|entry| entry.resource.path());
    for path in change.ops.iter().filter_map(Op::path).chain(own) {
        let above: Vec<_> = plan.mounts.iter().filter(|at| *at != path).cloned().collect();
        if let Some(why) = host.missing_mount(path, &above) {
            bail!("cannot change {path}: it is on a declared mount: {why}");
        }
    }
    Ok(())
}

/// Writes a finding as the reason of a failure.
fn said(finding: Finding) -> String {
    let help = finding.remedy.map(|remedy| format!("\n  help: {remedy}")).unwrap_or_default();
    finding.message + &help
}

/// Looks at what could not be looked at when it was planned. Nothing: it is to be made, by just what was planned.
fn find(change: &Change, told: &[Finding], host: &dyn Observe) -> Result<Option<Seen>> {
    let Some(Entry { resource, seen: last, .. }) = &change.entry else { return Ok(None) };
    let seen = resource.observe(host, last.as_ref(), false, Looks::default())?;
    let Judgement { diff, mut findings, way } = resource.judge(&seen, last.as_ref());
    findings.extend(way.findings);
    if let Some(bad) = findings.iter().find(|finding| finding.severity == Severity::Error).cloned() {
        bail!(said(bad));
    }
    if let Some(NotSeen::Waits(why) | NotSeen::Left(why)) = way.not_seen {
        bail!("it cannot be looked at: {why}");
    }
    match diff {
        Diff::Same | Diff::Unmanaged => Ok(Some(resource.remember(&seen).unwrap_or(seen))),
        Diff::Create(edit) if edit.ops == change.ops => {
            // A warning that nobody has read yet is no ground to go on.
            let new = findings.into_iter().find(|it| it.severity == Severity::Warning && !told.contains(it));
            match new {
                Some(Finding { message, .. }) => {
                    bail!("{message}\n  help: plan again, and apply that plan")
                }
                None => Ok(None),
            }
        }
        Diff::Refuse(why) => bail!(why),
        Diff::Create(_) | Diff::Update(_) => bail!("it is not what was planned for: plan again"),
    }
}
