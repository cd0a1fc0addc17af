//! Files of a logical volume, frozen by a snapshot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{HostPath, LvName, Size};

/// Files of a logical volume, taken from a snapshot that is there only while they are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lvm {
    /// The logical volume, as VG/LV: `vg0/root`. It must be mounted.
    pub volume: LvName,
    /// How much may change while the snapshot lives: a size (`2G`), or a share of the volume (`10%`). A thin volume
    /// needs none. Default: 10%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_size: Option<Size>,
    /// What of it is backed up: absolute paths as the host sees them. Default: where the volume is mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<HostPath>,
}
