//! Describes the mounts and volumes below sources, and how they are frozen.

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
    /// Paths of sources, and mounts, that could not be looked at, and why. A mount that hangs is one.
    #[serde(default)]
    pub lost: std::collections::BTreeMap<HostPath, String>,
    /// Paths of sources that are symbolic links, and where the links lead.
    #[serde(default)]
    pub links: std::collections::BTreeMap<HostPath, String>,
    /// Subvolumes of btrfs: to whom their top belongs.
    pub subvolumes: std::collections::BTreeMap<HostPath, Subvolume>,
    /// Subvolumes that lie directly in those, as the host sees them.
    #[serde(default)]
    pub nested: std::collections::BTreeMap<HostPath, Vec<HostPath>>,
    /// Paths of sources that are empty directories.
    #[serde(default)]
    pub empty: std::collections::BTreeSet<HostPath>,
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
    /// Looks. `declared` are the directories that must be mount points, as the state says.
    ///
    /// # Errors
    ///
    /// If the host cannot be looked at.
    pub fn look(host: &dyn Observe, sources: &[&Source], declared: &[HostPath]) -> Result<Self> {
        let mut ground = Self { mounts: host.mounts()?, ..Self::default() };
        if sources.iter().any(|source| matches!(source, Source::Lvm(_))) {
            ground.volumes = lvm::volumes(host)?;
        }
        for source in sources {
            for path in source.all_paths() {
                if let Ok(Some(target)) = host.link(path) {
                    ground.links.insert(path.clone(), target);
                }
                match host.lies(path) {
                    Ok(Some(place)) => {
                        // A directory that cannot be listed is not empty.
                        if host.entry(&place).is_ok_and(|it| it.directory().is_some())
                            && host.names(&place).is_ok_and(|names| names.is_empty())
                        {
                            ground.empty.insert(path.clone());
                        }
                        ground.places.insert(path.clone(), place);
                    }
                    Ok(None) => {}
                    Err(why) => drop(ground.lost.insert(path.clone(), format!("{why:#}"))),
                }
            }
            if let Source::Btrfs(btrfs) = source
                && !ground.lost.contains_key(&btrfs.subvolume)
                && let Some(meta) = host.entry(&btrfs.subvolume)?.directory()
            {
                let is_private = meta.owner == "root" && meta.mode.bits() & 0o022 == 0;
                let seen = Subvolume { is_one: meta.stamp.ino == 256, is_private };
                if seen.is_one {
                    let nested = btrfs.nested(host, &ground);
                    ground.nested.insert(btrfs.subvolume.clone(), nested);
                }
                ground.subvolumes.insert(btrfs.subvolume.clone(), seen);
            }
        }
        let silent = ground.silent(host, sources);
        ground.lost.extend(silent);
        for at in declared {
            if let Some(why) = host.not_mounted(at) {
                ground.lose_unmounted(sources, at, &why);
            }
        }
        Ok(ground)
    }

    /// Notes a declared mount that is missing, and the paths of sources at or below it: what is there belongs to the disk
    /// below, and storing it would rotate the real backups out.
    fn lose_unmounted(&mut self, sources: &[&Source], at: &HostPath, why: &str) {
        let below = |path: &&HostPath| {
            path.is_within(at) || self.places.get(*path).is_some_and(|place| place.is_within(at))
        };
        let lost: Vec<HostPath> =
            sources.iter().flat_map(|it| it.all_paths()).filter(below).cloned().collect();
        self.lost.extend(lost.into_iter().chain([at.clone()]).map(|path| (path, why.to_owned())));
    }

    /// Lists the mounts that a run would come by and that do not answer, and why: those below sources, and where
    /// something is frozen all, since they stand in the run's view.
    fn silent(&self, host: &dyn Observe, sources: &[&Source]) -> Vec<(HostPath, String)> {
        let freezes = sources.iter().any(|it| matches!(it, Source::Lvm(_) | Source::Btrfs(_)));
        let below = |at: &HostPath| self.places.values().any(|place| at.is_within(place));
        let mounts = self.mounts.iter().filter(|it| freezes || below(&it.at) && !it.is_pseudo());
        mounts.filter_map(|it| Some((it.at.clone(), format!("{:#}", host.answers(&it.at).err()?)))).collect()
    }

    /// Returns the mounts that could be looked at.
    pub fn answering(&self) -> Mounts {
        self.mounts.without(|at| self.lost.contains_key(at))
    }

    /// Says why a path must not be stored: a mount below it does not answer, so that restic would hang there. What these
    /// patterns leave out restic does not touch; only plain paths count.
    pub fn hangs(&self, path: &HostPath, exclude: &[&str]) -> Option<Unfit> {
        let place = self.places.get(path)?;
        let plain = |pattern: &str| pattern.trim_end_matches("/*").trim_end_matches('/').parse::<HostPath>();
        let left_out =
            |at: &HostPath| exclude.iter().any(|it| plain(it).is_ok_and(|excluded| at.is_within(&excluded)));
        let (_, why) =
            self.lost.iter().find(|(at, _)| *at != path && at.is_within(place) && !left_out(at))?;
        Some(Unfit::new(why, LOST))
    }
}

