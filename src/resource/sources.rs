//! Checks the sources of all jobs: whether they exist, lie on the declared volume, and can be frozen (R27, R28, R59).
//!
//! A host may be set up before its data exists. So a missing source is a warning, and the run refuses it. A problem
//! that cannot resolve itself is an error. All jobs are one resource, so that rlvm lists the volumes once.

use std::{borrow::Cow, collections::BTreeMap};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Cost, Finding, Look, Severity, check::Check};
use crate::{
    effect::{Cmd, Query},
    host::Observe,
    model::{Line, Name, RunId, Schedule, UserName},
    source::{Ground, Lvm, Source, TAG, Unfit, Walk, nothing_of, room, uncovered},
};

/// What all jobs back up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// By job.
    pub jobs: BTreeMap<Name, JobSources>,
}

/// What a job backs up, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSources {
    /// When it starts; those that start together are frozen together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// What.
    pub sources: Vec<Source>,
    /// What is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Line>,
    /// Whether it stays on the file systems of the sources.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_file_system: bool,
    /// Whether sources may hold no file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_empty: bool,
    /// The user that reads them, if that is not who looks: root, or whoever keeps a set-up of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
}

/// What is wrong with a source. No number that moves with each byte: a saved plan would be stale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsound {
    /// Whose source it is; nobody's if it is all jobs'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Name>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// Whether it can come right by itself: what is missing may be mounted or made.
    pub passes: bool,
}

impl Check for Sources {
    const NAME: &'static str = "sources";
    /// What is wrong. In a tree nothing is: it is another machine's ground.
    type Seen = Vec<Unsound>;

    fn key(&self) -> Cow<'_, str> {
        "jobs".into()
    }

    fn cost(&self) -> Cost {
        if self.all().any(|(_, source)| is_lvm(source)) { Cost::Work } else { Cost::Quick }
    }

    fn observe(&self, look: &Look<'_, Vec<Unsound>>) -> Result<Vec<Unsound>> {
        if look.host.is_tree() || look.looks.offline {
            return Ok(Vec::new());
        }
        let (kept, ground, mut unsound) = self.ground(look.host)?;
        unsound.extend(kept.judge(&ground));
        unsound.extend(kept.closed(look.host, &ground)?);
        Ok(unsound)
    }

    fn findings(&self, seen: &Vec<Unsound>) -> Vec<Finding> {
        let finding = |it: &Unsound| {
            let severity = if it.passes { Severity::Warning } else { Severity::Error };
            let place = it.job.as_ref().map_or_else(|| "jobs".into(), |job| format!("jobs.{job}.sources"));
            Finding::new(severity, place, &it.message).remedy(&it.remedy)
        };
        seen.iter().map(finding).collect()
    }
}

fn is_lvm(source: &Source) -> bool {
    matches!(source, Source::Lvm(_))
}

impl Sources {
    fn all(&self) -> impl Iterator<Item = (&Name, &Source)> {
        self.jobs.iter().flat_map(|(name, job)| job.sources.iter().map(move |source| (name, source)))
    }

    /// Leaves out what is not as asked for.
    fn only(&self, keep: impl Fn(&Name, &Source) -> bool) -> Self {
        let mut kept = self.clone();
        for (name, job) in &mut kept.jobs {
            job.sources.retain(|source| keep(name, source));
        }
        kept
    }

    fn look(&self, host: &dyn Observe) -> Result<Ground> {
        Ground::look(host, &self.all().map(|(_, source)| source).collect::<Vec<_>>(), &[])
    }

    /// Looks at what they stand on, and says what could not be looked at; that is left out.
    fn ground(&self, host: &dyn Observe) -> Result<(Self, Ground, Vec<Unsound>)> {
        let (mut kept, mut unsound) = (self.clone(), Vec::new());
        if self.all().any(|(_, source)| is_lvm(source)) && host.program_path("lvs").is_none() {
            unsound.push(no_volumes("there is no lvs to ask for logical volumes".into()));
            kept = kept.only(|_, source| !is_lvm(source));
        }
        let ground = match kept.look(host) {
            Err(why) if kept.all().any(|(_, source)| is_lvm(source)) => {
                unsound.push(no_volumes(format!("{why:#}")));
                kept = kept.only(|_, source| !is_lvm(source));
                kept.look(host)?
            }
            other => other?,
        };
        Ok((kept, ground, unsound))
    }

    /// Says what is wrong with all of them. Pure.
    fn judge(&self, ground: &Ground) -> Vec<Unsound> {
        // Not of a run: none has this name.
        let run: Option<RunId> = "000000000000".parse().ok();
        let mut unsound = Vec::new();
        for (name, source) in self.all().filter(|(_, source)| source.is_supported()) {
            let frozen = |run: &RunId| source.frozen(ground, run, 0).err();
            let unfit = source.stored(ground).err().or_else(|| run.as_ref().and_then(frozen));
            unsound.extend(unfit.map(|unfit| Unsound {
                job: Some(name.clone()),
                message: unfit.message,
                remedy: unfit.remedy,
                passes: waits(source, ground),
            }));
        }
        unsound.extend(self.gaps(ground));
        unsound.extend(self.short(&without_leftovers(ground)));
        unsound
    }

