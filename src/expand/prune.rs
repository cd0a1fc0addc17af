//! Expands the removal of old backups: the schedules of jobs, and for append-only clients the password file, the
//! schedule and the command.

use super::{
    Declared, Expanded,
    schedules::{Starts, Timed},
};
use crate::{
    effect::{Cmd, Owner, Private, quote},
    model::{HostPath, Name, Schedule, Scope, UserName},
    resource::{ClientPrune, Engine, Finding, Location, Repository, Role, Secret, Severity, SshUserSpec},
    restic::{Means, Older, PASSWORD},
    state::State,
};

/// Where in its directory a client's repository is.
const REPOSITORY: &str = "repo";

/// A client whose old backups are removed here.
#[derive(Clone, Debug)]
pub struct PrunedClient {
    /// Its account.
    pub account: UserName,
    /// What removes its old backups.
    pub cmd: Cmd,
    /// The command that lists the snapshots that a prune would remove.
    pub foresees: Cmd,
    /// When that is done.
    pub schedule: Option<Schedule>,
    /// Its repository, as the account works with it: root's password reaches restic by its environment.
    pub repository: Repository,
    /// What its account may do.
    pub spec: SshUserSpec,
}

/// Lists the clients that are pruned here.
pub fn prunes(state: &State) -> Vec<PrunedClient> {
    let engine = state.restic.as_ref().and_then(|pin| Engine::path_of(pin.version, &Scope::Host).ok());
    let client = |(account, spec, prune): (&UserName, &SshUserSpec, &ClientPrune)| {
        let path: HostPath = format!("{}/{REPOSITORY}", spec.directory).parse().ok()?;
        let password = &prune.password_file;
        let keep = prune.keep_within;
        let older = Older { repository: &path, password, account, engine: engine.as_ref(), keep };
        let (cmd, foresees) = (older.forget(), older.foresee());
        let secrets = vec![Private::File { name: PASSWORD.into(), file: password.clone() }];
        let repository = Repository {
            // A name has no dot.
            name: account.as_str().replace('.', "-").parse().ok()?,
            location: Location::Local(path),
            password: password.clone(),
            user: account.clone(),
            means: Box::new(Means { engine: engine.clone(), secrets, ..Means::default() }),
            like: None,
            after: Vec::new(),
            mounts: Box::default(),
            may_be_absent: false,
        };
        let (account, spec) = (account.clone(), spec.clone());
        Some(PrunedClient { account, cmd, foresees, schedule: prune.schedule.clone(), repository, spec })
    };
    clients(state).filter_map(client).collect()
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
        expanded.add_secret_directory(&file);
        let (owner, role) = (Owner::root(), Role::Theirs);
        expanded.add(Declared::plain(Secret { destination, file, owner, role, generate: false }));
    }
}

/// How the entry of a job's prune begins: a job's own begins with `rlvm-`, a client's with `rlvm-prune-`, and a job may be
/// called `prune-x`.
const OF_JOB: &str = "rlvm_prune-";

/// Lists when old backups of jobs are removed.
pub(super) fn of_jobs<'a>(state: &'a State, keeper: &'a UserName) -> impl Iterator<Item = Timed> + 'a {
    let jobs = state.jobs.iter().filter(|(_, job)| job.enabled && job.retention.is_some());
    jobs.filter_map(move |(name, job)| {
        Some(Timed {
            place: format!("jobs.{name}.prune"),
            name: format!("{OF_JOB}{name}"),
            whose: format!("prune of job {name} of {}", state.host),
            schedule: job.prune.schedule.clone()?,
            jitter: None,
            // As the job itself: rlvm, which then has restic run as the user.
            user: keeper.clone(),
            command: format!("{} --quiet prune {name}", quote(state.rlvm_path.as_str())),
            starts: Starts::PruneOf(name.clone()),
            adopt: false,
            protect: job.protect,
        })
    })
}

/// Lists when those of clients are.
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
            command: format!(
                "{} --quiet prune --client {}",
                quote(state.rlvm_path.as_str()),
                quote(name.as_str())
            ),
            starts: Starts::Prune(name.clone()),
            adopt: false,
            protect: spec.protect,
        })
    })
}

fn clients(state: &State) -> impl Iterator<Item = (&UserName, &SshUserSpec, &ClientPrune)> {
    state.ssh.users.iter().filter_map(|(name, spec)| Some((name, spec, spec.prune.as_ref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{expand::schedules, model::Personal};

    fn state(jobs: &str) -> State {
        let yaml = format!(
            "version: 1\nhost: web01\ndestinations:\n  a: {{ local: {{ path: /a }}, password_file: /p }}\n\
             defaults: {{ schedule: '@daily', retention: {{ daily: 7 }} }}\njobs:\n{jobs}"
        );
        crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state
    }

    #[test]
    fn each_has_an_entry_of_its_own() {
        let job = |name: &str, more: &str| {
            format!("  {name}: {{ to: [a], sources: [{{ path: /etc }}], user: backup{more} }}\n")
        };
        let weekly = ", prune: { schedule: '@weekly' }";
        let off = format!("{weekly}, enabled: false");
        let jobs =
            [job("x", weekly), job("prune-x", weekly), job("off", &off), job("hand", ""), job("sweep", "")];
        let state = state(&jobs.concat());
        let entries = |scope: &Scope| -> Vec<String> {
            let all = schedules::timed(&state, scope);
            all.iter().map(|it| format!("{} {} {}", it.name, it.user, it.command)).collect()
        };
        let expected = [
            "rlvm-hand root /usr/bin/rlvm run --scheduled hand",
            "rlvm-prune-x root /usr/bin/rlvm run --scheduled prune-x",
            "rlvm-sweep root /usr/bin/rlvm run --scheduled sweep",
            "rlvm-x root /usr/bin/rlvm run --scheduled x",
            "rlvm_sweep root /usr/bin/rlvm --quiet sweep",
            "rlvm_prune-prune-x root /usr/bin/rlvm --quiet prune prune-x",
            "rlvm_prune-x root /usr/bin/rlvm --quiet prune x",
        ];
        assert_eq!(entries(&Scope::Host), expected);
        let own = entries(&Scope::User(Box::new(Personal::ann())));
        assert_eq!(own[4], "rlvm_sweep ann /usr/bin/rlvm --quiet sweep");
        assert_eq!(own[6], "rlvm_prune-x ann /usr/bin/rlvm --quiet prune x");
    }
}
