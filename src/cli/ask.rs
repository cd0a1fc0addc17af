//! Asks several repositories for their snapshots in parallel. Opening a repository needs a core for its key
//! derivation; remote repositories mostly wait for the network.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use anyhow::Result;

use super::{cache::with_cache, context::Context, progress::LookingBar};
use crate::{
    expand::{Expanded, repository_of},
    host::{Host as _, Real},
    model::{HostName, Name},
    plan::Progress,
    report::judge::Said,
    resource::{Kind as _, Look, Looks, Repository, RepositoryState},
    restic::{Found, Printed, late, listed},
    side_by_side::side_by_side,
};

/// How long each may take, in seconds, unless somebody says.
pub(super) const LIMIT: u64 = 30;

/// Asks the repositories of these destinations for what they have of these hosts and jobs (of all if none is named), each
/// within so many seconds. Changes nothing, and takes no lock.
pub(super) fn ask(
    context: &Context<'_>,
    host: &Real,
    expanded: &Expanded,
    destinations: &BTreeSet<&Name>,
    (hosts, jobs): (&[HostName], &[Name]),
    limit: u64,
) -> BTreeMap<Name, Said> {
    let all = destinations.iter().filter_map(|name| Some((*name, repository_of(expanded, name)?)));
    let (here, elsewhere): (Vec<_>, Vec<_>) = all.partition(|(_, repository)| repository.path().is_some());
    host.ask_ahead(&here.iter().filter_map(|(_, repository)| repository.path()).collect::<Vec<_>>());
    let bar = LookingBar::new(context.environment.err_terminal && !context.global.quiet);
    bar.show(Progress::Slow(here.len() + elsewhere.len()));
    let one = |(name, repository): &(&Name, &Repository)| {
        let said = with_cache(context, host, repository)
            .and_then(|repository| ask_one(host, &repository, (hosts, jobs), limit));
        bar.show(Progress::Done(name.as_str()));
        ((*name).clone(), said.unwrap_or_else(|err| Err(Found::Unreachable(format!("{err:#}")))))
    };
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let said = thread::scope(|scope| {
        let waits = scope.spawn(|| side_by_side(&elsewhere, elsewhere.len(), one));
        let mut said: BTreeMap<Name, Said> = side_by_side(&here, cores, one).into_iter().collect();
        said.extend(waits.join().unwrap_or_default());
        said
    });
    bar.end();
    said
}

fn ask_one(
    host: &Real,
    repository: &Repository,
    (hosts, jobs): (&[HostName], &[Name]),
    limit: u64,
) -> Result<Said> {
    let looker = host.looker();
    if let Some(why) = repository.unfit(looker.as_ref())? {
        return Ok(Err(Found::Unreachable(why)));
    }
    let mut printed = Printed::default();
    let query = repository.access().snapshots(hosts, jobs, limit)?;
    let output = looker.read(&query, &mut |from| printed.read(from))?;
    if output.timed_out {
        return Ok(Err(late(&output, limit)));
    }
    match listed(printed, &output) {
        // restic says so too where keys or the configuration were lost: of a directory of this host it is looked at.
        Err(found @ (Found::WrongPassword | Found::Absent)) if repository.path().is_some() => {
            let look = Look { host: looker.as_ref(), last: None, leaving: false, looks: Looks::default() };
            Ok(Err(match repository.observe(&look)?.state {
                RepositoryState::Opened(worse @ Found::Damaged(_)) => worse,
                _ => found,
            }))
        }
        said => Ok(said),
    }
}
