//! A destination's password file, credentials and repository.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Declared, Expanded, UserFacts,
    ssh::{before, declared, home},
};
use crate::{
    destination::{Destination, Kind, Rclone, Reach},
    effect::{Arg, Private},
    model::{Address, HostPath, Mode, Name, Scope, SecretFile, UserName},
    resource::{
        Directory, Engine, Finding, Kind as _, Location, Machine, OnRemove, Remote, Repository, Resource,
        Role, Secret, Severity,
    },
    restic::{Means, Original},
    source::Source,
    state::State,
};

pub(super) fn add(state: &State, user_facts: &UserFacts, scope: &Scope, expanded: &mut Expanded) {
    for (name, destination) in &state.destinations {
        let user = user_of(state, name, expanded);
        secret(expanded, name, &destination.password_file, Role::Password, &user, destination);
        let reach = destination.reach();
        if let Some(env_file) = &destination.env_file {
            secret(expanded, name, env_file, Role::Environment, &user, destination);
        }
        let files = reach.secrets.iter().filter(|it| !matches!(it, Private::All(_))).flat_map(Private::files);
        for file in files {
            secret(expanded, name, file, Role::Credential, &user, destination);
        }
        if let Some(file) = rclone_config(destination, home(&user, user_facts).as_ref()) {
            secret(expanded, name, &SecretFile(file), Role::Configuration, &user, destination);
        }
        for file in &reach.certificates {
            secret(expanded, name, &SecretFile(file.clone()), Role::Certificate, &user, destination);
        }
        let ground = Ground { state, scope, home: home(&user, user_facts) };
        repository(&ground, user_facts, expanded, name, &user, destination);
    }
}

/// Finds a destination's repository among what a state comes to: where it is, its password, its user, and all else that
/// a call of restic needs.
pub fn repository_of<'a>(expanded: &'a Expanded, destination: &Name) -> Option<&'a Repository> {
    let address = Address::new(Repository::NAME, destination.as_str());
    match &expanded.resources.get(&address)?.resource {
        Resource::Repository(repository) => Some(repository),
        _ => None,
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
    users.first().map_or_else(|| expanded.keeper().user, |user| (*user).clone())
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
    let owner = expanded.owner_of(user);
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
    if !matches!(role, Role::Configuration | Role::Certificate) {
        expanded.add_secret_directory(file);
    }
    expanded.add(Declared { adopt: of.adopt, protect: of.protect, ..Declared::plain(secret) });
}

/// What a destination's repository stands on, beside its own words.
struct Ground<'a> {
    state: &'a State,
    scope: &'a Scope,
    /// Where the user that works with it is at home.
    home: Option<HostPath>,
}

fn repository(
    ground: &Ground<'_>,
    user_facts: &UserFacts,
    expanded: &mut Expanded,
    name: &Name,
    user: &UserName,
    of: &Destination,
) {
    let Ground { state, .. } = *ground;
    let mut after = Vec::new();
    let location = match &of.kind {
        Kind::Local(local) => {
            directory(expanded, &local.path, user);
            Location::Local(local.path.clone())
        }
        _ => {
            let machine = machine(state, name, of, expanded);
            if let Some(spec) = machine.as_ref().and_then(|machine| declared(state, &machine.host)) {
                after.extend(before(user, user_facts, spec));
            }
            let directory = match &of.kind {
                Kind::Sftp(sftp) => Some(sftp.path.to_string()),
                _ => None,
            };
            let tools = of.reach().tools;
            let tools = tools.into_iter().map(|(tool, package)| (tool.into(), package.into())).collect();
            Location::Remote(Box::new(Remote { repository: of.repository(), tools, directory, machine }))
        }
    };
    after.extend(state.restic.iter().map(|pin| Engine::address_of(pin.version)));
    let like = original(ground, name);
    if let Some((from, original)) = &like {
        one_environment(expanded, name, of, from, original);
    }
    let resource = Repository {
        name: name.clone(),
        location,
        password: of.password_file.clone(),
        user: user.clone(),
        means: Box::new(ground.means(user, of)),
        like: like.map(Box::new),
        after,
        mounts: declared_mounts_for(state, of).into(),
        may_be_absent: of.may_be_absent.is_some(),
    };
    expanded.add(Declared {
        adopt: of.adopt,
        protect: of.protect,
        on_remove: OnRemove::Default,
        was: of.was.iter().map(|was| Address::new("repository", was.as_str())).collect(),
        ..Declared::plain(resource)
    });
}

