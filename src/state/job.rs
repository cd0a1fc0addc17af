//! A job: what is backed up, where to, when, and what goes with it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        Line, Name, ReadData, Retention, Schedule, Script, Span, UserName,
        field::{is_default, is_yes, keyed, yes},
    },
    source::Source,
};

/// A backup job. What `defaults` and its `profile` say has been applied already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Names that this job had before, so that its history goes on under the new one. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<Name>,
    /// `false` disables the job and removes its schedule; its backups stay. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
    /// What is backed up; at least one source, each with one key that says its kind: `- path: /boot`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// What is left out: patterns as restic's `--exclude` takes them. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Line>,
    /// Stays on the file system of each source path. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub one_file_system: bool,
    /// The user that the job runs as; repositories and checks are that user's too. Default: root.
    #[serde(default = "UserName::root")]
    pub user: UserName,
    /// The destinations, by name; at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Name>,
    /// Destinations that get a copy once the sources are free again, and from which one: `offsite: { from: vault }`.
    /// Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Name, CopyFrom>")]
    pub copy: BTreeMap<Name, CopyFrom>,
    /// When it runs, in cron's words: `"30 2 * * *"` or `@daily`. Default: only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Starts up to this much later, by chance: `5m`. Default: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// A run that takes longer is ended and cleaned up: `6h`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How long a run waits for a destination that `rlvm prune` or `rlvm verify` uses, or that another program or host has
    /// locked: `2h`. A job with volumes waits at most 40 minutes for such a lock, and a run of several jobs the shortest
    /// time. Default: until the job's next schedule, at most a day; 1h without a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_timeout: Option<Span>,
    /// How far the run steps back for other programs, from -20 to 19. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -20, max = 19))]
    pub nice: Option<i8>,
    /// How far the run steps back for other programs' disk accesses. Default: as everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ionice: Option<IoNice>,
    /// How many destinations are written side by side, at least 1. Default: 4.
    #[serde(default = "Job::parallel")]
    #[schemars(range(min = 1))]
    pub parallel: u32,
    /// What is stopped while the sources are frozen, and then put back as it was found: `- systemd: shop.service`. If all
    /// sources are frozen it is for seconds; with a `path` among them until all is stored. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<Stop>,
    /// Commands that run before and after. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hooks: Hooks,
    /// Which backups are kept; replaces an inherited one as a whole. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// When those that are not kept are removed. Default: only by hand.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prune: Prune,
    /// When and how the repositories are checked. Default: only by hand.
    #[serde(default, skip_serializing_if = "is_default")]
    pub verify: Verify,
    /// Who is told, by name. Default: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Name>,
    /// Flags that `restic backup` gets as they are: `read-concurrency: "4"` becomes `--read-concurrency=4`. Those that
    /// rlvm sets itself are refused. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Line, Line>")]
    pub options: BTreeMap<Line, Line>,
    /// Refuses every plan that would remove this job, until the word is taken back and applied. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protect: bool,
}

impl Job {
    const fn parallel() -> u32 {
        4
    }

    /// Lists what the job of this name is called, and was: its snapshots are tagged with any of these (R79).
    pub fn names(&self, name: &Name) -> Vec<Name> {
        std::iter::once(name).chain(&self.was).cloned().collect()
    }
}

/// Where a copy comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct CopyFrom {
    /// One of the job's own destinations (`to`).
    pub from: Name,
}

/// How far a run steps back at the disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct IoNice {
    /// The class: `idle` waits for everybody, `best_effort` takes its turn.
    pub class: NiceClass,
    /// The place within best effort, from 0, first, to 7, last. Default: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 7))]
    pub level: Option<u8>,
}

/// A class of disk accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum NiceClass {
    /// Takes its turn.
    BestEffort,
    /// Waits for everybody.
    Idle,
}

/// Something that is stopped for a while. The YAML has one key for its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// A systemd unit: `shop.service`.
    Systemd(Line),
    /// A container of docker or podman, by name.
    Container(Line),
    /// A compose project: the directory of its file.
    Compose(Line),
}

/// Commands around a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Hooks {
    /// Run in order before anything is stopped or frozen. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Hook>,
    /// Run in order after a run that succeeded. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Hook>,
    /// Run in order after a run that failed. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Hook>,
    /// Run in order at the end, whatever happened. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finally: Vec<Hook>,
}

/// A command of your own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// What it is called in logs and messages. Default: its place in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Line>,
    /// The command, for `/bin/sh -c`, as the job's user. Of `${NAME}` only what `vars` declares is replaced, the rest
    /// is left to the shell.
    pub run: Script,
    /// It is ended if it takes longer: `2m`. Default: 10m.
    #[serde(default = "Hook::timeout")]
    pub timeout: Span,
    /// What its failure means: `abort` fails the run, `continue` is only a warning. Default: abort.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
}

impl Hook {
    const fn timeout() -> Span {
        Span::minutes(10)
    }
}

/// What a hook's failure means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnFailure {
    /// The run fails.
    #[default]
    Abort,
    /// The run goes on.
    Continue,
}

/// When old backups are removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Prune {
    /// When, in cron's words: `"0 5 * * 0"`. Default: only by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// When and how repositories are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Verify {
    /// When, in cron's words: `"0 6 1 * *"`. Default: only by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// How much of the data is read back: `5%` is another part each time, until all was read; `all within 90d` such parts
    /// as `schedule` needs for that; `2G` is read by chance; `all` is all each time. Default: none, only its structure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_data: Option<ReadData>,
    /// Restores files of the newest backup at each destination, drawn by chance, and compares them. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drill>,
}

/// A restore for practice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Drill {
    /// How many files are restored and compared, at least 1.
    #[schemars(range(min = 1))]
    pub files: u32,
}
