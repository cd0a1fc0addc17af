//! `rlvm run`: backs up.

mod facts;
mod logs;
mod teller;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use clap::Args;

pub(super) use self::facts::Known;
use self::{logs::Logs, teller::Teller};
use super::{
    after::{self, Begun, after},
    behind,
    context::Context,
    exit::{Exit, Failure},
    kept::applied,
    list::schedule_zone,
    locks::Locks,
    metrics,
    queue::{Queue, Turn, Use, patience},
    records, sweep,
};
use crate::{
    host::{Busy, Lock, Real, Store, interrupted, random_id, watch_signals},
    job::{self, JobRecord, Journal, Night, Record, Refused, Run, Status, VERSION, Waits, script, together},
    model::{Name, RunId},
    report::notice::What,
    state::{Job, State},
};

/// Back up: freeze the sources once, and store them at every destination
///
/// A run locks each job, runs its hooks, stops its services, freezes all volumes before it reads the first byte, starts the
/// services again, and stores at all destinations in parallel. At the end it undoes every step, whatever happens. It uses the
/// state that was applied last, unless --state names another one. `rlvm why JOB` shows the result of the last run. The
/// output of all programs is in the job's log.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = "\
Examples:
  rlvm run system                 run one job
  rlvm run --all                  run all enabled jobs, frozen at one point in time
  rlvm run system --to vault      store only at this destination
  rlvm run system --to offsite    only copy the stored backup to offsite
  rlvm run system --dry-run       print each command and its undo, ready to paste
  rlvm --state new.yaml run web   use a state file that was not applied

Hooks find in their environment:
  RLVM_JOB     the name of the job
  RLVM_RUN     the id of the run
  RLVM_STATUS  success, incomplete, failed or interrupted (only in `after`, `failed`, `finally`)
  RLVM_FAILED  the destinations that failed, separated by spaces (only in these hooks)

Exit codes:
  0         every backup is complete
  1         a source or a hook failed, a snapshot could not be removed, or rlvm could not begin
  4         another rlvm runs the job
  8         a destination failed or was left out, or a backup is incomplete (takes precedence over 1)
  130, 143  ended by a signal, after cleaning up")]
pub(super) struct RunVerb {
    /// The jobs
    #[arg(value_name = "JOB", required_unless_present = "all")]
    jobs: Vec<Name>,
    /// All jobs that are enabled
    #[arg(long, conflicts_with = "jobs")]
    all: bool,
    /// Limit to this destination (can be repeated)
    #[arg(long, value_name = "DESTINATION")]
    to: Vec<Name>,
    /// Print the commands and run none
    #[arg(long = "dry-run")]
    printed: bool,
    /// Called by cron: wait the job's jitter first, and say only what is wrong
    #[arg(long)]
    scheduled: bool,
    /// Print JSON: one event a line, the record last
    #[arg(long)]
    json: bool,
}

