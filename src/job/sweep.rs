//! Cleans up after a dead run: ends its programs, thaws what it froze, and closes what it opened. It touches nothing
//! else.

use super::{
    Left, Machine,
    undo::{NAP, persist},
};
use crate::effect::{Cmd, Op};

/// What sweeping came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// What was done.
    pub done: Vec<String>,
    /// What could not be undone, and why: the journal stays.
    pub left: Vec<String>,
    /// Whether all its programs have ended.
    pub are_ended: bool,
}

/// Ends what a dead run has left.
pub fn sweep(left: &Left, host: &dyn Machine) -> Swept {
    let mut swept = Swept::default();
    if let Some(run) = &left.run
        && let Err(err) = host.end(run, &left.children)
    {
        swept.left.push(format!("{err:#}"));
    }
    for at in &left.held {
        // What is not held any more says that it is not: whoever held it let it go when rlvm died.
        let _ = host.act(&Op::Run(Cmd::new("fsfreeze").arg("--unfreeze").path(at).timeout(30)));
    }
    if let Some(run) = &left.run
        && let Err(err) = host.outlast(run)
    {
        swept.left.push(format!("{err:#}"));
    }
    swept.are_ended = swept.left.is_empty();
    for (_, op) in &left.undo {
        match persist(NAP, || host.act(op)) {
            Ok(()) => swept.done.push(op.to_string()),
            Err(err) => swept.left.push(format!("`{op}`: {err:#}")),
        }
    }
    swept
}
