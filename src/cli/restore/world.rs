//! Provides what all steps of a restore need: the context, the host and the applied state.

use crate::{
    cli::context::Context,
    destination::Kind,
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
        self.state.hosts()
    }

    /// Lists a job's names: this one and those before (R79).
    pub(in crate::cli) fn jobs(name: &Name, job: &Job) -> Vec<Name> {
        job.names(name)
    }

    /// Lists all destinations, those on this host first.
    pub(in crate::cli) fn by_distance(&self) -> Vec<Name> {
        let mut all: Vec<_> = self.state.destinations.iter().collect();
        all.sort_by_key(|(_, it)| !matches!(it.kind, Kind::Local(_)));
        all.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// Says whether a program is there.
    pub(in crate::cli) fn has(&self, program: &str) -> bool {
        self.host.looker().program_path(program).is_some()
    }
}