impl RunVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.running("jobs are run")?;
        let state = applied(context, &host)?;
        let jobs = self.choose(&state)?;
        let id: RunId = random_id()?[..RunId::LENGTH].parse()?;
        if self.printed {
            let known = Known::look(context, &host, &state, &jobs)?;
            let run = Run::new(id, &state, &jobs, &self.to, &known.facts);
            context.printer.print(&script(&run))?;
            let fit = run.jobs.iter().all(|job| job.unfit.is_empty());
            return Ok(if fit { Exit::Ok } else { Exit::Failed });
        }
        watch_signals()?;
        if self.scheduled {
            wait(&jobs)?;
        }
        // Of what leaves no record nobody would be told.
        let broken = |jobs: &[(&Name, &Job)], why: &anyhow::Error| {
            let names: Vec<Name> = jobs.iter().map(|(name, _)| (*name).clone()).collect();
            after(context, &host, &state, What::Broken(&names, &format!("{why:#}")));
        };
        // What a dead run has left could be in the way, and full.
        sweep::sweep_all(context, &host, !self.scheduled).inspect_err(|err| broken(&jobs, err))?;
        let (jobs, locks, busy) = claim(context, &host, &jobs).inspect_err(|err| broken(&jobs, err))?;
        if jobs.is_empty() {
            return Ok(Exit::Locked);
        }
        let mut begun = Some(after::begin(&host, &state, &jobs));
        let exit = self.carry_out(context, &host, &state, &jobs, &id, &mut begun).inspect_err(|err| {
            if let Some(begun) = begun.take() {
                begun.end(context, &host, &state);
                broken(&jobs, err);
            }
        })?;
        drop(locks);
        // What failed matters more than what runs already.
        Ok(if busy && exit == Exit::Ok { Exit::Locked } else { exit })
    }

    fn choose<'a>(&self, state: &'a State) -> Result<Vec<(&'a Name, &'a Job)>> {
        let enabled = || state.jobs.iter().filter(|(_, job)| job.enabled);
        if self.all {
            let all: Vec<_> = enabled().collect();
            anyhow::ensure!(!all.is_empty(), Failure::new(Exit::Failed, "no job is enabled"));
            return Ok(all);
        }
        let mut chosen: Vec<(&Name, &Job)> = Vec::new();
        for name in &self.jobs {
            let (name, job) = named(state, name)?;
            // By hand it runs all the same: whoever names it means it.
            if !chosen.iter().any(|(there, _)| *there == name) {
                chosen.push((name, job));
            }
        }
        for to in &self.to {
            if !chosen.iter().any(|(_, job)| job.to.contains(to) || job.copy.contains_key(to)) {
                let message = format!("--to {to}: none of these jobs stores there");
                return Err(Failure::new(Exit::Usage, message).into());
            }
        }
        Ok(chosen)
    }

    /// Waits until no prune and no check of rlvm's own works at the destinations, so long altogether.
    fn wait_for_turns(
        &self,
        context: &Context<'_>,
        host: &Real,
        jobs: &[(&Name, &Job)],
        patience: Duration,
        log: &dyn Fn(&str),
    ) -> Result<Turns> {
        let all = jobs.iter().flat_map(|(_, job)| job.to.iter().chain(job.copy.keys()));
        let all: BTreeSet<&Name> = all.filter(|name| self.to.is_empty() || self.to.contains(name)).collect();
        let (queue, since) = (Queue::new(context, host, "rlvm run")?, Instant::now());
        let mut turns = Turns::default();
        for name in all {
            let waits = |by: &str| {
                let why = format!("rlvm waits for destination {name}, which is in use by {by}");
                log(&why);
                if !self.scheduled {
                    context.printer.remark(&format!("{why}\n"));
                }
            };
            match queue.take(name, Use::Beside, patience.saturating_sub(since.elapsed()), &waits)? {
                Ok(turn) => {
                    let waited = turn.waited.as_ref().map(|(by, time)| {
                        format!(
                            "rlvm waited {} s for destination {name}, which was in use by {by}",
                            time.as_secs()
                        )
                    });
                    turns.waited.extend(waited.inspect(|why| log(why)));
                    turns.held.push(turn);
                }
                Err(by) => turns.busy.push((name.clone(), by)),
            }
        }
        Ok(turns)
    }

    fn carry_out(
        &self,
        context: &Context<'_>,
        host: &Real,
        state: &State,
        jobs: &[(&Name, &Job)],
        id: &RunId,
        begun: &mut Option<Begun>,
    ) -> Result<Exit> {
        let (start, since) = (context.environment.now, Instant::now());
        let store = Store::new(host, &context.home()?.join("journal")?);
        let journal = Mutex::new(Journal::begin(&store, id, context.now()?)?);
        let locks = Locks::new(context, host)?;
        let names: Vec<&Name> = jobs.iter().map(|(name, _)| *name).collect();
        let logs = Logs::open(host, state, &names);
        let log = |jobs: &[&Name], label: &str, line: &str| {
            logs.line(at(start, since.elapsed()), id, jobs, label, line);
        };
        let quiet = self.scheduled || context.global.quiet;
        let patience = patience_of(jobs, context.now()?, &schedule_zone(context));
        // Before anything is looked at, stopped or frozen: what waits for a destination holds up nothing.
        let turns = self.wait_for_turns(context, host, jobs, patience, &|why| log(&names, "rlvm", why))?;
        let known = Known::look(context, host, state, jobs)?;
        let run = Run::new(id.clone(), state, jobs, &self.to, &known.facts);
        let teller = Teller::new(context, self.json, quiet, &run);
        logs.problems.iter().for_each(|why| teller.warn(why));
        if let Some(why) = known.alters(host) {
            log(&names, "rlvm", &why);
            // A person who starts a run is told; each night it would be noise.
            if !quiet {
                teller.warn(&why);
            }
        }
        // From here on something is opened and stored: if rlvm dies, a sweep says so in a record.
        journal.lock().unwrap_or_else(PoisonError::into_inner).jobs(&state.host, &names)?;
        let went = job::run(
            &run,
            &Night {
                host,
                run: &run.id,
                journal: Some(&journal),
                signal: &|| interrupted().is_some(),
                elapsed: &|| since.elapsed(),
                refuses: &|destination| {
                    turns.refuses(destination).or_else(|| known.refuses(host, destination))
                },
                away: &|job, destination| known.away(host, job, destination),
                stored_last: &|job, destination| records::last_stored(context, host, state, job, destination),
                unlocks: &|destination| known.unlocks(&locks, destination),
                patience,
                waits: Waits::default(),
                tell: &|event| teller.tell(event),
                log: &log,
            },
        );
        let record = Record {
            format_version: VERSION,
            rlvm_version: env!("CARGO_PKG_VERSION").into(),
            run: run.id.clone(),
            host: state.host.clone(),
            started: at(start, Duration::ZERO).to_string(),
            ended: at(start, since.elapsed()).to_string(),
            seconds: since.elapsed().as_secs_f64(),
            status: together(went.jobs.iter().map(|job| job.status)),
            jobs: went.jobs,
            warnings: turns.waited.iter().cloned().chain(went.warnings).collect(),
            left: went.left,
        };
        if record.status != Status::Success {
            locks.remember_own(&journal);
        }
        let kept = records::keep(context, host, state, &record.started, &record.line()?);
        // Until the record is kept the journal has what the run came to.
        if record.left.is_empty() && kept.is_ok() {
            store.remove(run.id.as_str())?;
        }
        drop((journal, turns.held));
        let ended = teller.end(&record);
        if let Some(why) = behind::left_out() {
            log(&names, "rlvm", &why);
        }
        if let Some(begun) = begun.take() {
            begun.end(context, host, state);
        }
        for why in after(context, host, state, What::Run(&record)) {
            log(&names, "notify", &why);
        }
        ended?;
        kept.context("cannot keep the record of the run")?;
        metrics::after(context, host, state);
        Ok(exit_of(&record))
    }
}

