//! Describes the steps of a run as data. Pure, so that a dry run only has to print them.

use std::collections::BTreeMap;

use super::{
    Hooked, View,
    exclude::{left_out, rlvms_own},
    hook,
};
use crate::{
    effect::{Cmd, Op, Owner, Step},
    expand::UserFacts,
    model::{HostPath, Line, Mode, Name, RunId, Span, UserName},
    resource::Repository,
    restic::Backup,
    source::{Frozen, Ground, Lvm, Source, Unfit, Walk, nothing_of, room, uncovered},
    state::{IoNice, Job, NiceClass, State},
};

/// What a run is made from, beside the state.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The mounts and volumes.
    pub ground: Ground,
    /// The repositories of the destinations, by name.
    pub repositories: BTreeMap<Name, Repository>,
    /// Where the local ones of the whole state really lie: no job stores them unless it names them.
    pub places: BTreeMap<Name, HostPath>,
    /// What each job stops, or why that cannot be told.
    pub stops: BTreeMap<Name, Result<Vec<Step>, String>>,
    /// What the host's accounts say of the jobs' users.
    pub user_facts: UserFacts,
    /// Where caches are, one a user.
    pub cache: HostPath,
    /// Where runs have their directories.
    pub runs: HostPath,
    /// Whose own set-up it is: that one's commands need nobody else to be. None if it is the host's.
    pub own: Option<Owner>,
    /// Whether file systems that are held still can be frozen: since Linux 6.8 (`FREEZE_MAY_NEST`).
    pub nests: bool,
}

impl Facts {
    /// Says where a user's cache is.
    pub fn cache_of(&self, user: &UserName) -> HostPath {
        cache_of(&self.cache, self.own.is_some(), user)
    }
}

/// Returns where a user's cache is, given where caches are. `is_own`: they are the caller's own, and so there is one.
pub fn cache_of(caches: &HostPath, is_own: bool, user: &UserName) -> HostPath {
    let of_user = caches.join(user.as_str()).ok().filter(|_| !is_own);
    of_user.unwrap_or_else(|| caches.clone())
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What tells it from others.
    pub id: RunId,
    /// What is made before all else, and undone last.
    pub prepare: Vec<Step>,
    /// What is frozen, in order.
    pub frozen: Vec<Frozen>,
    /// The file systems that are held still meanwhile.
    pub held: Vec<HostPath>,
    /// Where what is frozen stands in the place of what is live; none if nothing is.
    pub view: Option<View>,
    /// The jobs.
    pub jobs: Vec<JobRun>,
}

/// What a run does for one job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRun {
    /// The job.
    pub name: Name,
    /// Why it cannot run.
    pub unfit: Vec<Unfit>,
    /// What a backup of it cannot hold: sources that are empty, or that an exclude leaves out as a whole.
    pub gaps: Vec<String>,
    /// File systems below its sources that no source stores.
    pub uncovered: Vec<String>,
    /// Whether a backup may hold no file at all.
    pub may_be_empty: bool,
    /// What must be frozen for it: places in [`Run::frozen`].
    pub needs: Vec<usize>,
    /// Whether all its sources are frozen: what it stops is started again as soon as they are.
    pub is_frozen: bool,
    /// What runs before.
    pub before: Vec<Hooked>,
    /// What is stopped, each with what starts it again.
    pub stop: Vec<Step>,
    /// What is stored where.
    pub stores: Vec<Store>,
    /// What is copied, once nothing is frozen any more; each with the destination that it comes from.
    pub copies: Vec<(Name, Store)>,
    /// How many destinations are written side by side.
    pub parallel: usize,
    /// How long it may take.
    pub timeout: Option<Span>,
    /// How old the snapshots may be that it reads.
    pub snapshot_max_age: Option<Span>,
    /// What runs after success.
    pub after: Vec<Hooked>,
    /// What runs after failure.
    pub failed: Vec<Hooked>,
    /// What runs at the end.
    pub finally: Vec<Hooked>,
}

/// What is stored at one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The destination.
    pub destination: Name,
    /// What stores it.
    pub cmd: Cmd,
    /// What removes one backup there; its id follows.
    pub forget: Cmd,
    /// What lists the top of each source in a backup there; `--`, its id and the sources follow.
    pub list: Cmd,
    /// Whether the destination has `may_be_absent`.
    pub may_be_absent: bool,
    /// How long the destination may give no answer.
    pub retry_for: Span,
    /// The paths that restic is given; none of a copy.
    pub paths: Vec<HostPath>,
}

