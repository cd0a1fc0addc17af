//! `rlvm why`: what a job does, from where to where, and how its last run went.

mod show;

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{
    context::Context,
    exit::{Exit, Failure},
    kept::applied,
    list::{When, now, short},
    run::{Known, last_of, named, records},
};
use crate::{
    host::{Host as _, Real},
    job::{Facts, Record, Run, environment},
    model::{HostName, HostPath, Name, Retention, RunId, Schedule, Span, UserName},
    resource::CRON_PATH,
    source::{Ground, Source, Unfit},
    state::{Hooks, IoNice, Job, State, Stop},
};

/// Say all about a job: what it stores and where, when and how, and what its last run came to
///
/// Sources and destinations are resolved as a run would resolve them now: where a volume is mounted, how large its
/// snapshot would be, what is wrong. Nothing is changed. The state is the one that was applied last, unless --state names
/// another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm why system
  rlvm why system --json | jq -r .last.status
  rlvm --state new.yaml why system    of a state that is not applied yet")]
pub(super) struct WhyVerb {
    /// The job
    #[arg(value_name = "JOB")]
    job: Name,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// All about a job.
#[derive(Serialize)]
struct Why {
    format_version: &'static str,
    job: Name,
    host: HostName,
    enabled: bool,
    user: UserName,
    /// What hooks find beside what a run tells them.
    environment: BTreeMap<&'static str, String>,
    cache: HostPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<Span>,
    next: Vec<When>,
    sources: Vec<From>,
    exclude: Vec<String>,
    /// What else keeps it from running.
    unfit: Vec<Bad>,
    destinations: Vec<To>,
    parallel: u32,
    copies: Vec<To>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<Retention>,
    /// The same in words.
    keeps: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prune: Option<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_prune: Option<When>,
    stop: Vec<Stop>,
    hooks: Hooks,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nice: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ionice: Option<IoNice>,
    /// The record of the last run, of this job alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Record>,
    log: HostPath,
    records: HostPath,
}

/// A source, as it is now.
#[derive(Serialize)]
struct From {
    source: String,
    /// What is stored of it.
    paths: Vec<HostPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen: Option<Freeze>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unfit: Option<Bad>,
}

/// How a source is frozen.
#[derive(Serialize)]
struct Freeze {
    /// Where the file system is mounted.
    at: HostPath,
    /// Whether the snapshot grows as it needs: that of a thin volume, or of btrfs.
    thin: bool,
    /// How large it is else.
    #[serde(skip_serializing_if = "Option::is_none")]
    mib: Option<u64>,
}

/// What is wrong, and what to do.
#[derive(Serialize)]
struct Bad {
    message: String,
    remedy: String,
}

/// A place for backups.
#[derive(Serialize)]
struct To {
    name: Name,
    repository: String,
    /// From where it is copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Name>,
}

impl std::convert::From<Unfit> for Bad {
    fn from(Unfit { message, remedy }: Unfit) -> Self {
        Self { message, remedy }
    }
}

impl WhyVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        if host.looker().is_tree() {
            let message = "jobs are run by the running system, not below --root";
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let state = applied(context, &host)?;
        let (name, job) = named(&state, &self.job)?;
        let why = why(context, &host, &state, name, job)?;
        if self.json {
            context.printer.json(&why)?;
        } else {
            context.printer.print(&why.show(&context.environment.zone))?;
        }
        Ok(Exit::Ok)
    }
}

