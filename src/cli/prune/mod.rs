//! `rlvm prune`: removes old backups of this host's jobs at their destinations, and old backups of append-only
//! clients that this host stores.

mod client;
mod data;
mod grades;
mod jobs;
mod last;
mod tasks;
mod unfinished;

use std::{sync::Mutex, time::Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use self::{
    jobs::{JobDone, PlaceDone, World, places},
    tasks::{Client, Done, Task, side_by_side, tell},
    unfinished::Unfinished,
};
use super::{
    after::after,
    cache::with_cache,
    context::Context,
    exit::{Exit, Failure},
    free::Waiting,
    journaled::Journaled,
    kept::applied,
    list::schedule_zone,
    locks::Locks,
    metrics,
    queue::{Queue, patience},
    records, sweep,
};
use crate::{
    expand::{expand, prunes},
    host::{Real, Store, interrupted, random_id, watch_signals},
    job::{Backups, Journal},
    model::{Name, RunId, Span, UserName},
    report::{
        notice::{self, What},
        status::Remark,
    },
    state::State,
};

/// Remove old backups of jobs, and of append-only clients of this server
///
/// Removes the backups that a job's `retention` does not keep, at each of its destinations, copies too: only backups of
/// this host and this job. Backups with the tag `protected` stay. Refuses if the clock may have jumped: if a backup is
/// in the future, or if there was none for 30 days and 10 periods of the schedule. Removes locks of dead runs of this
/// host and stale locks, and waits for other locks.
///
/// A client with `access: append_only` cannot remove its own backups. The server does, as the client's account, and
/// only by `keep_within`, since a compromised client could forge any number of backups. rlvm shuts the client out during
/// the prune. rlvm refuses to prune if files in the repository could make restic remove good data, if a snapshot is more
/// than an hour in the future, or if it would remove snapshots although the newest ones follow a gap of more than 30 days
/// and span less than a week.
///
/// Without JOB and --client, prunes all jobs and clients. Uses the state that was applied last, unless --state names
/// another. Exits 1 if one failed and 6 if one was refused; the others are pruned all the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm prune --dry-run            print each command, ready to paste
  rlvm prune system               this job's backups alone, at all its destinations
  rlvm prune --client backup-db01

In the state:
  jobs:
    system:
      retention: { daily: 7, weekly: 4, monthly: 12 }
      prune: { schedule: \"0 5 * * 0\" }
  ssh:
    users:
      backup-db01:
        access: append_only
        prune:
          keep_within: 90d
          schedule: \"0 5 * * 0\"
          password_file: /etc/rlvm/secrets/db01.pass    # the client's, root's here")]
pub(super) struct PruneVerb {
    /// Limit to these jobs
    #[arg(value_name = "JOB")]
    jobs: Vec<Name>,
    /// Limit to this client, by the name of its account (can be repeated)
    #[arg(long = "client", value_name = "ACCOUNT")]
    clients: Vec<UserName>,
    /// Remove backups even if the clock seems to have jumped, or a client seems to have forged the time of a snapshot
    #[arg(long)]
    clock_is_right: bool,
    /// Wait so long for runs and verifications of this host, and for locks of others [default: until the next scheduled
    /// prune, at most a day; 1h without a schedule]
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    /// Print the commands and run none
    #[arg(long = "dry-run")]
    printed: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How it went, for machines.
#[derive(Debug, Default, Serialize)]
struct Pruned {
    format_version: &'static str,
    destinations: Vec<PlaceDone>,
    clients: Vec<Client>,
}

impl PruneVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.running("old backups are removed")?;
        let state = applied(context, &host)?;
        let mut tasks = self.of_jobs(context, &host, &state)?;
        tasks.extend(self.of_clients(context, &state)?);
        if tasks.is_empty() && !self.json {
            context
                .printer
                .say("nothing to prune: no enabled job declares `retention`, and no client account declares `prune`\n")?;
        }
        if self.printed {
            return self.show(context, &tasks);
        }
        let now =
            Timestamp::try_from(context.environment.now).context("the clock is beyond all calendars")?;
        let clock = (!self.clock_is_right).then(|| (now, Instant::now()));
        watch_signals()?;
        // A dead prune has left its lock.
        sweep::sweep_all(context, &host, !context.global.quiet)?;
        let pruned = self.journaled(context, &host, clock, tasks, &state);
        metrics::after(context, &host, &state);
        pruned
    }

    /// Prunes all, and has what runs written down.
    fn journaled(
        &self,
        context: &Context<'_>,
        host: &Real,
        clock: Option<(Timestamp, Instant)>,
        tasks: Vec<Task>,
        state: &State,
    ) -> Result<Exit> {
        let run: RunId = random_id()?[..RunId::LENGTH].parse()?;
        let store = Store::new(host, &context.home()?.join("journal")?);
        let journal = Mutex::new(Journal::begin(&store, &run, context.now()?)?);
        let locks = Locks::new(context, host)?;
        let programs = Journaled { host, run: &run, journal: &journal };
        let clients = prunes(state);
        let of_clients = clients.iter().filter_map(|client| client.schedule.as_ref());
        let scheduled = state.jobs.values().filter_map(|job| job.prune.schedule.as_ref()).chain(of_clients);
        let patience = patience(self.wait, scheduled, context.now()?, &schedule_zone(context)).as_secs();
        let waiting = Waiting { locks: &locks, patience };
        let queue = Queue::new(context, host, "rlvm prune")?;
        let waits = |destination: &Name, by: &str| {
            context
                .printer
                .remark(&format!("rlvm waits for destination {destination}, which is in use by {by}\n"));
        };
        let unfinished = Unfinished::new(context, host)?;
        let runs = records::all(context, host)?.runs;
        let backups = Backups::of(&runs);
        let world =
            World { host, backups: &backups, programs, waiting, queue, waits: &waits, unfinished, clock };
        let exit = self.carry_out(context, &world, tasks, state);
        locks.remember_own(&journal);
        store.remove(run.as_str())?;
        exit
    }

    /// Runs the commands, and tells how each ended.
    fn carry_out(
        &self,
        context: &Context<'_>,
        world: &World<'_>,
        tasks: Vec<Task>,
        state: &State,
    ) -> Result<Exit> {
        let asked: usize = tasks.iter().map(Task::count).sum();
        let mut pruned = Pruned { format_version: "1.0", ..Pruned::default() };
        side_by_side(world, tasks, &mut |done| {
            if !self.json {
                tell(context, &done)?;
            }
            pruned.add(done);
            Ok(())
        })?;
        let (done, failed, refused) = (pruned.count(), pruned.failed(), pruned.refused());
        last::keep(context, world.host, &pruned.clients)?;
        if self.json {
            context.printer.json(&pruned)?;
        }
        after(context, world.host, state, What::Pruned(&pruned.ends()));
        let exit = match (interrupted(), refused) {
            (Some(signal), _) => return Ok(Exit::of_signal(Some(signal))),
            (None, 0) if failed == 0 && done == asked => return Ok(Exit::Ok),
            (None, 0) => Exit::Failed,
            (None, _) => Exit::Refused,
        };
        bail!(Failure::new(exit, format!("{} of {asked}: not pruned", failed + refused)))
    }

    /// Takes the jobs that are asked for.
    fn of_jobs(&self, context: &Context<'_>, host: &Real, state: &State) -> Result<Vec<Task>> {
        let with = state.jobs.iter().filter(|(_, job)| job.retention.is_some());
        let kept: Vec<(&Name, bool)> = with.map(|(name, job)| (name, job.enabled)).collect();
        let names: Vec<&Name> = kept.iter().map(|(name, _)| *name).collect();
        let what = ("job", "the state declares `retention` for no job");
        self.jobs.iter().try_for_each(|name| is_one_of(what, name, &names))?;
        // What is disabled is left as it is, unless it is named.
        let all = self.jobs.is_empty() && self.clients.is_empty();
        let asked = kept.iter().filter(|(name, enabled)| self.jobs.contains(name) || all && *enabled);
        let asked: Vec<&Name> = asked.map(|(name, _)| *name).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let expanded = expand(state, &context.user_facts(host, state)?, &context.scope()?);
        let mut places = places(state, &expanded, &asked);
        for place in &mut places {
            place.repository = with_cache(context, host, &place.repository)?;
        }
        Ok(places.into_iter().map(Box::new).map(Task::Jobs).collect())
    }

    /// Takes the clients that are asked for.
    fn of_clients(&self, context: &Context<'_>, state: &State) -> Result<Vec<Task>> {
        // Without root there are no accounts of others.
        let clients = if context.scope()?.personal().is_none() { prunes(state) } else { Vec::new() };
        let names: Vec<&UserName> = clients.iter().map(|client| &client.account).collect();
        let what = ("client", "the state declares `prune` for no client");
        self.clients.iter().try_for_each(|name| is_one_of(what, name, &names))?;
        let all = self.jobs.is_empty() && self.clients.is_empty();
        let asked = clients.into_iter().filter(|client| all || self.clients.contains(&client.account));
        Ok(asked.map(|client| Task::Client(Box::new(client))).collect())
    }

    fn show(&self, context: &Context<'_>, tasks: &[Task]) -> Result<Exit> {
        let mut shown = Pruned { format_version: "1.0", ..Pruned::default() };
        for task in tasks {
            shown.add(task.shown());
        }
        if self.json {
            context.printer.json(&shown)?;
            return Ok(Exit::Ok);
        }
        for place in &shown.destinations {
            for job in &place.jobs {
                context.printer.print(&format!("# {} at {}\n{}\n", job.name, place.name, job.command))?;
            }
            let what = "what no backup needs any more";
            context.printer.print(&format!("# {}: {what}\n{}\n", place.name, place.command))?;
        }
        for client in &shown.clients {
            let what = "rlvm first shuts the client out and looks for forged files";
            context.printer.print(&format!("# {}: {what}\n{}\n", client.name, client.command))?;
        }
        Ok(Exit::Ok)
    }
}

/// Says what of old backups is still to be removed.
///
/// # Errors
///
/// If what rlvm noted cannot be read.
pub(super) fn remarks(context: &Context<'_>, host: &Real, state: &State) -> Result<Vec<Remark>> {
    let mut remarks = last::remarks(context, host, state)?;
    remarks.extend(unfinished::remarks(context, host)?);
    Ok(remarks)
}

/// Refuses a name that is none of those that can be pruned.
fn is_one_of<T: PartialEq + std::fmt::Display>(
    (what, none): (&str, &str),
    name: &T,
    all: &[&T],
) -> Result<()> {
    if all.contains(&name) {
        return Ok(());
    }
    let help = match all {
        [] => none.to_owned(),
        _ => format!("there are: {}", all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    bail!(Failure::new(Exit::Failed, format!("no {what} {name} is pruned here")).help(help))
}

impl Pruned {
    fn add(&mut self, done: Done) {
        match done {
            Done::Jobs(place) => self.destinations.push(place),
            Done::Client(client) => self.clients.push(client),
        }
        // In the order of names, whoever came first.
        self.destinations.sort_by(|a, b| a.name.cmp(&b.name));
        self.clients.sort_by(|a, b| a.name.cmp(&b.name));
    }

    fn jobs(&self) -> impl Iterator<Item = &JobDone> {
        self.destinations.iter().flat_map(|place| &place.jobs)
    }

    /// Says how each job's backups fared, for whoever is told.
    fn ends(&self) -> Vec<notice::Pruned> {
        let of = |place: &PlaceDone, job: &JobDone| notice::Pruned {
            job: Some(job.name.clone()),
            destination: place.name.clone(),
            error: job.refused.clone().or_else(|| job.error.clone()).or_else(|| place.error.clone()),
        };
        let there = self.destinations.iter().filter(|place| place.skipped.is_none());
        let all = there.flat_map(|place| place.jobs.iter().map(move |job| of(place, job)));
        let clients = self.clients.iter().filter_map(|client| {
            let destination = client.name.as_str().replace('.', "-").parse().ok()?;
            Some(notice::Pruned { job: None, destination, error: client.trouble().map(ToOwned::to_owned) })
        });
        all.chain(clients).collect()
    }

    fn count(&self) -> usize {
        self.jobs().count() + self.clients.len()
    }

    fn failed(&self) -> usize {
        let places = self.destinations.iter().filter(|place| place.error.is_some()).count();
        let jobs = self.jobs().filter(|job| job.error.is_some()).count();
        jobs + places + self.clients.iter().filter(|client| client.error.is_some()).count()
    }

    fn refused(&self) -> usize {
        let clients = self.clients.iter().filter(|client| client.refused.is_some()).count();
        self.jobs().filter(|job| job.refused.is_some()).count() + clients
    }
}