/// How long restic may take where the job does not say: a week.
const LONGEST: u64 = 7 * 24 * 3600;

/// Returns the tag of a job's snapshots.
pub fn tag_of(job: &Name) -> String {
    format!("rlvm:job={job}")
}

impl Run {
    /// Says what a run of these jobs does. A job that cannot run says why; the others do.
    pub fn new(id: RunId, state: &State, jobs: &[(&Name, &Job)], to: &[Name], facts: &Facts) -> Self {
        let mut frozen: Vec<Frozen> = Vec::new();
        let mut volumes: Vec<&Lvm> = Vec::new();
        let mut of_jobs: Vec<Result<Vec<usize>, Vec<Unfit>>> = Vec::new();
        for (name, job) in jobs {
            if !stores_any(job, to) {
                of_jobs.push(Ok(Vec::new()));
                continue;
            }
            of_jobs.push(freeze(&id, job, facts, &mut frozen, &mut volumes).and_then(|needs| {
                match facts.stops.get(*name) {
                    Some(Err(why)) => Err(vec![Unfit { message: why.clone(), remedy: "see `stop:`".into() }]),
                    _ => Ok(needs),
                }
            }));
        }
        let dir = facts.runs.join(id.as_str()).unwrap_or_else(|_| facts.runs.clone());
        let view = view(&dir, &frozen, facts);
        let at = Building { id: &id, state, to, facts, view: view.as_ref() };
        let all = jobs.iter().zip(of_jobs);
        let jobs: Vec<JobRun> = all.map(|((name, job), needs)| at.job(name, job, needs)).collect();
        let prepare = prepare(&jobs, state, facts, view.as_ref());
        let held = if frozen.len() > 1 && facts.nests { held(&frozen) } else { Vec::new() };
        Self { id, prepare, frozen, held, view, jobs }
    }
}

/// Says whether a job stores its sources at one of the destinations that are asked for; at all if none is named. If it
/// only copies, its sources are left alone.
fn stores_any(job: &Job, to: &[Name]) -> bool {
    to.is_empty() || job.to.iter().any(|destination| to.contains(destination))
}

/// Lists the file systems that are held still while all are frozen, so that all are of one point in time: all but the root,
/// on which those work that freeze. It is frozen meanwhile, and nothing that came after has reached the others.
fn held(frozen: &[Frozen]) -> Vec<HostPath> {
    frozen.iter().filter(|it| it.holds && it.at.as_str() != "/").map(|it| it.at.clone()).collect()
}

/// Adds what a job needs frozen to what is frozen already. Nothing is added if it cannot be (R28, R55).
fn freeze<'a>(
    id: &RunId,
    job: &'a Job,
    facts: &Facts,
    frozen: &mut Vec<Frozen>,
    volumes: &mut Vec<&'a Lvm>,
) -> Result<Vec<usize>, Vec<Unfit>> {
    let (mut unfit, mut new, mut needs) = (Vec::new(), Vec::<Frozen>::new(), Vec::new());
    let mut more: Vec<&Lvm> = Vec::new();
    let exclude: Vec<&str> = job.exclude.iter().map(Line::as_str).collect();
    for source in &job.sources {
        unfit.extend(source.stored(&facts.ground).err());
        if let Source::Path(path) = source {
            unfit.extend(facts.ground.hangs(&path.0, &exclude));
        }
        let number = frozen.len() + new.len();
        match source.frozen(&facts.ground, id, number) {
            Ok(Some(it)) => match frozen.iter().chain(&new).position(|there| there.at == it.at) {
                Some(there) => needs.push(there),
                None => {
                    needs.push(number);
                    new.push(it);
                    more.extend(if let Source::Lvm(lvm) = source { Some(lvm) } else { None });
                }
            },
            Err(why) if !unfit.contains(&why) => unfit.push(why),
            // Not to be frozen; or `stored` has said so already.
            Ok(None) | Err(_) => {}
        }
    }
    let all: Vec<&Lvm> = volumes.iter().chain(&more).copied().collect();
    if !more.is_empty() {
        unfit.extend(room(&all, &facts.ground));
    }
    if !unfit.is_empty() {
        return Err(unfit);
    }
    frozen.extend(new);
    *volumes = all;
    needs.dedup();
    Ok(needs)
}

