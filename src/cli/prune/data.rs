//! Removes data that no backup needs any more, also on a full file system.

use anyhow::Result;

use super::jobs::{World, alone};
use crate::{host::interrupted, model::DataPrune, resource::Repository, restic};

/// What to do if restic cannot even begin.
pub(super) const MAKE_ROOM: &str =
    "free some space outside the repository on the same file system: restic needs space to start";

/// Removes data that no backup needs any more. Repacking needs room: on a full file system the packs in which nothing is
/// needed are removed first. Returns what restic printed, or why it failed.
///
/// # Errors
///
/// If rlvm's own notes cannot be written.
pub(super) fn remove_unneeded(
    world: &World<'_>,
    repository: &Repository,
    limits: DataPrune,
) -> Result<Result<String, String>> {
    let access = repository.access();
    let mut ran = alone(world, repository, &access.prune(limits))?;
    if ran.as_ref().is_err_and(|why| restic::is_full(why)) && interrupted().is_none() {
        ran = match alone(world, repository, &access.prune_without_repacking())? {
            Ok(_) => alone(world, repository, &access.prune(limits))?,
            failed @ Err(_) => failed,
        };
    }
    if ran.is_ok() {
        world.unfinished.done(&repository.name)?;
    }
    Ok(ran.map_err(|why| {
        let room = if restic::is_full(&why) { format!("{MAKE_ROOM}. Then ") } else { String::new() };
        format!("{why}\nhelp: {room}the next prune at this destination removes the unneeded data")
    }))
}
