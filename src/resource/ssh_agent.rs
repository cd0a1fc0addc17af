//! The agent that holds root's keys with a passphrase: whether it is ready. It is not a resource: apply neither
//! starts nor removes it. Keys that need the agent report if it is not ready.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    effect::{Arg, Cmd, Query},
    host::{Entry, Observe},
    model::{HostPath, PublicKey},
};

/// How long the agent may take to answer, in seconds.
const PATIENCE: u64 = 5;

/// What was seen of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentSeen {
    /// The host is a tree: what runs is asked of the running system.
    Deferred,
    /// Nothing is at its socket's place.
    Absent,
    /// Something is there that could be a trap: what.
    Unsafe(String),
    /// Its socket is there, and it does not answer: why.
    Silent(String),
    /// It answers, and holds these keys.
    Holds(Vec<PublicKey>),
}

impl AgentSeen {
    /// Looks at it.
    ///
    /// # Errors
    ///
    /// If the host cannot be looked at.
    pub fn look(host: &dyn Observe, socket: &HostPath) -> Result<Self> {
        if host.is_tree() {
            return Ok(Self::Deferred);
        }
        let Some(meta) = host.socket(socket)? else {
            return Ok(match host.entry(socket)? {
                Entry::Absent => Self::Absent,
                Entry::Blocked(why) => Self::Unsafe(why),
                other => Self::Unsafe(format!("{socket} is {}, no socket", other.noun())),
            });
        };
        if meta.owner != "root" {
            return Ok(Self::Unsafe(format!("{socket} belongs to {}, not to root", meta.owner)));
        }
        if !meta.mode.is_private() {
            return Ok(Self::Unsafe(format!("{socket} is open to others than root (mode {})", meta.mode)));
        }
        if host.program("ssh-add")?.is_none() {
            return Ok(Self::Silent("ssh-add is not installed (openssh-client)".into()));
        }
        let ask = Cmd::new("ssh-add").arg("-L").env("SSH_AUTH_SOCK", Arg::Path(socket.clone()));
        let answer = host.query(&Query::new(ask.timeout(PATIENCE))?)?;
        Ok(match answer.code {
            Some(0) => Self::Holds(answer.stdout.lines().filter_map(|line| line.parse().ok()).collect()),
            // It answers, and has none.
            Some(1) => Self::Holds(Vec::new()),
            None if answer.timed_out => Self::Silent(format!("the agent at {socket} takes too long")),
            _ => Self::Silent(format!("no agent answers at {socket}")),
        })
    }

    /// Says what keeps a key from being used, and what to do; nothing if the agent holds it.
    pub fn lacks(&self, key: &PublicKey, socket: &HostPath) -> Option<(String, &'static str)> {
        const START: &str = "rlvm ssh-agent start; then rlvm ssh-agent add";
        Some(match self {
            Self::Holds(keys) if keys.iter().any(|held| held.identity() == key.identity()) => return None,
            Self::Deferred => return None,
            Self::Holds(_) => (format!("the agent at {socket} does not hold it"), "rlvm ssh-agent add"),
            Self::Absent => (format!("no agent is running at {socket}"), START),
            Self::Silent(why) => (why.clone(), START),
            Self::Unsafe(why) => (why.clone(), "look at it and remove it; then rlvm ssh-agent start"),
        })
    }
}
