//! A finding: a message of plan for a person.

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The resource, and what needs it, cannot be applied.
    Error,
    /// A guard stands in the way.
    Refusal,
    /// The night would not go well, or not as meant.
    Warning,
    /// Worth knowing.
    Notice,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Of what: an address, or a place in the state.
    pub address: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Says something of an address.
    pub fn new(severity: Severity, address: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity, address: address.into(), message: message.into(), remedy: None }
    }

    /// Says that a resource could not be looked at. The reason may end with a line of help.
    pub fn unseen(address: impl Into<String>, why: &str) -> Self {
        let (why, help) = why.split_once('\n').unwrap_or((why, ""));
        let it = Self::new(Severity::Error, address, format!("cannot look at it: {why}"));
        match help.trim().strip_prefix("help: ") {
            Some(help) => it.remedy(help),
            None => it,
        }
    }

    /// Returns whether the severity is `Error`.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Adds what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
