//! Expands SSH: key pairs, and for each user that connects to other machines its configuration and its known hosts.
//!
//! The jobs decide whose files these are: ssh reads the files of the user that restic runs as.

use std::collections::{BTreeMap, BTreeSet};

use super::{Declared, Expanded, UserFacts, repositories};
use crate::{
    destination::Destination,
    effect::Owner,
    model::{Address, HostPath, Line, Mode, Server, UserName, known_name},
    resource::{
        Directory, Finding, Kind as _, Known, KnownHosts, NewKey, Severity, SshConfig, SshConfigHost,
        SshHostSpec, SshKey,
    },
    state::State,
};

/// Homes of accounts that have none (base-passwd, adduser).
const NOWHERE: [&str; 3] = ["/", "/nonexistent", "/dev/null"];

/// Lists the users that reach a machine: those of the jobs that store there, and who owns its key. Who keeps the
/// set-up, if there are none.
pub(super) fn users_of(
    state: &State,
    name: &Server,
    host: &SshHostSpec,
    keeper: &UserName,
) -> BTreeSet<UserName> {
    let mut users = BTreeSet::new();
    let there = state.destinations.iter().filter(|(_, it)| it.peer().is_some_and(|peer| is(name, peer.host)));
    for (destination, _) in there {
        let jobs = repositories::users_of(state, destination);
        users.extend(jobs.into_iter().cloned());
    }
    let key = host.identity.as_ref().and_then(|identity| state.ssh.keys.get(&identity.0));
    users.extend(key.map(|key| key.owner.clone()));
    if users.is_empty() {
        users.insert(keeper.clone());
    }
    users
}

/// Host names are the same in any case.
fn is(name: &Server, other: &Server) -> bool {
    name.as_str().eq_ignore_ascii_case(other.as_str())
}

pub(super) fn add(state: &State, user_facts: &UserFacts, expanded: &mut Expanded) {
    let mut reached: BTreeMap<UserName, Vec<(&Server, &SshHostSpec)>> = BTreeMap::new();
    let mut used: BTreeMap<&HostPath, BTreeSet<UserName>> = BTreeMap::new();
    for (name, host) in &state.ssh.hosts {
        for user in users_of(state, name, host, &expanded.keeper().user) {
            if let Some(identity) = &host.identity {
                used.entry(&identity.0).or_default().insert(user.clone());
            }
            reached.entry(user).or_default().push((name, host));
        }
    }
    for path in state.ssh.keys.keys() {
        used.entry(path).or_default();
    }
    for (path, users) in used {
        key(state, path, &users, expanded);
    }
    for (user, hosts) in reached {
        files(state, &user, &hosts, user_facts, expanded);
    }
}

/// Declares a key pair, and the directory that it is in.
fn key(state: &State, path: &HostPath, users: &BTreeSet<UserName>, expanded: &mut Expanded) {
    let spec = state.ssh.keys.get(path);
    let others = || users.iter().find(|user| **user != UserName::root()).cloned();
    let owner = spec.map(|spec| spec.owner.clone()).or_else(others).unwrap_or_else(|| expanded.keeper().user);
    // root reads every file.
    if let Some(user) = users.iter().find(|user| **user != owner && **user != UserName::root()) {
        let message = format!("it belongs to {owner}, and {user} is to work with it too");
        let finding = Finding::new(Severity::Error, format!("ssh_key:{path}"), message);
        expanded.findings.push(finding.remedy("give each user a key and a host entry of its own"));
    }
    let make = spec.map(|spec| {
        // A user's and a host's name are one line.
        let usual = || Line::try_from(format!("{owner}@{}", state.host)).ok();
        let comment = spec.comment.clone().or_else(usual);
        comment.map(|comment| NewKey { kind: spec.kind, comment })
    });
    let owner = expanded.owner_of(&owner);
    if spec.is_some() {
        directory(path, &owner, expanded);
    }
    let agent = state.ssh.agent.as_ref().map(|agent| agent.socket.clone());
    let resource = SshKey { path: path.clone(), owner, make: make.flatten(), agent };
    let (adopt, protect) = spec.map_or((false, false), |spec| (spec.adopt, spec.protect));
    expanded.add(Declared { adopt, protect, ..Declared::plain(resource) });
}

