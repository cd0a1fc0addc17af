//! Provides what all steps of a restore need: the context, the host and the applied state.

use anyhow::{Result, bail};

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
    },
    destination::Kind,
    host::{Host as _, Real},
    model::{HostName, HostPath, Name},
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

/// Refuses a target inside a repository of this host: restic and others would meet foreign files there.
pub(super) fn is_outside_repositories(world: &World<'_>, base: &HostPath) -> Result<()> {
    let looker = world.host.looker();
    let leads = |path: &HostPath| looker.leads(path).unwrap_or_else(|| path.clone());
    let real = leads(base);
    for (name, destination) in &world.state.destinations {
        let Kind::Local(local) = &destination.kind else { continue };
        if base.is_within(&local.path) || real.is_within(&leads(&local.path)) {
            let message = format!(
                "cannot restore into {base}: destination {name} keeps its repository at {}",
                local.path
            );
            let help = "choose a directory outside the repository: --target /var/tmp/restored";
            bail!(Failure::new(Exit::Refused, message).help(help));
        }
    }
    Ok(())
}
