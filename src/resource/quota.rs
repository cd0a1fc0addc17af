//! How much of its file system a client's account may fill. rlvm reads the quota, and does not set it.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Account, Finding, Look, Severity, check::Check};
use crate::{
    host,
    model::{Address, GroupName, HostPath, UserName},
};

/// An account, and the directory that it fills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The account.
    pub user: UserName,
    /// Where it stores.
    pub directory: HostPath,
}

/// What is rounded down to: a plan would be stale with each byte that a client writes.
const UNIT: u64 = 1 << 30;

impl Check for Quota {
    const NAME: &'static str = "quota";
    /// In bytes; nothing where the file system has no quotas.
    type Seen = Option<host::Quota>;

    fn key(&self) -> Cow<'_, str> {
        self.user.as_str().into()
    }

    fn needs(&self) -> Vec<Address> {
        Account::needs(&self.user, &GroupName::root())
    }

    fn observe(&self, look: &Look<'_, Option<host::Quota>>) -> Result<Option<host::Quota>> {
        if look.host.is_tree() {
            return Ok(None);
        }
        let quota = look.host.quota(&self.user, &self.directory)?;
        Ok(quota.map(|quota| host::Quota { used: quota.used / UNIT * UNIT, ..quota }))
    }

    fn findings(&self, seen: &Option<host::Quota>) -> Vec<Finding> {
        let Some(host::Quota { at, limit, used }) = seen else { return Vec::new() };
        let (user, used) = (&self.user, used / UNIT);
        let address = Address::new(Self::NAME, user.as_str());
        let say = |what: String| Finding::new(Severity::Notice, address, what);
        vec![match limit {
            Some(limit) => say(format!("quota of {user} on {at}: {}, {used} GiB used", size(*limit))),
            None => say(format!("{user} has no quota on {at}, {used} GiB used: it may fill it"))
                .remedy(format!("setquota -u {user} 0 100G 0 0 {at}")),
        }]
    }
}

/// Writes a limit in the largest unit that leaves something to read.
fn size(bytes: u64) -> String {
    match bytes {
        0..UNIT => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes / UNIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_and_so_is_none() {
        let it = Quota { user: "web01".parse().unwrap(), directory: "/srv/a".parse().unwrap() };
        let said = |limit: Option<u64>, used| {
            let found = it.findings(&Some(host::Quota { at: "/srv".into(), limit, used }));
            (found[0].message.clone(), found[0].remedy.clone())
        };
        let full = said(Some(100 * UNIT), 12 * UNIT);
        assert_eq!(full, ("quota of web01 on /srv: 100 GiB, 12 GiB used".into(), None));
        assert_eq!(said(Some(512 << 20), 0).0, "quota of web01 on /srv: 512 MiB, 0 GiB used");
        let (none, remedy) = said(None, UNIT);
        assert_eq!(none, "web01 has no quota on /srv, 1 GiB used: it may fill it");
        assert_eq!(remedy.as_deref(), Some("setquota -u web01 0 100G 0 0 /srv"));
        assert!(it.findings(&None).is_empty());
    }
}