/// Declares the directory that a user's file is in: `.ssh` is the user's, another one root's, with a way through.
fn directory(path: &HostPath, owner: &Owner, expanded: &mut Expanded) {
    let Some(dir) = path.parent().filter(|dir| dir.as_str() != "/") else { return };
    let made = match dir.name() {
        ".ssh" => {
            let (owner, mode) = (owner.clone(), Mode::new(0o700));
            Declared::plain(Directory {
                path: dir,
                owner,
                mode,
                mounted: false,
                implied: true,
                may_be_absent: false,
            })
        }
        _ if owner.user == expanded.keeper().user => expanded.implied(dir, Mode::new(0o700)),
        _ => expanded.implied(dir, Mode::new(0o711)),
    };
    expanded.resources.entry(made.resource.address()).or_insert(made);
}

/// Declares a user's configuration and known hosts.
fn files(
    state: &State,
    user: &UserName,
    hosts: &[(&Server, &SshHostSpec)],
    user_facts: &UserFacts,
    expanded: &mut Expanded,
) {
    let Some([config, known_hosts]) = places(user, user_facts) else {
        let message = format!("{user} has no home, where ssh looks for its configuration");
        let finding = Finding::new(Severity::Error, "ssh.hosts", message);
        expanded.findings.push(finding.remedy(format!("give it one: usermod --home /var/lib/{user} {user}")));
        return;
    };
    let owner = expanded.owner_of(user);
    directory(&config, &owner, expanded);
    let agent = state.ssh.agent.as_ref().filter(|_| *user == UserName::root()).map(|agent| &agent.socket);
    let entries: Vec<SshConfigHost<'_>> =
        hosts.iter().map(|(name, spec)| SshConfigHost { names: names(state, name), spec }).collect();
    let known = hosts.iter().map(|(name, spec)| known(state, name, spec)).collect();
    let keys = hosts.iter().filter_map(|(_, spec)| Some(spec.identity.as_ref()?.0.clone())).collect();
    let adopt = hosts.iter().any(|(_, spec)| spec.adopt);
    let protect = hosts.iter().any(|(_, spec)| spec.protect);
    let declared =
        |resource: crate::resource::Resource| Declared { adopt, protect, ..Declared::plain(resource) };
    expanded.add(declared(KnownHosts::new(known_hosts.clone(), owner.clone(), known, keys).into()));
    match SshConfig::new(config, owner, &entries, &known_hosts, agent) {
        Ok(config) => expanded.add(declared(config.into())),
        Err(bad) => {
            let finding = Finding::new(Severity::Error, "ssh.hosts", bad.to_string());
            let finding = match bad.remedy {
                Some(remedy) => finding.remedy(remedy),
                None => finding,
            };
            expanded.findings.push(finding);
        }
    }
}

/// Says where a user is at home, if it is. One that is not there yet will be where useradd(8) puts it.
pub(super) fn home(user: &UserName, user_facts: &UserFacts) -> Option<HostPath> {
    let home = match user_facts.homes.get(user) {
        Some(home) => home.clone(),
        None if *user == UserName::root() => HostPath::fixed("/root"),
        None => HostPath::fixed("/home").join(user.as_str()).ok()?,
    };
    (!NOWHERE.contains(&home.as_str())).then_some(home)
}

/// Says where a user's files are.
fn places(user: &UserName, user_facts: &UserFacts) -> Option<[HostPath; 2]> {
    let dir = home(user, user_facts)?.join(".ssh").ok()?;
    Some([dir.join("config").ok()?, dir.join("known_hosts").ok()?])
}

/// Finds what the state says of a machine.
pub(super) fn declared<'a>(state: &'a State, host: &Server) -> Option<&'a SshHostSpec> {
    state.ssh.hosts.iter().find(|(name, _)| is(name, host)).map(|(_, spec)| spec)
}

/// Lists what must be in place before a user reaches a machine that is declared so.
pub(super) fn before(user: &UserName, user_facts: &UserFacts, spec: &SshHostSpec) -> Vec<Address> {
    let files = places(user, user_facts).into_iter().flatten();
    let files = [SshConfig::NAME, KnownHosts::NAME].into_iter().zip(files);
    let files = files.map(|(kind, path)| Address::new(kind, path.as_str()));
    let key = spec.identity.iter().map(|key| Address::new(SshKey::NAME, key.0.as_str()));
    files.chain(key).collect()
}

/// Lists the ways in which a machine's name is written: ssh's configuration tells capitals apart.
fn names<'a>(state: &'a State, name: &'a Server) -> Vec<&'a Server> {
    let peers = state.destinations.values().filter_map(Destination::peer).map(|peer| peer.host);
    let written: BTreeSet<&Server> = peers.filter(|host| is(name, host) && *host != name).collect();
    std::iter::once(name).chain(written).collect()
}

