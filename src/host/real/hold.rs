//! Holds file systems still for a moment, with a time limit.

use std::{
    fs::File,
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Real, process};
use crate::{effect::Cmd, model::HostPath};

/// How long they are held at the most.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits until its input ends, which it does with rlvm too, or the time is up; then nothing is held any more. So no crash
/// of rlvm leaves a file system that nobody can write to. What is held only after the time is up is let go at the end.
/// Its words are arguments.
const GUARD: &str = r#"
timeout "$1" cat >/dev/null
late=$?
shift
release() { for at do fsfreeze --unfreeze "$at" 2>/dev/null; done; }
release "$@"
[ "$late" = 0 ] || { cat >/dev/null; release "$@"; }
:"#;

/// Holds file systems still (fsfreeze(8)) while something is done.
pub(super) fn held(real: &Real, at: &[HostPath], work: &mut dyn FnMut()) -> Result<()> {
    if at.is_empty() {
        work();
        return Ok(());
    }
    let mut guard = guard(real, at)?;
    let input = File::from(OwnedFd::from(guard.stdin.take().context("no way to tell what lets go")?));
    let frozen = at.iter().try_for_each(|at| {
        // It has the guard's input too: killed with rlvm, it ends only when the kernel has done what it was asked to, and
        // what was let go before that would be held for ever.
        let cmd = Cmd::new("fsfreeze").arg("--freeze").path(at).timeout(30);
        process::must_with(real, &cmd, input.try_clone()?).map(drop)
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
    command.spawn().context("cannot start setsid, which starts what lets file systems go again")
}
