//! Describes how declared and observed differ, and which ops remove the difference.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{effect::Op, host::Observe};

/// How declared and seen differ.
#[derive(Clone, Debug, PartialEq)]
pub enum Diff {
    /// Not at all.
    Same,
    /// rlvm only looks at it as it is, and does not answer for it.
    Unmanaged,
    /// There is nothing yet.
    Create(Edit),
    /// It is there, and differs.
    Update(Edit),
    /// Something is there that is never written over, adopted or not.
    Refuse(String),
}

impl Diff {
    /// Says whether there is nothing to do.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Same | Self::Unmanaged)
    }

    /// Says why apply would refuse to change owner or mode of what is there, if so.
    ///
    /// # Errors
    ///
    /// If it cannot be looked at.
    pub(super) fn not_given(&self, host: &dyn Observe) -> Result<Option<String>> {
        match self {
            Self::Update(edit) => host.not_given(&edit.ops),
            _ => Ok(None),
        }
    }
}

/// What ends a difference, and how it is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edit {
    /// What changes.
    pub attributes: Vec<Attribute>,
    /// A file's text before and after, where it changes.
    pub text: Option<(String, String)>,
    /// What to do, in order.
    pub ops: Vec<Op>,
}

/// One thing that changes: its name, before, after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// As in the state file, where it stands there.
    pub name: String,
    /// Null if there was nothing.
    pub before: Value,
    /// Null if there is nothing then.
    pub after: Value,
    /// Whether the value is never to be seen; then it is null.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

impl Attribute {
    /// Names what changes.
    pub fn new(name: &str, before: impl Into<Value>, after: impl Into<Value>) -> Self {
        Self { name: name.into(), before: before.into(), after: after.into(), sensitive: false }
    }
}
