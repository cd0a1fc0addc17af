//! Stores the result of the last prune of each client, for `status`.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::tasks::Client;
use crate::{
    cli::{context::Context, records},
    host::{Real, Store},
    model::UserName,
    report::status::{Level, Remark},
    state::State,
};

/// The directory of what is kept.
const PRUNE: &str = "prune";
/// What is kept.
const CLIENTS: &str = "clients.json";
/// Who is writing it.
const LOCK: &str = "lock";

/// What the last prune of a client came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Last {
    /// When the prune began, UTC, as RFC 3339 has it.
    time: String,
    /// Why nothing was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Keeps what the prunes of these clients came to.
pub(super) fn keep(context: &Context<'_>, host: &Real, clients: &[Client]) -> Result<()> {
    if clients.is_empty() {
        return Ok(());
    }
    let store = Store::new(host, &context.home()?.join(PRUNE)?);
    let _held = records::held(&store, LOCK)?;
    let mut all = read(&store)?;
    for client in clients {
        let (time, refused, error) =
            (context.now()?.to_string(), client.refused.clone(), client.error.clone());
        all.insert(client.name.clone(), Last { time, refused, error });
    }
    let mut bytes = serde_json::to_vec_pretty(&all)?;
    bytes.push(b'\n');
    store.replace(CLIENTS, &bytes)
}

/// Reads what was kept; nothing is known if it is damaged.
fn read(store: &Store<'_>) -> Result<BTreeMap<UserName, Last>> {
    let bytes = store.read(CLIENTS)?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

/// Says which clients were not pruned the last time.
pub(super) fn remarks(context: &Context<'_>, host: &Real, state: &State) -> Result<Vec<Remark>> {
    let store = Store::new(host, &context.home()?.join(PRUNE)?);
    let all = read(&store)?;
    let is_pruned = |name: &UserName| state.ssh.users.get(name).is_some_and(|spec| spec.prune.is_some());
    let remark = |(name, last): (&UserName, &Last)| {
        let (level, why) = match (&last.refused, &last.error) {
            (Some(why), _) => (Level::Critical, why),
            (None, Some(why)) => (Level::Warning, why),
            (None, None) => return None,
        };
        let why = why.lines().next().unwrap_or_default();
        let time = last.time.get(..16).unwrap_or(&last.time).replace('T', " ");
        let message = format!(
            "old backups of client {name} were not removed at {time} UTC: {why}; to try again: rlvm prune --client {name}"
        );
        Some(Remark { about: PRUNE.into(), level, message })
    };
    Ok(all.iter().filter(|(name, _)| is_pruned(name)).filter_map(remark).collect())
}
