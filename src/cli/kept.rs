//! Reads and writes the applied state: the state as it was applied last, which runs use. It is stored beside the
//! ledger.

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    context::{Context, KEPT, Search},
    exit::{Exit, Failure},
};
use crate::{
    host::{Real, Revision, Store},
    state::State,
};

/// The state that was applied, as the runner will use it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    format_version: u32,
    rlvm_version: String,
    /// Where the state's file was.
    pub(super) source: String,
    /// The revision that it was at.
    pub(super) revision: Option<Revision>,
    /// The state, resolved.
    pub(super) state: State,
}

impl Kept {
    /// Takes a state that was applied, with where it came from.
    pub(super) fn new(source: String, revision: Option<Revision>, state: State) -> Self {
        Self { format_version: 1, rlvm_version: env!("CARGO_PKG_VERSION").into(), source, revision, state }
    }

    /// Writes it beside the ledger, if it is not what is there already.
    pub(super) fn keep(&self, store: &Store<'_>) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        if store.read(KEPT)?.as_deref() != Some(bytes.as_slice()) {
            store.replace(KEPT, &bytes)?;
        }
        Ok(())
    }

    /// Reads it; `None` if nothing was applied yet.
    pub(super) fn read(store: &Store<'_>) -> Result<Option<Self>> {
        let Some(bytes) = store.read(KEPT)? else { return Ok(None) };
        let kept = serde_json::from_slice(&bytes);
        kept.with_context(|| format!("{}/{KEPT} is damaged: apply again", store.dir())).map(Some)
    }
}

/// Reads the state that was applied last, to compare another one with it; `None` if there is none that this rlvm can
/// read, since the next apply writes it anew.
///
/// # Errors
///
/// If the file is there and cannot be read.
pub(super) fn applied_last(store: &Store<'_>) -> Result<Option<State>> {
    let Some(bytes) = store.read(KEPT)? else { return Ok(None) };
    Ok(serde_json::from_slice(&bytes).ok().map(|kept: Kept| kept.state))
}

/// Finds the state that is named, else the one that was applied: what a machine may call depends on no half-edited file.
///
/// # Errors
///
/// If it is not there, is invalid, or is another host's.
pub(super) fn applied(context: &Context<'_>, host: &Real) -> Result<State> {
    if context.global.state.is_some() {
        return Ok(context.state(None, Search::EtcOnly)?.state);
    }
    let kept = Kept::read(&Store::new(host, &context.home()?))?;
    let none =
        || Failure::new(Exit::Failed, "nothing was applied here yet").help("rlvm apply, or --state PATH");
    let state = kept.with_context(none)?.state;
    if let Some(host) = context.global.host.as_ref().filter(|host| **host != state.host.as_str()) {
        let message =
            format!("the state that was applied here is of host {}, and --host names {host}", state.host);
        bail!(Failure::new(Exit::Refused, message).help("leave out --host"));
    }
    Ok(state)
}
