//! Verifies one destination: whether it can be reached, whether its repository is intact, and whether a sample can be
//! restored.

use anyhow::Context as _;

use super::{
    drill::drill,
    world::{Trouble, World},
};
use crate::{
    cli::{free::Tried, queue::Use, run::at},
    expand::{Expanded, repository_of},
    host::{Host as _, Stream, interrupted},
    model::{HostName, HostPath, Name, ReadData},
    resource::{Location, Repository},
    restic::{self, Complaints, Found, Verdict},
    state::{Drill, State},
    verify::{Amount, Checked, DrillRecord, Kind, Outcome, Read, VERSION},
};

/// A destination with the jobs whose backups are there.
pub(super) struct Place {
    pub(super) name: Name,
    pub(super) repository: Repository,
    pub(super) jobs: Vec<Part>,
    /// How much of the data is read.
    pub(super) amount: Amount,
}

/// A job at a destination.
pub(super) struct Part {
    pub(super) name: Name,
    /// The host's names and the job's, present and past.
    pub(super) hosts: Vec<HostName>,
    pub(super) names: Vec<Name>,
    /// The names that the destination has and had.
    pub(super) destinations: Vec<Name>,
    /// How many files are drawn.
    pub(super) files: Option<u32>,
}

/// Whether a drill is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Drilled {
    /// As declared.
    #[default]
    Declared,
    /// Of as many files as declared, else of some.
    Asked,
    /// Of so many files.
    Of(u32),
}

/// What is asked for, in place of what is declared.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) read: Option<ReadData>,
    pub(super) drill: Drilled,
}

/// How many files a drill restores if nobody says.
const FILES: u32 = 20;

/// Lists the destinations of jobs, copies' too, each once.
pub(super) fn places(
    state: &State,
    expanded: &Expanded,
    jobs: &[&Name],
    asked: Asked,
    today: jiff::civil::DateTime,
) -> Vec<Place> {
    let place = |(name, _): (&Name, _)| {
        let repository = repository_of(expanded, name)?.clone();
        let (mut parts, mut amount) = (Vec::new(), Amount::Nothing);
        for (job, of) in state.storing_at(name, jobs) {
            let period = of.verify.schedule.as_ref().and_then(|schedule| schedule.longest_gap(today));
            let wanted = asked.read.or(of.verify.read_data).map(|wanted| Amount::of(wanted, period));
            // Of two jobs that share it the one that asks for more counts.
            amount = amount.max(wanted.unwrap_or(Amount::Nothing));
            let declared = of.verify.drill.as_ref().map(|Drill { files }| *files);
            parts.push(Part {
                name: job.clone(),
                hosts: state.hosts(),
                names: of.names(job),
                destinations: state.names_of(name),
                files: match asked.drill {
                    Drilled::Declared => declared,
                    Drilled::Asked => declared.or(Some(FILES)),
                    Drilled::Of(files) => Some(files),
                },
            });
        }
        (!parts.is_empty()).then(|| Place { name: name.clone(), repository, jobs: parts, amount })
    };
    state.destinations.iter().filter_map(place).collect()
}

impl Place {
    /// Verifies it.
    pub(super) fn verify(&self, world: &World<'_>, host: &HostName, read: Read) -> Checked {
        let began = world.since.elapsed();
        let reached = self.reach(world);
        // What is damaged may still give back what is drawn, and that is worth knowing; what does not open gives nothing.
        let opens = reached.is_ok();
        let checked = reached
            .and_then(|()| world.turn(&self.name, Use::Alone))
            .and_then(|_turn| self.check(world, &read));
        let looked = matches!(&checked, Ok(()) | Err(Trouble(Outcome::Damaged, _)));
        // Nothing is to be removed meanwhile; that what is drawn was removed is said by the drill itself.
        let _beside = world.turn(&self.name, Use::Beside);
        let drills = if opens && looked { self.drills(world) } else { Vec::new() };
        let (outcome, error) = match checked {
            Ok(()) => (Outcome::Well, None),
            Err(Trouble(outcome, why)) => (outcome, Some(why)),
        };
        let outcome = drills.iter().fold(outcome, |worst, drill| worse(worst, drill.outcome));
        Checked {
            format_version: VERSION,
            kind: Kind::Verify,
            rlvm_version: env!("CARGO_PKG_VERSION").into(),
            host: host.clone(),
            destination: self.name.clone(),
            jobs: self.jobs.iter().map(|part| part.name.clone()).collect(),
            started: at(world.start, began).to_string(),
            ended: at(world.start, world.since.elapsed()).to_string(),
            seconds: world.since.elapsed().saturating_sub(began).as_secs_f64(),
            outcome,
            read,
            error,
            drills,
        }
    }

