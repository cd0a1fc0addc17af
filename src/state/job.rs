//! A job: what is backed up, where to, when, and with which options.

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
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the state")]
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
    /// Patterns of files to leave out, as for restic's `--exclude`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Line>,
    /// Takes sources that hold no file for complete. Default: false: a source that is an empty directory makes the backup
    /// incomplete, and a backup without any file has failed and is removed, since it may be a disk that is not mounted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub may_be_empty: bool,
    /// Stays on the file system of each source path. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub one_file_system: bool,
    /// The user that the job runs as; repositories and checks are that user's too. Default: root.
    #[serde(default = "UserName::root")]
    pub user: UserName,
    /// The destinations, by name; at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Name>,
    /// Destinations that get a copy after the backup, with the destination to copy from: `offsite: { from: vault }`.
    /// Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Name, CopyFrom>")]
    pub copy: BTreeMap<Name, CopyFrom>,
    /// The schedule as for cron: `"30 2 * * *"` or `@daily`. Default: only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Starts the job up to this much later, at random: `5m`. Default: no delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// A job that works longer is ended and cleaned up: `6h`. What it waits for other jobs of the same run does not count.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How old the snapshots of volumes and subvolumes may get that a run makes for this job. What still reads them then has
    /// failed, and the snapshots are removed. Default: 24h, or `timeout` if that is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_max_age: Option<Span>,
    /// How long a run waits for a destination that `rlvm prune` or `rlvm verify` uses, or that another program or host has
    /// locked: `2h`. A job with volumes waits at most 40 minutes for such a lock, and a run of several jobs the shortest
    /// time. Default: until the job's next schedule, at most a day; 1h without a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_timeout: Option<Span>,
    /// How long a run goes on trying where a destination gives no answer, for example after the network went away: `15m`. It
    /// counts anew once something was stored, at most three times. A destination's own `retry_for` goes before this.
    /// Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_for: Option<Span>,
    /// How far the run steps back for other programs, from -20 to 19. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -20, max = 19))]
    pub nice: Option<i8>,
    /// The priority of the run's disk accesses. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ionice: Option<IoNice>,
    /// How many destinations are written side by side, at least 1. Default: 4.
    #[serde(default = "Job::parallel")]
    #[schemars(range(min = 1))]
    pub parallel: u32,
    /// Services that rlvm stops while it freezes the sources, and then starts again if they were running: `- systemd:
    /// shop.service`. With a `path` source they stay stopped until the backup is stored. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<Stop>,
    /// Commands that run before and after. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hooks: Hooks,
    /// Which backups are kept. It replaces an inherited `retention` as a whole. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// When rlvm removes the backups that `retention` does not keep. Default: only by hand.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prune: Prune,
    /// When and how the repositories are checked. Default: only by hand.
    #[serde(default, skip_serializing_if = "is_default")]
    pub verify: Verify,
    /// The notifiers of this job, by name. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Name>,
    /// More flags for `restic backup`: `read-concurrency: "4"` becomes `--read-concurrency=4`. Flags that rlvm sets
    /// itself are refused. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Line, Line>")]
    pub options: BTreeMap<Line, Line>,
    /// Refuses every plan that would remove this job, until an apply without `protect`. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protect: bool,
}

impl Job {
    /// How long a run goes on trying where neither job nor destination says it. A laptop that wakes up may have no network
    /// for two minutes.
    pub const RETRY_FOR: Span = Span::minutes(5);

    const fn parallel() -> u32 {
        4
    }

    /// Returns how old the snapshots may get that the job reads.
    pub fn snapshot_max_age(&self) -> Span {
        let usual = Span::minutes(24 * 60);
        self.snapshot_max_age.unwrap_or_else(|| self.timeout.map_or(usual, |timeout| timeout.max(usual)))
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
    /// The name in logs and messages. Default: the hook's place in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Line>,
    /// The command for `/bin/sh -c`, as the job's user. rlvm replaces `${NAME}` only if `vars` declares NAME. The rest
    /// is left to the shell.
    pub run: Script,
    /// The time limit of the hook: `2m`. Default: 10m.
    #[serde(default = "Hook::timeout")]
    pub timeout: Span,
    /// What a failure of the hook means: `abort` fails the run, `continue` is a warning. Default: abort.
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
    /// The schedule as for cron: `"0 5 * * 0"`. Default: only by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// When and how repositories are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Verify {
    /// The schedule as for cron: `"0 6 1 * *"`. Default: only by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// How much data is read back: `5%` reads another part each time until everything was read; `all within 90d` reads
    /// parts that are large enough for that; `2G` reads a random part; `all` reads everything. Default: none, only the
    /// structure is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_data: Option<ReadData>,
    /// Restores random files of the newest backup at each destination and compares them. Default: none.
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
