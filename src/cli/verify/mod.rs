//! `rlvm verify`: checks that backups can be restored, with the data in the repositories themselves.

mod drill;
mod place;
mod tell;
mod world;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, atomic::AtomicUsize},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use self::{
    place::{Asked, Drilled, Place, places},
    world::World,
};
use super::{
    after::after,
    context::Context,
    exit::{Exit, Failure},
    free::Waiting,
    journaled::Journaled,
    kept::applied,
    list::schedule_zone,
    locks::Locks,
    metrics,
    queue::{Queue, patience},
    records,
    run::named,
    sweep,
};
use crate::{
    effect::Owner,
    expand::expand,
    host::{Busy, Host as _, Lock, Real, Store, interrupted, random_id, watch_signals},
    job::Journal,
    model::{Name, ReadData, RunId, Span},
    report::notice::What,
    side_by_side::side_by_side,
    state::State,
    verify::{Checked, Outcome, Read},
};

/// How many destinations are verified side by side.
const ABREAST: usize = 4;

/// Prove that backups can be restored: check repositories, read data back, restore a sample
///
/// Checks each repository of the jobs once, copies too: runs `restic check`, and reads as much data as `verify: read_data`
/// says. With `drill`, restores random files of the newest backup of this host and job into a private directory and
/// compares them: size, mode, owner and time with the backup, and the bytes with the live file if that has not changed
/// since. If qemu-img is installed, it checks machine images (.qcow2) among them. A repository that cannot be reached is
/// not reported as damaged. Removes locks of dead runs of this host and stale locks, and waits for other locks. Keeps the
/// result with the records of runs. Uses the state that was applied last, unless --state names another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm verify                      all jobs, all destinations, as declared
  rlvm verify system --drill       restore 20 files from each destination, or as many as declared
  rlvm verify --to vault --read-data
  rlvm verify --dry-run            print each command, ready to paste

In the state:
  jobs:
    system:
      verify:
        schedule: \"0 6 * * 0\"
        read_data: 5%                # another part each time; or: all within 90d, 2G, all
        drill: { files: 20 }

Exit codes:
  0  all is well                   9  something is damaged or unreachable, or
  4  another rlvm verifies a          a check did not finish
     destination                 130, 143  ended by a signal")]
