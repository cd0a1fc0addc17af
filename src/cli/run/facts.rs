//! Collects the facts about the host from which a run is decided.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::{
    cli::{context::Context, locks::Locks},
    effect::Owner,
    expand::expand,
    host::{Host as _, Real, Store},
    job::{Facts, Refused},
    ledger::Ledger,
    model::{Address, HostPath, Line, Name},
    resource::{Kind as _, Location, Look, Looks, Repository, Resource, Seen, Severity},
    restic::{RAW_TARGETS, Version, ask_version},
    source::{Ground, Source},
    state::{Job, State},
};

/// What a run knows of the host.
pub(in crate::cli) struct Known {
    /// What its steps are made from.
    pub(in crate::cli) facts: Facts,
    /// The directories that must be mount points, as the state says.
    mounts: Vec<HostPath>,
    /// The jobs.
    jobs: BTreeMap<Name, Job>,
    ledger: Option<Ledger>,
}

impl Known {
    /// Looks.
    pub(in crate::cli) fn look(
        context: &Context<'_>,
        host: &Real,
        state: &State,
        jobs: &[(&Name, &Job)],
    ) -> Result<Self> {
        let (looker, scope) = (host.looker(), context.scope()?);
        let sources: Vec<_> = jobs.iter().flat_map(|(_, job)| &job.sources).collect();
        let mut user_facts = context.user_facts(host, state)?;
        let expanded = expand(state, &user_facts, &scope);
        for (_, job) in jobs {
            if let Some(home) = looker.home(&job.user)? {
                user_facts.homes.insert(job.user.clone(), home);
            }
        }
        let mounts = expanded.resources.values().filter_map(|declared| declared.resource.mount_point());
        let mounts: Vec<HostPath> = mounts.cloned().collect();
        let used =
            |name: &Name| jobs.iter().any(|(_, job)| job.to.contains(name) || job.copy.contains_key(name));
        let all = expanded.resources.into_values().filter_map(|declared| match declared.resource {
            Resource::Repository(it) => Some(it),
            _ => None,
        });
        let all: Vec<Repository> = all.collect();
        let stores = all.iter().filter_map(Repository::path);
        host.ask_ahead(
            &sources.iter().flat_map(|source| source.all_paths()).chain(stores).collect::<Vec<_>>(),
        );
        let ground = Ground::look(looker.as_ref(), &sources, &mounts)?;
        let mut places = BTreeMap::new();
        for repository in &all {
            let Location::Local(path) = &repository.location else { continue };
            let place = match looker.lies(&path.join("config")?) {
                Ok(config) => config.and_then(|config| config.parent()),
                // It is refused when its turn comes, and stored by nobody.
                Err(_) => Some(path.clone()),
            };
            places.extend(place.map(|place| (repository.name.clone(), place)));
        }
        let repositories: BTreeMap<Name, Repository> =
            all.into_iter().filter(|it| used(&it.name)).map(|it| (it.name.clone(), it)).collect();
        let mut stops = BTreeMap::new();
        for (name, job) in jobs {
            let steps: Result<Vec<_>> =
                job.stop.iter().map(|stop| crate::job::stop::steps(looker.as_ref(), stop)).collect();
            let steps =
                steps.map(|all| all.into_iter().flatten().collect()).map_err(|err| format!("{err:#}"));
            stops.insert((*name).clone(), steps);
        }
        let store = Store::new(host, &context.home()?);
        let ledger = context.ledger(&store)?.map(|(ledger, _)| ledger);
        let cache = context.cache()?;
        let runs = context.lock_dir()?.join("run")?;
        let own = scope.personal().map(Owner::of);
        let nests = looker.kernel() >= (6, 8);
        let facts = Facts { ground, repositories, places, stops, user_facts, cache, runs, own, nests };
        let jobs = jobs.iter().map(|(name, job)| ((*name).clone(), (*job).clone())).collect();
        Ok(Self { facts, mounts, jobs, ledger })
    }

