//! Cron entries, one file each in /etc/cron.d.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Line, Schedule, UserName, field::is_default};

/// A cron entry of your own, beside those that jobs make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CronSpec {
    /// When it runs, in cron's words: `"30 2 * * *"` (minute, hour, day of month, month, day of week) or `@daily`.
    pub schedule: Schedule,
    /// The user it runs as. Default: root.
    #[serde(default = "UserName::root")]
    pub user: UserName,
    /// The command, one line of shell; `%` needs no escape. Of `${NAME}` only what `vars` declares is replaced, the
    /// rest is left to the shell.
    pub command: Line,
    /// Takes over a file of this name that is there already and differs. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would remove it, until the word is taken back and applied. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protect: bool,
}