fn view(dir: &HostPath, frozen: &[Frozen], facts: &Facts) -> Option<View> {
    if frozen.is_empty() {
        return None;
    }
    let used = facts.places.iter().filter(|(name, _)| facts.repositories.contains_key(*name));
    let live: Vec<HostPath> =
        std::iter::once(facts.cache.clone()).chain(used.map(|(_, place)| place.clone())).collect();
    let all: Vec<&Frozen> = frozen.iter().collect();
    Some(View::new(dir.join("view").ok()?, &facts.ground.answering(), &all, &live))
}

/// Lists what must be there first: caches, and the run's own directory.
fn prepare(jobs: &[JobRun], state: &State, facts: &Facts, view: Option<&View>) -> Vec<Step> {
    let mut users: Vec<&UserName> =
        jobs.iter().filter_map(|job| Some(&state.jobs.get(&job.name)?.user)).collect();
    users.sort();
    users.dedup();
    let ensure = |path: HostPath, user: &UserName, mode| {
        let owner = facts.user_facts.owner(user);
        Step { act: Op::EnsureDir { path, owner, mode: Mode::new(mode) }, undo: None }
    };
    let root = UserName::root();
    let mut steps = Vec::new();
    match &facts.own {
        None => {
            steps.push(ensure(facts.cache.clone(), &root, 0o711));
            steps.extend(users.into_iter().map(|user| ensure(facts.cache_of(user), user, 0o700)));
        }
        Some(owner) => {
            let above = facts.cache.parent().into_iter().chain([facts.cache.clone()]);
            let ensure = |path| Op::EnsureDir { path, owner: owner.clone(), mode: Mode::new(0o700) };
            steps.extend(above.map(|path| Step { act: ensure(path), undo: None }));
        }
    }
    if view.is_some() {
        let above = facts.runs.parent().into_iter().chain([facts.runs.clone()]);
        steps.extend(above.map(|path| ensure(path, &root, 0o700)));
    }
    for path in view.into_iter().flat_map(|view| view.dir.parent().into_iter().chain([view.dir.clone()])) {
        let mut step = ensure(path.clone(), &root, 0o700);
        step.undo = Some(Op::RemoveDir { path });
        steps.push(step);
    }
    steps
}

/// What the steps of a job are built from.
struct Building<'a> {
    id: &'a RunId,
    state: &'a State,
    to: &'a [Name],
    facts: &'a Facts,
    view: Option<&'a View>,
}

