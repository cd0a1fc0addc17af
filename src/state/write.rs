//! Writes a state as YAML.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_yaml::{Mapping, Value, with::singleton_map_recursive};

use super::{Ssh, State, vars};
use crate::model::Address;

/// Writes a state as YAML that reads as the same state.
///
/// # Errors
///
/// Never for a state that was read: the writer's own failures are passed on.
pub fn to_yaml(state: &State) -> anyhow::Result<String> {
    text(&value(state)?)
}

/// Returns a state as a YAML value. A choice is a map with one key, not a YAML tag.
fn value(state: &State) -> anyhow::Result<Value> {
    let mut value = singleton_map_recursive::serialize(state, serde_yaml::value::Serializer)?;
    escape(&mut value, false);
    Ok(value)
}

fn text(value: &Value) -> anyhow::Result<String> {
    serde_yaml::to_string(value).context("cannot write the state")
}

/// The sections of a state that define one thing by each of their names, and what such a thing is called.
const SECTIONS: &[(&str, &str)] = &[("jobs", "job"), ("destinations", "destination"), ("notify", "notifier")];

/// Writes as YAML what a state defines for the verbs that read it, by address: `job:system`, `destination:vault`,
/// `notifier:mail`, `client:web01` for what prune does for an SSH user, `setting:ssh.agent`, and `setting:log` for the other
/// sections. Sections that consist of resources alone are left out: their changes can be seen on the host.
///
/// # Errors
///
/// Never for a state that was read: the writer's own failures are passed on.
pub fn definitions(state: &State) -> anyhow::Result<BTreeMap<Address, String>> {
    let Value::Mapping(sections) = value(&without_resources(state))? else { return Ok(BTreeMap::new()) };
    let mut definitions = BTreeMap::new();
    for (key, value) in sections {
        let Some(key) = key.as_str() else { continue };
        match (SECTIONS.iter().find(|(section, _)| *section == key), value) {
            (Some((_, kind)), Value::Mapping(entries)) => {
                for (name, value) in entries {
                    let name = name.as_str().unwrap_or_default();
                    definitions.insert(Address::new(kind, name), text(&value)?);
                }
            }
            (_, value) if ["version", "host"].contains(&key) => drop(value),
            (_, value) if key == "ssh" => definitions.extend(of_ssh(&value)?),
            (_, value) => {
                let section = Mapping::from_iter([(key.into(), value)]);
                definitions.insert(Address::new("setting", key), text(&Value::Mapping(section))?);
            }
        }
    }
    Ok(definitions)
}

/// Returns what is of the section `ssh` and cannot be seen on the host: what a prune does for each client, and the agent.
fn of_ssh(section: &Value) -> anyhow::Result<BTreeMap<Address, String>> {
    let mut definitions = BTreeMap::new();
    for (name, user) in section.get("users").and_then(Value::as_mapping).into_iter().flatten() {
        if let Some(prune) = user.get("prune") {
            let only = Mapping::from_iter([("prune".into(), prune.clone())]);
            definitions.insert(
                Address::new("client", name.as_str().unwrap_or_default()),
                text(&Value::Mapping(only))?,
            );
        }
    }
    if let Some(agent) = section.get("agent") {
        definitions.insert(Address::new("setting", "ssh.agent"), text(agent)?);
    }
    Ok(definitions)
}

/// Returns whether two states have the same [`definitions`].
pub fn same_definitions(one: &State, other: &State) -> bool {
    // Named one by one, so that a section that is added is thought of here.
    let State {
        version: _,
        host: _,
        home: _,
        directories: _,
        ssh: Ssh { users, keys: _, hosts: _, agent },
        cron: _,
        logrotate: _,
        was,
        rlvm_path,
        scheduler,
        log,
        restic,
        destinations,
        jobs,
        notify,
        metrics,
    } = one;
    (was, rlvm_path, scheduler, log) == (&other.was, &other.rlvm_path, &other.scheduler, &other.log)
        && (restic, destinations) == (&other.restic, &other.destinations)
        && (jobs, notify, metrics) == (&other.jobs, &other.notify, &other.metrics)
        && (users, agent) == (&other.ssh.users, &other.ssh.agent)
}

fn without_resources(state: &State) -> State {
    State {
        version: state.version,
        host: state.host.clone(),
        home: None,
        directories: BTreeMap::new(),
        ssh: Ssh { users: state.ssh.users.clone(), agent: state.ssh.agent.clone(), ..Ssh::default() },
        cron: BTreeMap::new(),
        logrotate: BTreeMap::new(),
        was: state.was.clone(),
        rlvm_path: state.rlvm_path.clone(),
        scheduler: state.scheduler,
        log: state.log.clone(),
        restic: state.restic.clone(),
        destinations: state.destinations.clone(),
        jobs: state.jobs.clone(),
        notify: state.notify.clone(),
        metrics: state.metrics.clone(),
    }
}

/// Keeps a `${` that is text from being read as a variable.
fn escape(value: &mut Value, shell: bool) {
    match value {
        // Shell keeps its own: nothing is declared in what is written here.
        Value::String(text) if shell => *text = text.replace("$${", "$$${"),
        Value::String(text) => *text = text.replace("${", "$${"),
        Value::Sequence(items) => items.iter_mut().for_each(|item| escape(item, shell)),
        Value::Mapping(entries) => {
            for (key, value) in entries.iter_mut() {
                escape(value, key.as_str().is_some_and(vars::is_shell));
            }
        }
        _ => {}
    }
}