pub(super) struct VerifyVerb {
    /// Limit to the destinations of these jobs
    #[arg(value_name = "JOB")]
    jobs: Vec<Name>,
    /// Limit to this destination (can be repeated)
    #[arg(long, value_name = "DESTINATION")]
    to: Vec<Name>,
    /// Read back this much data: all, 5% (another part each time), 2G (at random)
    #[arg(long, value_name = "AMOUNT", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    read_data: Option<ReadData>,
    /// Restore this many files of the newest backup and compare them
    #[arg(long, value_name = "FILES", num_args = 0..=1, require_equals = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    #[expect(clippy::option_option, reason = "not asked for, asked for, and how many")]
    drill: Option<Option<u32>>,
    /// Wait so long for runs and prunes of this host, and for locks of others [default: until the next scheduled
    /// verification, at most a day; 1h without a schedule]
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    /// Print the commands and run none
    #[arg(long = "dry-run")]
    printed: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What came of it, for machines.
#[derive(Debug, Serialize)]
struct Verified {
    format_version: &'static str,
    destinations: Vec<Checked>,
    /// Destinations with `may_be_absent` that are absent, each with why.
    skipped: BTreeMap<Name, String>,
}

impl VerifyVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.running("repositories are verified")?;
        let state = applied(context, &host)?;
        let checks = records::all(context, &host)?.checks;
        let with_part = |place: Place| {
            let read = place.amount.now(&place.name, checks.iter());
            (place, read)
        };
        let places: Vec<(Place, Read)> =
            self.places(context, &host, &state)?.into_iter().map(with_part).collect();
        let id: RunId = random_id()?[..RunId::LENGTH].parse()?;
        if self.printed {
            return tell::show(context, &places, &context.cache()?, &id);
        }
        watch_signals()?;
        // What a dead run has left could be in the way.
        sweep::sweep_all(context, &host, !context.global.quiet)?;
        let (places, skipped) = self.without_absent(&host, places)?;
        for (name, why) in &skipped {
            context.printer.note(&format!("skipped {name}: {why}\n"));
        }
        let (places, locks, busy) = claim(context, &host, places)?;
        let exit = self.journaled(context, &host, &state, &places, skipped, &id)?;
        drop(locks);
        Ok(if busy && exit == Exit::Ok { Exit::Locked } else { exit })
    }

    /// Takes out destinations that are absent and may be. One that is asked for by name is verified, and fails.
    #[expect(clippy::type_complexity, reason = "the places that are left, and why each other one is not")]
    fn without_absent(
        &self,
        host: &Real,
        places: Vec<(Place, Read)>,
    ) -> Result<(Vec<(Place, Read)>, BTreeMap<Name, String>)> {
        let asked = |place: &Place| self.to.contains(&place.name);
        let absences = side_by_side(&places, ABREAST, |(place, _)| {
            if asked(place) { Ok(None) } else { place.repository.absence(host.looker().as_ref()) }
        });
        let (mut left, mut skipped) = (Vec::new(), BTreeMap::new());
        for (place, absence) in places.into_iter().zip(absences) {
            match absence? {
                Some(why) => drop(skipped.insert(place.0.name, why)),
                None => left.push(place),
            }
        }
        Ok((left, skipped))
    }

    /// Verifies all, and has what is open written down.
    fn journaled(
        &self,
        context: &Context<'_>,
        host: &Real,
        state: &State,
        places: &[(Place, Read)],
        skipped: BTreeMap<Name, String>,
        id: &RunId,
    ) -> Result<Exit> {
        let (locks, scope) = (Locks::new(context, host)?, context.scope()?);
        let scheduled = state.jobs.values().filter_map(|job| job.verify.schedule.as_ref());
        let patience = patience(self.wait, scheduled, context.now()?, &schedule_zone(context)).as_secs();
        let store = Store::new(host, &context.home()?.join("journal")?);
        let journal = Mutex::new(Journal::begin(&store, id, context.now()?)?);
        let runs = records::all(context, host)?.runs;
        let world = World {
            host,
            runs: &runs,
            programs: Journaled { host, run: id, journal: &journal },
            waiting: Waiting { locks: &locks, patience },
            queue: Queue::new(context, host, "rlvm verify")?,
            waits: &|destination, by| {
                context
                    .printer
                    .remark(&format!("rlvm waits for destination {destination}, which is in use by {by}\n"));
            },
            place: context.cache()?,
            own: scope.personal().map(Owner::of),
            start: context.environment.now,
            since: Instant::now(),
            count: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
        };
        let exit = self.carry_out(context, &world, state, places, skipped);
        locks.remember_own(&journal);
        if world.left.into_inner() == 0 {
            store.remove(id.as_str())?;
        }
        exit
    }

    fn places(&self, context: &Context<'_>, host: &Real, state: &State) -> Result<Vec<Place>> {
        let mut jobs: Vec<&Name> = Vec::new();
        for name in &self.jobs {
            jobs.push(named(state, name)?.0);
        }
        if self.jobs.is_empty() {
            // What is disabled is left as it is, unless it is named.
            jobs.extend(state.jobs.iter().filter(|(_, job)| job.enabled).map(|(name, _)| name));
        }
        let now =
            Timestamp::try_from(context.environment.now).context("the clock is beyond all calendars")?;
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        let expanded = expand(state, &context.user_facts(host, state)?, &context.scope()?);
        let drill = match self.drill {
            None => Drilled::Declared,
            Some(None) => Drilled::Asked,
            Some(Some(files)) => Drilled::Of(files),
        };
        let asked = Asked { read: self.read_data, drill };
        let mut places = places(state, &expanded, &jobs, asked, today);
        for to in &self.to {
            if !places.iter().any(|place| place.name == *to) {
                let message = format!("--to {to}: none of these jobs has backups there");
                return Err(Failure::new(Exit::Usage, message).into());
            }
        }
        places.retain(|place| self.to.is_empty() || self.to.contains(&place.name));
        Ok(places)
    }

    /// Verifies all, side by side; keeps and tells what came of each as it ends.
    fn carry_out(
        &self,
        context: &Context<'_>,
        world: &World<'_>,
        state: &State,
        places: &[(Place, Read)],
        skipped: BTreeMap<Name, String>,
    ) -> Result<Exit> {
        let told = Mutex::new(());
        let done = side_by_side(places, ABREAST, |(place, read)| {
            if interrupted().is_some() {
                return Ok(None);
            }
            let checked = place.verify(world, &state.host, read.clone());
            let one_at_a_time = told.lock().unwrap_or_else(PoisonError::into_inner);
            records::keep(context, world.host, state, &checked.started, &checked.line()?)
                .context("cannot keep the record of the verification")?;
            if !self.json {
                tell::tell(context, &checked)?;
            }
            drop(one_at_a_time);
            Ok(Some(checked))
        });
        let destinations: Vec<Checked> =
            done.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
        let unwell = destinations.iter().filter(|it| it.outcome != Outcome::Well).count();
        let verified = Verified { format_version: "1.0", destinations, skipped };
        if self.json {
            context.printer.json(&verified)?;
        }
        after(context, world.host, state, What::Verified(&verified.destinations));
        metrics::after(context, world.host, state);
        match (interrupted(), unwell) {
            (Some(signal), _) => Ok(Exit::of_signal(Some(signal))),
            (None, 0) => Ok(Exit::Ok),
            (None, _) => {
                bail!(Failure::new(Exit::Unwell, format!("{unwell} of {}: not well", places.len())))
            }
        }
    }
}

/// The destinations that are free with their locks, and whether another one is verified already.
type Claimed = (Vec<(Place, Read)>, Vec<Lock>, bool);

/// Takes the locks of the destinations: two that verify one would wait for each other's lock in it.
fn claim(context: &Context<'_>, host: &Real, places: Vec<(Place, Read)>) -> Result<Claimed> {
    let since = Timestamp::try_from(context.environment.now)?;
    let who = format!("process {} since {since:.0}", std::process::id());
    let store = Store::new(host, &context.lock_dir()?.join("verify")?);
    let (mut free, mut locks, mut busy) = (Vec::new(), Vec::new(), false);
    for (place, read) in places {
        match store.lock_named(place.name.as_str(), &who) {
            Ok(lock) => {
                locks.push(lock);
                free.push((place, read));
            }
            Err(err) if err.downcast_ref::<Busy>().is_some() => {
                busy = true;
                context.printer.error(&err.context(format!("{} is verified already", place.name)));
            }
            Err(err) => return Err(err),
        }
    }
    Ok((free, locks, busy))
}
