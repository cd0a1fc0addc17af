//! Limits how much a state's files become once aliases, variables, defaults and profiles are written out, so that a
//! small file cannot fill the memory.

use super::{
    problem::Problem,
    tree::{Files, Node, Place, What},
};

/// The largest size of a written-out state, in bytes. Ten thousand jobs take a tenth of it.
const LARGEST: usize = 32 << 20;
/// What a value or a key takes beside its text, in bytes.
const VALUE: usize = 32;

/// What is left of the size that a state may reach.
#[derive(Debug)]
pub(super) struct SizeLimit {
    left: usize,
    exceeded: bool,
}

/// The state is too large; the limit makes the problem of it.
#[derive(Debug)]
pub(super) struct TooLarge;

impl Default for SizeLimit {
    fn default() -> Self {
        Self { left: LARGEST, exceeded: false }
    }
}

impl SizeLimit {
    /// Counts a text.
    ///
    /// # Errors
    ///
    /// If the state becomes too large by it.
    pub(super) fn add_text(&mut self, text: &str) -> Result<(), TooLarge> {
        self.add(text.len())
    }

    /// Counts a value alone, without the values in it.
    ///
    /// # Errors
    ///
    /// If the state becomes too large by it.
    pub(super) fn add_value(&mut self, text: &str) -> Result<(), TooLarge> {
        self.add(VALUE + text.len())
    }

    /// Counts a value and all values in it.
    ///
    /// # Errors
    ///
    /// If the state becomes too large by it.
    pub(super) fn add_tree(&mut self, node: &Node) -> Result<(), TooLarge> {
        match &node.what {
            What::Scalar { text, .. } => self.add_value(text),
            What::List(items) => {
                self.add_value("")?;
                items.iter().try_for_each(|item| self.add_tree(item))
            }
            What::Map(entries) => {
                self.add_value("")?;
                entries.iter().try_for_each(|entry| {
                    self.add_value(&entry.key)?;
                    self.add_tree(&entry.value)
                })
            }
        }
    }

    /// Says whether the state became too large.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded
    }

    fn add(&mut self, size: usize) -> Result<(), TooLarge> {
        match self.left.checked_sub(size) {
            Some(left) if !self.exceeded => {
                self.left = left;
                Ok(())
            }
            _ => {
                self.exceeded = true;
                Err(TooLarge)
            }
        }
    }
}

impl TooLarge {
    /// Makes the problem: `at` is where the state became too large.
    pub(super) fn at(self, at: Place, files: &Files) -> Problem {
        let (message, remedy) = self.said();
        files.error(at, message).help(remedy)
    }

    /// Returns the message and the remedy.
    pub(super) fn said(self) -> (String, String) {
        let message = format!("the state grows beyond {} MiB here", LARGEST >> 20);
        (message, "repeat less text by aliases, variables, defaults and profiles".into())
    }
}
