//! Files that are read without freezing them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::HostPath;

/// A file or directory as it is while it is read, not frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Path(pub HostPath);