    /// Says what the restic of these jobs stores otherwise than it is.
    pub(super) fn alters(&self, host: &Real) -> Option<String> {
        let looker = host.looker();
        let engines: BTreeSet<_> =
            self.facts.repositories.values().map(|it| it.means.engine.as_ref()).collect();
        let version = |engine| {
            let output = looker.query(&ask_version(engine).ok()?).ok()?;
            Version::read(&output.stdout)
        };
        let oldest = engines.into_iter().filter_map(version).min().filter(|it| *it < RAW_TARGETS)?;
        let paths = self.jobs.values().flat_map(|job| &job.sources).flat_map(Source::paths);
        let link = paths.into_iter().find_map(|path| host.link_of_other_bytes(path).ok().flatten())?;
        Some(format!(
            "restic {oldest} alters symbolic links whose targets are no UTF-8, such as {link}: pin restic {RAW_TARGETS} or later"
        ))
    }

    /// Removes locks that were left behind at a destination; says whether there were any.
    pub(super) fn unlocks(&self, locks: &Locks<'_>, name: &Name) -> bool {
        let repository = self.facts.repositories.get(name);
        repository.is_some_and(|repository| locks.free(name, repository).unwrap_or(0) > 0)
    }

    /// Returns why a job (or, without a job, a copy) cannot be stored at a destination now, for example because a disk was
    /// unmounted after the run began. Frozen sources are not checked.
    pub(super) fn away(&self, host: &Real, job: Option<&Name>, destination: &Name) -> Option<Refused> {
        let looker = host.looker();
        let repository = self.facts.repositories.get(destination);
        if let Some((repository, why)) =
            repository.and_then(|it| Some((it, it.not_mounted(looker.as_ref())?)))
        {
            return Some(Refused { why, skips: repository.may_be_absent });
        }
        let job = self.jobs.get(job?)?;
        let sources: Vec<&Source> = job.sources.iter().filter(|it| matches!(it, Source::Path(_))).collect();
        let fails = |why: String| Some(Refused { why, skips: false });
        let ground = match Ground::look(looker.as_ref(), &sources, &self.mounts) {
            Ok(ground) => ground,
            Err(err) => return fails(format!("{err:#}")),
        };
        let exclude: Vec<&str> = job.exclude.iter().map(Line::as_str).collect();
        let unfit = sources.iter().find_map(|source| {
            let hangs = || source.paths().into_iter().find_map(|path| ground.hangs(path, &exclude));
            source.stored(&ground).err().or_else(hangs)
        });
        unfit.and_then(|unfit| fails(unfit.message))
    }

    /// Says why a destination must not be stored at: it is not there, or is another one than it was (R33). One that was
    /// verified and has not moved is not opened again.
    pub(super) fn refuses(&self, host: &Real, name: &Name) -> Option<Refused> {
        let fails = |why: String| Some(Refused { why, skips: false });
        let repository = self.facts.repositories.get(name)?;
        let address = Address::new(Repository::NAME, name.as_str());
        let entry = self.ledger.as_ref().and_then(|ledger| ledger.entries.get(&address));
        let last = entry.and_then(|entry| match &entry.seen {
            Some(Seen::Repository(seen)) => Some(seen),
            _ => None,
        });
        let looker = host.looker();
        if let Some(why) = repository.not_mounted(looker.as_ref()) {
            return Some(Refused { why, skips: repository.may_be_absent });
        }
        match repository.distrusted(looker.as_ref()) {
            Ok(None) => {}
            Ok(Some(why)) => return fails(why),
            Err(err) => return fails(format!("{err:#}")),
        }
        let look = Look { host: looker.as_ref(), last, leaving: false, looks: Looks::default() };
        let seen = match repository.observe(&look) {
            Ok(seen) => seen,
            Err(err) => return fails(format!("{err:#}")),
        };
        if !repository.exists(&seen) {
            let place = repository.place();
            return fails(match entry.filter(|entry| !entry.pending) {
                Some(_) => format!(
                    "the repository at {place} is gone: if it is on a disk of this host, mount the disk; else run rlvm plan"
                ),
                None => format!("there is no repository at {place} yet: run rlvm plan, then rlvm apply"),
            });
        }
        let mut findings = repository.checks(&seen, last);
        // What cannot be reached now may be in a moment: storing tries again, and says why not.
        if repository.path().is_some() {
            findings.extend(repository.way(&seen).findings);
        }
        findings.into_iter().find(|it| it.severity == Severity::Error).and_then(|it| fails(it.message))
    }
}
