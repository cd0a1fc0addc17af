//! Fills in the scheduler and the paths of rlvm's own files where the state does not set them.

use anyhow::Result;

use super::context::Context;
use crate::{
    host::{Entry, Host as _, Observe, Real},
    model::{HostPath, Scope},
    resource::CronDaemon,
    state::{Scheduler, State},
};

/// Puts the scheduler and `RLVM_HOME` into a state that is planned or applied here.
///
/// # Errors
///
/// If the host cannot be looked at, or `RLVM_HOME` is no absolute path.
pub(super) fn settle(context: &Context<'_>, host: &Real, state: &mut State) -> Result<()> {
    choose(context, host, state)?;
    state.home = context.environment.home.as_ref().map(|_| context.home()).transpose()?;
    Ok(())
}

/// Puts the scheduler into a state that names none: cron where the host has a cron that can do the work, else systemd
/// where systemd runs. A host with neither gets cron, and plan reports what is missing.
///
/// # Errors
///
/// If the host cannot be looked at.
pub(super) fn choose(context: &Context<'_>, host: &Real, state: &mut State) -> Result<()> {
    if state.scheduler.is_some() {
        return Ok(());
    }
    let looker = host.looker();
    let chosen = if has_cron(looker.as_ref(), &context.scope()?)? || !has_systemd(looker.as_ref())? {
        Scheduler::Cron
    } else {
        Scheduler::Systemd
    };
    state.scheduler = Some(chosen);
    Ok(())
}

fn has_cron(host: &dyn Observe, scope: &Scope) -> Result<bool> {
    Ok(match CronDaemon::look(host)? {
        CronDaemon::Absent => false,
        CronDaemon::BusyBox => scope.personal().is_some(),
        // A daemon that somebody stopped is there all the same, and plan says that it does not run.
        CronDaemon::Stopped | CronDaemon::Ready => true,
    })
}

/// Says whether systemd runs (`sd_booted(3)`), or will run in a tree.
fn has_systemd(host: &dyn Observe) -> Result<bool> {
    if host.is_tree() {
        let place = HostPath::fixed("/usr/lib/systemd/systemd");
        return Ok(matches!(host.entry(&place)?, Entry::File(_)));
    }
    Ok(matches!(host.entry(&HostPath::fixed("/run/systemd/system"))?, Entry::Directory(_)))
}
