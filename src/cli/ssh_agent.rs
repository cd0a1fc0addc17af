//! `rlvm ssh-agent`: manages root's agent, which holds keys with a passphrase until the next boot.

use std::fmt::Write;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    apply::lock,
    context::{Context, RUN, Search},
    exit::{Exit, Failure},
    kept::Kept,
};
use crate::{
    expand::expand,
    host::{Agent, Host as _, Real, Store},
    model::{HostPath, PublicKey, Scope, UserName},
    resource::{AgentSeen, Kind as _, Look, Looks, Resource, SshKey, SshKeySeen},
};

/// Control root's agent for keys with a passphrase
///
/// Scheduled jobs cannot type a passphrase. After each boot, run `rlvm ssh-agent start` and then `rlvm ssh-agent add`.
/// The state declares the socket.
#[derive(Debug, Subcommand)]
pub(super) enum AgentVerb {
    Start(Start),
    Status(Status),
    Add(Add),
    Stop(Stop),
}

/// Start the agent unless it is running, and remove the socket of a dead agent
///
/// The agent runs until it is stopped or the machine goes down.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm ssh-agent start && rlvm ssh-agent add")]
pub(super) struct Start {}

/// Show whether the agent is ready, and which keys it has or lacks; exit 1 if it is not ready
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm ssh-agent status
  rlvm ssh-agent status --json | jq -r '.missing[]'")]
pub(super) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Give the agent the declared keys that it lacks, asking for their passphrases on the terminal
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm ssh-agent add")]
pub(super) struct Add {}

/// Stop the agent that `start` started
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm ssh-agent stop")]
pub(super) struct Stop {}

/// The name of the file that says which agent rlvm started.
const STARTED: &str = "ssh-agent.json";

/// What the state says of the agent, and what there is.
struct Declared {
    socket: HostPath,
    agent: AgentSeen,
    /// root's keys with a passphrase; without its public half where a key does not show it.
    keys: Vec<(HostPath, Option<PublicKey>)>,
}

impl AgentVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        if host.looker().is_tree() {
            let message = "an agent belongs to the running host, and --root names a tree";
            bail!(Failure::new(Exit::Usage, message).help("call it on the host itself"));
        }
        if context.scope()? != Scope::Host {
            let message = "`rlvm ssh-agent` is for root's agent, from one boot to the next";
            bail!(Failure::new(Exit::Failed, message).help("your own session has one: ssh-add"));
        }
        match self {
            Self::Start(_) => start(context, &host),
            Self::Status(status) => status.run(context, &host),
            Self::Add(_) => add(context, &host),
            Self::Stop(_) => stop(context, &host),
        }
    }
}

fn start(context: &Context<'_>, host: &Real) -> Result<Exit> {
    let Declared { socket, .. } = Declared::find(context, host)?;
    let _lock = lock(context, host)?;
    let Some(agent) = host.start_agent(&socket)? else {
        context.printer.say(&format!("An agent is running at {socket} already.\n"))?;
        return Ok(Exit::Ok);
    };
    let run = RUN.parse()?;
    let kept = Store::new(host, &run).replace(STARTED, &serde_json::to_vec(&agent)?);
    if let Err(err) = kept {
        // Nobody could stop it by name.
        drop(host.stop_agent(&agent));
        return Err(err);
    }
    context.printer.say(&format!("The agent is running at {socket}, process {}.\n", agent.pid))?;
    Ok(Exit::Ok)
}

fn stop(context: &Context<'_>, host: &Real) -> Result<Exit> {
    let _lock = lock(context, host)?;
    let run = RUN.parse()?;
    let store = Store::new(host, &run);
    let started = store.read(STARTED)?.filter(|bytes| !bytes.is_empty());
    let agent: Option<Agent> = match started {
        Some(bytes) => {
            Some(serde_json::from_slice(&bytes).with_context(|| format!("{RUN}/{STARTED} is damaged"))?)
        }
        None => None,
    };
    let stopped = match &agent {
        Some(agent) => host.stop_agent(agent)?,
        None => false,
    };
    if agent.is_some() {
        store.replace(STARTED, b"")?;
    }
    let said = if stopped { "The agent is stopped.\n" } else { "No agent that rlvm started is running.\n" };
    context.printer.say(said)?;
    Ok(Exit::Ok)
}

fn add(context: &Context<'_>, host: &Real) -> Result<Exit> {
    let declared = Declared::find(context, host)?;
    let missing = declared.missing();
    let AgentSeen::Holds(_) = declared.agent else {
        let message = format!("the agent is not ready: {}", declared.state());
        bail!(Failure::new(Exit::Failed, message).help("rlvm ssh-agent start"));
    };
    if missing.is_empty() {
        context.printer.say("The agent holds every declared key that has a passphrase.\n")?;
        return Ok(Exit::Ok);
    }
    if !context.environment.in_terminal {
        let message = "a passphrase is asked for on a terminal: standard input is none";
        bail!(Failure::new(Exit::Usage, message).help("call it by hand, without a pipe"));
    }
    let mut refused = Vec::new();
    for key in missing {
        if !host.add_to_agent(&declared.socket, key)? {
            refused.push(key.as_str());
        }
    }
    if !refused.is_empty() {
        bail!(Failure::new(Exit::Failed, format!("not given to the agent: {}", refused.join(", "))));
    }
    Ok(Exit::Ok)
}

