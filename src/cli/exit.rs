//! Defines the exit codes, and errors that carry an exit code.

use std::fmt;

use crate::host::{Busy, Untrusted, is_denied, is_root};

/// An exit code, as documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Fine.
    Ok = 0,
    /// Failed.
    Failed = 1,
    /// `plan --detailed-exitcode`: changes pending.
    Changes = 2,
    /// The state is invalid.
    Invalid = 3,
    /// Another rlvm holds the lock.
    Locked = 4,
    /// The saved plan is stale.
    Stale = 5,
    /// Refused by a guard.
    Refused = 6,
    /// Some resources failed, the independent rest converged.
    Partial = 7,
    /// Backup incomplete: a destination failed or a source could not be read in full.
    Incomplete = 8,
    /// `status`, `verify`: something is not well.
    Unwell = 9,
    /// Wrong usage; no terminal and no `--yes`.
    Usage = 64,
    /// Ended by SIGINT, after cleaning up.
    Interrupted = 130,
    /// Ended by SIGTERM or SIGHUP, after cleaning up.
    Terminated = 143,
}

impl Exit {
    /// Returns the code that a signal ends with.
    pub(super) fn of_signal(signal: Option<i32>) -> Self {
        if signal == Some(signal_hook::consts::SIGINT) { Self::Interrupted } else { Self::Terminated }
    }

    /// Returns the code of an error.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.exit;
        }
        if error.downcast_ref::<Busy>().is_some() {
            return Self::Locked;
        }
        if error.downcast_ref::<Untrusted>().is_some() {
            return Self::Refused;
        }
        Self::Failed
    }
}

/// Says whether an error is that only root may do this, and the caller is not root.
pub(super) fn wants_root(error: &anyhow::Error) -> bool {
    !is_root() && error.chain().any(is_denied)
}

/// An error with its exit code, and what to do.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    message: String,
    help: Option<String>,
}

impl Failure {
    /// Says what went wrong, and how rlvm ends.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None }
    }

    /// Says what to do.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what else to do.
    pub(super) fn also_help(self, help: &str) -> Self {
        let help = self.help.iter().map(String::as_str).chain([help]).collect::<Vec<_>>().join("; ");
        self.help(help)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
