//! Records the destinations where an interrupted or failed prune has left data of removed backups.

use anyhow::Result;

use crate::{
    cli::{context::Context, queue::Queue},
    host::{Real, Store},
    model::Name,
    report::status::{Level, Remark},
};

/// Where this is noted, in rlvm's directory: one empty file for each destination.
const DIRECTORY: [&str; 2] = ["prune", "unfinished"];

/// The destinations where unneeded data is still to be removed.
pub(super) struct Unfinished<'a>(Store<'a>);

impl<'a> Unfinished<'a> {
    /// Names where it is noted.
    ///
    /// # Errors
    ///
    /// If rlvm has no directory of its own.
    pub(super) fn new(context: &Context<'_>, host: &'a Real) -> Result<Self> {
        let [above, here] = DIRECTORY;
        Ok(Self(Store::new(host, &context.home()?.join(above)?.join(here)?)))
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

/// Lists the destinations where a prune did not finish. One that runs now is not unfinished.
///
/// # Errors
///
/// If the notes cannot be read.
pub(super) fn remarks(context: &Context<'_>, host: &Real) -> Result<Vec<Remark>> {
    let queue = Queue::new(context, host, "rlvm status")?;
    let mut remarks = Vec::new();
    for name in Unfinished::new(context, host)?.0.names()? {
        let Ok(name) = name.parse::<Name>() else { continue };
        if !queue.is_taken(&name)? {
            let message = format!(
                "a prune of {name} did not finish: data of removed backups still takes up space; run `rlvm prune` to remove it"
            );
            remarks.push(Remark { about: "prune".into(), level: Level::Warning, message });
        }
    }
    Ok(remarks)
}
