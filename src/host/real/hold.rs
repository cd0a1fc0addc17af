//! File systems that are held still for a moment, and never longer.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Real, process};
use crate::{effect::Cmd, model::HostPath};

/// How long they are held at the most.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits until its input ends, which it does with rlvm too, or the time is up; then nothing is held any more. So no crash
/// of rlvm leaves a file system that nobody can write to. Its words are arguments.
const GUARD: &str =
    r#"timeout "$1" cat >/dev/null; shift; for at do fsfreeze --unfreeze "$at" 2>/dev/null; done; :"#;

/// Holds file systems still (fsfreeze(8)) while something is done.
pub(super) fn held(real: &Real, at: &[HostPath], work: &mut dyn FnMut()) -> Result<()> {
    if at.is_empty() {
        work();
        return Ok(());
    }
    let mut guard = guard(real, at)?;
    let input = guard.stdin.take();
    let frozen = at.iter().try_for_each(|at| {
        process::must(real, &Cmd::new("fsfreeze").arg("--freeze").path(at).timeout(30)).map(drop)
    });
    if frozen.is_ok() {
        work();
    }
    drop(input);
    let ended = guard.wait().context("cannot wait for what lets file systems go");
    frozen?;
    ensure!(ended?.success(), "a file system may still be held still: fsfreeze --unfreeze PLACE");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "host runs programs")]
fn guard(real: &Real, at: &[HostPath]) -> Result<Child> {
    // In a session of its own, and not killed with rlvm.
    let mut command = Command::new("setsid");
    command.args(["/bin/sh", "-c", GUARD, "rlvm-guard", &LONGEST.as_secs().to_string()]);
    command.args(at.iter().map(HostPath::as_str)).env_clear().env("PATH", &real.path);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("cannot start what lets file systems go again")
}
