//! What rlvm keeps as declared, one file a kind. Here: what the YAML says of each.

mod cron;
mod directory;
mod logrotate;
mod ssh;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cron::CronSpec;
pub use directory::DirectorySpec;
pub use logrotate::{Frequency, LogrotateSpec, NewFile, Owner};
pub use ssh::{Access, AuthorizedKey, KeyType, SshAgentSpec, SshHostSpec, SshKeySpec, SshUserSpec};

/// What becomes of a thing on the host when its block is taken out of the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnRemove {
    /// What is usual for its kind.
    #[default]
    Default,
    /// It is deleted, if rlvm made it.
    Delete,
    /// It is left as it is.
    Forget,
}
