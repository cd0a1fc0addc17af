//! root's agent for keys with a passphrase.
//!
//! The one program that outlives rlvm, since that is what it is asked for: a person starts it by name, and stops it
//! by name. It is known again by its number and the time that it started, so that nothing else is ever stopped.

use std::{
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::AtFlags,
    sys::{
        signal::{Signal, kill},
        stat::{SFlag, fstatat},
    },
    unistd::{Pid, UnlinkatFlags, unlinkat},
};
use serde::{Deserialize, Serialize};

use super::{Real, kind, process, trusted};
use crate::{
    effect::{Arg, Cmd},
    host::private::PrivateDir,
    model::HostPath,
};

/// How long an agent may take to end, once it is told.
const PATIENCE: Duration = Duration::from_secs(5);

/// An agent that rlvm started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Where it listens.
    pub socket: HostPath,
    /// Its process number.
    pub pid: i32,
    /// When it started, in ticks since the machine did (proc(5)): another process of that number has another.
    pub start: u64,
}

impl Real {
    /// Starts an agent; `None` if one answers there already. A socket at which nobody answers is removed.
    ///
    /// # Errors
    ///
    /// If the place is not safe, or the agent does not start.
    pub fn start_agent(&self, socket: &HostPath) -> Result<Option<Agent>> {
        let parent = socket.parent().context("/ is no socket")?;
        let dir = PrivateDir::make(self, &parent)?;
        if !free(&dir, socket)? {
            return Ok(None);
        }
        let start = Cmd::new("ssh-agent").args(["-s", "-a"]).path(socket).timeout(10);
        let output = process::must(self, &start).context("cannot start an agent (openssh-client)")?;
        let said = output.stdout.split("SSH_AGENT_PID=").nth(1).and_then(|rest| rest.split(';').next());
        let pid = said.and_then(|pid| pid.parse().ok()).context("ssh-agent did not say its number")?;
        let start = started(pid).context("the agent that was started is gone")?;
        Ok(Some(Agent { socket: socket.clone(), pid, start }))
    }

    /// Stops an agent that rlvm started, and removes the socket that it left; false if it was gone already.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn stop_agent(&self, agent: &Agent) -> Result<bool> {
        let runs = || started(agent.pid) == Some(agent.start);
        let running = runs();
        if running {
            let told = kill(Pid::from_raw(agent.pid), Signal::SIGTERM);
            told.with_context(|| format!("cannot stop the agent, process {}", agent.pid))?;
            let begin = Instant::now();
            while runs() {
                ensure!(begin.elapsed() < PATIENCE, "the agent, process {}, does not end", agent.pid);
                thread::sleep(Duration::from_millis(10));
            }
        }
        let parent = agent.socket.parent().context("/ is no socket")?;
        if let Some(dir) = PrivateDir::open(self, &parent)? {
            free(&dir, &agent.socket)?;
        }
        Ok(running)
    }

    /// Gives a key to an agent, on the terminal, where its passphrase is asked for. Says whether it was taken.
    ///
    /// # Errors
    ///
    /// If ssh-add cannot be started.
    pub fn add_to_agent(&self, socket: &HostPath, key: &HostPath) -> Result<bool> {
        let add = Cmd::new("ssh-add").env("SSH_AUTH_SOCK", Arg::Path(socket.clone())).path(key);
        process::on_terminal(self, &add)
    }
}

/// Makes sure that nothing is at a socket's place; false if somebody answers there.
fn free(dir: &PrivateDir, socket: &HostPath) -> Result<bool> {
    let name = socket.name();
    let stat = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(true),
        other => other.with_context(|| format!("cannot look at {socket}"))?,
    };
    ensure!(kind(&stat) == SFlag::S_IFSOCK, "{socket} is there, and is no socket: look at it and remove it");
    ensure!(trusted(stat.st_uid), "{socket} is a socket of somebody else's: look at it and remove it");
    // By way of the directory that is open: that is the one that was looked at, and its path is never too long.
    match UnixStream::connect(format!("/proc/self/fd/{}/{name}", dir.as_fd().as_raw_fd())) {
        Ok(_) => Ok(false),
        Err(err) if err.raw_os_error() == Some(Errno::ECONNREFUSED as i32) => {
            unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)
                .with_context(|| format!("cannot remove the socket {socket}, which an agent left"))?;
            Ok(true)
        }
        Err(err) => bail!("cannot tell whether an agent answers at {socket}: {err}"),
    }
}

/// Says when a process started; `None` if there is none of that number, or only what is left of one.
fn started(pid: i32) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "host looks at what the kernel says of a process")]
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name may hold anything, brackets too, so from behind: state is the third field, the start the 22nd (proc(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    fields.nth(18)?.parse().ok().filter(|_| state != "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_when_it_started() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(started(own).is_some_and(|start| start > 0));
        assert_eq!(started(own), started(own));
        assert_eq!(started(i32::MAX), None);
    }
}
