//! Old backups of clients that can only add: the password that it takes, when it is done, and the command.

use super::{
    Declared, Expanded,
    schedules::{Starts, Timed},
};
use crate::{
    effect::{Cmd, Owner, quote},
    model::{HostPath, Mode, Name, Scope, UserName},
    resource::{ClientPrune, Engine, Finding, Role, Secret, Severity, SshUserSpec},
    restic::forget_older,
    state::State,
};

/// Where in its directory a client's repository is.
const REPOSITORY: &str = "repo";

/// Lists the clients that are pruned here, with the command that does it.
pub fn prunes(state: &State) -> Vec<(UserName, Cmd)> {
    let engine = state.restic.as_ref().and_then(|pin| Engine::path_of(pin.version, &Scope::Host).ok());
    clients(state)
        .filter_map(|(name, spec, prune)| {
            let repository: HostPath = format!("{}/{REPOSITORY}", spec.directory).parse().ok()?;
            let cmd =
                forget_older(&repository, &prune.password_file, name, engine.as_ref(), prune.keep_within);
            Some((name.clone(), cmd))
        })
        .collect()
}

/// Declares the passwords.
pub(super) fn add(state: &State, expanded: &mut Expanded) {
    for (name, _, prune) in clients(state) {
        // An account's name may have a dot, which no cron reads.
        let Ok(destination) = name.as_str().parse::<Name>() else {
            let place = format!("ssh.users.{name}.prune");
            let message = format!("{name} cannot be part of a schedule's name");
            let finding = Finding::new(Severity::Error, place, message);
            expanded.findings.push(finding.remedy("an account of letters, digits, `-` and `_`"));
            continue;
        };
        let file = prune.password_file.clone();
        if let Some(dir) = file.0.parent().filter(|dir| dir.as_str() != "/") {
            let made = expanded.implied(dir, Mode::new(0o700));
            expanded.resources.entry(made.resource.address()).or_insert(made);
        }
        let (owner, role) = (Owner::root(), Role::Theirs);
        expanded.add(Declared::plain(Secret { destination, file, owner, role, generate: false }));
    }
}

/// Lists when it is done.
pub(super) fn timed(state: &State) -> impl Iterator<Item = Timed> {
    clients(state).filter_map(|(name, spec, prune)| {
        Some(Timed {
            place: format!("ssh.users.{name}.prune"),
            name: format!("rlvm-prune-{name}"),
            // The one thing that a reader of a plan must see of it.
            whose: format!("prune of client {name} of {}, keeps {}", state.host, prune.keep_within),
            schedule: prune.schedule.clone()?,
            jitter: None,
            // It reads the password, which the account does not.
            user: UserName::root(),
            command: format!("{} prune --client {}", quote(state.rlvm_path.as_str()), quote(name.as_str())),
            starts: Starts::Prune,
            adopt: false,
            protect: spec.protect,
        })
    })
}

fn clients(state: &State) -> impl Iterator<Item = (&UserName, &SshUserSpec, &ClientPrune)> {
    state.ssh.users.iter().filter_map(|(name, spec)| Some((name, spec, spec.prune.as_ref()?)))
}
