//! A user or group that something declared belongs to. It is looked at, not made.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Diff, Finding, Kind, Look, Removal, Severity};
use crate::model::{Address, GroupName, HostPath, UserName};

/// A user or group that must be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// A user.
    User(UserName),
    /// A group.
    Group(GroupName),
}

impl Account {
    fn noun(&self) -> (&'static str, &str, &'static str) {
        match self {
            Self::User(name) => ("user", name.as_str(), "useradd"),
            Self::Group(name) => ("group", name.as_str(), "groupadd"),
        }
    }

    /// Lists the addresses of a user and a group; root needs no looking at.
    pub fn needs(user: &UserName, group: &GroupName) -> Vec<Address> {
        let user = (*user != UserName::root()).then(|| Self::User(user.clone()));
        let group = (*group != GroupName::root()).then(|| Self::Group(group.clone()));
        user.into_iter().chain(group).map(|it| Address::new(Self::NAME, &it.key())).collect()
    }
}

impl Kind for Account {
    const NAME: &'static str = "account";
    /// Whether it is there.
    type Seen = bool;

    fn key(&self) -> String {
        let (noun, name, _) = self.noun();
        format!("{noun}/{name}")
    }

    fn path(&self) -> Option<&HostPath> {
        None
    }

    fn observe(&self, look: &Look<'_, bool>) -> Result<bool> {
        match self {
            Self::User(user) => look.host.has_user(user),
            Self::Group(group) => look.host.has_group(group),
        }
    }

    fn exists(&self, seen: &bool) -> bool {
        *seen
    }

    fn diff(&self, _: &bool) -> Diff {
        Diff::Same
    }

    fn checks(&self, seen: &bool, _: Option<&bool>) -> Vec<Finding> {
        if *seen {
            return Vec::new();
        }
        let (noun, name, tool) = self.noun();
        let address = Address::new(Self::NAME, &self.key());
        let finding = Finding::new(Severity::Error, address, format!("there is no {noun} {name}"));
        vec![finding.remedy(format!("make it (`{tool} --system {name}`), or name another"))]
    }

    fn removal(&self, _: &bool, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        Removal::Forget("accounts stay".into())
    }

    fn is_managed(&self, _: &bool) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_account_is_named_with_its_remedy() {
        let user = Account::User("backup".parse().unwrap());
        assert!(user.checks(&true, None).is_empty());
        let missing = user.checks(&false, None);
        assert_eq!(missing[0].message, "there is no user backup");
        assert_eq!(missing[0].severity, Severity::Error);
        assert_eq!(user.diff(&false), Diff::Same);
    }

    #[test]
    fn root_needs_no_looking_at() {
        assert!(Account::needs(&UserName::root(), &GroupName::root()).is_empty());
        let needs = Account::needs(&"a".parse().unwrap(), &"b".parse().unwrap());
        assert_eq!(
            needs.iter().map(Address::as_str).collect::<Vec<_>>(),
            ["account:user/a", "account:group/b"]
        );
    }
}
