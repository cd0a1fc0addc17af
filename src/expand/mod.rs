//! Expands a state to resources. A job becomes its cron entry or timer and a rule for its logs; a destination becomes
//! its password file and repository; everything becomes the directories that it lies in. Pure.
//!

mod accounts;
mod crontab;
mod engine;
mod hardening;
mod inside;
mod logs;
mod notify;
mod personal;
mod prune;
mod repositories;
mod resources;
mod schedules;
mod server;
mod ssh;
mod undeclared;
mod units;
mod verify;

pub use engine::published;
pub use prune::{PrunedClient, prunes};
pub use repositories::repository_of;
pub use resources::{Declared, Expanded};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    effect::Owner,
    model::{GroupName, HostPath, Name, Scope, UserName},
    resource::{Directory, Engine, JobFlags, JobSources, OtherBackups, Sources},
    source::Source,
    state::{Job, State},
};

/// What the host's accounts say of the users that a state names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserFacts {
    /// Where users are at home, for what lies there.
    #[serde(default)]
    pub homes: BTreeMap<UserName, HostPath>,
    /// The primary groups of users, for what is made for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<UserName, GroupName>,
}

impl UserFacts {
    /// Returns the owner of what is made for a user: with the user's primary group. A user that the host does not know
    /// yet gets root's group.
    pub fn owner(&self, user: &UserName) -> Owner {
        let group = self.groups.get(user).cloned().unwrap_or_else(GroupName::root);
        Owner { user: user.clone(), group }
    }
}

/// Lists the users to whom something is given: those of jobs, and the owners of SSH keys.
pub fn users_with_groups(state: &State) -> BTreeSet<UserName> {
    let jobs = state.jobs.values().map(|job| job.user.clone());
    jobs.chain(state.ssh.keys.values().map(|key| key.owner.clone())).collect()
}

/// Lists the users whose home has to be known: those whose SSH configuration the state has a part of, and those whose
/// rclone has remotes of its own.
pub fn users_with_homes(state: &State, scope: &Scope) -> BTreeSet<UserName> {
    let keeper = scope.personal().map_or_else(UserName::root, |personal| personal.user.clone());
    let ssh = state.ssh.hosts.iter().flat_map(|(name, host)| ssh::users_of(state, name, host, &keeper));
    ssh.chain(repositories::rclone_users(state)).collect()
}

/// Lists all resources of a state, as the host's or as a user's own.
pub fn expand(state: &State, user_facts: &UserFacts, scope: &Scope) -> Expanded {
    let keeper = scope.personal().map(Owner::of);
    let mut expanded = Expanded { keeper, user_facts: user_facts.clone(), ..Expanded::default() };
    directories(state, &mut expanded);
    accounts::clients(state, &mut expanded);
    engine::add(state, scope, &mut expanded);
    repositories::add(state, user_facts, scope, &mut expanded);
    repositories::mark_absent(state, &mut expanded);
    prune::add(state, &mut expanded);
    schedules::add(state, scope, &mut expanded);
    logs::add(state, scope, &mut expanded);
    notify::add(state, &mut expanded);
    other_backups(state, &mut expanded);
    sources(state, &mut expanded);
    flags(state, scope, &mut expanded);
    ssh::add(state, user_facts, &mut expanded);
    server::add(state, scope, &mut expanded);
    undeclared::add(state, &mut expanded);
    accounts::needed(&mut expanded);
    expanded.add_directories_above();
    expanded.refuse_descents();
    if let Some(personal) = scope.personal() {
        personal::refuse(state, personal, &mut expanded);
    }
    inside::add(state, &mut expanded);
    expanded.findings.sort_unstable();
    expanded
}

fn directories(state: &State, expanded: &mut Expanded) {
    for (path, spec) in &state.directories {
        let owner = spec.owner();
        // What a user has mounted is looked at: its owner and mode are as the mount has them.
        let is_users = spec.mounted && expanded.keeper.as_ref() == Some(&owner);
        let implied = is_users || spec.is_left_as_it_is();
        let resource = Directory {
            path: path.clone(),
            owner,
            mode: spec.mode(),
            mounted: spec.mounted,
            implied,
            may_be_absent: false,
        };
        expanded.add(Declared {
            adopt: spec.adopt,
            protect: spec.protect,
            on_remove: spec.on_remove,
            ..Declared::plain(resource)
        });
    }
}

/// Looks for what else backs up what the jobs do (R30).
fn other_backups(state: &State, expanded: &mut Expanded) {
    let jobs: Vec<&Job> = state.jobs.values().filter(|job| job.enabled).collect();
    if jobs.is_empty() {
        return;
    }
    let paths = jobs.iter().flat_map(|job| &job.sources).flat_map(Source::paths);
    let sources: BTreeSet<HostPath> = paths.cloned().collect();
    expanded.add(Declared::plain(OtherBackups { sources: sources.into_iter().collect() }));
}

/// Asks restic whether it takes the flags of the jobs.
fn flags(state: &State, scope: &Scope, expanded: &mut Expanded) {
    let with = state.jobs.iter().filter(|(_, job)| job.enabled && !job.options.is_empty());
    let of_job = |job: &Job| {
        let pairs = job.options.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        pairs.collect::<BTreeMap<_, _>>()
    };
    let jobs: BTreeMap<Name, _> = with.map(|(name, job)| (name.clone(), of_job(job))).collect();
    if !jobs.is_empty() {
        let engine = state.restic.as_ref().and_then(|pin| Engine::path_of(pin.version, scope).ok());
        expanded.add(Declared::plain(JobFlags { engine, jobs }));
    }
}

/// Looks whether what the jobs back up is there, and could be frozen (R27, R28, R59).
fn sources(state: &State, expanded: &mut Expanded) {
    let enabled = state.jobs.iter().filter(|(_, job)| job.enabled);
    let looks = expanded.keeper.is_some();
    let of_job = |job: &Job| JobSources {
        schedule: job.schedule.clone(),
        sources: job.sources.clone(),
        exclude: job.exclude.clone(),
        one_file_system: job.one_file_system,
        may_be_empty: job.may_be_empty,
        user: Some(job.user.clone()).filter(|user| !looks && *user != UserName::root()),
    };
    let jobs: BTreeMap<Name, JobSources> = enabled.map(|(name, job)| (name.clone(), of_job(job))).collect();
    if !jobs.is_empty() {
        expanded.add(Declared::plain(Sources { jobs }));
    }
}
