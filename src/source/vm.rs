//! Disks of a virtual machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{HostPath, Line};

/// A libvirt machine's disks, all of one point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vm {
    /// The machine's name, as `virsh list` shows it.
    pub name: Line,
    /// The files of the disks that are backed up. Default: all disks that the machine can write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<HostPath>,
}
