//! What a restore works with.

use crate::{
    cli::context::Context,
    host::{Host as _, Real},
    model::{HostName, Name},
    state::{Job, State},
};

/// What a restore works with.
pub(in crate::cli) struct World<'a> {
    /// What verbs have in common.
    pub(in crate::cli) context: &'a Context<'a>,
    /// The machine.
    pub(in crate::cli) host: &'a Real,
    /// The state that was applied.
    pub(in crate::cli) state: &'a State,
}

impl World<'_> {
    /// Lists the host's names: this one and those before (R79).
    pub(in crate::cli) fn hosts(&self) -> Vec<HostName> {
        std::iter::once(&self.state.host).chain(&self.state.was).cloned().collect()
    }

    /// Lists a job's names: this one and those before (R79).
    pub(in crate::cli) fn jobs(name: &Name, job: &Job) -> Vec<Name> {
        std::iter::once(name).chain(&job.was).cloned().collect()
    }

    /// Says whether a program is there.
    pub(in crate::cli) fn has(&self, program: &str) -> bool {
        self.host.looker().program_path(program).is_some()
    }
}
