//! `rlvm why`: explains what a job does, and how its last run ended.

mod show;

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{
    context::Context,
    exit::Exit,
    kept::applied,
    list::{When, now, schedule_zone, short},
    records::{last_of, records},
    run::{Known, named},
};
use crate::{
    host::Real,
    job::{Facts, Record, Run, environment},
    model::{HostName, HostPath, Name, Retention, RunId, Schedule},
    resource::CRON_PATH,
    source::{Ground, Source, Unfit},
    state::{Job, State},
};

/// Show everything about a job: sources, destinations, schedule, hooks and its last run
///
/// Sources and destinations are shown as a run would find them now: where a volume is mounted, how large its snapshot
/// would be, what is wrong. Changes nothing. Uses the state that was applied last, unless --state names another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm why system
  rlvm why system --json | jq -r '.last.jobs[0].status'
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
    /// What the state says of it.
    spec: Job,
    /// What hooks find beside what a run tells them.
    environment: BTreeMap<&'static str, String>,
    cache: HostPath,
    next: Vec<When>,
    sources: Vec<From>,
    /// What else keeps it from running.
    unfit: Vec<Bad>,
    destinations: Vec<To>,
    copies: Vec<To>,
    /// The retention in words.
    keeps: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_prune: Option<When>,
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
        let host = context.running("jobs are run")?;
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
    let of = |source| from(source, &facts.ground, &id, blind.as_ref());
    let sources: Vec<From> = job.sources.iter().map(of).collect();
    let (zone, now) = (&schedule_zone(context), now(context)?);
    let times = |schedule: Option<&Schedule>| -> Vec<When> {
        schedule.map(|it| When::all(it, now, zone).take(3).collect()).unwrap_or_default()
    };
    let to = |to: &Name, from: Option<&Name>| To {
        name: to.clone(),
        repository: repository(state, &facts, to),
        from: from.cloned(),
    };
    let prune = job.prune.schedule.as_ref().filter(|_| job.enabled && job.retention.is_some());
    let mut environment: BTreeMap<_, _> = environment(&id, name, job, &facts).into();
    environment.remove("RLVM_RUN");
    environment.insert("PATH", CRON_PATH.into());
    Ok(Why {
        format_version: "1.0",
        job: name.clone(),
        host: state.host.clone(),
        spec: job.clone(),
        environment,
        cache: facts.cache_of(&job.user),
        next: times(job.schedule.as_ref().filter(|_| job.enabled)),
        unfit: if blind.is_some() { Vec::new() } else { unfit(state, name, job, &facts, &id, &sources) },
        sources,
        destinations: job.to.iter().map(|name| to(name, None)).collect(),
        copies: job.copy.iter().map(|(name, copy)| to(name, Some(&copy.from))).collect(),
        keeps: job.retention.as_ref().map_or_else(|| "all".into(), Retention::words),
        next_prune: times(prune).into_iter().next(),
        last: last(context, host, name)?,
        log: state.log.directory.join(&format!("{name}.log"))?,
        records: records(context)?,
    })
}

/// Says what keeps a job from running, beside what is said of its sources: no room for snapshots, what it stops.
fn unfit(state: &State, name: &Name, job: &Job, facts: &Facts, id: &RunId, sources: &[From]) -> Vec<Bad> {
    let said =
        |bad: &Bad| sources.iter().filter_map(|it| it.unfit.as_ref()).any(|it| it.message == bad.message);
    let run = Run::new(id.clone(), state, &[(name, job)], &[], facts);
    let all = run.jobs.into_iter().flat_map(|job| job.unfit).map(Bad::from);
    all.filter(|bad| !said(bad)).collect()
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