    /// Says which sources a job's user cannot read: where restic may not enter, it stores nothing.
    fn closed(&self, host: &dyn Observe, ground: &Ground) -> Result<Vec<Unsound>> {
        let mut unsound = Vec::new();
        for (name, job) in &self.jobs {
            let Some(user) = &job.user else { continue };
            // apply may make the user first.
            if !host.has_user(user)? {
                continue;
            }
            for path in job.sources.iter().flat_map(|source| source.stored(ground).unwrap_or_default()) {
                let may_not = |flag: &str| -> Result<bool> {
                    let test = Cmd::new("test").arg(flag).path(&path).user(user).ok(&[0, 1]).timeout(10);
                    // Where nobody can become the user, the run itself finds out.
                    Ok(host.query(&Query::new(test)?).is_ok_and(|output| output.code == Some(1)))
                };
                let is_directory = host.entry(&path).is_ok_and(|it| it.directory().is_some());
                if may_not("-r")? || is_directory && may_not("-x")? {
                    unsound.push(Unsound {
                        job: Some(name.clone()),
                        message: format!("user {user} cannot read source {path}"),
                        remedy: format!("let {user} read it, by a group or an ACL, or set `user: root`"),
                        passes: true,
                    });
                }
            }
        }
        Ok(unsound)
    }

    /// Says what would be missing in each backup although no run fails to read it. Pure.
    fn gaps(&self, ground: &Ground) -> Vec<Unsound> {
        let excludes: Vec<Vec<&str>> =
            self.jobs.values().map(|job| job.exclude.iter().map(Line::as_str).collect()).collect();
        let all: Vec<Walk<'_>> = self
            .jobs
            .values()
            .zip(&excludes)
            .map(|(job, exclude)| Walk {
                sources: &job.sources,
                exclude,
                one_file_system: job.one_file_system,
            })
            .collect();
        let mut unsound = Vec::new();
        for ((name, job), walk) in self.jobs.iter().zip(&all) {
            let mut say = |message: String, remedy: &str| {
                unsound.push(Unsound {
                    job: Some(name.clone()),
                    message,
                    remedy: remedy.into(),
                    passes: true,
                });
            };
            for message in nothing_of(&job.sources, walk.exclude, job.may_be_empty, ground) {
                say(message, NOTHING);
            }
            for message in uncovered(walk, &all, ground) {
                say(message, "make each a source, or name it in `exclude`");
            }
        }
        unsound
    }

    /// Says where the snapshots of jobs that start together do not fit (R28).
    fn short(&self, ground: &Ground) -> Vec<Unsound> {
        // By schedule; who has none starts alone.
        let mut together: BTreeMap<_, (Vec<&str>, Vec<&Lvm>)> = BTreeMap::new();
        for (name, job) in &self.jobs {
            // A run freezes a volume once, whatever has it for a source.
            let mut volumes: Vec<&Lvm> = Vec::new();
            for source in &job.sources {
                if let Source::Lvm(lvm) = source
                    && !volumes.iter().any(|it| it.volume == lvm.volume)
                {
                    volumes.push(lvm);
                }
            }
            if !volumes.is_empty() {
                let by_hand = job.schedule.is_none().then_some(name);
                let group = together.entry((job.schedule.as_ref(), by_hand)).or_default();
                group.0.push(name.as_str());
                group.1.extend(volumes);
            }
        }
        let of_group = |(names, volumes): &(Vec<&str>, Vec<&Lvm>)| -> Vec<Unsound> {
            let who = match &names[..] {
                [_] => String::new(),
                names => format!("; {} start together", names.join(", ")),
            };
            let job: Option<Name> = names.first().and_then(|name| name.parse().ok());
            let say = |Unfit { message, remedy }| {
                let message = format!("{message}{who}");
                Unsound { job: job.clone(), message, remedy, passes: true }
            };
            room(volumes, ground).into_iter().map(say).collect()
        };
        together.values().flat_map(of_group).collect()
    }
}

/// What to do where a backup would hold nothing of a source.
const NOTHING: &str = "mount what belongs there, take the pattern out of `exclude`, or, if the source is empty on purpose, set `may_be_empty: true` for the job";

fn no_volumes(message: String) -> Unsound {
    Unsound { job: None, message, remedy: "as root, with lvm2: apt-get install lvm2".into(), passes: true }
}

/// Says whether something is missing that a source stands on, and may come.
fn waits(source: &Source, ground: &Ground) -> bool {
    if source.all_paths().any(|path| !ground.places.contains_key(path)) {
        return true;
    }
    match source {
        Source::Lvm(lvm) => {
            let volume = ground.volumes.iter().find(|it| it.name == lvm.volume);
            let mounted = |device| ground.mounts.iter().any(|mount| mount.device == device);
            let holds_btrfs = ground
                .mounts
                .iter()
                .any(|mount| mount.kind == "btrfs" && mount.source.ends_with(lvm.volume.name()));
            !holds_btrfs && !volume.and_then(|volume| volume.device).is_some_and(mounted)
        }
        // What is to be mounted there may be btrfs.
        Source::Btrfs(btrfs) => {
            let place = ground.places.get(&btrfs.subvolume);
            place.and_then(|place| ground.mounts.of(place)).is_none_or(|mount| mount.kind != "btrfs")
        }
        _ => false,
    }
}

/// Counts as free what snapshots of runs take: they go when the run ends, or are swept before the next begins. So a plan
/// says the same while a job runs.
fn without_leftovers(ground: &Ground) -> Ground {
    let mut ground = ground.clone();
    let ours: Vec<(String, u64)> = ground
        .volumes
        .iter()
        .filter(|it| !it.is_thin() && it.tags.iter().any(|tag| tag == TAG))
        .map(|it| (it.name.group().to_owned(), it.size))
        .collect();
    for volume in &mut ground.volumes {
        let of_group = ours.iter().filter(|(group, _)| *group == volume.name.group());
        volume.free += of_group.map(|(_, size)| size).sum::<u64>();
    }
    ground
}

#[cfg(test)]
mod tests;
