//! Checks accounts of clients.

use super::Check;
use crate::{
    model::UserName,
    resource::{Access, MIGHTY, SshUserSpec},
};

/// What `keep_within` may be.
pub(super) const KEEP_WITHIN: &str =
    "write whole hours, days or weeks, at most a century: `36h`, `90d`, `36500d`";
/// Directories of the system's: nobody is shut in by one, and what is made in it is in the way.
const SYSTEM: [&str; 19] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/var/cache",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
    "/var/lib/rlvm",
];
/// Directories that others stand in: a client has one of its own below.
const SHARED: [&str; 9] =
    ["/", "/home", "/media", "/mnt", "/opt", "/srv", "/var", "/var/lib", "/var/backups"];

impl Check<'_> {
    pub(super) fn clients(&mut self) {
        for (name, spec) in &self.state.ssh.users {
            let at = ["ssh", "users", name.as_str()];
            if *name == UserName::root() {
                self.error(
                    &at,
                    "root cannot be the account of a client",
                    "give each client an account of its own",
                );
            }
            if MIGHTY.contains(&name.as_str()) {
                let message = format!("`{name}` is a system group; the client would become a member of it");
                self.error(&at, message, "give the account another name, like `backup-web01`");
            }
            self.directory(&at, spec);
            self.shared(&at, name, spec);
            self.keys(&at, spec);
            self.prune(&at, name, spec);
        }
    }

    fn directory(&mut self, at: &[&str; 3], spec: &SshUserSpec) {
        let directory = &spec.directory;
        let mut way = std::iter::once(directory.clone()).chain(directory.ancestors());
        if SHARED.contains(&directory.as_str()) || way.any(|dir| SYSTEM.contains(&dir.as_str())) {
            let path = [at[0], at[1], at[2], "directory"];
            let message = format!("a client cannot be shut into {directory}");
            self.error(&path, message, "give it a directory of its own, like `/srv/clients/web01`");
        }
    }

    /// Refuses a directory that is another account's, or lies in it. Links are looked at by plan: see `AuthorizedKeys`.
    fn shared(&mut self, at: &[&str; 3], name: &UserName, spec: &SshUserSpec) {
        let directory = &spec.directory;
        for (other, its) in self.state.ssh.users.iter().filter(|(other, _)| *other != name) {
            let what = if its.directory == *directory && other < name {
                "is also the directory of"
            } else if directory.ancestors().any(|above| above == its.directory) {
                "lies in the directory of"
            } else {
                continue;
            };
            let message =
                format!("{directory} {what} `{other}`: one client could reach the backups of the other");
            let path = [at[0], at[1], at[2], "directory"];
            self.error(&path, message, "give each account a directory of its own, beside the others");
        }
    }

    fn keys(&mut self, at: &[&str; 3], spec: &SshUserSpec) {
        let mut seen = Vec::new();
        for (place, key) in spec.authorized_keys.iter().enumerate() {
            if seen.contains(&key.key.identity()) {
                let path = [at[0], at[1], at[2], "authorized_keys", &place.to_string()];
                self.error(
                    &path,
                    "this key is there twice",
                    "remove one of the two; sshd uses only the first",
                );
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
        if !prune.keep_within.is_kept_within() {
            let message = format!("`keep_within: {}` is nothing that restic could count", prune.keep_within);
            self.error(&path("keep_within"), message, KEEP_WITHIN);
        }
    }
}

#[cfg(test)]
mod tests {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";

    #[test]
    fn two_accounts_never_share_a_directory() {
        for (other, refused) in [
            ("/srv/a", true),
            ("/srv/a/", true),
            ("/srv/a/repo/c", true),
            ("/srv/ab", false),
            ("/srv/b/a", false),
        ] {
            let user =
                |directory| format!("{{ directory: {directory}, authorized_keys: [{{ key: {KEY} }}] }}");
            let text = format!(
                "version: 1\nhost: nas.lan\nssh: {{ users: {{ a: {}, b: {} }} }}\n",
                user("/srv/a"),
                user(other)
            );
            let loaded = crate::state::load("state", &mut |_| Ok(text.clone()));
            assert_eq!(loaded.is_err(), refused, "{other}");
        }
    }
}
