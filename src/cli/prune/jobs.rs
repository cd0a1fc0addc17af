//! Removes old backups of this host's own jobs: lists the snapshots, decides, removes, and lists them again. The work
//! at one destination does not overlap.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    data::{MAKE_ROOM, remove_unneeded},
    grades::{Grades, note},
    unfinished::Unfinished,
};
use crate::{
    cli::{
        free::{Tried, Waiting},
        journaled::Journaled,
        queue::{Queue, Turn, Use, no_place},
    },
    destination::Destination,
    effect::Cmd,
    expand::{Expanded, repository_of},
    host::{Host as _, Real, interrupted},
    job::Backups,
    model::{DataPrune, Name, Schedule},
    resource::Repository,
    restic::{self, Ended, Foreseen, Policy, Printed, Snapshot},
    state::State,
};

/// How many ids one command names, at most.
const AT_ONCE: usize = 500;

/// A destination with the jobs whose backups go there. One after the other: each takes the repository for itself.
pub(super) struct Place {
    name: Name,
    /// The names that it has and had.
    destinations: Vec<Name>,
    pub(super) repository: Repository,
    /// How much unneeded data may stay there.
    limits: DataPrune,
    jobs: Vec<Part>,
}

/// A job at a destination.
struct Part {
    name: Name,
    policy: Policy,
    schedule: Option<Schedule>,
}

/// What it takes to carry it out.
pub(super) struct World<'a> {
    /// The host.
    pub(super) host: &'a Real,
    /// What the records tell of backups.
    pub(super) backups: &'a Backups<'a>,
    /// Runs restic.
    pub(super) programs: Journaled<'a>,
    /// Waits for locks.
    pub(super) waiting: Waiting<'a>,
    /// Where it waits for runs and verifications of this host.
    pub(super) queue: Queue<'a>,
    /// Is told for whom it waits.
    pub(super) waits: &'a (dyn Fn(&Name, &str) + Sync),
    /// Notes the destinations where unneeded data is still to be removed.
    pub(super) unfinished: Unfinished<'a>,
    /// When the prune began, if the time may be doubted.
    pub(super) clock: Option<(Timestamp, Instant)>,
}

impl World<'_> {
    /// Returns the present time, or nothing with `--clock-is-right`. rlvm may have waited for locks since the prune began.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let (began, since) = self.clock?;
        Some(began.saturating_add(since.elapsed()).unwrap_or(began))
    }
}

/// How it went at a destination.
#[derive(Debug, Serialize)]
pub(super) struct PlaceDone {
    /// The destination.
    pub(super) name: Name,
    /// Its jobs.
    pub(super) jobs: Vec<JobDone>,
    /// What removes the data that no backup needs any more; run if a backup went.
    pub(super) command: String,
    /// What that printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<String>,
    /// Why that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// Why nothing is done there now: it has `may_be_absent`, and is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) skipped: Option<String>,
}

/// How it went with a job's backups there.
#[derive(Debug, Serialize)]
pub(super) struct JobDone {
    /// The job.
    pub(super) name: Name,
    /// What forgets the backups.
    pub(super) command: String,
    /// How many there are now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<usize>,
    /// How many went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) removed: Option<usize>,
    /// What restic printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<String>,
    /// Which backup stays although the retention does not keep it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// Why backups were not pruned.
pub(super) enum Trouble {
    /// A guard said no.
    Refused(String),
    /// It failed.
    Failed(String),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

/// What became of a job's backups.
#[derive(Default)]
struct Pruned {
    kept: usize,
    removed: usize,
    output: String,
    note: Option<String>,
}

/// Lists the destinations of jobs, copies' too.
pub(super) fn places(state: &State, expanded: &Expanded, jobs: &[&Name]) -> Vec<Place> {
    let place = |(name, destination): (&Name, &Destination)| {
        let repository = repository_of(expanded, name)?.clone();
        let parts = state.storing_at(name, jobs).filter_map(|(job, of)| {
            let policy =
                Policy { hosts: state.hosts(), jobs: of.names(job), retention: of.retention.clone()? };
            Some(Part { name: job.clone(), policy, schedule: of.schedule.clone() })
        });
        let parts: Vec<Part> = parts.collect();
        (!parts.is_empty()).then(|| Place {
            name: name.clone(),
            destinations: state.names_of(name),
            repository,
            limits: destination.prune,
            jobs: parts,
        })
    };
    state.destinations.iter().filter_map(place).collect()
}

impl Place {
    /// Says what would be run.
    pub(super) fn shown(&self) -> PlaceDone {
        PlaceDone {
            name: self.name.clone(),
            jobs: self.jobs.iter().map(|job| self.job(job)).collect(),
            command: self.repository.access().prune(self.limits).to_string(),
            output: None,
            error: None,
            skipped: None,
        }
    }