/// Says by which names ssh looks a machine up: by every port that it is reached at.
fn known(state: &State, name: &Server, spec: &SshHostSpec) -> Known {
    let peers = state.destinations.values().filter_map(Destination::peer).filter(|peer| is(name, peer.host));
    let mut ports: BTreeSet<u16> = peers.filter_map(|peer| peer.port).collect();
    ports.insert(spec.port.unwrap_or(22));
    let address = spec.address.as_ref().unwrap_or(name);
    let names = ports.into_iter().map(|port| known_name(address.as_str(), port)).collect();
    Known { names, keys: spec.host_keys.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Address, resource::Resource};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";

    fn expanded(yaml: &str, homes: &[(&str, &str)]) -> Expanded {
        let text = format!("version: 1\nhost: web01\n{}", yaml.replace("KEY", KEY));
        let loaded = crate::state::load("state", &mut |_| Ok(text.clone()));
        let state = loaded.unwrap_or_else(|_| panic!("{text}")).state;
        let homes = homes.iter().map(|(user, home)| (user.parse().unwrap(), home.parse().unwrap())).collect();
        let user_facts = UserFacts { homes, ..UserFacts::default() };
        let mut expanded = Expanded::default();
        add(&state, &user_facts, &mut expanded);
        expanded
    }

    fn addresses(expanded: &Expanded, kind: &str) -> Vec<String> {
        let of_kind = expanded.resources.keys().filter(|address| address.kind() == kind);
        of_kind.map(|address| address.key().to_owned()).collect()
    }

    const JOBS: &str = "
destinations:
  nas: { sftp: { host: NAS.lan, port: 2222, path: /r }, password_file: /p }
  worm: { rclone: { ssh: { host: nas.lan }, path: r }, password_file: /q }
jobs:
  a: { sources: [{ path: /etc }], to: [nas], user: backup }
  b: { sources: [{ path: /etc }], to: [worm] }
";

    #[test]
    fn each_user_that_reaches_a_machine_has_files_of_its_own() {
        let hosts = "ssh: { hosts: { nas.lan: { host_keys: [KEY] }, other: { host_keys: [KEY] } } }\n";
        let it = expanded(&format!("{JOBS}{hosts}"), &[("backup", "/var/backups")]);
        assert!(it.findings.is_empty());
        assert_eq!(addresses(&it, "ssh_config"), ["/root/.ssh/config", "/var/backups/.ssh/config"]);
        let known = &it.resources[&Address::new("known_hosts", "/var/backups/.ssh/known_hosts")];
        let text = serde_json::to_string(&known.resource).unwrap();
        assert!(text.contains(&format!("nas.lan,[nas.lan]:2222 {KEY}")) && !text.contains("other"), "{text}");
        let config = &it.resources[&Address::new("ssh_config", "/var/backups/.ssh/config")];
        assert!(serde_json::to_string(&config.resource).unwrap().contains("Host nas.lan NAS.lan"));
        // One who is not there yet will be at home where useradd puts it.
        let it = expanded(&format!("{JOBS}{hosts}"), &[]);
        assert_eq!(
            addresses(&it, "known_hosts"),
            ["/home/backup/.ssh/known_hosts", "/root/.ssh/known_hosts"]
        );
        let it = expanded(&format!("{JOBS}{hosts}"), &[("backup", "/nonexistent")]);
        assert_eq!(addresses(&it, "ssh_config"), ["/root/.ssh/config"]);
        assert!(it.findings[0].message.contains("backup has no home"), "{:?}", it.findings);
    }

    #[test]
    fn a_key_that_is_only_named_is_not_made() {
        let hosts = "ssh:\n  keys: { /etc/k/declared: { owner: backup } }\n  hosts:\n    a: { identity: /etc/k/declared, \
            host_keys: [KEY] }\n    b: { identity: /etc/k/named, host_keys: [KEY] }\n";
        let it = expanded(hosts, &[]);
        let made = |path: &str| match &it.resources[&Address::new("ssh_key", path)].resource {
            Resource::SshKey(key) => {
                (key.make.as_ref().map(|new| new.comment.to_string()), key.owner.user.to_string())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(made("/etc/k/declared"), (Some("backup@web01".into()), "backup".into()));
        assert_eq!(made("/etc/k/named"), (None, "root".into()));
        assert_eq!(addresses(&it, "ssh_config"), ["/home/backup/.ssh/config", "/root/.ssh/config"]);
    }

    #[test]
    fn two_users_do_not_share_a_key() {
        let hosts = "ssh:\n  keys: { /k: { owner: www-data } }\n  hosts: { nas.lan: { identity: /k, host_keys: [KEY] } }\n";
        let it = expanded(&format!("{JOBS}{hosts}"), &[]);
        let said: Vec<&str> = it.findings.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(said, ["it belongs to www-data, and backup is to work with it too"]);
    }
}
