//! rlvm's memory on the host: what it made, adopted and last applied.
//!
//! A snapshot, and a log of what came since (`format`). Before anything is done, what is about to be made is
//! written down; a record that was cut short is one that nothing was done for. Whatever cannot be read is an
//! error with a way out, never an empty ledger: an empty one would make orphans of all that was made.

mod format;
mod writer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use format::{Unreadable, read};
pub use writer::Writer;

use crate::{
    model::{Address, HostName},
    resource::{OnRemove, Resource, Seen},
};

/// The file with the snapshot.
pub const SNAPSHOT: &str = "ledger.json";
/// The file with what came since.
pub const LOG: &str = "ledger.log";

/// What rlvm knows of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The host it is of.
    pub host: HostName,
    /// Tells it from every other ledger.
    pub lineage: String,
    /// Grows with each record.
    pub serial: u64,
    /// What is managed.
    pub entries: BTreeMap<Address, Entry>,
}

/// One resource that is managed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// As it was last applied.
    pub resource: Resource,
    /// How it came to be managed.
    pub origin: Origin,
    /// Whether it was about to be made and is not known to be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// What shall become of it once it is no longer declared: kept here, so that deleting the block in the state
    /// does not delete the guard.
    #[serde(default, skip_serializing_if = "crate::model::field::is_default")]
    pub on_remove: OnRemove,
    /// Whether its removal is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protect: bool,
    /// Whether a generated secret was shown, to be put away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub put_away: bool,
    /// What was kept of the last look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// How a resource came to be managed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// rlvm made it.
    Made,
    /// It was there, differed, and rlvm was told to take it over.
    Adopted,
    /// It was there as declared. It is forgotten, not deleted.
    Matched,
}

impl Ledger {
    /// Starts a ledger of a host that has none.
    pub fn new(host: HostName, lineage: String) -> Self {
        Self { host, lineage, serial: 0, entries: BTreeMap::new() }
    }
}
