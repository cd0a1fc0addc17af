//! Logrotate rules, one file each in /etc/logrotate.d.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{
    GroupName, Mode, OneOrMore, PathPattern, UserName,
    field::{is_default, is_yes, yes},
};

/// A logrotate rule of your own; rlvm's own logs get one without being asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the YAML")]
pub struct LogrotateSpec {
    /// The logs: absolute paths, `*` and `?` allowed; at least one.
    pub paths: OneOrMore<PathPattern>,
    /// How often they are rotated. Default: daily.
    #[serde(default)]
    pub frequency: Frequency,
    /// How many old ones are kept. Default: 14.
    #[serde(default = "LogrotateSpec::keep")]
    pub keep: u32,
    /// Compresses the old ones. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub compress: bool,
    /// Leaves the newest old one uncompressed until the next time, for programs that still write it. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delay_compress: bool,
    /// A log that is not there is no error. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub missing_ok: bool,
    /// Copies the log and empties it in place, for programs that never reopen theirs. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub copy_truncate: bool,
    /// The user and group that rotate; needed where the directory can be written by a group. Default: root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub su: Option<Owner>,
    /// How the new, empty log is made. Default: it is not; the program makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<NewFile>,
    /// Takes over a file of this name that is there already and differs. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would remove it, until the word is taken back and applied. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protect: bool,
}

impl LogrotateSpec {
    const fn keep() -> u32 {
        14
    }
}

/// How often logs are rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Frequency {
    /// Every hour, if logrotate itself runs as often.
    Hourly,
    /// Every day.
    #[default]
    Daily,
    /// Every week.
    Weekly,
    /// Every month.
    Monthly,
    /// Every year.
    Yearly,
}

/// A user and a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Owner {
    /// The user, by name.
    pub user: UserName,
    /// The group, by name.
    pub group: GroupName,
}

/// How a new file is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct NewFile {
    /// Its permission bits in octal, in quotes.
    pub mode: Mode,
    /// The user that owns it.
    pub user: UserName,
    /// The group that owns it.
    pub group: GroupName,
}
