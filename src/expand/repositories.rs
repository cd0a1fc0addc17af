//! A destination's password file, environment file and repository.

use std::collections::BTreeSet;

use super::{Declared, Expanded, resources::implied};
use crate::{
    destination::{Destination, Kind},
    effect::Owner,
    model::{Address, GroupName, HostPath, Mode, Name, SecretFile, UserName},
    resource::{Directory, Finding, Location, OnRemove, Repository, Resource, Role, Secret, Severity},
    state::State,
};

pub(super) fn add(state: &State, expanded: &mut Expanded) {
    for (name, destination) in &state.destinations {
        let user = user_of(state, name, expanded);
        let password = &destination.password_file;
        secret(expanded, name, password, Role::Password, &user, destination);
        if let Some(env_file) = &destination.env_file {
            secret(expanded, name, env_file, Role::Environment, &user, destination);
        }
        if let Kind::Local(local) = &destination.kind {
            repository(expanded, name, &local.path, &user, destination);
        }
    }
}

/// Lists the users of the jobs that store at a destination.
pub(super) fn users_of<'a>(state: &'a State, destination: &Name) -> BTreeSet<&'a UserName> {
    let uses = |job: &&crate::state::Job| job.to.contains(destination) || job.copy.contains_key(destination);
    state.jobs.values().filter(uses).map(|job| &job.user).collect()
}

/// Finds who works with a destination: the jobs' user. Jobs of several users would lock each other out.
fn user_of(state: &State, destination: &Name, expanded: &mut Expanded) -> UserName {
    let users = users_of(state, destination);
    if users.len() > 1 {
        let names: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
        let message = format!("jobs of several users store here: {}", names.join(", "));
        let finding = Finding::new(Severity::Error, format!("destinations.{destination}"), message);
        let remedy = "give them one user, or each a destination: files of one cannot be read by the other";
        expanded.findings.push(finding.remedy(remedy));
    }
    users.first().map_or_else(UserName::root, |user| (*user).clone())
}

fn secret(
    expanded: &mut Expanded,
    name: &Name,
    file: &SecretFile,
    role: Role,
    user: &UserName,
    of: &Destination,
) {
    let generate = role == Role::Password && of.generate_password;
    let owner = Owner { user: user.clone(), group: GroupName::root() };
    let secret = Secret { destination: name.clone(), file: file.clone(), role, owner, generate };
    let address = Address::new("secret", file.0.as_str());
    // One password for several destinations is one file: made if one of them asks for it.
    if let Some(there) = expanded.resources.get_mut(&address) {
        if let Resource::Secret(first) = &mut there.resource {
            first.generate |= secret.generate;
            if first.owner != secret.owner {
                let message = format!("read by {} and by {user}", first.owner.user);
                let finding = Finding::new(Severity::Error, address, message);
                expanded.findings.push(finding.remedy("give each destination a password file of its own"));
            }
        }
        return;
    }
    if secret.generate
        && let Some(dir) = file.0.parent().filter(|dir| dir.as_str() != "/")
    {
        // Private, but a job's user must get through to its own file.
        let mode = if *user == UserName::root() { Mode::new(0o700) } else { Mode::new(0o711) };
        let address = Address::new("directory", dir.as_str());
        let wider = |there: &mut Declared| {
            if let Resource::Directory(Directory { implied: true, mode: now, .. }) = &mut there.resource {
                *now = Mode::new(now.bits() | mode.bits());
            }
        };
        expanded.resources.entry(address).and_modify(wider).or_insert_with(|| implied(dir, mode));
    }
    expanded.add(Declared { adopt: of.adopt, protect: of.protect, ..Declared::plain(secret) });
}

fn repository(expanded: &mut Expanded, name: &Name, path: &HostPath, user: &UserName, of: &Destination) {
    let address = Address::new("directory", path.as_str());
    // The user's own word for this very directory comes first.
    expanded.resources.entry(address).or_insert_with(|| {
        let owner = Owner { user: user.clone(), group: GroupName::root() };
        let (path, mode) = (path.clone(), Mode::new(0o700));
        Declared::plain(Directory { path, owner, mode, mounted: false, implied: true })
    });
    let resource = Repository {
        name: name.clone(),
        location: Location::Local(path.clone()),
        password: of.password_file.clone(),
        user: user.clone(),
    };
    expanded.add(Declared {
        adopt: of.adopt,
        protect: of.protect,
        on_remove: OnRemove::Default,
        was: of.was.iter().map(|was| Address::new("repository", was.as_str())).collect(),
        ..Declared::plain(resource)
    });
}
