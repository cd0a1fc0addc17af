//! `rlvm show`: prints the state after includes, variables, defaults and profiles.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{
    context::{Context, Search},
    exit::Exit,
    scheduler,
};
use crate::{
    expand::expand,
    host::{Host as _, host_name},
    model::{HostPath, PublicKey},
    resource::{Kind as _, Look, Looks, Resource, SshKey},
    state::{State, to_yaml},
};

/// Print the state with includes, variables, defaults and profiles applied
///
/// On the host itself, also prints the public halves of the declared keys, for the servers that should accept them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm show                       this host's state, as YAML that is a state again
  rlvm show --json | jq .jobs
  rlvm show --json | jq -r '.public_keys[]'")]
pub(super) struct Show {
    /// The state: a file, or a directory with hosts/<host name>.yaml in it
    state: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The state, and what only the host knows.
#[derive(Serialize)]
struct ShowJson<'a> {
    #[serde(flatten)]
    state: &'a State,
    /// The public halves of the declared keys; null for one that is not made yet, or not to be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_keys: Option<BTreeMap<HostPath, Shown>>,
}

/// The public half of a key.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown {
    Key(PublicKey),
    /// There is none to show: why.
    #[serde(serialize_with = "null")]
    Not(&'static str),
}

fn null<S: serde::Serializer>(_: &&'static str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_unit()
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(key) => key.as_str(),
            Self::Not(why) => why,
        })
    }
}

impl Show {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let mut found = context.state(self.state.as_deref(), Search::HereToo)?;
        if is_here(context) {
            scheduler::choose(context, &context.host()?, &mut found.state)?;
        }
        let state = &found.state;
        let public_keys = public_keys(context, state)?;
        if self.json {
            context.printer.json(&ShowJson { state, public_keys })?;
            return Ok(Exit::Ok);
        }
        let mut text = to_yaml(state)?;
        for (path, key) in public_keys.iter().flatten() {
            let _ = writeln!(text, "# public half of {path}: {key}");
        }
        context.printer.print(&text)?;
        Ok(Exit::Ok)
    }
}

/// Says whether the host that is meant is this machine, or the tree below `--root`.
fn is_here(context: &Context<'_>) -> bool {
    let named_here = || host_name().is_ok_and(|here| context.host_name().is_ok_and(|name| name == here));
    context.global.root != Path::new("/") || named_here()
}

/// Looks at the declared keys, if there are any, and this is the host that they are of.
fn public_keys(context: &Context<'_>, state: &State) -> Result<Option<BTreeMap<HostPath, Shown>>> {
    if state.ssh.keys.is_empty() || !is_here(context) {
        return Ok(None);
    }
    let host = context.host()?;
    let looker = host.looker();
    let expanded = expand(state, &context.user_facts(&host, state)?, &context.scope()?);
    let mut keys = BTreeMap::new();
    for declared in expanded.resources.values() {
        let Resource::SshKey(key) = &declared.resource else { continue };
        if state.ssh.keys.contains_key(&key.path) {
            let key = SshKey { agent: None, ..key.clone() };
            let look = Look { host: looker.as_ref(), last: None, leaving: false, looks: Looks::default() };
            let seen = key.observe(&look)?;
            let shown = match key.public(&seen) {
                Some(public) => Shown::Key(public.clone()),
                None if key.exists(&seen) => Shown::Not("not to be seen; plan says why"),
                None => Shown::Not("not made yet"),
            };
            keys.insert(key.path.clone(), shown);
        }
    }
    Ok(Some(keys))
}
