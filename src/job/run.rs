//! Carries out a run, and closes everything that it opened, in reverse order: on success, failure, timeout and
//! signal.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    Event, JobRecord, JobRun, Night, Outcome, Refused, Run, Status, StoreRecord, fill, freeze,
    night::succeeded,
    store, together,
    undo::{Open, Undo, lock},
};
use crate::{
    effect::{Cmd, Op},
    model::{HostPath, Name},
    source::Frozen,
};

/// What is known of a job while it runs.
#[derive(Default)]
pub(super) struct Going {
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) destinations: Vec<StoreRecord>,
    pub(super) copies: Vec<StoreRecord>,
    /// What is stopped for it.
    stopped: Vec<Open>,
    froze: Option<f64>,
    /// How long it has worked before, and since when it works now: what it waits for other jobs of the run is not counted.
    worked: Duration,
    since: Option<Duration>,
    interrupted: bool,
}

/// A run that goes on.
pub(super) struct Runner<'a> {
    pub(super) run: &'a Run,
    pub(super) night: &'a Night<'a>,
    pub(super) undo: &'a Undo<'a>,
    pub(super) jobs: Vec<Mutex<Going>>,
    /// What is frozen: places in [`Run::frozen`].
    pub(super) made: Mutex<BTreeSet<usize>>,
    /// What is no longer what was frozen: places in [`Run::frozen`].
    pub(super) broken: Mutex<BTreeSet<usize>>,
    pub(super) warnings: Mutex<Vec<String>>,
    /// What releases the snapshots that were made.
    pub(super) snapshots: Mutex<Vec<Open>>,
    /// When they were made; none while there are none.
    frozen_at: Mutex<Option<Duration>>,
}

/// How a run went.
pub struct Went {
    /// Its jobs.
    pub jobs: Vec<JobRecord>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What could not be undone.
    pub left: Vec<String>,
}

/// Carries a run out.
pub fn run(run: &Run, night: &Night<'_>) -> Went {
    let all: Vec<&Name> = run.jobs.iter().map(|job| &job.name).collect();
    let act = |op: &Op| night.act(&all, "undo", op);
    let undo = Undo::new(night.journal, &act);
    let jobs = run.jobs.iter().map(|_| Mutex::default()).collect();
    let going = Runner {
        run,
        night,
        undo: &undo,
        jobs,
        made: Mutex::default(),
        broken: Mutex::default(),
        warnings: Mutex::default(),
        snapshots: Mutex::default(),
        frozen_at: Mutex::default(),
    };
    going.carry_out(&all)
}