/// What to do where something cannot be looked at.
const LOST: &str = "repair the mount, or leave it out with `exclude`";

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
        if let Some(why) = self.lost.get(path) {
            return Err(Unfit::new(why, "repair the mount, look as root, or take the path out of `sources`"));
        }
        if let Some(target) = self.links.get(path) {
            let message = format!("{path} is a symbolic link to {target}: restic would store the link alone");
            return Err(Unfit::new(message, "write the path that the link leads to"));
        }
        let missing =
            || Unfit::new(format!("{path} is not there"), "mount it, make it, or take it out of `sources`");
        self.places.get(path).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_a_source_at_a_missing_mount_is_lost() {
        let path = |text: &str| text.parse::<HostPath>().unwrap();
        let lvm = |paths: &[&str]| {
            let (volume, paths) = ("vg0/srv".parse().unwrap(), paths.iter().map(|it| path(it)).collect());
            Source::Lvm(crate::source::Lvm { volume, paths, snapshot_size: None })
        };
        let btrfs = |paths: &[&str]| {
            let paths = paths.iter().map(|it| path(it)).collect();
            Source::Btrfs(crate::source::Btrfs { subvolume: path("/b"), paths })
        };
        for (source, lost) in [
            (Source::Path(crate::source::Path(path("/b/disk"))), &["/b/disk"][..]),
            (Source::Path(crate::source::Path(path("/b/disk/d"))), &["/b/disk", "/b/disk/d"]),
            (Source::Path(crate::source::Path(path("/b/disks"))), &["/b/disk"]),
            // By a link.
            (Source::Path(crate::source::Path(path("/link/d"))), &["/b/disk", "/link/d"]),
            (lvm(&["/a", "/b/disk/d"]), &["/b/disk", "/b/disk/d"]),
            (btrfs(&["/b/x", "/b/disk/d"]), &["/b/disk", "/b/disk/d"]),
        ] {
            let places = [(path("/link/d"), path("/b/disk/d"))].into();
            let mut ground = Ground { places, ..Ground::default() };
            ground.lose_unmounted(&[&source], &path("/b/disk"), "away");
            let found: Vec<&str> = ground.lost.keys().map(HostPath::as_str).collect();
            assert_eq!(found, lost, "{source:?}");
        }
    }

    #[test]
    fn a_source_that_is_a_symbolic_link_is_refused() {
        let path = |text: &str| text.parse::<HostPath>().unwrap();
        let ground = Ground {
            mounts: Mounts::table(&[("/", "btrfs")]),
            places: [(path("/srv/www"), path("/srv/www"))].into(),
            links: [(path("/srv/www"), "/big/www".to_owned())].into(),
            ..Ground::default()
        };
        let run: RunId = "0123456789ab".parse().unwrap();
        let btrfs = crate::source::Btrfs { subvolume: path("/srv/www"), paths: Vec::new() };
        for source in [Source::Path(crate::source::Path(path("/srv/www"))), Source::Btrfs(btrfs)] {
            let why = source.stored(&ground).unwrap_err();
            assert!(why.message.contains("is a symbolic link to /big/www"), "{source:?}: {why:?}");
            assert!(!matches!(source.frozen(&ground, &run, 0), Ok(Some(_))), "{source:?}");
        }
    }

    #[test]
    fn a_mount_that_hangs_below_a_source_is_named_unless_it_is_left_out() {
        let path = |text: &str| text.parse::<HostPath>().unwrap();
        let ground = Ground {
            mounts: Mounts::table(&[("/", "ext4"), ("/srv/nas", "nfs4"), ("/srv/usb", "ext4")]),
            places: [(path("/srv"), path("/srv")), (path("/data"), path("/srv"))].into(),
            lost: [(path("/srv/nas"), "it hangs".to_owned())].into(),
            ..Ground::default()
        };
        for (source, exclude, hangs) in [
            ("/srv", &[][..], true),
            // A link of root's that leads there.
            ("/data", &[], true),
            ("/srv", &["/srv/usb", "*.iso", "nas"], true),
            ("/srv", &["/srv/nas"], false),
            ("/srv", &["/srv/nas/*"], false),
            ("/srv", &["/srv/"], false),
            ("/etc", &[], false),
        ] {
            let said = ground.hangs(&path(source), exclude).map(|it| it.message);
            assert_eq!(said, hangs.then(|| "it hangs".to_owned()), "{source} {exclude:?}");
        }
        let left: Vec<_> = ground.answering().iter().map(|it| it.at.to_string()).collect();
        assert_eq!(left, ["/", "/srv/usb"], "what stands in a run's view");
    }
}
