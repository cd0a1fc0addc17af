//! Finds repositories and client accounts that are not declared but lie beside declared ones. On a host that was set
//! up by hand they may have to be added to the state, or removed. rlvm reports them and never touches them.

use std::{borrow::Cow, collections::BTreeSet};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Finding, Look, Severity, check::Check};
use crate::{
    host::{Entry, Observe},
    model::{Address, HostPath, UserName},
};

/// A directory in which something is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undeclared {
    /// Which.
    pub directory: HostPath,
    /// What is declared in it.
    pub known: BTreeSet<HostPath>,
    /// The clients' accounts that are declared.
    pub clients: BTreeSet<UserName>,
    /// Whether clients are at home in it.
    pub has_clients: bool,
}

/// What was seen in it that is not declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UndeclaredSeen {
    /// Directories that are repositories of restic's.
    pub repositories: Vec<HostPath>,
    /// Accounts, with their homes.
    pub accounts: Vec<(String, String)>,
    /// Why it could not be looked through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
}

impl Undeclared {
    fn address(&self) -> Address {
        Address::new(Self::NAME, self.directory.as_str())
    }

    fn repositories(&self, host: &dyn Observe, seen: &mut UndeclaredSeen) -> Result<()> {
        let names = match host.names(&self.directory) {
            Ok(names) => names,
            Err(err) => {
                seen.unseen = Some(format!("{err:#}"));
                return Ok(());
            }
        };
        for name in names {
            // Whatever a name may be, a path of this host is none that holds control characters.
            let Ok(path) = self.directory.join(&name) else { continue };
            let inside = self.has_clients.then(|| path.join("repo")).and_then(Result::ok);
            for path in std::iter::once(path).chain(inside) {
                if !self.known.contains(&path) && is_repository(host, &path)? {
                    seen.repositories.push(path);
                }
            }
        }
        Ok(())
    }
}

/// Says whether a directory looks like a repository; one that cannot be looked into does not.
fn is_repository(host: &dyn Observe, path: &HostPath) -> Result<bool> {
    let Entry::File(_) = host.entry(&path.join("config")?)? else { return Ok(false) };
    Ok(matches!(host.entry(&path.join("keys")?)?, Entry::Directory(_)))
}

impl Check for Undeclared {
    const NAME: &'static str = "undeclared";
    type Seen = UndeclaredSeen;

    fn key(&self) -> Cow<'_, str> {
        self.directory.as_str().into()
    }

    fn needs(&self) -> Vec<Address> {
        vec![Address::new("directory", self.directory.as_str())]
    }

    fn observe(&self, look: &Look<'_, UndeclaredSeen>) -> Result<UndeclaredSeen> {
        let mut seen = UndeclaredSeen::default();
        self.repositories(look.host, &mut seen)?;
        if self.has_clients {
            let declared = |name: &str| self.clients.iter().any(|client| client.as_str() == name);
            seen.accounts = look.host.users_below(&self.directory)?;
            seen.accounts.retain(|(name, _)| !declared(name));
        }
        Ok(seen)
    }

    fn findings(&self, seen: &UndeclaredSeen) -> Vec<Finding> {
        let say = |message: String, remedy: &str| {
            Finding::new(Severity::Notice, self.address(), message).remedy(remedy)
        };
        let repositories = seen.repositories.iter().map(|path| {
            let message =
                format!("unknown: {path} is a repository that is not declared; rlvm leaves it alone");
            say(message, "declare it in `destinations`, or its client in `ssh: users:`")
        });
        let accounts = seen.accounts.iter().map(|(name, home)| {
            let message = format!(
                "unknown: the account {name} with the home {home} is not declared; rlvm leaves it alone"
            );
            say(message, "declare it in `ssh: users:`, or delete it")
        });
        let unseen = seen
            .unseen
            .iter()
            .map(|why| Finding::new(Severity::Notice, self.address(), format!("not looked through: {why}")));
        repositories.chain(accounts).chain(unseen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Diff, Kind as _};

    #[test]
    fn what_is_unknown_is_named_and_nothing_is_done() {
        let it = Undeclared {
            directory: "/srv/clients".parse().unwrap(),
            known: BTreeSet::new(),
            clients: BTreeSet::new(),
            has_clients: true,
        };
        let seen = UndeclaredSeen {
            repositories: vec!["/srv/clients/old/repo".parse().unwrap()],
            accounts: vec![("old".into(), "/srv/clients/old".into())],
            unseen: None,
        };
        let said: Vec<String> = it.findings(&seen).into_iter().map(|it| it.message).collect();
        assert_eq!(
            said,
            [
                "unknown: /srv/clients/old/repo is a repository that is not declared; rlvm leaves it alone",
                "unknown: the account old with the home /srv/clients/old is not declared; rlvm leaves it alone",
            ]
        );
        assert!(it.findings(&UndeclaredSeen::default()).is_empty() && it.diff(&seen) == Diff::Unmanaged);
    }
}
