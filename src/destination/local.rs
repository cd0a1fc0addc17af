//! A directory of this host.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::HostPath;

/// A directory of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// The repository's directory, an absolute path; made where it is missing, never below a mount that is not there.
    pub path: HostPath,
}

impl Local {
    pub(super) fn repository(&self) -> String {
        self.path.to_string()
    }
}
