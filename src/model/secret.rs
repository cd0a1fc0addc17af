//! Paths of files that contain secrets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HostPath;

/// A file that holds a secret. Its path is passed on; its content is read by the program that needs it.
///
/// There is no type for the content, so no content can be printed, logged or recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretFile(pub HostPath);