    fn job(&self, part: &Part) -> JobDone {
        let command = self.repository.access().forget(&part.policy).to_string();
        let (name, output, refused, error) = (part.name.clone(), None, None, None);
        JobDone { name, command, kept: None, removed: None, output, note: None, refused, error }
    }

    /// Forgets what each job does not keep, then removes what no backup needs any more.
    pub(super) fn prune(&self, world: &World<'_>) -> PlaceDone {
        let mut place = self.shown();
        let _turn = match turn(world, &self.name) {
            Ok(Ok(turn)) => turn,
            Ok(Err(why)) => return place.failed(&why),
            Err(err) => return place.failed(&format!("{err:#}")),
        };
        let mut is_begun = match world.unfinished.holds(&self.name) {
            Ok(is_begun) => is_begun,
            Err(err) => return place.failed(&format!("{err:#}")),
        };
        match self.repository.absence(world.host.looker().as_ref()) {
            Ok(None) => {}
            Ok(why) => return PlaceDone { skipped: why, ..place },
            Err(err) => return PlaceDone { error: Some(format!("{err:#}")), ..place },
        }
        for (part, done) in self.jobs.iter().zip(&mut place.jobs) {
            match if interrupted().is_some() { Err(stopped()) } else { self.forget(world, part) } {
                Ok(pruned) => {
                    is_begun |= pruned.removed > 0;
                    (done.kept, done.removed) = (Some(pruned.kept), Some(pruned.removed));
                    (done.output, done.note) = (Some(pruned.output), pruned.note);
                }
                Err(Trouble::Refused(why)) => done.refused = Some(why),
                Err(Trouble::Failed(why)) => done.error = Some(why),
            }
        }
        let is_reached = place.jobs.iter().any(|job| job.removed.is_some());
        if is_begun && is_reached && interrupted().is_none() {
            match remove_unneeded(world, &self.repository, self.limits) {
                Ok(Ok(output)) => place.output = Some(output),
                Ok(Err(why)) => place.error = Some(why),
                Err(err) => place.error = Some(format!("{err:#}")),
            }
        }
        place
    }

    fn forget(&self, world: &World<'_>, part: &Part) -> Result<Pruned, Trouble> {
        if let Some(why) = self.repository.unfit(world.host.looker().as_ref())? {
            return Err(Trouble::Failed(why));
        }
        let mut before = self.foresee(world, part)?;
        let grades = Grades { backups: world.backups, destinations: &self.destinations };
        let faulty: Vec<Snapshot> = grades.replaced(&before).into_iter().cloned().collect();
        if before.remove.is_empty() && faulty.is_empty() {
            return Ok(Pruned { kept: before.keep.len(), ..Pruned::default() });
        }
        if let Some(clock) = world.now() {
            let today = clock.to_zoned(jiff::tz::TimeZone::UTC).datetime();
            let period = part.schedule.as_ref().and_then(|schedule| schedule.longest_gap(today));
            if let Some(doubt) = before.doubt(clock, period) {
                let help = "set the clock, and remove backups of a wrong time (`restic forget ID`); if all is as it \
                            should be: --clock-is-right";
                let why = format!("the clock may have jumped: {doubt}; nothing was removed\nhelp: {help}");
                return Err(Trouble::Refused(why));
            }
        }
        let mut pruned = Pruned::default();
        if !faulty.is_empty() {
            // The policy is then asked anew: they would count as the newest of their days.
            self.remove(world, part, &faulty, None, &mut pruned)?;
            before = self.foresee(world, part)?;
        }
        let spared = grades.spared(&before);
        pruned.note = note(&spared);
        let goes = |it: &&Snapshot| !spared.iter().any(|spared| spared.id == it.id);
        let remove: Vec<Snapshot> = before.remove.iter().filter(goes).cloned().collect();
        pruned.kept = before.keep.len() + before.remove.len();
        if !remove.is_empty() {
            let policy = spared.is_empty().then(|| self.repository.access().forget(&part.policy));
            self.remove(world, part, &remove, policy, &mut pruned)?;
        }
        Ok(pruned)
    }

