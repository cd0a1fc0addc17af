//! Lists the destinations of a job, the nearest first, and finds the requested backup at each of them.

use anyhow::Result;
use jiff::{Timestamp, Zoned};

use super::world::World;
use crate::{
    cli::{
        cache::with_cache,
        exit::{Exit, Failure},
    },
    destination::Kind,
    expand::{expand, repository_of},
    host::{Host as _, is_root},
    job::{Backups, Record},
    model::{HostName, Name, UserName},
    resource::{Location, Repository},
    restic::{Access, Listed, Printed, SILENT, Wanted, listed},
    side_by_side::side_by_side,
    state::{Job, State},
};

/// How long listing snapshots may take, in seconds.
const LISTING: u64 = 60;
/// How many repositories are asked at once.
const AT_ONCE: usize = 8;

/// A place that backups of a job are in.
pub(in crate::cli) struct Place {
    /// The destination.
    pub(in crate::cli) name: Name,
    /// Its repository.
    pub(in crate::cli) repository: Repository,
}

/// Lists the destinations of a job, the nearest first: those on this host, then the others in the job's order, then those
/// that it is copied to.
pub(super) fn order(state: &State, job: &Job) -> Vec<Name> {
    let local =
        |name: &&Name| state.destinations.get(*name).is_some_and(|it| matches!(it.kind, Kind::Local(_)));
    let mut names: Vec<Name> = job.to.iter().filter(local).cloned().collect();
    names.extend(job.to.iter().filter(|name| !local(name)).cloned());
    names.extend(job.copy.keys().filter(local).cloned());
    names.extend(job.copy.keys().filter(|name| !local(name)).cloned());
    names
}

/// Finds the places of some destinations.
pub(in crate::cli) fn places(world: &World<'_>, names: &[Name]) -> Result<Vec<Place>> {
    let context = world.context;
    let expanded = expand(world.state, &context.user_facts(world.host, world.state)?, &context.scope()?);
    let place = |name: &Name| {
        let repository = with_cache(context, world.host, repository_of(&expanded, name)?);
        Some(repository.map(|repository| Place { name: name.clone(), repository }))
    };
    names.iter().filter_map(place).collect()
}

impl Place {
    /// Says how restic gets at it. What is on this host root reads itself: only root gives files back to their owners.
    pub(in crate::cli) fn access<'a>(&'a self, root: &'a UserName) -> Access<'a> {
        let access = self.repository.access();
        match &self.repository.location {
            Location::Local(_) if is_root() => Access { user: root, ..access },
            _ => access,
        }
    }

    /// Says as whom restic works, if that is not the caller.
    pub(in crate::cli) fn works_as(&self) -> Option<&UserName> {
        let local = matches!(self.repository.location, Location::Local(_));
        let user = &self.repository.user;
        (is_root() && !local && *user != UserName::root()).then_some(user)
    }

    /// Lists its snapshots of these hosts and jobs (of all if none is named), the oldest first; else says why they cannot be
    /// told.
    pub(in crate::cli) fn listed(
        &self,
        world: &World<'_>,
        hosts: &[HostName],
        jobs: &[Name],
    ) -> Result<Vec<Listed>, String> {
        let looker = world.host.looker();
        let root = UserName::root();
        let words = |err: &dyn std::fmt::Display| err.to_string();
        if let Some(why) = self.repository.unfit(looker.as_ref()).map_err(|err| format!("{err:#}"))? {
            return Err(why);
        }
        let query = self.access(&root).snapshots(hosts, jobs, LISTING).map_err(|err| words(&err))?;
        let mut printed = Printed::default();
        let output = looker.read(&query, &mut |from| printed.read(from)).map_err(|err| format!("{err:#}"))?;
        if output.timed_out {
            return Err(format!("{SILENT} {LISTING} s"));
        }
        listed(printed, &output).map_err(|found| found.sentence())
    }
}

/// What a place has of a job.
pub(super) struct Has {
    /// Where.
    pub(super) place: Place,
    /// The snapshots there of this host and job, or of all, the oldest first; or why they cannot be told.
    pub(super) all: Result<Vec<Listed>, String>,
}

/// Asks all places side by side what they have of this host and job, or of all.
pub(super) fn ask(
    world: &World<'_>,
    places: Vec<Place>,
    (name, job): (&Name, &Job),
    any_host: bool,
) -> Vec<Has> {
    let (hosts, jobs) = if any_host { Default::default() } else { (world.hosts(), World::jobs(name, job)) };
    let all = side_by_side(&places, AT_ONCE, |place| place.listed(world, &hosts, &jobs));
    places.into_iter().zip(all).map(|(place, all)| Has { place, all }).collect()
}

/// A snapshot that what was asked for can be taken from.
pub(super) struct Candidate<'a> {
    /// Where it is.
    pub(super) place: &'a Place,
    /// Which one it is.
    pub(super) snapshot: &'a Listed,
}

