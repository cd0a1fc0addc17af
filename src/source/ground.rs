//! What sources stand on: the mounts and volumes of the host, and how those that can be are frozen.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Source, lvm};
use crate::{
    effect::Step,
    host::{Mounts, Observe},
    model::{HostPath, RunId},
};

pub use super::lvm::LogicalVolume;

/// What the host shows of all that sources are about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// What is mounted.
    pub mounts: Mounts,
    /// The logical volumes; none if no source is one.
    pub volumes: Vec<LogicalVolume>,
    /// Where the paths of sources really lie, by how they are declared; those that are not there are missing.
    pub places: std::collections::BTreeMap<HostPath, HostPath>,
    /// Subvolumes of btrfs: to whom their top belongs.
    pub subvolumes: std::collections::BTreeMap<HostPath, Subvolume>,
}

/// What is seen of a btrfs subvolume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subvolume {
    /// Whether it is one: its top is the 256th inode (`BTRFS_FIRST_FREE_OBJECTID`).
    pub is_one: bool,
    /// Whether nobody but root can put anything into its top.
    pub is_private: bool,
}

impl Ground {
    /// Looks.
    ///
    /// # Errors
    ///
    /// If the host cannot be looked at.
    pub fn look(host: &dyn Observe, sources: &[&Source]) -> Result<Self> {
        let mut ground = Self { mounts: host.mounts()?, ..Self::default() };
        if sources.iter().any(|source| matches!(source, Source::Lvm(_))) {
            ground.volumes = lvm::volumes(host)?;
        }
        for source in sources {
            for path in source.paths() {
                if let Some(place) = host.lies(path)? {
                    ground.places.insert(path.clone(), place);
                }
            }
            if let Source::Btrfs(btrfs) = source {
                for path in &btrfs.paths {
                    if let Some(place) = host.lies(path)? {
                        ground.places.insert(path.clone(), place);
                    }
                }
                if let Some(meta) = host.entry(&btrfs.subvolume)?.directory() {
                    let is_private = meta.owner == "root" && meta.mode.bits() & 0o022 == 0;
                    let seen = Subvolume { is_one: meta.stamp.ino == 256, is_private };
                    ground.subvolumes.insert(btrfs.subvolume.clone(), seen);
                }
            }
        }
        Ok(ground)
    }
}

/// Something that is frozen: it stands in the run's view in place of the live one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Where the live one stands, and where this one will.
    pub at: HostPath,
    /// What stands there.
    pub from: Instead,
    /// How it is made, and unmade.
    pub step: Step,
    /// What is watched while it lives, if it can fill up.
    pub fills: Option<Fills>,
    /// Whether its file system may be held still while others are frozen, so that all are of one point in time.
    pub holds: bool,
}

/// What stands in the place of what is live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instead {
    /// A device with a file system of this type.
    Device {
        /// The device.
        path: HostPath,
        /// The type: `ext4`.
        kind: String,
    },
    /// A directory.
    Directory(HostPath),
}

/// A snapshot that fills up while its origin changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fills {
    /// The volume that is frozen.
    pub origin: crate::model::LvName,
    /// The snapshot.
    pub snapshot: crate::model::LvName,
    /// How large it is, in extents; it is extended by as much.
    pub extents: u64,
}

/// What is wrong with a source, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Unfit {
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }
}

impl Source {
    /// Lists the paths that are stored, as the host sees them.
    ///
    /// # Errors
    ///
    /// What is wrong with the source on this host: a path that is not there, or lies elsewhere (R27, R59).
    pub fn stored(&self, ground: &Ground) -> Result<Vec<HostPath>, Unfit> {
        match self {
            Self::Path(path) => {
                ground.there(&path.0)?;
                Ok(vec![path.0.clone()])
            }
            Self::Lvm(lvm) => lvm.stored(ground),
            Self::Btrfs(btrfs) => btrfs.stored(ground),
            Self::Volume(_) | Self::Mysql(_) | Self::Postgres(_) | Self::Sqlite(_) | Self::Vm(_) => {
                let message = format!("sources of the kind `{}` are not yet supported", self.key());
                Err(Unfit::new(message, "take it out, or dump it in a hook and store the file"))
            }
        }
    }

    /// Says how it is frozen, as the run's `number`th; nothing for what is not.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    pub fn frozen(&self, ground: &Ground, run: &RunId, number: usize) -> Result<Option<Frozen>, Unfit> {
        match self {
            Self::Lvm(lvm) => lvm.frozen(ground, run, number).map(Some),
            Self::Btrfs(btrfs) => btrfs.frozen(ground, run, number).map(Some),
            _ => Ok(None),
        }
    }
}

impl Ground {
    /// Finds where a path lies.
    pub(super) fn there(&self, path: &HostPath) -> Result<&HostPath, Unfit> {
        let missing =
            || Unfit::new(format!("{path} is not there"), "mount it, make it, or take it out of `sources`");
        self.places.get(path).ok_or_else(missing)
    }
}