impl Runner<'_> {
    fn carry_out(&self, all: &[&Name]) -> Went {
        for (job, going) in self.run.jobs.iter().zip(&self.jobs) {
            // plan warns of it too: each run keeps it in its record, and tells nobody again.
            for why in &job.uncovered {
                (self.night.log)(&[&job.name], "rlvm", &format!("warning: {why}"));
                lock(going).warnings.push(why.clone());
            }
            for unfit in &job.unfit {
                self.fail(job, &format!("{}; {}", unfit.message, unfit.remedy));
            }
        }
        let prepared = self.prepare(all);
        if let Err(err) = &prepared {
            self.live().for_each(|(job, _)| self.fail(job, &format!("{err:#}")));
        }
        // Where backups go is looked at meanwhile.
        let (refused, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        thread::scope(|scope| {
            let destinations: BTreeSet<&Name> =
                self.live().flat_map(|(job, _)| job.stores.iter().map(|store| &store.destination)).collect();
            for destination in destinations {
                let (refused, night) = (&refused, self.night);
                scope.spawn(move || {
                    let why = (night.refuses)(destination);
                    lock(refused).extend(why.map(|why| (destination.clone(), why)));
                });
            }
            self.hooks_before();
            self.stop_what_runs();
            *lock(&self.frozen_at) = Some((self.night.elapsed)());
            freeze::freeze(self);
            self.start_again();
        });
        let refused = refused.into_inner().unwrap_or_default();
        thread::scope(|scope| {
            if self.run.frozen.iter().any(|it| it.fills.is_some()) {
                scope.spawn(|| fill::watch(self, &stop));
            }
            let mut work = || self.store_frozen(&refused);
            let done = match &self.run.view {
                Some(_) => self.night.host.apart(&mut work),
                None => {
                    work();
                    Ok(())
                }
            };
            if let Err(err) = done {
                self.frozen().for_each(|(job, _)| self.fail(job, &format!("{err:#}")));
            }
            stop.store(true, Ordering::Relaxed);
        });
        self.release();
        self.store_each(&refused, |job| job.needs.is_empty());
        let left = self.undo.all();
        for (job, going) in self.live() {
            let copies = self.timed(job, || store::copies(self, job));
            lock(going).copies = copies;
        }
        self.hooks_after();
        self.went(left)
    }

    /// Lists the jobs that have not failed.
    pub(super) fn live(&self) -> impl Iterator<Item = (&JobRun, &Mutex<Going>)> {
        let all = self.run.jobs.iter().zip(&self.jobs);
        all.filter(|(_, going)| {
            let going = lock(going);
            going.errors.is_empty() && !going.interrupted
        })
    }

    /// Lists those of them that read snapshots.
    fn frozen(&self) -> impl Iterator<Item = (&JobRun, &Mutex<Going>)> {
        self.live().filter(|(job, _)| !job.needs.is_empty())
    }

    /// Does something for a job, on its time.
    fn timed<T>(&self, job: &JobRun, work: impl FnOnce() -> T) -> T {
        let Some(going) = self.of(job) else { return work() };
        lock(going).since = Some((self.night.elapsed)());
        let done = work();
        let mut going = lock(going);
        let since = going.since.take().unwrap_or_default();
        going.worked += (self.night.elapsed)().saturating_sub(since);
        done
    }

    /// Says that a job has failed.
    pub(super) fn fail(&self, job: &JobRun, why: &str) {
        let Some(going) = self.of(job) else { return };
        (self.night.log)(&[&job.name], "rlvm", why);
        (self.night.tell)(&Event::Error { job: &job.name, why });
        lock(going).errors.push(why.into());
    }

    /// Returns what is known of a job.
    pub(super) fn going(&self, job: &JobRun) -> Option<&Mutex<Going>> {
        self.of(job)
    }

    /// Writes down which file systems are about to be held still.
    pub(super) fn holds(&self, held: &[HostPath]) -> Result<()> {
        self.night.journal.map_or(Ok(()), |journal| lock(journal).holds(held))
    }

    fn of(&self, job: &JobRun) -> Option<&Mutex<Going>> {
        let index = self.run.jobs.iter().position(|it| it.name == job.name)?;
        self.jobs.get(index)
    }

    /// Says something that a person should know, of all jobs.
    pub(super) fn warn(&self, why: &str) {
        let all: Vec<&Name> = self.run.jobs.iter().map(|job| &job.name).collect();
        (self.night.log)(&all, "rlvm", &format!("warning: {why}"));
        (self.night.tell)(&Event::Warning(why));
        lock(&self.warnings).push(why.into());
    }

    /// Says whether a job is to stop: a signal asks for it, its time is up, or its snapshots are too old.
    pub(super) fn stops(&self, job: &JobRun) -> bool {
        (self.night.signal)() || self.is_late(job) || self.is_too_old(job)
    }

    fn is_late(&self, job: &JobRun) -> bool {
        let Some((limit, going)) = job.timeout.zip(self.of(job)) else { return false };
        let going = lock(going);
        let now = going.since.map_or(Duration::ZERO, |since| (self.night.elapsed)().saturating_sub(since));
        going.worked + now >= limit.duration()
    }

    fn is_too_old(&self, job: &JobRun) -> bool {
        let limit = job.snapshot_max_age.filter(|_| !job.needs.is_empty());
        limit
            .zip(*lock(&self.frozen_at))
            .is_some_and(|(limit, since)| (self.night.elapsed)().saturating_sub(since) >= limit.duration())
    }

    /// Says in a job's words why it was stopped.
    pub(super) fn why_stopped(&self, job: &JobRun) -> String {
        if (self.night.signal)() {
            if let Some(going) = self.of(job) {
                lock(going).interrupted = true;
            }
            return "stopped by a signal".into();
        }
        match (job.timeout, job.snapshot_max_age) {
            (_, Some(limit)) if self.is_too_old(job) => {
                format!("stopped: its snapshots reached `snapshot_max_age` ({limit}), and are removed")
            }
            (Some(limit), _) => format!("took longer than its `timeout` of {limit} and was ended"),
            (None, _) => String::new(),
        }
    }

    fn prepare(&self, all: &[&Name]) -> Result<()> {
        for step in &self.run.prepare {
            if let Some(undo) = &step.undo {
                self.undo.will(undo)?;
            }
            self.night.act(all, "prepare", &step.act)?;
        }
        Ok(())
    }

    fn hooks_before(&self) {
        for (job, going) in self.live() {
            for hook in &job.before {
                let what = format!("hook {}", hook.name);
                (self.night.tell)(&Event::Begins { jobs: &[&job.name], what: &what });
                let stopped = || self.stops(job).then(|| self.why_stopped(job));
                let (ran, stopped) =
                    self.timed(job, || (self.hook(job, &what, &hook.cmd, &|| self.stops(job)), stopped()));
                let Err(err) = ran else { continue };
                if let Some(why) = stopped {
                    self.fail(job, &format!("{what}: {why}"));
                } else if hook.aborts {
                    self.fail(job, &format!("{what}: {err:#}"));
                } else {
                    lock(going).warnings.push(format!("{what}: {err:#}"));
                    continue;
                }
                break;
            }
        }
    }

    /// Runs a hook, which must succeed. What it leaves in the background is named: nobody waits for that.
    fn hook(&self, job: &JobRun, what: &str, cmd: &Cmd, stop: &dyn Fn() -> bool) -> Result<()> {
        let heard = &mut |_, line: &str| Some(line.to_owned());
        let said = self.night.program(&[&job.name], what, cmd, stop, heard)?;
        if !said.ended.left.is_empty() {
            let why = format!("{what} has left {} running", said.ended.left.join(", "));
            (self.night.log)(&[&job.name], "rlvm", &format!("warning: {why}"));
            (self.night.tell)(&Event::Warning(&format!("job {}: {why}", job.name)));
            if let Some(going) = self.of(job) {
                lock(going).warnings.push(why);
            }
        }
        succeeded(cmd, &said)
    }

    fn stop_what_runs(&self) {
        for (job, going) in self.live() {
            for step in &job.stop {
                let stopped = || -> Result<()> {
                    if let Some(undo) = &step.undo {
                        let open = self.undo.will(undo)?;
                        lock(going).stopped.push(open);
                        self.undo.sync()?;
                    }
                    self.night.act(&[&job.name], "stop", &step.act)
                };
                (self.night.tell)(&Event::Begins { jobs: &[&job.name], what: &step.act.to_string() });
                if let Err(err) = stopped().context("cannot stop what `stop:` names") {
                    self.fail(job, &format!("{err:#}"));
                    break;
                }
            }
        }
    }

    /// Starts again what was stopped for jobs that are frozen, and for those that have failed.
    fn start_again(&self) {
        for (job, going) in self.run.jobs.iter().zip(&self.jobs) {
            let failed = { !lock(going).errors.is_empty() };
            if !job.is_frozen && !failed {
                continue;
            }
            let stopped = std::mem::take(&mut lock(going).stopped);
            for open in stopped.into_iter().rev() {
                if let Err(err) = self.undo.one(open) {
                    // It is tried once more at the end.
                    self.warn(&format!("job {}: cannot start again what was stopped: {err:#}", job.name));
                }
            }
        }
    }

    /// Takes down how long it took to freeze what a job needs.
    pub(super) fn froze(&self, job: &JobRun, seconds: f64) {
        if let Some(going) = self.of(job) {
            lock(going).froze = Some(seconds);
        }
    }

    /// Stores the jobs that read snapshots, in the view.
    fn store_frozen(&self, refused: &[(Name, Refused)]) {
        if let Err(err) = self.build_view() {
            let why = format!("cannot show what is frozen: {err:#}");
            self.frozen().for_each(|(job, _)| self.fail(job, &why));
        }
        self.store_each(refused, |job| !job.needs.is_empty());
        for (job, going) in self.frozen() {
            // What was stored before the snapshot was full is whole: it was looked at then.
            if lock(going).destinations.iter().all(|it| it.status <= Status::Incomplete) {
                continue;
            }
            let full = job.needs.iter().find(|need| lock(&self.broken).contains(need));
            let full = full.and_then(|need| self.run.frozen.get(*need)?.fills.as_ref());
            if let Some(fills) = full {
                let what = "was full before all was stored: what was stored is not what was frozen";
                self.fail(
                    job,
                    &format!("the snapshot of {} {what}; give it a larger `snapshot_size`", fills.origin),
                );
            }
        }
        if let Some(view) = &self.run.view {
            let all: Vec<&Name> = self.run.jobs.iter().map(|job| &job.name).collect();
            // If something keeps it busy, it goes with the last process that sees it.
            drop(self.night.must(&all, "view", &view.unmount, &|| false));
        }
    }

    /// Stores the jobs that these are, one after the other.
    fn store_each(&self, refused: &[(Name, Refused)], which: impl Fn(&JobRun) -> bool) {
        for (job, going) in self.live().filter(|(job, _)| which(job)) {
            let stored = self.timed(job, || store::all(self, job, refused));
            lock(going).destinations = stored;
        }
    }

    /// Removes the snapshots before other jobs are stored, which may take long.
    fn release(&self) {
        let snapshots = std::mem::take(&mut *lock(&self.snapshots));
        for open in snapshots.into_iter().rev() {
            // What cannot be removed now is tried once more at the end.
            drop(self.undo.one(open));
        }
        *lock(&self.frozen_at) = None;
    }

    fn build_view(&self) -> Result<()> {
        let Some(view) = self.run.view.as_ref().filter(|_| self.frozen().next().is_some()) else {
            return Ok(());
        };
        let all: Vec<&Name> = self.run.jobs.iter().map(|job| &job.name).collect();
        let made = lock(&self.made).clone();
        let frozen: Vec<&Frozen> = made.iter().filter_map(|index| self.run.frozen.get(*index)).collect();
        view.with(&frozen).mounts.iter().try_for_each(|cmd| self.night.must(&all, "view", cmd, &|| false))
    }

    fn hooks_after(&self) {
        for (job, going) in self.run.jobs.iter().zip(&self.jobs) {
            let record = { record(job, &lock(going)) };
            let failed = record.destinations.iter().chain(&record.copies);
            let failed = failed.filter(|it| it.status > Status::Incomplete).map(|it| it.destination.clone());
            let outcome = Outcome { status: record.status.word(), failed: failed.collect() };
            let hooks = match record.status {
                Status::Success => job.after.as_slice(),
                // Nothing was stored, and nothing failed: `after` often tells a monitor of a backup.
                Status::Skipped => &[],
                _ => &job.failed,
            };
            for hook in hooks.iter().chain(&job.finally) {
                let what = format!("hook {}", hook.name);
                (self.night.tell)(&Event::Begins { jobs: &[&job.name], what: &what });
                // Whatever happened, they run; their own time limit ends them.
                let ran = self.hook(job, &what, &hook.told(&outcome), &|| false);
                let Err(err) = ran else { continue };
                if hook.aborts {
                    self.fail(job, &format!("{what}: {err:#}"));
                } else {
                    lock(going).warnings.push(format!("{what}: {err:#}"));
                }
            }
        }
    }

    fn went(&self, left: Vec<(Op, anyhow::Error)>) -> Went {
        let left: Vec<String> = left.into_iter().map(|(op, err)| format!("`{op}`: {err:#}")).collect();
        for left in &left {
            self.warn(&format!("cannot undo {left}; `rlvm sweep` tries it again"));
        }
        let jobs = self.run.jobs.iter().zip(&self.jobs).map(|(job, going)| record(job, &lock(going)));
        Went { jobs: jobs.collect(), warnings: std::mem::take(&mut lock(&self.warnings)), left }
    }
}

fn record(job: &JobRun, going: &Going) -> JobRecord {
    let stored = together(going.destinations.iter().chain(&going.copies).map(|it| it.status));
    let status = match () {
        () if going.interrupted => Status::Interrupted,
        () if !going.errors.is_empty() => Status::Failed,
        () => stored,
    };
    JobRecord {
        job: job.name.clone(),
        status,
        errors: going.errors.clone(),
        warnings: going.warnings.clone(),
        froze: going.froze,
        destinations: going.destinations.clone(),
        copies: going.copies.clone(),
    }
}
