//! Which destinations hold data of removed backups that is still to be removed: a prune was interrupted, or failed.

use anyhow::Result;

use crate::{
    cli::context::Context,
    host::{Real, Store},
    model::Name,
};

/// Where this is noted, in rlvm's directory: one empty file for each destination.
const DIRECTORY: [&str; 2] = ["prune", "unfinished"];

/// The destinations where unneeded data is still to be removed.
pub(in crate::cli) struct Unfinished<'a>(Store<'a>);

impl<'a> Unfinished<'a> {
    /// Names where it is noted.
    ///
    /// # Errors
    ///
    /// If rlvm has no directory of its own.
    pub(in crate::cli) fn new(context: &Context<'_>, host: &'a Real) -> Result<Self> {
        let [above, here] = DIRECTORY;
        Ok(Self(Store::new(host, &context.home()?.join(above)?.join(here)?)))
    }

    /// Lists the destinations.
    ///
    /// # Errors
    ///
    /// If the notes cannot be read.
    pub(in crate::cli) fn names(&self) -> Result<Vec<Name>> {
        Ok(self.0.names()?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Returns whether unneeded data is still to be removed there.
    pub(super) fn holds(&self, destination: &Name) -> Result<bool> {
        Ok(self.0.read(destination.as_str())?.is_some())
    }

    /// Notes that backups are going to be removed there.
    pub(super) fn begin(&self, destination: &Name) -> Result<()> {
        self.0.replace(destination.as_str(), b"")
    }

    /// Notes that all unneeded data was removed.
    pub(super) fn done(&self, destination: &Name) -> Result<()> {
        self.0.remove(destination.as_str())
    }
}
