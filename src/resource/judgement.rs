//! What a kind says of one resource after a look at it.

use super::{Diff, Finding, NotSeen};

/// All that `plan` and `apply` ask of one look.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What to do so that the host is as declared.
    pub diff: Diff,
    /// Errors, warnings and notes to report before the next scheduled run.
    pub findings: Vec<Finding>,
    /// Whether rlvm can get at it.
    pub way: Reachability,
}

/// Whether rlvm can get at a resource. By default nothing is in the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reachability {
    /// Why rlvm could not look at it, if so.
    pub not_seen: Option<NotSeen>,
    /// Why rlvm cannot get at it. What it needs may be in the way, and the same plan may put that right.
    pub findings: Vec<Finding>,
    /// Whether a directory of this host is closed to its user: then only a change of a directory or an account opens it.
    pub is_closed: bool,
    /// Whether nothing may be made below its path.
    pub blocks: bool,
}
