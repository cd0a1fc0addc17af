//! Defines sources, one file per kind: the keys in the YAML, the volume below, and how it is frozen. Pure, except for
//! what [`Ground`] observes.

mod btrfs;
mod cover;
mod ground;
mod lvm;
mod mysql;
mod path;
mod postgres;
mod sqlite;
mod vm;
mod volume;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::HostPath;

pub use btrfs::Btrfs;
pub use cover::{Walk, left_out_by, nothing_of, uncovered};
pub use ground::{Fills, Frozen, Ground, Instead, LogicalVolume, Subvolume, Unfit};
pub use lvm::{Lvm, TAG, room, tag_of, volumes};
pub use mysql::Mysql;
pub use path::Path;
pub use postgres::Postgres;
pub use sqlite::Sqlite;
pub use vm::Vm;
pub use volume::{Engine, Volume};

/// Something that is backed up. The YAML has one key for its kind: `- path: /boot`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Files as they are, not frozen: an absolute path.
    Path(Path),
    /// Files of a logical volume, frozen by a snapshot: `{ volume: vg0/root, snapshot_size: 2G }`.
    Lvm(Lvm),
    /// Files of a btrfs subvolume, frozen by a snapshot: `{ subvolume: /srv }`.
    Btrfs(Btrfs),
    /// A container engine's volume: `{ engine: podman, name: shop_uploads }`.
    Volume(Volume),
    /// A dump of a MySQL or MariaDB database: `{ database: shop, defaults_file: /etc/rlvm/secrets/shop.cnf }`.
    Mysql(Mysql),
    /// A dump of a PostgreSQL database: `{ database: shop }`.
    Postgres(Postgres),
    /// A consistent copy of an SQLite database: its file, an absolute path.
    Sqlite(Sqlite),
    /// A libvirt machine's disks, all of one point in time: `{ name: db1, disks: [/var/lib/libvirt/images/db1.qcow2] }`.
    Vm(Vm),
}

impl Source {
    /// Lists the paths of this host that it is about, as far as the state says them.
    pub fn paths(&self) -> Vec<&HostPath> {
        match self {
            Self::Path(path) => vec![&path.0],
            Self::Lvm(lvm) => lvm.paths.iter().collect(),
            Self::Btrfs(btrfs) => vec![&btrfs.subvolume],
            Self::Sqlite(file) => vec![&file.0],
            Self::Vm(vm) => vm.disks.iter().collect(),
            Self::Volume(_) | Self::Mysql(_) | Self::Postgres(_) => Vec::new(),
        }
    }

    /// Lists every path that the state names for the source, also those within a btrfs subvolume.
    pub fn all_paths(&self) -> impl Iterator<Item = &HostPath> {
        let within: &[HostPath] = if let Self::Btrfs(btrfs) = self { &btrfs.paths } else { &[] };
        self.paths().into_iter().chain(within)
    }

    /// Says whether this rlvm can back it up.
    pub const fn is_supported(&self) -> bool {
        matches!(self, Self::Path(_) | Self::Lvm(_) | Self::Btrfs(_))
    }

    /// Returns the kind's key in the YAML.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Path(_) => "path",
            Self::Lvm(_) => "lvm",
            Self::Btrfs(_) => "btrfs",
            Self::Volume(_) => "volume",
            Self::Mysql(_) => "mysql",
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
            Self::Vm(_) => "vm",
        }
    }
}
