//! An SQLite database.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::HostPath;

/// An SQLite database's file; a copy is made by SQLite itself, so that it is consistent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Sqlite(pub HostPath);
