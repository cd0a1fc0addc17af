//! A dump of a MySQL or MariaDB database.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{HostPath, Line, SecretFile};

/// A dump of a MySQL or MariaDB database, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mysql {
    /// The database's name. Default: all databases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Line>,
    /// The client's option file, with user and password (`--defaults-file`). Default: the client's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults_file: Option<SecretFile>,
    /// The server's socket. Default: the client's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<HostPath>,
}
