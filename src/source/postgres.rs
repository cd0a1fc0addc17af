//! A dump of a PostgreSQL database.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Line, SecretFile, UserName};

/// A dump of a PostgreSQL database, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// The database's name. Default: all databases, roles too (`pg_dumpall`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Line>,
    /// The server's host, or the directory of its socket. Default: the client's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Line>,
    /// The server's port. Default: the client's own, 5432.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The user of the host that dumps; peer authentication makes it the database's. Default: postgres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// The file with the password, in `.pgpass` form. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passfile: Option<SecretFile>,
}
