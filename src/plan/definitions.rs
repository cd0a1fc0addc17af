//! Compares definitions (jobs, destinations, notifiers, settings) with the state that was applied last. Only `run` and
//! other verbs read definitions, and nothing of them can be seen on the host. Pure.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::{Action, Change, Options};
use crate::{
    model::Address,
    state::{State, definitions, same_definitions},
};

/// Compares the definitions of a state with those of the state that was applied last: one change for each that differs.
/// With targets there are none: apply then writes down no definition.
///
/// # Errors
///
/// If a state cannot be written as YAML, which no state can.
pub fn changed_definitions(
    applied: Option<&State>,
    declared: &State,
    options: &Options,
) -> Result<Vec<Change>> {
    if !options.targets.is_empty() || applied.is_some_and(|applied| same_definitions(applied, declared)) {
        return Ok(Vec::new());
    }
    let before = applied.map_or_else(|| Ok(BTreeMap::new()), definitions)?;
    let after = definitions(declared)?;
    let renamed = renamed(declared);
    let old_names: BTreeSet<&Address> =
        renamed.iter().filter(|(new, _)| !before.contains_key(new)).map(|(_, old)| old).collect();
    let mut changes = Vec::new();
    for (address, text) in &after {
        // Where nothing was applied before, all settings are new, and most of them are defaults.
        if applied.is_none() && address.kind() == "setting" {
            continue;
        }
        let was = renamed.iter().find(|(new, old)| new == address && before.contains_key(old));
        let old = before.get(address).or_else(|| was.and_then(|(_, old)| before.get(old)));
        match old {
            Some(old) if old == text => {}
            Some(old) => changes.push(change(address, Action::Update, "changed in the state", old, text)),
            None => changes.push(change(address, Action::Create, "new in the state", "", text)),
        }
    }
    for (address, text) in before {
        if !after.contains_key(&address) && !old_names.contains(&address) {
            let reason = removal(&address);
            changes.push(change(&address, Action::Forget, reason, &text, ""));
        }
    }
    Ok(changes)
}

/// Says what stays of something that is no longer defined.
fn removal(address: &Address) -> &'static str {
    match address.kind() {
        "job" => "no longer in the state; its backups stay, and rlvm snapshots lists them",
        _ => "no longer in the state",
    }
}

/// Lists new names with their old ones.
fn renamed(state: &State) -> Vec<(Address, Address)> {
    let jobs = state.jobs.iter().map(|(name, job)| ("job", name, &job.was));
    let destinations = state.destinations.iter().map(|(name, it)| ("destination", name, &it.was));
    let pairs = jobs.chain(destinations).flat_map(|(kind, name, was)| {
        let new = Address::new(kind, name.as_str());
        was.iter().map(move |old| (new.clone(), Address::new(kind, old.as_str())))
    });
    pairs.collect()
}

fn change(address: &Address, action: Action, reason: &str, before: &str, after: &str) -> Change {
    Change {
        address: address.clone(),
        actions: vec![action],
        reason: reason.into(),
        drift: false,
        refused: false,
        unseen: false,
        attributes: Vec::new(),
        text: Some((before.into(), after.into())),
        ops: Vec::new(),
        first: 0,
        entry: None,
        was: None,
        needs: Vec::new(),
    }
}
