//! Stops services while sources are frozen, and restores their former state. A service that is down is neither
//! stopped nor started (R57).
//!
//! Each kind is observed first. Then pure code decides how to stop and restart it. rlvm does not stop a service that
//! it could not start again.

mod compose;
mod container;
mod systemd;

use anyhow::{Result, bail};

use crate::{
    effect::{Cmd, Query, Step},
    host::{Observe, Output},
    state::Stop,
};

/// How long stopping or starting may take, in seconds.
const PATIENCE: u64 = 300;
/// How long an answer may take, in seconds.
const ANSWER: u64 = 60;

/// Says what stops a thing and what starts it again; nothing for what is down.
///
/// # Errors
///
/// If it is not there, could not be started again, or nobody can be asked.
pub fn steps(host: &dyn Observe, stop: &Stop) -> Result<Vec<Step>> {
    match stop {
        Stop::Systemd(unit) => systemd::steps(host, unit.as_str()),
        Stop::Container(name) => container::steps(host, name.as_str()),
        Stop::Compose(directory) => compose::steps(host, directory.as_str()),
    }
}

/// What stops something, and what starts it. Both go on when rlvm is killed: what is stopped by half nobody puts back.
fn step(stop: Cmd, start: Cmd) -> Step {
    Step::undone(stop.timeout(PATIENCE).whole(), start.timeout(PATIENCE).whole())
}

/// Asks, whatever the exit code.
fn answer(host: &dyn Observe, cmd: Cmd) -> Result<Output> {
    host.query(&Query::new(cmd.timeout(ANSWER))?)
}

/// Asks for what must succeed.
fn ask(host: &dyn Observe, cmd: Cmd) -> Result<String> {
    let line = cmd.to_string();
    let output = answer(host, cmd)?;
    match output.code {
        Some(0) => Ok(output.stdout),
        Some(code) => bail!("`{line}` failed with exit code {code}: {}", output.stderr.trim()),
        None => bail!("`{line}` was ended, or took longer than {ANSWER} s"),
    }
}

#[cfg(test)]
mod tests;
