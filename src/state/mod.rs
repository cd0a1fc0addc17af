//! Defines the state of a host.
//!
//! [`State`] is the result after includes, variables, defaults and profiles have been applied: nothing in it has to
//! be looked up. No I/O: files are read through a callback.

mod check;
mod defaults;
mod explain;
mod include;
mod job;
mod load;
mod notify;
mod problem;
mod profile;
mod scalar;
mod schema;
mod shape;
mod size;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod vars;
mod write;
mod yaml;

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use defaults::Defaults;
pub use job::{CopyFrom, Drill, Hook, Hooks, IoNice, Job, NiceClass, OnFailure, Prune, Stop, Verify};
pub use load::{Loaded, load, load_with};
pub use notify::{Email, MessageFormat, Notifier, Occasion, Smtp, Webhook};
pub use problem::{Problem, Problems, Severity, Style};
pub use schema::schema;
pub use write::{definitions, same_definitions, to_yaml};

use crate::{
    destination::Destination,
    model::{
        FetchUrl, HostName, HostPath, Name, Release, Server, Sha256, Span, UserName,
        field::{is_default, keyed},
    },
    resource::{CronSpec, DirectorySpec, LogrotateSpec, SshAgentSpec, SshHostSpec, SshKeySpec, SshUserSpec},
};

/// What a host is declared to be: its destinations, its jobs, and what these need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The version of this format: 1.
    pub version: Version,
    /// The host of this state, as `hostname` prints it. Other machines refuse the state unless `--host` names the host.
    pub host: HostName,
    /// Names that this host had before, so that its history goes on under the new one. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<HostName>,
    /// Where cron or systemd finds rlvm: an absolute path. Default: `/usr/bin/rlvm`.
    #[serde(default = "State::rlvm_path")]
    pub rlvm_path: HostPath,
    /// Where `RLVM_HOME` has moved rlvm's own files, for what schedules start. No part of the format.
    #[serde(skip)]
    pub home: Option<HostPath>,
    /// What starts jobs, prunes and the entries of `cron:`. With `systemd` all become timers. Schedules are written as
    /// for cron in both cases. Default: cron, or systemd where no cron is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// Where rlvm writes its own logs, and how many old ones are kept.
    #[serde(default)]
    pub log: Log,
    /// A pinned restic: apply fetches, checks and installs it beside other versions. Default: the restic on PATH, at
    /// least 0.14.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restic: Option<ResticPin>,
    /// Directories that must exist, by absolute path. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<HostPath, DirectorySpec>")]
    pub directories: BTreeMap<HostPath, DirectorySpec>,
    /// Where backups go, by name. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Name, Destination>")]
    pub destinations: BTreeMap<Name, Destination>,
    /// SSH: accounts for clients, keys of this host, other machines, the agent. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ssh: Ssh,
    /// The backup jobs, by name. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Name, Job>")]
    pub jobs: BTreeMap<Name, Job>,
    /// Your own scheduled commands, by name: cron entries, or timers if `scheduler` is `systemd`. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Name, CronSpec>")]
    pub cron: BTreeMap<Name, CronSpec>,
    /// Your own logrotate rules, by name. rlvm's logs always have a rule. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Name, LogrotateSpec>")]
    pub logrotate: BTreeMap<Name, LogrotateSpec>,
    /// Notifiers, by name. Jobs refer to them. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Name, Notifier>")]
    pub notify: BTreeMap<Name, Notifier>,
    /// Metrics for Prometheus. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metrics: Metrics,
}

impl State {
    fn rlvm_path() -> HostPath {
        HostPath::fixed("/usr/bin/rlvm")
    }

    /// Returns what starts schedules: `plan` and `apply` have put in what they chose for this host.
    pub fn scheduler(&self) -> Scheduler {
        self.scheduler.unwrap_or_default()
    }

    /// Lists what the host is called, and was: its snapshots have any of these names (R79).
    pub fn hosts(&self) -> Vec<HostName> {
        std::iter::once(&self.host).chain(&self.was).cloned().collect()
    }

    /// Lists what a destination is called, and was.
    pub fn names_of(&self, destination: &Name) -> Vec<Name> {
        let were = self.destinations.get(destination).map_or(&[][..], |it| &it.was);
        std::iter::once(destination).chain(were).cloned().collect()
    }

    /// Returns how long a job goes on trying where a destination gives no answer.
    pub fn retry_for(&self, job: &Job, destination: &Name) -> Span {
        let declared = self.destinations.get(destination).and_then(|it| it.retry_for);
        declared.or(job.retry_for).unwrap_or(Job::RETRY_FOR)
    }

    /// Lists those of some jobs that store at a destination, by copies too.
    pub fn storing_at<'a>(
        &'a self,
        destination: &'a Name,
        jobs: &'a [&Name],
    ) -> impl Iterator<Item = (&'a Name, &'a Job)> {
        let there = |job: &Job| job.to.contains(destination) || job.copy.contains_key(destination);
        self.jobs.iter().filter(move |(name, job)| jobs.contains(name) && there(job))
    }
}

/// The version of the format, 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(1)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u64::deserialize(from)? {
            1 => Ok(Self),
            other => {
                Err(serde::de::Error::custom(format!("version {other} is not known to this rlvm: write 1")))
            }
        }
    }
}

impl JsonSchema for Version {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "integer", "enum": [1] })
    }
}

/// What starts jobs when it is time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Scheduler {
    /// cron: a file each in /etc/cron.d, without root a block in the user's crontab.
    #[default]
    Cron,
    /// systemd: a timer and a service each in /etc/systemd/system, without root in ~/.config/systemd/user.
    Systemd,
}

/// Where rlvm writes its own logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Log {
    /// The directory: an absolute path. Default: `/var/log/rlvm`.
    pub directory: HostPath,
    /// How many old logs are kept, one a day. Default: 14.
    pub keep: u32,
    /// How long records of runs and verifications are kept. rlvm deletes whole months. Default: 400d.
    pub records: Span,
}

impl Default for Log {
    fn default() -> Self {
        Self { directory: HostPath::fixed("/var/log/rlvm"), keep: 14, records: Span::minutes(400 * 24 * 60) }
    }
}

/// The restic that is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ResticPin {
    /// Its version, in three numbers: `0.18.0`.
    pub version: Release,
    /// The published SHA-256 digest of the file that is fetched.
    pub sha256: Sha256,
    /// The address of the file: https://, or file:/// on this host's disk. A file whose name ends in `.bz2` is
    /// unpacked; any other file is the program itself. Default: restic's releases on GitHub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<FetchUrl>,
}

/// Everything about SSH.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Ssh {
    /// Accounts through which clients store their backups on this host, by name. Use one per client. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<UserName, SshUserSpec>")]
    pub users: BTreeMap<UserName, SshUserSpec>,
    /// Key pairs of this host, by the absolute path of the private half. Apply creates a pair that does not exist.
    /// Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<HostPath, SshKeySpec>")]
    pub keys: BTreeMap<HostPath, SshKeySpec>,
    /// Other machines, by the name that destinations use. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Server, SshHostSpec>")]
    pub hosts: BTreeMap<Server, SshHostSpec>,
    /// The agent that holds keys with a passphrase. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<SshAgentSpec>,
}

/// Numbers for Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Metrics {
    /// A file for node-exporter's textfile collector, written after each run, prune and verification: an absolute path
    /// that ends in `.prom`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub textfile: Option<HostPath>,
}
