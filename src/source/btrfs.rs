//! Files of a btrfs subvolume, frozen by a snapshot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::HostPath;

/// Files of a btrfs subvolume, taken from a read-only snapshot that is there only while they are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Btrfs {
    /// Where the subvolume is mounted or lies: an absolute path.
    pub subvolume: HostPath,
    /// What of it is backed up: absolute paths as the host sees them. Default: all of the subvolume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<HostPath>,
}
