//! Directories: owner, group, mode, and whether something must be mounted there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OnRemove;
use crate::model::{GroupName, Mode, UserName, field::is_default};

/// A directory that is to be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DirectorySpec {
    /// The user that owns it. Default: root.
    pub owner: UserName,
    /// The group that owns it. Default: root.
    pub group: GroupName,
    /// Its permission bits in octal, in quotes. Default: "0700".
    pub mode: Mode,
    /// It is a mount point, and something must be mounted there; it is never made on the disk below. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub mounted: bool,
    /// Takes over a directory that is there already with another owner or mode. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would remove it, until the word is taken back and applied. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub protect: bool,
    /// What happens when the block is taken out: `default` and `delete` delete it if rlvm made it and it is empty,
    /// `forget` leaves it. Default: default.
    #[serde(skip_serializing_if = "is_default")]
    pub on_remove: OnRemove,
}

impl Default for DirectorySpec {
    fn default() -> Self {
        Self {
            owner: UserName::root(),
            group: GroupName::root(),
            mode: Mode::new(0o700),
            mounted: false,
            adopt: false,
            protect: false,
            on_remove: OnRemove::Default,
        }
    }
}
