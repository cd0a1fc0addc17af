//! rlvm's memory on the host: what it created, adopted and last applied.
//!
//! It consists of a snapshot and a log of later changes (`format`). The ledger records a change before apply begins
//! it; if a record was cut short, the change was not begun. A ledger that cannot be read is an error with a way out,
//! never an empty ledger: with an empty one, rlvm would no longer manage anything that it created.

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
