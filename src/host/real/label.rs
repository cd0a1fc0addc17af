//! SELinux labels of what was put in place.
//!
//! A file that is renamed keeps the label that it got under its temporary name, by the directory alone. The policy may
//! want another by the full path: a new /etc/cron.d, a new ~/.ssh. crond and sshd then skip the file without a word.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Real, process};
use crate::{effect::Cmd, model::HostPath};

/// There where SELinux is enabled (selinux(8)).
const ENABLED: &str = "/sys/fs/selinux/enforce";

impl Real {
    /// Gives a file or directory the label that the policy has for its path, where SELinux is enabled. A tree gets its
    /// labels from whoever makes a system of it.
    ///
    /// # Errors
    ///
    /// If restorecon(8) cannot be run, or fails.
    pub(super) fn relabel(&self, path: &HostPath) -> Result<()> {
        if !self.is_running_system() || !Path::new(ENABLED).exists() {
            return Ok(());
        }
        let cmd = Cmd::new("restorecon").path(path).timeout(30);
        process::must(self, &cmd).with_context(|| format!("cannot set the SELinux label of {path}")).map(drop)
    }
}
