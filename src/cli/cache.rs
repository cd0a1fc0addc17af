//! Finds the restic caches that runs have created. Other verbs use them and create none. `verify` does not use them,
//! because it checks the data in the repository itself.

use anyhow::Result;

use super::context::Context;
use crate::{
    host::{Entry, Host as _, Real},
    job::cache_of,
    model::Scope,
    resource::{Location, Repository},
};

/// Returns a repository with the cache of its user, if a run has made that. A repository on this host is read without one:
/// a copy of what lies here saves nothing.
///
/// # Errors
///
/// If `RLVM_HOME` is no absolute path, or the cache cannot be looked at.
pub(super) fn with_cache(context: &Context<'_>, host: &Real, repository: &Repository) -> Result<Repository> {
    let mut repository = repository.clone();
    if matches!(repository.location, Location::Local(_)) {
        return Ok(repository);
    }
    let is_own = context.scope()? != Scope::Host;
    let cache = cache_of(&context.cache()?, is_own, &repository.user);
    if let Entry::Directory(meta) = host.looker().entry(&cache)?
        && meta.owner == repository.user.as_str()
    {
        repository.means.cache = Some(cache);
    }
    Ok(repository)
}
