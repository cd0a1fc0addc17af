//! Expands users and groups: accounts of clients, which rlvm creates, and owners of other resources, which must
//! exist.

use super::{Declared, Expanded};
use crate::{
    effect::Owner,
    model::{Address, GroupName, HostPath, UserName},
    resource::{
        Access, Account, AuthorizedKeys, Kind as _, NewGroup, NewUser, OnRemove, Resource, SshdConfig,
    },
    state::State,
};

/// What is started at a login that may only transfer files: nothing. internal-sftp needs no shell (`sshd_config(5)`).
const NO_LOGIN: &str = "/usr/sbin/nologin";
/// What runs a forced command, and logs in who may (sshd(8)).
const SHELL: &str = "/bin/sh";

/// Declares the accounts of clients, each with a group of its own.
pub(super) fn clients(state: &State, expanded: &mut Expanded) {
    for (name, spec) in &state.ssh.users {
        // Its name is one that groups may have too: useradd's rule is the same for both.
        let Ok(group) = name.as_str().parse::<GroupName>() else { continue };
        let goes = spec.on_remove == OnRemove::Delete;
        let shell = match spec.access {
            Access::Sftp => NO_LOGIN,
            Access::AppendOnly | Access::Shell => SHELL,
        };
        let user = NewUser {
            name: name.clone(),
            group: group.clone(),
            home: spec.directory.clone(),
            shell: HostPath::fixed(shell),
            after: vec![Address::new(AuthorizedKeys::NAME, name.as_str()), SshdConfig::address()],
            goes,
        };
        for account in [Account::NewGroup(NewGroup { name: group, goes }), Account::NewUser(user)] {
            let (adopt, protect, on_remove) = (spec.adopt, spec.protect, spec.on_remove);
            expanded.add(Declared { adopt, protect, on_remove, ..Declared::plain(account) });
        }
    }
}

/// Declares the users and groups that something belongs to, unless they are made.
pub(super) fn needed(expanded: &mut Expanded) {
    let mut accounts = Vec::new();
    for declared in expanded.resources.values() {
        let Owner { user, group } = match &declared.resource {
            Resource::Directory(directory) => &directory.owner,
            Resource::Secret(secret) => &secret.owner,
            Resource::SshKey(key) => &key.owner,
            _ => continue,
        };
        let user = (*user != UserName::root()).then(|| Account::User(user.clone()));
        let group = (*group != GroupName::root()).then(|| Account::Group(group.clone()));
        accounts.extend(user.into_iter().chain(group));
    }
    accounts.sort_unstable();
    accounts.dedup();
    for account in accounts {
        let address = Address::new(Account::NAME, &account.key());
        if !expanded.resources.contains_key(&address) {
            expanded.add(Declared::plain(account));
        }
    }
}