impl Building<'_> {
    fn job(&self, name: &Name, job: &Job, needs: Result<Vec<usize>, Vec<Unfit>>) -> JobRun {
        let (needs, unfit) = match needs {
            Ok(needs) => (needs, Vec::new()),
            Err(unfit) => (Vec::new(), unfit),
        };
        let fit = unfit.is_empty();
        let exclude: Vec<&str> = job.exclude.iter().map(Line::as_str).collect();
        let ground = &self.facts.ground;
        let walks = self
            .state
            .jobs
            .values()
            .filter(|it| it.enabled)
            .map(|it| (it, it.exclude.iter().map(Line::as_str).collect::<Vec<_>>()));
        let walks: Vec<(&Job, Vec<&str>)> = walks.collect();
        let walks: Vec<Walk<'_>> = walks.iter().map(|(job, exclude)| walk(job, exclude)).collect();
        let stores = stores_any(job, self.to);
        let hooks = |when, all: &[crate::state::Hook]| hook::all(when, all, self.id, name, job, self.facts);
        let is_frozen = job.sources.iter().all(|it| matches!(it, Source::Lvm(_) | Source::Btrfs(_)));
        let asked = |destination: &&Name| self.to.is_empty() || self.to.contains(destination);
        let to = job.to.iter().filter(asked);
        let copies = job.copy.iter().filter(|(destination, _)| asked(destination));
        JobRun {
            name: name.clone(),
            stores: if fit {
                let view = self.view.filter(|_| !needs.is_empty());
                to.filter_map(|to| self.store(name, job, to, view)).collect()
            } else {
                Vec::new()
            },
            copies: if fit {
                copies.filter_map(|(to, from)| Some((from.from.clone(), self.copy(name, job, to)?))).collect()
            } else {
                Vec::new()
            },
            gaps: if fit && stores {
                nothing_of(&job.sources, &exclude, job.may_be_empty, ground)
            } else {
                Vec::new()
            },
            uncovered: if fit && stores {
                uncovered(&walk(job, &exclude), &walks, ground)
            } else {
                Vec::new()
            },
            may_be_empty: job.may_be_empty,
            unfit,
            needs,
            is_frozen,
            before: hooks("before", &job.hooks.before),
            stop: if stores {
                self.facts.stops.get(name).and_then(|it| it.clone().ok()).unwrap_or_default()
            } else {
                Vec::new()
            },
            parallel: usize::try_from(job.parallel).unwrap_or(1).max(1),
            timeout: job.timeout,
            snapshot_max_age: Some(job.snapshot_max_age()),
            after: hooks("after", &job.hooks.after),
            failed: hooks("failed", &job.hooks.failed),
            finally: hooks("finally", &job.hooks.finally),
        }
    }

    fn store(&self, name: &Name, job: &Job, to: &Name, view: Option<&View>) -> Option<Store> {
        let repository = self.facts.repositories.get(to)?;
        let cache = self.facts.cache_of(&job.user);
        let (paths, one_file_system) = paths(job, &self.facts.ground);
        let mut exclude: Vec<String> = job.exclude.iter().map(|it| it.as_str().to_owned()).collect();
        exclude.extend(left_out(&paths, &self.facts.ground.mounts));
        // R68, and what changes while it is read.
        exclude.extend(rlvms_own(&paths, to, self.facts));
        let backup = Backup {
            host: self.state.host.as_str(),
            tags: &[tag_of(name)],
            paths: &paths,
            exclude: &exclude,
            one_file_system,
            flags: &job.options.iter().map(|(flag, value)| format!("--{flag}={value}")).collect::<Vec<_>>(),
            cache: &cache,
            seconds: job.timeout.map_or(LONGEST, Span::seconds),
        };
        let access = repository.access();
        let cmd = access.backup(&backup);
        let cmd = view.map_or(cmd.clone(), |view| view.within(cmd));
        Some(Store {
            destination: to.clone(),
            cmd: gently(cmd, job),
            forget: repository.access().forget_one(),
            list: repository.access().list_tops(&cache),
            may_be_absent: repository.may_be_absent,
            retry_for: self.state.retry_for(job, to),
            paths,
        })
    }

    fn copy(&self, name: &Name, job: &Job, to: &Name) -> Option<Store> {
        let repository = self.facts.repositories.get(to)?;
        let (_, from) = repository.like.as_deref()?;
        let cache = self.facts.cache_of(&job.user);
        let seconds = job.timeout.map_or(LONGEST, Span::seconds);
        let cmd = repository.access().copy(from, self.state.host.as_str(), &tag_of(name), &cache, seconds);
        Some(Store {
            destination: to.clone(),
            cmd: gently(cmd, job),
            forget: repository.access().forget_one(),
            list: repository.access().list_tops(&cache),
            may_be_absent: repository.may_be_absent,
            retry_for: self.state.retry_for(job, to),
            paths: Vec::new(),
        })
    }
}

fn walk<'a>(job: &'a Job, exclude: &'a [&'a str]) -> Walk<'a> {
    Walk { sources: &job.sources, exclude, one_file_system: job.one_file_system }
}

/// Has a command step back for others as far as the job says (R70).
fn gently(cmd: Cmd, job: &Job) -> Cmd {
    let cmd = match job.ionice {
        Some(IoNice { class: NiceClass::Idle, .. }) => cmd.by(["ionice", "-c", "3"]),
        Some(IoNice { class: NiceClass::BestEffort, level }) => {
            cmd.by(["ionice", "-c", "2", "-n", &level.unwrap_or(4).to_string()])
        }
        None => cmd,
    };
    job.nice.map_or(cmd.clone(), |nice| cmd.by(["nice", "-n", &nice.to_string()]))
}

/// Lists the paths that a job stores, and whether restic stays on their file systems.
///
/// What is frozen is one file system each, so restic has to stay there. Then what is mounted below a path source, which
/// shall be stored too, is a path of its own.
fn paths(job: &Job, ground: &Ground) -> (Vec<HostPath>, bool) {
    let frozen = job.sources.iter().any(|it| matches!(it, Source::Lvm(_) | Source::Btrfs(_)));
    let (mut paths, mounts) = (Vec::new(), ground.answering());
    for source in &job.sources {
        let stored = source.stored(ground).unwrap_or_default();
        if frozen && !job.one_file_system && matches!(source, Source::Path(_)) {
            let mounted = stored.iter().flat_map(|path| mounts.below(path));
            let mounted = mounted.filter(|mount| !mount.is_pseudo()).map(|mount| mount.at.clone());
            paths.extend(mounted.collect::<Vec<_>>());
        }
        paths.extend(stored);
    }
    paths.sort();
    paths.dedup();
    (paths, frozen || job.one_file_system)
}