/// The places of a run in the queues of its destinations.
#[derive(Default)]
struct Turns {
    held: Vec<Turn>,
    /// Where others work still, and who.
    busy: Vec<(Name, String)>,
    /// For whom it waited, and how long.
    waited: Vec<String>,
}

impl Turns {
    /// Says why nothing is stored at a destination, if others still work there.
    fn refuses(&self, destination: &Name) -> Option<Refused> {
        let (_, by) = self.busy.iter().find(|(name, _)| name == destination)?;
        let why =
            format!("the destination is still in use by {by}; to wait longer, set `lock_timeout` of the job");
        Some(Refused { why, skips: false })
    }
}

/// Says how long a run waits for its destinations: as long as the most impatient of its jobs.
fn patience_of(jobs: &[(&Name, &Job)], now: jiff::Timestamp, zone: &jiff::tz::TimeZone) -> Duration {
    let all = jobs.iter().map(|(_, job)| patience(job.lock_timeout, job.schedule.iter(), now, zone));
    all.min().unwrap_or_default()
}

/// Finds a job by its name.
pub(super) fn named<'a>(state: &'a State, name: &Name) -> Result<(&'a Name, &'a Job)> {
    state.jobs.get_key_value(name).ok_or_else(|| {
        let names: Vec<&str> = state.jobs.keys().map(Name::as_str).collect();
        let help = if names.is_empty() {
            "there is none".into()
        } else {
            format!("there are: {}", names.join(", "))
        };
        let message = format!("there is no job {name} in the state that was applied");
        Failure::new(Exit::Failed, message).help(help).into()
    })
}

/// Says how a run ends (design: 130 and 143 before 8 before 1).
fn exit_of(record: &Record) -> Exit {
    match record.status {
        _ if interrupted().is_some() => Exit::of_signal(interrupted()),
        Status::Interrupted => Exit::Terminated,
        Status::Success | Status::Skipped if record.left.is_empty() => Exit::Ok,
        // A destination that failed, whether or not another one has it (R54).
        _ if record.jobs.iter().any(JobRecord::lacks) => Exit::Incomplete,
        _ => Exit::Failed,
    }
}

/// Adds what has passed to when it began: a clock that is set meanwhile makes no run take years.
pub(super) fn at(start: SystemTime, elapsed: Duration) -> jiff::Timestamp {
    let now = start.checked_add(elapsed).unwrap_or(start);
    let stamp = jiff::Timestamp::try_from(now).unwrap_or_default();
    stamp.round(jiff::Unit::Second).unwrap_or(stamp)
}

/// Waits by chance up to the longest jitter of the jobs, unless a signal asks to stop.
fn wait(jobs: &[(&Name, &Job)]) -> Result<()> {
    let longest = jobs.iter().filter_map(|(_, job)| job.jitter).map(crate::model::Span::seconds).max();
    let Some(longest) = longest.filter(|longest| *longest > 0) else { return Ok(()) };
    let drawn = u64::from_str_radix(&random_id()?[..12], 16)?;
    let (since, nap) = (Instant::now(), Duration::from_secs(drawn % longest));
    while since.elapsed() < nap && interrupted().is_none() {
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// The jobs that are free, their locks, and whether another one runs already.
type Claimed<'a> = (Vec<(&'a Name, &'a Job)>, Vec<Lock>, bool);

/// Takes the locks of the jobs. One that runs already is left out, and said (R61).
fn claim<'a>(context: &Context<'_>, host: &Real, jobs: &[(&'a Name, &'a Job)]) -> Result<Claimed<'a>> {
    let since = jiff::Timestamp::try_from(context.environment.now)?;
    let who = format!("process {} since {since:.0}", std::process::id());
    let store = Store::new(host, &context.lock_dir()?.join("jobs")?);
    let (mut free, mut locks, mut busy) = (Vec::new(), Vec::new(), false);
    for (name, job) in jobs {
        match store.lock_named(name.as_str(), &who) {
            Ok(lock) => {
                locks.push(lock);
                free.push((*name, *job));
            }
            Err(err) if err.downcast_ref::<Busy>().is_some() => {
                busy = true;
                context.printer.error(&err.context(format!("job {name} runs already")));
            }
            Err(err) => return Err(err),
        }
    }
    Ok((free, locks, busy))
}