fn why(context: &Context<'_>, host: &Real, state: &State, name: &Name, job: &Job) -> Result<Why> {
    // Not of a run: none has this name.
    let id: RunId = "000000000000".parse()?;
    let (facts, blind) = look(context, host, state, name, job)?;
    let sources: Vec<From> =
        job.sources.iter().map(|source| from(source, &facts.ground, &id, blind.as_ref())).collect();
    let known =
        |bad: &Bad| sources.iter().filter_map(|it| it.unfit.as_ref()).any(|it| it.message == bad.message);
    let unfit = match blind {
        Some(_) => Vec::new(),
        None => {
            let run = Run::new(id.clone(), state, &[(name, job)], &[], &facts);
            let all = run.jobs.into_iter().flat_map(|job| job.unfit).map(Bad::from);
            all.filter(|bad| !known(bad)).collect()
        }
    };
    let (zone, now) = (&context.environment.zone, now(context)?);
    let to = |to: &Name, from: Option<&Name>| To {
        name: to.clone(),
        repository: repository(state, &facts, to),
        from: from.cloned(),
    };
    let schedule = job.schedule.as_ref().filter(|_| job.enabled);
    let prune = job.prune.schedule.as_ref().filter(|_| job.enabled && job.retention.is_some());
    let mut environment: BTreeMap<_, _> = environment(&id, name, job, &facts).into();
    environment.remove("RLVM_RUN");
    environment.insert("PATH", CRON_PATH.into());
    Ok(Why {
        format_version: "1.0",
        job: name.clone(),
        host: state.host.clone(),
        enabled: job.enabled,
        user: job.user.clone(),
        environment,
        cache: facts.cache_of(&job.user),
        schedule: job.schedule.clone(),
        jitter: job.jitter,
        next: schedule.map(|it| When::all(it, now, zone).take(3).collect()).unwrap_or_default(),
        exclude: job.exclude.iter().map(ToString::to_string).collect(),
        sources,
        unfit,
        destinations: job.to.iter().map(|name| to(name, None)).collect(),
        parallel: job.parallel,
        copies: job.copy.iter().map(|(name, copy)| to(name, Some(&copy.from))).collect(),
        keeps: job.retention.as_ref().map_or_else(|| "all".into(), Retention::words),
        retention: job.retention.clone(),
        prune: job.prune.schedule.clone(),
        next_prune: prune.and_then(|it| When::all(it, now, zone).next()),
        stop: job.stop.clone(),
        hooks: job.hooks.clone(),
        timeout: job.timeout,
        nice: job.nice,
        ionice: job.ionice,
        last: last(context, host, name)?,
        log: state.log.directory.join(&format!("{name}.log"))?,
        records: records(context)?,
    })
}

/// Looks as a run does. Where sources cannot be looked at, it says why, and looks at the rest.
fn look(
    context: &Context<'_>,
    host: &Real,
    state: &State,
    name: &Name,
    job: &Job,
) -> Result<(Facts, Option<Bad>)> {
    let why = match Known::look(context, host, state, &[(name, job)]) {
        Ok(known) => return Ok((known.facts, None)),
        Err(why) => format!("{why:#}"),
    };
    let bare = Job { sources: Vec::new(), ..job.clone() };
    let known = Known::look(context, host, state, &[(name, &bare)])?;
    Ok((
        known.facts,
        Some(Bad { message: why, remedy: "nothing is known of it until it can be looked at".into() }),
    ))
}

fn from(source: &Source, ground: &Ground, id: &RunId, blind: Option<&Bad>) -> From {
    let of = |paths, frozen, unfit| From { source: short(source), paths, frozen, unfit };
    if let Some(Bad { message, remedy }) = blind {
        return of(Vec::new(), None, Some(Bad { message: message.clone(), remedy: remedy.clone() }));
    }
    let paths = match source.stored(ground) {
        Ok(paths) => paths,
        Err(unfit) => return of(Vec::new(), None, Some(unfit.into())),
    };
    match source.frozen(ground, id, 0) {
        Ok(frozen) => {
            let freeze = frozen.map(|it| {
                let mib = it.fills.as_ref().and_then(|fills| {
                    let volume = ground.volumes.iter().find(|volume| volume.name == fills.origin)?;
                    Some((fills.extents * volume.extent).div_ceil(1 << 20))
                });
                Freeze { at: it.at, thin: mib.is_none(), mib }
            });
            of(paths, freeze, None)
        }
        Err(unfit) => of(paths, None, Some(unfit.into())),
    }
}

/// Names a destination's repository.
fn repository(state: &State, facts: &Facts, name: &Name) -> String {
    let known = facts.repositories.get(name).map(|it| it.place().to_owned());
    known.or_else(|| Some(state.destinations.get(name)?.repository())).unwrap_or_default()
}

/// Returns the record of a job's last run, without the other jobs of that.
fn last(context: &Context<'_>, host: &Real, name: &Name) -> Result<Option<Record>> {
    let mut record = last_of(context, host, name)?;
    if let Some(record) = &mut record {
        record.jobs.retain(|job| job.job == *name);
    }
    Ok(record)
}