    /// Removes backups, by a policy or by their ids, and looks whether they are gone.
    fn remove(
        &self,
        world: &World<'_>,
        part: &Part,
        these: &[Snapshot],
        policy: Option<Cmd>,
        pruned: &mut Pruned,
    ) -> Result<(), Trouble> {
        world.unfinished.begin(&self.name)?;
        let ids: Vec<&str> = these.iter().map(|it| it.id.as_str()).collect();
        let by_ids = || ids.chunks(AT_ONCE).map(|ids| self.repository.access().forget_these(ids)).collect();
        let commands: Vec<Cmd> = policy.map_or_else(by_ids, |policy| vec![policy]);
        let mut failed = None;
        for cmd in &commands {
            match alone(world, &self.repository, cmd)? {
                Ok(output) => pruned.output.push_str(&output),
                Err(why) => failed = Some(why),
            }
            if let Some(why) = failed.as_ref().filter(|why| restic::is_full(why)) {
                return Err(Trouble::Failed(format!("{why}\nhelp: {MAKE_ROOM}")));
            }
        }
        // restic 0.18 ends well where a store that only adds has kept all; and what failed may have done half of it.
        let after = self.foresee(world, part)?;
        let before = Foreseen { keep: Vec::new(), remove: these.to_vec() };
        let left = before.left(&after);
        match failed {
            None if left.is_empty() => {
                pruned.kept = after.all().count();
                pruned.removed += these.len();
                Ok(())
            }
            None => Err(Trouble::Failed(still_there(&before, &left, "though restic ended well"))),
            Some(why) if left.is_empty() => Err(Trouble::Failed(why)),
            Some(why) => Err(Trouble::Failed(still_there(&before, &left, &why))),
        }
    }

    fn foresee(&self, world: &World<'_>, part: &Part) -> Result<Foreseen, Trouble> {
        let query = self.repository.access().foresee(&part.policy).context("cannot ask restic")?;
        let mut printed = Printed::default();
        let output = world.host.looker().read(&query, &mut |from| printed.read(from))?;
        restic::foreseen(printed, &output)
            .map_err(|why| Trouble::Failed(format!("{}: {why}", self.repository.place())))
    }
}

/// Takes a destination for itself, among the runs and verifications of this host; else says who still works there.
pub(super) fn turn(world: &World<'_>, name: &Name) -> Result<Result<Turn, String>> {
    let patience = Duration::from_secs(world.waiting.patience);
    let turn = world.queue.take(name, Use::Alone, patience, &|by| (world.waits)(name, by))?;
    Ok(turn.map_err(|by| no_place(&by)))
}

/// Runs what needs the repository for itself, once nobody else's lock is in the way; returns what it printed, or why it
/// failed.
pub(super) fn alone(world: &World<'_>, repository: &Repository, cmd: &Cmd) -> Result<Result<String, String>> {
    world.programs.works_with(&repository.name)?;
    let ran = world.waiting.alone(&repository.name, repository, || {
        Ok(match world.programs.output(cmd).map(|output| (restic::ended(&output), output)) {
            Ok((Ended::Done, output)) => Tried::Done(Ok(output.stdout)),
            Ok((Ended::Failed(why), _)) => Tried::Done(Err(why)),
            Ok((Ended::Locked(by), _)) => Tried::Locked(by),
            Err(err) => Tried::Done(Err(format!("{err:#}"))),
        })
    })?;
    Ok(ran.and_then(std::convert::identity))
}

impl PlaceDone {
    /// Says of all jobs there that they were not pruned, and why.
    fn failed(mut self, why: &str) -> Self {
        self.jobs.iter_mut().for_each(|job| job.error = Some(why.to_owned()));
        self
    }
}

fn stopped() -> Trouble {
    Trouble::Failed("it was not begun".into())
}

/// Says that a store has kept what was to go.
fn still_there(before: &Foreseen, left: &[&Snapshot], why: &str) -> String {
    let names: Vec<&str> = left.iter().take(3).map(|it| it.id.get(..8).unwrap_or(&it.id)).collect();
    let more = if left.len() > names.len() { ", …" } else { "" };
    format!(
        "{} of {} backups that were to go are still there ({}{more}): {why}\nhelp: if the destination is append-only, its server \
         prunes it: `ssh: users: CLIENT: prune: {{ keep_within: … }}` in the server's state",
        left.len(),
        before.remove.len(),
        names.join(", ")
    )
}
