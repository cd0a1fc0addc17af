//! Refuses resources of a user's own set-up that only root could create, each with an explanation.

use super::{Declared, Expanded};
use crate::{
    model::{Personal, UserName},
    resource::{Directory, Finding, Resource, Severity, Writable},
    source::Source,
    state::State,
};

/// Refuses what needs root, and has looked at whether the rest can be made where it is declared.
pub(super) fn refuse(state: &State, personal: &Personal, expanded: &mut Expanded) {
    let mut found = Vec::new();
    let mut say = |place: String, what: String| {
        let finding = Finding::new(Severity::Error, place, format!("it needs root: {what}"));
        found.push(
            finding.remedy("leave it out here, or declare it in the host's own state, which root applies"),
        );
    };
    for user in state.ssh.users.keys() {
        say(format!("ssh.users.{user}"), "only root can create accounts for clients".into());
    }
    if state.ssh.agent.is_some() {
        say("ssh.agent".into(), "the agent that rlvm starts is root's, for keys of root's".into());
    }
    for (place, user) in others(state, &personal.user) {
        say(place, format!("it is {user}'s, and you are {}", personal.user));
    }
    for (name, job) in state.jobs.iter().filter(|(_, job)| job.enabled) {
        for (index, source) in job.sources.iter().enumerate() {
            if matches!(source, Source::Lvm(_) | Source::Btrfs(_) | Source::Vm(_)) {
                let place = format!("jobs.{name}.sources.{index}.{}", source.key());
                say(place, "only root can freeze volumes".into());
            }
        }
    }
    expanded.findings.extend(found);
    // What was refused is not looked at: nobody can look as somebody else.
    expanded.resources.retain(|_, declared| owner(&declared.resource).is_none_or(|it| *it == personal.user));
    look(personal, expanded);
}

/// Lists what is declared as another user's.
fn others<'a>(state: &'a State, own: &UserName) -> Vec<(String, &'a UserName)> {
    let directories = state.directories.iter();
    let directories =
        directories.filter_map(|(path, spec)| Some((format!("directory:{path}"), spec.owner.as_ref()?)));
    let jobs = state.jobs.iter().filter(|(_, job)| job.enabled);
    let jobs = jobs.map(|(name, job)| (format!("jobs.{name}.user"), &job.user));
    let cron = state.cron.iter().map(|(name, spec)| (format!("cron.{name}.user"), &spec.user));
    let keys = state.ssh.keys.iter().map(|(path, spec)| (format!("ssh_key:{path}"), &spec.owner));
    directories.chain(jobs).chain(cron).chain(keys).filter(|(_, user)| *user != own).collect()
}

/// Says whose something is, if it says so itself.
fn owner(resource: &Resource) -> Option<&UserName> {
    match resource {
        Resource::Directory(directory) => Some(&directory.owner.user),
        Resource::Secret(secret) => Some(&secret.owner.user),
        Resource::SshKey(key) => Some(&key.owner.user),
        Resource::Repository(repository) => Some(&repository.user),
        _ => None,
    }
}

/// Declares what looks whether the user can make what is declared.
fn look(personal: &Personal, expanded: &mut Expanded) {
    let mut places = Vec::new();
    for (address, declared) in &expanded.resources {
        let left = match &declared.resource {
            Resource::Directory(Directory { implied, .. }) => *implied,
            // A person's own: it is looked at, and not made.
            Resource::Secret(secret) if !secret.generate => continue,
            Resource::SshKey(key) if key.make.is_none() => continue,
            // Its directory is a resource of its own.
            Resource::Repository(_) => continue,
            _ => false,
        };
        let Some(path) = declared.resource.path() else { continue };
        let (of, user) = (address.clone(), personal.user.clone());
        places.push(Writable { of, path: path.clone(), user, left });
    }
    for place in places {
        expanded.add(Declared::plain(place));
    }
}
