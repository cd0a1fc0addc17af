//! Defines what observing a resource needs.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    effect::Owner,
    host::{Meta, Observe},
};

/// What looking at a resource, or changing it, takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// System calls.
    Quick,
    /// A core, for a while: as many side by side as there are cores.
    Work,
    /// Waiting, for the network: many side by side.
    Wait,
}

/// Why something could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotSeen {
    /// It was left out on purpose: why. Nothing is planned for it.
    Left(String),
    /// It cannot be got at: why. What it needs may be about to be put in place; then apply looks.
    Waits(String),
}

/// How to look, the same for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    /// Whether to look again at what did not move.
    pub refresh: bool,
    /// Whether to leave out what needs the network.
    pub offline: bool,
}

/// Returns the names of a file's owner and group. Where the declared ones are other names of the same numbers, it
/// returns those: an account may have two names.
pub(super) fn names_of(host: &dyn Observe, meta: &Meta, declared: &Owner) -> Result<(String, String)> {
    let (mut owner, mut group) = (meta.owner.clone(), meta.group.clone());
    if owner != declared.user.as_str() && host.is_user(&declared.user, &owner)? {
        owner = declared.user.to_string();
    }
    if group != declared.group.as_str() && host.is_group(&declared.group, &group)? {
        group = declared.group.to_string();
    }
    Ok((owner, group))
}

/// What looking may use.
pub struct Look<'a, S> {
    /// The host.
    pub host: &'a dyn Observe,
    /// What was kept at the last apply.
    pub last: Option<&'a S>,
    /// Whether it is no longer declared.
    pub leaving: bool,
    /// How to look.
    pub looks: Looks,
}