/// Lists the directories that must be mount points, for a local destination.
fn declared_mounts_for(state: &State, of: &Destination) -> Vec<HostPath> {
    let mounts =
        state.directories.iter().filter(|(_, spec)| spec.mounted && matches!(of.kind, Kind::Local(_)));
    mounts.map(|(at, _)| at.clone()).collect()
}

/// Lists the directories at or above a local destination that must be mount points.
fn mounts_above(state: &State, of: &Destination) -> Vec<HostPath> {
    let Kind::Local(local) = &of.kind else { return Vec::new() };
    let mounts = state.directories.iter().filter(|(at, spec)| spec.mounted && local.path.is_within(at));
    mounts.map(|(at, _)| at.clone()).collect()
}

/// Marks mounts that may be missing: mounts that hold only destinations with `may_be_absent`. Reports a local destination
/// with `may_be_absent` that is on no declared mount, because rlvm could not distinguish an absent disk from a lost
/// repository.
pub(super) fn mark_absent(state: &State, expanded: &mut Expanded) {
    for (name, of) in state.destinations.iter().filter(|(_, of)| of.may_be_absent.is_some()) {
        if matches!(of.kind, Kind::Local(_)) && mounts_above(state, of).is_empty() {
            let message = "`may_be_absent` needs a directory with `mounted: true` at or above the path";
            let remedy = "declare where the disk is mounted: `directories: { /mnt/usb: { mounted: true } }`";
            let finding = Finding::new(Severity::Error, format!("destinations.{name}"), message);
            expanded.findings.push(finding.remedy(remedy));
        }
    }
    for at in state.directories.iter().filter(|(_, spec)| spec.mounted).map(|(at, _)| at) {
        let on_it = state.destinations.values().filter(|of| mounts_above(state, of).contains(at));
        let stored = state.jobs.values().flat_map(|job| &job.sources).flat_map(Source::all_paths);
        // Whatever else is declared there must not be left out without an error.
        let others = state.directories.keys().filter(|path| *path != at && path.is_within(at));
        let clients = state.ssh.users.values().filter(|user| user.directory.is_within(at));
        let may_be = on_it.clone().next().is_some()
            && others.count() + clients.count() == 0
            && on_it.clone().all(|of| of.may_be_absent.is_some())
            && !{ stored }.any(|path| path.is_within(at));
        let address = Address::new("directory", at.as_str());
        if let Some(Resource::Directory(it)) = expanded.resources.get_mut(&address).map(|it| &mut it.resource)
        {
            it.may_be_absent = may_be;
        }
    }
}

/// Declares a local repository's directory; the user's own word for this very directory comes first.
fn directory(expanded: &mut Expanded, path: &HostPath, user: &UserName) {
    let address = Address::new("directory", path.as_str());
    let owner = expanded.owner_of(user);
    expanded.resources.entry(address).or_insert_with(|| {
        let (path, mode) = (path.clone(), Mode::new(0o700));
        Declared::plain(Directory { path, owner, mode, mounted: false, implied: true, may_be_absent: false })
    });
}

/// Finds the machine that a destination is reached at over SSH. One that is not declared is nobody's care (R29).
fn machine(state: &State, name: &Name, of: &Destination, expanded: &mut Expanded) -> Option<Machine> {
    let peer = of.peer()?;
    let declared = declared(state, peer.host);
    if declared.is_none() {
        let message = format!(
            "{} is not declared in `ssh: hosts:`: rlvm manages neither its host key nor the key for it",
            peer.host
        );
        let remedy = format!("declare it; `rlvm ssh scan {}` shows its keys", peer.host);
        let finding = Finding::new(Severity::Warning, format!("destinations.{name}"), message);
        expanded.findings.push(finding.remedy(remedy));
    }
    let address = declared.and_then(|it| it.address.clone()).unwrap_or_else(|| peer.host.clone());
    let port = peer.port.or(declared.and_then(|it| it.port)).unwrap_or(22);
    let host_keys = declared.map(|it| it.host_keys.iter().cloned().collect()).unwrap_or_default();
    Some(Machine { user: peer.user.cloned(), host: peer.host.clone(), address, port, host_keys })
}

/// Says whether rclone runs here, with remotes of its own.
fn is_rclone(of: &Destination) -> bool {
    matches!(&of.kind, Kind::Rclone(rclone) if rclone.remote.is_some())
}

