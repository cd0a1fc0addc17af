//! Shuts a client out of its repository for as long as a lock is held, and ends its processes.
//!
//! The command that sshd forces on the client shares a kernel lock (flock(2)) on the repository's directory for as long as a
//! session lasts. Whoever has the lock alone knows that no such session is open and that none begins. The kernel
//! frees the lock when rlvm ends, however that happens, so nothing has to be undone.

use std::{fs::File, os::unix::fs::MetadataExt, path::Path, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag, openat},
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::Pid,
};

use super::{Cursor, Real, Way, session::processes, sshd_processes::is_in_session_of};
use crate::model::{HostPath, UserName};

/// How long a killed process may take to end, in steps of [`STEP`].
const STEPS: u32 = 100;
const STEP: Duration = Duration::from_millis(50);

/// What runs as a client and adds nothing: systemd's manager of the user's units, which `pam_systemd(8)` starts with each
/// session and which stays for a while.
const HARMLESS: &str = "/usr/lib/systemd/systemd";

/// A client is shut out until this is dropped.
#[must_use]
pub struct ShutOut {
    _lock: Flock<File>,
}

/// What came of a try to shut a client out.
pub enum Shut {
    /// It is out.
    Out(ShutOut),
    /// Some of its processes may write: which.
    Working(Vec<String>),
}

/// A process of a user's.
struct OfUser {
    pid: i32,
    program: String,
    /// Whether the client has started it through sshd.
    is_in_session: bool,
}

impl Real {
    /// Shuts a client out of its repository, unless a process of its account goes on. With `ends`, the client's sessions are
    /// killed. Other processes of the account never are: it may have been more than a client before.
    ///
    /// # Errors
    ///
    /// If the directory cannot be locked, the account is not there, or a process does not end.
    pub fn shut_out(&self, user: &UserName, repository: &HostPath, ends: bool) -> Result<Shut> {
        if ends {
            self.end_sessions(user)?;
        }
        match Flock::lock(self.open_directory(repository)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                if ends {
                    // What begins from now on waits for the lock, as does what began since the sessions were ended.
                    self.end_sessions(user)?;
                }
                // A session that began under an older rlvm's rules shares no lock.
                let working = self.of_user(user)?.into_iter().filter(|it| !(ends && it.is_in_session));
                let working: Vec<OfUser> = working.collect();
                if working.is_empty() {
                    Ok(Shut::Out(ShutOut { _lock: lock }))
                } else {
                    Ok(Shut::Working(named(&working)))
                }
            }
            Err((_, Errno::EWOULDBLOCK)) => {
                let mut who = named(&self.of_user(user)?);
                if who.is_empty() {
                    who.push(format!("a process of another user that holds a lock on {repository}"));
                }
                Ok(Shut::Working(who))
            }
            Err((_, errno)) => Err(errno).with_context(|| format!("cannot lock {repository}")),
        }
    }

    fn open_directory(&self, path: &HostPath) -> Result<File> {
        let mut cursor = Cursor::default();
        let dir = match cursor.go(self, path)? {
            Way::There(dir) => dir,
            Way::Absent => bail!("{path} is not there"),
            Way::Blocked(why) => bail!("cannot open {path}: {why}"),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = openat(dir, ".", flags, Mode::empty());
        Ok(File::from(opened.with_context(|| format!("cannot open {path}"))?))
    }

    /// Kills the processes of a client's sessions, and waits until they are gone.
    fn end_sessions(&self, user: &UserName) -> Result<()> {
        let all: Vec<OfUser> = self.of_user(user)?.into_iter().filter(|it| it.is_in_session).collect();
        for process in &all {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        for _ in 0..STEPS {
            let now = self.of_user(user)?;
            if !all.iter().any(|it| now.iter().any(|now| now.pid == it.pid)) {
                return Ok(());
            }
            thread::sleep(STEP);
        }
        bail!("processes of {user} do not end: {}", named(&all).join(", "))
    }

    /// Lists the processes that run as a user, by any of their user ids.
    #[expect(clippy::disallowed_methods, reason = "host looks")]
    fn of_user(&self, user: &UserName) -> Result<Vec<OfUser>> {
        let ids = self.accounts.ids(user)?.with_context(|| format!("there is no user {user}"))?;
        ensure!(ids.uid != 0, "{user} is root");
        let uid = ids.uid.to_string();
        let place = |path: &str| std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
        let harmless = place(HARMLESS);
        let mut found = Vec::new();
        for pid in processes()? {
            // A process may end at any time.
            let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
            let line = |word: &str| status.lines().find_map(|line| line.strip_prefix(word));
            let is_users = line("Uid:").is_some_and(|ids| ids.split_whitespace().any(|it| it == uid));
            let has_ended = line("State:").is_some_and(|it| it.trim_start().starts_with(['Z', 'X']));
            if !is_users || has_ended {
                continue;
            }
            let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            let program = program.to_string_lossy();
            let name = Path::new(program.trim_end_matches(" (deleted)")).file_name();
            let name = name.map(|it| it.to_string_lossy().escape_debug().to_string()).unwrap_or_default();
            // By what the file is: the account may call any program so.
            let is_harmless = place(&format!("/proc/{pid}/exe")).is_some_and(|it| Some(it) == harmless);
            if !is_harmless {
                let pid = i32::try_from(pid)?;
                found.push(OfUser { pid, program: name, is_in_session: is_in_session_of(pid, user) });
            }
        }
        Ok(found)
    }
}

fn named(all: &[OfUser]) -> Vec<String> {
    all.iter().map(|it| format!("{} (process {})", it.program, it.pid)).collect()
}
