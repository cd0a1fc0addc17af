//! What the jobs back up: whether it is there, lies where it is said to, and could be frozen (R27, R28, R59). It is looked
//! at, before the night would find it out.
//!
//! A host may be set up before its data is there. So what is missing is a warning, and the run refuses it; what cannot
//! come right by itself is an error. All jobs are one resource, so that volumes are asked for once.

use std::{borrow::Cow, collections::BTreeMap};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Cost, Diff, Finding, Kind, Look, Removal, Severity};
use crate::{
    host::Observe,
    model::{HostPath, Name, RunId, Schedule},
    source::{Ground, Lvm, Source, TAG, Unfit, room},
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

impl Kind for Sources {
    const NAME: &'static str = "sources";
    /// What is wrong. In a tree nothing is: it is another machine's ground.
    type Seen = Vec<Unsound>;

    fn key(&self) -> Cow<'_, str> {
        "jobs".into()
    }

    fn path(&self) -> Option<&HostPath> {
        None
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
        Ok(unsound)
    }

    fn exists(&self, _: &Vec<Unsound>) -> bool {
        true
    }

    fn diff(&self, _: &Vec<Unsound>) -> Diff {
        Diff::Same
    }

    fn checks(&self, seen: &Vec<Unsound>, _: Option<&Vec<Unsound>>) -> Vec<Finding> {
        let finding = |it: &Unsound| {
            let severity = if it.passes { Severity::Warning } else { Severity::Error };
            let place = it.job.as_ref().map_or_else(|| "jobs".into(), |job| format!("jobs.{job}.sources"));
            Finding::new(severity, place, &it.message).remedy(&it.remedy)
        };
        seen.iter().map(finding).collect()
    }

    fn removal(&self, _: &Vec<Unsound>, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        Removal::Quiet
    }

    fn is_managed(&self, _: &Vec<Unsound>) -> bool {
        false
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
        unsound.extend(self.short(&without_leftovers(ground)));
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