    /// Says why it cannot be looked at, if so. It is opened once with a short time limit: later versions of restic try for
    /// a quarter of an hour to reach what is down (tried with 0.18.0).
    fn reach(&self, world: &World<'_>) -> Result<(), Trouble> {
        let looker = world.host.looker();
        if let Some(why) = self.repository.unfit(looker.as_ref())? {
            return Err(Trouble(Outcome::Failed, why));
        }
        let look = self.repository.access().look().context("cannot ask restic")?;
        match restic::found(&looker.query(&look)?) {
            Found::Ready { .. } => Ok(()),
            Found::Absent => Err(self.absent(&looker.names(&self.directory())?)),
            Found::WrongPassword => {
                let why = format!("{} does not open it, or its keys are gone", self.repository.password.0);
                Err(Trouble(Outcome::Failed, format!("wrong password: {why}")))
            }
            Found::Locked => Err(Trouble(Outcome::Failed, "locked by something else".into())),
            Found::Damaged(why) => Err(Trouble(Outcome::Damaged, why)),
            Found::Unreachable(why) => Err(Trouble(Outcome::Unreachable, why)),
        }
    }

    /// Returns where it is, if it is on this very machine; else a directory that is not empty.
    fn directory(&self) -> HostPath {
        match &self.repository.location {
            Location::Local(path) => path.clone(),
            Location::Remote(_) => HostPath::fixed("/"),
        }
    }

    /// Tells a disk that is not mounted from a repository that has lost its configuration.
    fn absent(&self, names: &[String]) -> Trouble {
        let place = self.repository.place();
        if names.is_empty() {
            return Trouble(Outcome::Unreachable, format!("nothing is in {place}: is its disk mounted?"));
        }
        let why = format!("there is no repository in {place}, or it has lost its configuration");
        Trouble(Outcome::Damaged, why)
    }

    fn check(&self, world: &World<'_>, read: &Read) -> Result<(), Trouble> {
        world.programs.works_with(&self.name)?;
        let checked = world.in_private(&self.repository.user, |dir| {
            let cmd = self.repository.access().check(read.flag().as_deref(), dir);
            Ok(world.waiting.alone(&self.name, &self.repository, || {
                let mut complaints = Complaints::default();
                let ended = world.programs.program(&cmd, &mut |stream, line| {
                    if stream == Stream::Err {
                        complaints.line(line);
                    }
                })?;
                Ok(match complaints.verdict(ended.code) {
                    _ if ended.stopped => Tried::Done(Verdict::Failed("ended by a signal".into())),
                    _ if ended.timed_out => {
                        Tried::Done(Verdict::Failed("took too long and was ended".into()))
                    }
                    Verdict::Locked(by) => Tried::Locked(by),
                    verdict => Tried::Done(verdict),
                })
            })?)
        })?;
        checked.map_or_else(|locked| Err(Trouble(Outcome::Failed, locked)), judged)
    }

    fn drills(&self, world: &World<'_>) -> Vec<DrillRecord> {
        let wanted = self.jobs.iter().filter_map(|part| Some((part, part.files?)));
        let drill = |(part, files)| drill(world, &self.repository, part, files);
        wanted.take_while(|_| interrupted().is_none()).map(drill).collect()
    }
}

/// Says what a verdict means for the destination.
pub(super) fn judged(verdict: Verdict) -> Result<(), Trouble> {
    Err(match verdict {
        Verdict::Well => return Ok(()),
        Verdict::Damaged(why) => Trouble(Outcome::Damaged, why),
        Verdict::Unreachable(why) => Trouble(Outcome::Unreachable, why),
        Verdict::Locked(by) => Trouble(Outcome::Failed, format!("locked {by}")),
        Verdict::Failed(why) => Trouble(Outcome::Failed, why),
    })
}

/// Returns the worse of two: damage is what must be known first.
pub(super) fn worse(one: Outcome, other: Outcome) -> Outcome {
    const ORDER: [Outcome; 4] = [Outcome::Damaged, Outcome::Unreachable, Outcome::Failed, Outcome::Well];
    ORDER.into_iter().find(|it| *it == one || *it == other).unwrap_or(one)
}