/// What `status` says.
#[derive(Serialize)]
struct StatusJson<'a> {
    socket: &'a HostPath,
    ready: bool,
    state: String,
    keys: Vec<HeldJson<'a>>,
    missing: Vec<&'a HostPath>,
}

/// A key that the agent holds.
#[derive(Serialize)]
struct HeldJson<'a> {
    fingerprint: String,
    key: &'a PublicKey,
}

impl Status {
    fn run(&self, context: &Context<'_>, host: &Real) -> Result<Exit> {
        let declared = Declared::find(context, host)?;
        let (held, answers): (&[PublicKey], bool) = match &declared.agent {
            AgentSeen::Holds(keys) => (keys, true),
            _ => (&[], false),
        };
        let missing = declared.missing();
        let ready = answers && missing.is_empty();
        if self.json {
            let keys = held.iter().map(|key| HeldJson { fingerprint: key.fingerprint(), key }).collect();
            let (socket, state) = (&declared.socket, declared.state());
            context.printer.json(&StatusJson { socket, ready, state, keys, missing })?;
        } else {
            let mut out = format!("{}\n", declared.state());
            for key in held {
                let comment = key.as_str().strip_prefix(key.identity()).unwrap_or_default();
                let _ = writeln!(out, "  {}{comment}", key.fingerprint());
            }
            for path in missing {
                let _ = writeln!(out, "missing: {path}");
            }
            if !ready {
                let start = if answers { "" } else { "rlvm ssh-agent start; then " };
                let _ = writeln!(out, "help: {start}rlvm ssh-agent add");
            }
            context.printer.print(&out)?;
        }
        Ok(if ready { Exit::Ok } else { Exit::Failed })
    }
}

impl Declared {
    /// Finds what the state says, and looks. The state is the one that every verb takes, since apply waits for the agent;
    /// where there is none, the one that was applied.
    fn find(context: &Context<'_>, host: &Real) -> Result<Self> {
        let home = context.home()?;
        let named = context.global.state.is_some() || context.state_path(None, Search::EtcOnly).is_ok();
        let kept = if named { None } else { Kept::read(&Store::new(host, &home))? };
        let state = match kept {
            Some(kept) => kept.state,
            None => context.state(None, Search::EtcOnly)?.state,
        };
        let Some(agent) = &state.ssh.agent else {
            let example = "ssh: { agent: { socket: /root/.ssh/ssh-agent.sock } }";
            let failure = Failure::new(Exit::Failed, "the state declares no agent");
            bail!(failure.help(format!("write into the state: {example}")));
        };
        let socket = agent.socket.clone();
        let looker = host.looker();
        let expanded = expand(&state, &context.user_facts(host, &state)?, &context.scope()?);
        let of_root = expanded.resources.values().filter_map(|it| match &it.resource {
            Resource::SshKey(key) if key.owner.user == UserName::root() => Some(key),
            _ => None,
        });
        let mut keys = Vec::new();
        for key in of_root {
            // Of the agent it is asked once, below.
            let alone = SshKey { agent: None, ..key.clone() };
            let (last, leaving, looks) = (None, false, Looks::default());
            let look = Look { host: looker.as_ref(), last, leaving, looks };
            let seen = alone.observe(&look)?;
            if matches!(&seen, SshKeySeen::File { head: Some(head), .. } if head.encrypted) {
                keys.push((key.path.clone(), alone.public(&seen).cloned()));
            }
        }
        Ok(Self { agent: AgentSeen::look(looker.as_ref(), &socket)?, socket, keys })
    }

    /// Lists the keys that the agent lacks; one that cannot be told is not known to be there.
    fn missing(&self) -> Vec<&HostPath> {
        let lacks = |key: &PublicKey| self.agent.lacks(key, &self.socket).is_some();
        let missing = self.keys.iter().filter(|(_, key)| key.as_ref().is_none_or(lacks));
        missing.map(|(path, _)| path).collect()
    }

    /// Says in one line how the agent is.
    fn state(&self) -> String {
        match &self.agent {
            AgentSeen::Holds(keys) => {
                let s = if keys.len() == 1 { "" } else { "s" };
                format!("the agent is running at {} and holds {} key{s}", self.socket, keys.len())
            }
            AgentSeen::Absent | AgentSeen::Deferred => format!("no agent is running at {}", self.socket),
            AgentSeen::Silent(why) | AgentSeen::Unsafe(why) => why.clone(),
        }
    }
}
