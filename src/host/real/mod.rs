//! The machine itself, or a tree of one below a directory.

mod accounts;
mod act;
mod agent;
mod answers;
mod certificate;
mod crontab;
mod drill;
mod equal;
mod fetch;
mod git;
mod hold;
mod install;
mod keys;
mod label;
mod leaf;
mod links;
mod look;
mod mail;
mod mounts;
mod output;
mod place;
mod post;
mod process;
mod programs;
mod quota;
mod rename;
mod secrets;
mod session;
mod shut;
mod sshd;
mod sshd_age;
mod sshd_processes;
mod staging;
mod standings;
mod tell;
mod tree;
mod walk;
mod work;
mod xattr;

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use nix::unistd::geteuid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::accounts::Accounts;
pub(super) use self::accounts::home_path;
pub use self::agent::Agent;
pub(super) use self::answers::ask;
pub use self::equal::Copies;
pub use self::fetch::Web;
pub use self::git::Revision;
pub(super) use self::leaf::{Leaf, open_own};
pub use self::place::Placing;
pub use self::shut::{Shut, ShutOut};
pub use self::standings::Standings;
pub use self::tell::{Telling, Told, Tries};
use self::walk::Guard;
pub(super) use self::walk::{Cursor, Way, kind};
use super::{Host, Observe, Stamp};
use crate::model::{HostPath, Sha256};

/// Where root works on what nobody else may see: a reboot empties it.
const PRIVATE: &str = "/run/rlvm";

/// The machine itself, or a tree of one below a directory.
pub struct Real {
    /// Where its `/` is.
    root: PathBuf,
    root_fd: OwnedFd,
    /// Where programs are looked for.
    path: String,
    /// Where systemd put this process's credentials, if it did.
    credentials: Option<String>,
    web: Web,
    /// Where rlvm works on what nobody else may see.
    private: HostPath,
    accounts: Accounts,
    /// Digests of files that were read, by what moves when they are written.
    digests: Mutex<HashMap<Stamp, Sha256>>,
    /// Directories in which something was made, renamed or removed since the last `settle`.
    touched: Mutex<BTreeSet<HostPath>>,
}

impl Real {
    /// Opens the tree below `root`, which is `/` for the machine itself. `path` says where programs are.
    ///
    /// # Errors
    ///
    /// If `root` is no directory that can be opened, or its mount does not answer.
    pub fn open(root: &Path, path: &str) -> Result<Self> {
        answers::ask(root)?;
        let root = root.canonicalize().with_context(|| format!("cannot find the root {}", root.display()))?;
        #[expect(clippy::disallowed_methods, reason = "host opens")]
        let dir = File::open(&root).with_context(|| format!("cannot open the root {}", root.display()))?;
        anyhow::ensure!(dir.metadata()?.is_dir(), "the root {} is no directory", root.display());
        Ok(Self {
            accounts: Accounts::new(root == Path::new("/"), &root),
            root,
            root_fd: dir.into(),
            path: search_path(path),
            credentials: None,
            web: Web::default(),
            private: HostPath::fixed(PRIVATE),
            digests: Mutex::default(),
            touched: Mutex::default(),
        })
    }

    /// Names the directory in which systemd put this process's credentials.
    #[must_use]
    pub fn with_credentials(self, dir: Option<String>) -> Self {
        Self { credentials: dir, ..self }
    }

    /// Says how the network is reached.
    #[must_use]
    pub fn with_web(self, web: Web) -> Self {
        Self { web, ..self }
    }

    /// Says where to work on what nobody else may see, if not where root does.
    #[must_use]
    pub fn with_private(self, private: HostPath) -> Self {
        Self { private, ..self }
    }

    /// Checks that the programs are there with which every other program is started.
    ///
    /// # Errors
    ///
    /// If one is missing.
    pub fn check_starters(&self) -> Result<()> {
        programs::check_starters(self)
    }

    /// Returns where its `/` is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn is_running_system(&self) -> bool {
        self.root == Path::new("/")
    }
}

impl Host for Real {
    fn looker(&self) -> Box<dyn Observe + '_> {
        Box::new(look::Look::new(self, Guard::Strict))
    }

    fn ask_ahead(&self, paths: &[&HostPath]) {
        answers::ask_ahead(&paths.iter().map(|path| self.root.join(path.relative())).collect::<Vec<_>>());
    }
}

/// Leaves out of a `PATH` what depends on the current directory: that is the tree's root when programs run. What it lacks
/// of sbin comes last: after `su` without a dash root has none of it (su(1)), and useradd and sshd are there.
fn search_path(path: &str) -> String {
    let mut dirs: Vec<&str> = path.split(':').filter(|dir| dir.starts_with('/')).collect();
    for sbin in ["/usr/local/sbin", "/usr/sbin", "/sbin"] {
        if !dirs.contains(&sbin) {
            dirs.push(sbin);
        }
    }
    dirs.join(":")
}

/// Says whether what belongs to a user can be trusted not to be a trap: root's, and one's own.
pub(super) fn trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// The signal that asked to stop; 0 if none did.
static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP are noted instead of ending the process.
///
/// # Errors
///
/// If the system refuses a handler.
pub fn watch_signals() -> Result<()> {
    let noted = SIGNAL.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(signal, Arc::clone(noted), usize::try_from(signal)?)?;
    }
    Ok(())
}

/// Returns the signal that asked to stop, if one did since [`watch_signals`].
pub fn interrupted() -> Option<i32> {
    let noted = SIGNAL.get()?.load(Ordering::Relaxed);
    i32::try_from(noted).ok().filter(|signal| *signal != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_is_looked_for_in_the_current_directory() {
        assert_eq!(search_path(":/usr/bin:.:bin::/bin"), "/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
        assert_eq!(search_path("/sbin:/usr/sbin:/usr/local/sbin"), "/sbin:/usr/sbin:/usr/local/sbin");
    }
}
