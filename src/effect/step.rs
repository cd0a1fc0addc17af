//! A step of a run, as data, with the op that undoes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Cmd, Op};

/// One op of a run, and the op that undoes it.
///
/// An undo does no harm where there is nothing to undo: it is written down before the op is begun, and carried out even
/// if a crash came between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it does.
    pub act: Op,
    /// What undoes it; none if nothing is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Op>,
}

impl Step {
    /// A command that leaves nothing to undo.
    pub fn run(cmd: Cmd) -> Self {
        Self { act: Op::Run(cmd), undo: None }
    }

    /// A command, and the command that undoes it.
    pub fn undone(cmd: Cmd, undo: Cmd) -> Self {
        Self { act: Op::Run(cmd), undo: Some(Op::Run(undo)) }
    }
}

/// Writes the line to paste into a shell, and as a comment the one that undoes it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.act)?;
        match &self.undo {
            Some(undo) => write!(f, "\n#   undone by: {undo}"),
            None => Ok(()),
        }
    }
}