/// What was found of what was asked for.
#[derive(Default)]
pub(super) struct Candidates<'a> {
    /// The nearest first.
    pub(super) all: Vec<Candidate<'a>>,
    /// What is to be said: places that cannot be asked, or have something newer.
    pub(super) said: Vec<String>,
    /// Why a place has it not.
    pub(super) without: Vec<String>,
}

/// Picks what was asked for at each place, of this host and job alone unless any host will do.
pub(super) fn candidates<'a>(
    world: &World<'_>,
    (name, job): (&Name, &Job),
    has: &'a [Has],
    (wanted, any_host): (&Wanted, bool),
    runs: &[Record],
) -> Result<Candidates<'a>> {
    let (hosts, jobs) = (world.hosts(), World::jobs(name, job));
    let backups = Backups::of(runs);
    let mut found = Candidates::default();
    for Has { place, all } in has {
        let all = match all {
            Ok(all) => all,
            Err(why) => {
                found.said.push(format!("{}: {why}", place.name));
                continue;
            }
        };
        let ours = all.iter().filter(|it| any_host || it.is_of(&hosts, &jobs));
        // An id takes it all the same.
        let names = world.state.names_of(&place.name);
        let fault = |it: &Listed| backups.fault(&names, it).filter(|_| !matches!(wanted, Wanted::Id(_)));
        let (faulty, ours): (Vec<&Listed>, Vec<&Listed>) = ours.partition(|it| fault(it).is_some());
        found.said.extend(faulty.last().and_then(|it| Some((it, fault(it)?.words()))).map(|(it, why)| {
            let (id, time) = (it.id.get(..8).unwrap_or_default(), when(world, it));
            format!(
                "{}: skipped snapshot {id} of {time}, because {why}; to restore it: --snapshot {id}",
                place.name
            )
        }));
        let picked =
            wanted.pick(&ours).map_err(|why| Failure::new(Exit::Usage, format!("{}: {why}", place.name)))?;
        match picked {
            Some(snapshot) => found.all.push(Candidate { place, snapshot }),
            None => found.without.push(why_not(place, &ours, wanted, world)),
        }
    }
    Ok(found)
}

/// Says why a place has not what was asked for.
fn why_not(place: &Place, ours: &[&Listed], wanted: &Wanted, world: &World<'_>) -> String {
    let name = &place.name;
    // An id may be of another host's: only now they are asked for.
    let all = match wanted {
        Wanted::Id(_) => place.listed(world, &[], &[]).unwrap_or_default(),
        Wanted::Latest | Wanted::Until(_) => Vec::new(),
    };
    if let Ok(Some(other)) = wanted.pick(&all.iter().collect::<Vec<_>>()) {
        let host = super::one_line(&other.hostname);
        let job = other.job().map_or_else(|| "no job".into(), |job| format!("job {job}"));
        return format!("{name}: this snapshot is of host {host} and {job}; to restore it: --any-host");
    }
    match (ours.first(), ours.last()) {
        (Some(first), Some(last)) => format!(
            "{name}: has {}, from {} to {}",
            super::compare::files(ours.len() as u64, "snapshot"),
            when(world, first),
            when(world, last)
        ),
        _ => format!("{name}: has no snapshot of this host and job"),
    }
}

/// Writes of when a snapshot is, in the host's zone.
pub(super) fn when(world: &World<'_>, snapshot: &Listed) -> String {
    snapshot.time().map_or_else(|| snapshot.time.clone(), |time| at(world, time))
}

/// Writes a time in the host's zone.
pub(super) fn at(world: &World<'_>, time: Timestamp) -> String {
    // Cut off, not rounded: `--snapshot` takes a second to its end.
    let time = Zoned::new(time, world.context.environment.zone.clone());
    time.strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_first() {
        let of = |kind: &str| format!("{{ {kind}, password_file: /p }}");
        let (local, far) = (of("local: { path: /r }"), of("sftp: { host: nas, path: /r }"));
        let yaml = format!(
            "destinations:\n  a: {far}\n  b: {local}\n  c: {far}\n  d: {}\n  e: {far}\n  f: {}\n\
             jobs:\n  web: {{ sources: [{{ path: /srv }}], to: [c, a, b, d], copy: {{ e: {{ from: a }}, f: {{ from: a }} }} }}\n",
            local.replace("/r", "/s"),
            local.replace("/r", "/t"),
        );
        let value: serde_json::Value =
            serde_yaml::from_str(&format!("version: 1\nhost: web01\n{yaml}")).unwrap();
        let state: State = serde_json::from_value(value).unwrap();
        let names: Vec<String> =
            order(&state, state.jobs.values().next().unwrap()).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["b", "d", "c", "a", "f", "e"]);
    }
}
