//! Defines what a kind and the state say about a thing that leaves the state. `plan::removal_policy` decides by it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Edit;

/// What becomes of a thing on the host when its block is taken out of the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnRemove {
    /// What is usual for its kind.
    #[default]
    Default,
    /// It is deleted, if rlvm made it.
    Delete,
    /// It is left as it is.
    Forget,
}

/// The rule for things of a kind that are no longer declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovalRule {
    /// rlvm removes it, unless the thing was there as declared before rlvm managed it.
    Ordinary,
    /// Its place belongs to rlvm alone, so rlvm removes it whoever made it.
    Exclusive,
    /// rlvm closes it. rlvm removes only what it made, and only with `on_remove: delete`.
    Account,
    /// rlvm never removes it: why.
    Permanent(String),
}

/// How a resource goes that is no longer declared.
#[derive(Clone, Debug, PartialEq)]
pub enum Removal {
    /// By this.
    Delete(Edit),
    /// It stays, and rlvm forgets it: why.
    Forget(String),
    /// rlvm closes it and forgets it; the text says why. Its origin and what needs it do not matter.
    Shut(Edit, String),
    /// There is nothing to do and nothing to say.
    Quiet,
}
