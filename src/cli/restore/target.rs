//! Checks and makes the directory that `--target` names.

use anyhow::{Result, bail};

use super::{
    RestoreVerb,
    attempt::Goal,
    compare::files,
    places::Candidate,
    stage::Stage,
    world::{World, is_outside_repositories},
};
use crate::{
    cli::exit::{Exit, Failure},
    effect::{Op, Owner},
    host::{Host as _, Sort, Standing},
    model::{HostPath, Mode},
};

impl RestoreVerb {
    /// Refuses a target that is not empty, unless that is meant, and one that cannot be made.
    pub(super) fn is_free(&self, world: &World<'_>, goal: &Goal) -> Result<()> {
        if goal.in_place {
            return Ok(());
        }
        let base = &goal.base;
        is_outside_repositories(world, base)?;
        match world.host.standing(base)? {
            Standing::Absent => check_parent_exists(world, base),
            Standing::Blocked(why) => {
                bail!(Failure::new(Exit::Refused, format!("cannot restore into {base}: {why}")))
            }
            Standing::There(there, _) if there.sort != Sort::Directory => {
                bail!(Failure::new(
                    Exit::Refused,
                    format!("cannot restore into {base}: it is not a directory")
                ))
            }
            Standing::There(..) if self.into_existing => Ok(()),
            Standing::There(..) => match world.host.looker().names(base)?.len() {
                0 => Ok(()),
                count => {
                    let message = format!("{base} is not empty: {}", files(count as u64, "name"));
                    let help = "choose another directory; or --into-existing, which adds files and overwrites nothing";
                    bail!(Failure::new(Exit::Refused, message).help(help))
                }
            },
        }
    }
}

/// Refuses a target whose parent does not exist: only the target itself is made.
fn check_parent_exists(world: &World<'_>, base: &HostPath) -> Result<()> {
    let Some(parent) = base.parent() else { return Ok(()) };
    if world.host.standing(&parent)? != Standing::Absent {
        return Ok(());
    }
    let message = format!("cannot create {base}: {parent} does not exist");
    bail!(Failure::new(Exit::Refused, message).help(format!("create it first: mkdir -p {parent}")))
}

/// Makes the target, for nobody else to look into, unless it is there.
///
/// # Errors
///
/// That of a refusal if it cannot be made: no other destination would help.
pub(super) fn make_target(
    world: &World<'_>,
    stage: &Stage<'_>,
    from: &Candidate<'_>,
    path: &HostPath,
) -> Result<()> {
    if world.host.standing(path)? != Standing::Absent {
        return Ok(());
    }
    let owner = world.context.scope()?.personal().map_or_else(Owner::root, Owner::of);
    // Whom restic works as goes through it.
    let mode = Mode::new(if from.place.works_as().is_some() { 0o711 } else { 0o700 });
    stage.open(None, &Op::RemoveTemporary { path: path.clone() })?;
    let make = Op::MakeDir { path: path.clone(), owner, mode };
    stage.open(Some(&make), &Op::RemoveDir { path: path.clone() }).map_err(|err| {
        let help = "choose a directory that can be created: --target /var/tmp/restored";
        Failure::new(Exit::Refused, format!("cannot create {path}: {err:#}")).help(help).into()
    })
}