/// Says where rclone's configuration is, if its remotes are used: rclone itself would look in `$HOME`, which it has not.
fn rclone_config(of: &Destination, home: Option<&HostPath>) -> Option<HostPath> {
    let Kind::Rclone(Rclone { remote: Some(_), config_file, .. }) = &of.kind else { return None };
    let usual = || format!("{}/.config/rclone/rclone.conf", home?).parse().ok();
    config_file.as_ref().map(|file| file.0.clone()).or_else(usual)
}

/// Lists the users whose rclone's remotes are used.
pub(super) fn rclone_users(state: &State) -> impl Iterator<Item = UserName> {
    let there = state.destinations.iter().filter(|(_, of)| is_rclone(of));
    there.flat_map(|(name, _)| users_of(state, name)).cloned()
}

impl Ground<'_> {
    /// Says what restic needs to get at a destination.
    fn means(&self, user: &UserName, of: &Destination) -> Means {
        let own = self.scope.personal().is_some_and(|personal| personal.user == *user);
        Means { own, ..self.means_of(of.reach(), of) }
    }

    fn means_of(&self, reach: Reach, of: &Destination) -> Means {
        let mut variables: BTreeMap<String, Arg> =
            reach.variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if let Some(config) = rclone_config(of, self.home.as_ref()) {
            variables.insert("RCLONE_CONFIG".into(), Arg::Path(config));
        }
        let engine = self.state.restic.as_ref().and_then(|pin| Engine::path_of(pin.version, self.scope).ok());
        Means { engine, own: false, flags: reach.flags, variables, secrets: reach.secrets, cache: None }
    }
}

/// Finds the destination that copies to this one come from: the first job's, if several copy to it.
fn original(ground: &Ground<'_>, name: &Name) -> Option<(Name, Original)> {
    let state = ground.state;
    let from = state.jobs.values().find_map(|job| Some(&job.copy.get(name)?.from))?;
    let of = state.destinations.get(from)?;
    let location = match &of.kind {
        Kind::Local(local) => Arg::Path(local.path.clone()),
        _ => Arg::Word(of.repository()),
    };
    let means = Means { engine: None, ..ground.means_of(of.access(), of) };
    Some((from.clone(), Original { location, password: of.password_file.clone(), means }))
}

/// A copy is one call of restic, with one environment and each option once: what differs cannot both be in it.
fn one_environment(expanded: &mut Expanded, name: &Name, of: &Destination, from: &Name, original: &Original) {
    let ours = of.reach();
    let say = |severity, message: String| {
        let remedy = "reach one of the two in another way, or as an rclone remote, which has a configuration of its own";
        Finding::new(severity, format!("destinations.{name}"), message).remedy(remedy)
    };
    let theirs = options(&original.means.flags);
    // How ssh is called may differ: its configuration says it for each.
    let option = options(&ours.flags).into_iter().find_map(|(option, value)| {
        let differs = theirs.get(option).is_some_and(|theirs| *theirs != value);
        (differs && option != "sftp.command").then(|| option.to_owned())
    });
    let named =
        |secret: &Private| secret.variable().filter(|it| *it != "RESTIC_REPOSITORY").map(str::to_owned);
    let secrets = &original.means.secrets;
    let differing = secrets.iter().filter(|it| !ours.secrets.contains(it)).filter_map(&named);
    let secret = differing
        .into_iter()
        .find(|variable| ours.secrets.iter().any(|it| named(it).as_ref() == Some(variable)));
    let rclone = |config: &Arg| ours.variables.iter().any(|(_, ours)| ours != config);
    let variable =
        original.means.variables.iter().find(|(_, config)| rclone(config)).map(|(name, _)| name.clone());
    if let Some(what) = option.or(secret).or(variable) {
        let message =
            format!("copies come from {from}, and {what} differs there: one call of restic has one of them");
        expanded.findings.push(say(Severity::Error, message));
    }
    let files = |all: &[Private]| all.iter().find(|it| matches!(it, Private::All(_))).cloned();
    if let (Some(ours), Some(theirs)) = (files(&ours.secrets), files(secrets))
        && ours != theirs
    {
        let message = format!(
            "copies come from {from}, which has another `env_file`: of a variable in both one counts"
        );
        expanded.findings.push(say(Severity::Warning, message));
    }
}

/// Lists the extended options among flags.
fn options(flags: &[Arg]) -> BTreeMap<&str, &str> {
    let words =
        flags.iter().filter_map(|flag| if let Arg::Word(word) = flag { Some(word.as_str()) } else { None });
    let dotted = words.filter_map(|word| word.split_once('=')).filter(|(name, _)| name.contains('.'));
    dotted.filter(|(name, _)| !name.starts_with('-')).collect()
}
