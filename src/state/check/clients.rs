//! Accounts of clients.

use super::Check;
use crate::{
    model::UserName,
    resource::{Access, SshUserSpec},
};

/// What restic's `--keep-within` can tell apart, in seconds.
const HOUR: u64 = 3600;

impl Check<'_> {
    pub(super) fn clients(&mut self) {
        for (name, spec) in &self.state.ssh.users {
            let at = ["ssh", "users", name.as_str()];
            if *name == UserName::root() {
                self.error(&at, "root is nobody's client", "give each client an account of its own");
            }
            self.keys(&at, spec);
            self.prune(&at, name, spec);
        }
    }

    fn keys(&mut self, at: &[&str; 3], spec: &SshUserSpec) {
        let mut seen = Vec::new();
        for (place, key) in spec.authorized_keys.iter().enumerate() {
            if seen.contains(&key.key.identity()) {
                let path = [at[0], at[1], at[2], "authorized_keys", &place.to_string()];
                self.error(&path, "this key is there twice", "sshd takes the first: take one out");
            }
            seen.push(key.key.identity());
        }
    }

    fn prune(&mut self, at: &[&str; 3], name: &UserName, spec: &SshUserSpec) {
        let Some(prune) = &spec.prune else { return };
        let path = |key| [at[0], at[1], at[2], "prune", key];
        self.schedule(&path("schedule"), prune.schedule.as_ref());
        if spec.access != Access::AppendOnly {
            let message = format!("`{name}` can remove its own backups");
            let remedy = "write `access: append_only`, or let the client prune";
            self.error(&path("")[..4], message, remedy);
        }
        if !prune.keep_within.seconds().is_multiple_of(HOUR) {
            let remedy = "write whole hours, days or weeks: `90d`";
            self.error(&path("keep_within"), "restic knows no minutes here", remedy);
        }
    }
}
