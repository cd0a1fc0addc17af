//! Expands everything that starts at a time: jobs, and the entries of `cron:`. Each scheduler has its own form.

use std::collections::BTreeMap;

use super::{Declared, Expanded, crontab, logs, notify, prune, units, verify};
use crate::{
    effect::quote,
    model::{Address, HostPath, Name, Schedule, Scope, Span, UserName},
    resource::{
        Account, CronFile, CronLine, Finding, Kind as _, Program, Resource, Scheduling, Severity, Starter,
    },
    state::{Scheduler, State},
};

/// The entry that sweeps at boot: a job's own begins with `rlvm-`, and a job may be called `sweep`.
const SWEEP: &str = "rlvm_sweep";

/// Something that is started when it is time.
#[derive(Clone, Debug)]
pub(super) struct Timed {
    /// Where the state says so, for findings.
    pub(super) place: String,
    /// What it is called: a file's or a unit's name, without an ending.
    pub(super) name: String,
    /// Whose it is, for the first line of what is written.
    pub(super) whose: String,
    /// When.
    pub(super) schedule: Schedule,
    /// How much later at most, by chance.
    pub(super) jitter: Option<Span>,
    /// As whom.
    pub(super) user: UserName,
    /// What, for cron's shell. Cron mails what is printed: rlvm is told to say only what is wrong.
    pub(super) command: String,
    /// What it starts.
    pub(super) starts: Starts,
    /// Whether to take over one that is there and differs.
    pub(super) adopt: bool,
    /// Whether its removal is refused.
    pub(super) protect: bool,
}

/// What is started when it is time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Starts {
    /// A job.
    Job(Name),
    /// Old backups of a job are removed.
    PruneOf(Name),
    /// The destinations of a job are verified.
    VerifyOf(Name),
    /// Old backups of a client are removed.
    Prune(UserName),
    /// What dead runs have left is ended.
    Sweep,
    /// It is looked for what is overdue, and told.
    Watch,
    /// Logs are rotated, where no logrotate of the system's does it.
    Rotation,
    /// An entry of the user's own, which means what it means to cron.
    Entry,
}

impl Starts {
    /// Says whether rlvm itself is started.
    pub(super) fn is_rlvm(&self) -> bool {
        !matches!(self, Self::Rotation | Self::Entry)
    }
}

pub(super) fn add(state: &State, scope: &Scope, expanded: &mut Expanded) {
    let all = timed(state, scope);
    if all.iter().any(|timed| timed.starts.is_rlvm()) {
        expanded.add(Declared::plain(Program::rlvm(state.rlvm_path.clone())));
    }
    for user in all.iter().map(|timed| &timed.user).filter(|user| **user != UserName::root()) {
        // Cron passes over an entry of nobody's in silence.
        let account = Account::User(user.clone());
        if !expanded.resources.contains_key(&Address::new(Account::NAME, &account.key())) {
            expanded.add(Declared::plain(account));
        }
    }
    starter(state, &all, scope, expanded);
    match (state.scheduler(), scope) {
        (Scheduler::Cron, Scope::Host) => cron_files(&all, expanded),
        (Scheduler::Cron, Scope::User(personal)) => crontab::add(&all, personal, expanded),
        (Scheduler::Systemd, scope) => units::add(state, &all, scope, expanded),
    }
}

/// Declares what has to be there for the schedules to start anything.
fn starter(state: &State, all: &[Timed], scope: &Scope, expanded: &mut Expanded) {
    if all.is_empty() {
        return;
    }
    let starter = match (state.scheduler(), scope) {
        (Scheduler::Cron, Scope::Host) => Starter::CronFiles,
        (Scheduler::Cron, Scope::User(_)) => {
            Starter::Crontab { percent: all.iter().any(|timed| timed.command.contains('%')) }
        }
        (Scheduler::Systemd, _) => Starter::Systemd,
    };
    let mut programs = BTreeMap::new();
    if all.iter().any(|timed| timed.starts.is_rlvm()) {
        for declared in expanded.resources.values() {
            let Resource::Repository(repository) = &declared.resource else { continue };
            programs.extend(repository.tools());
        }
    }
    expanded.add(Declared::plain(Scheduling { starter, programs }));
}

/// Declares a file each in `/etc/cron.d`.
fn cron_files(all: &[Timed], expanded: &mut Expanded) {
    // Needed with or without jobs: the last job's end does not take a system directory with it.
    expanded.add_needed(HostPath::fixed("/etc/cron.d"));
    for timed in all {
        let line = CronLine { schedule: &timed.schedule, user: &timed.user, command: timed.command.as_str() };
        let declared =
            |file| Declared { adopt: timed.adopt, protect: timed.protect, ..Declared::plain(file) };
        take(expanded, &timed.place, CronFile::new(&timed.name, &timed.whose, &line).map(declared));
    }
}

/// Lists all that is started when it is time.
pub(super) fn timed(state: &State, scope: &Scope) -> Vec<Timed> {
    let keeper = scope.personal().map_or_else(UserName::root, |personal| personal.user.clone());
    let jobs = state.jobs.iter().filter(|(_, job)| job.enabled).filter_map(|(name, job)| {
        Some(Timed {
            place: format!("jobs.{name}"),
            name: format!("rlvm-{name}"),
            whose: format!("job {name} of {}", state.host),
            schedule: job.schedule.clone()?,
            jitter: job.jitter,
            // As root, whatever the job's user is: freezing needs it. restic then runs as the user.
            user: keeper.clone(),
            command: format!("{} run --scheduled {name}", quote(state.rlvm_path.as_str())),
            starts: Starts::Job(name.clone()),
            adopt: false,
            protect: job.protect,
        })
    });
    let own = state.cron.iter().map(|(name, spec)| Timed {
        place: format!("cron.{name}"),
        name: name.to_string(),
        whose: format!("cron entry {name} of {}", state.host),
        schedule: spec.schedule.clone(),
        jitter: None,
        user: spec.user.clone(),
        command: spec.command.as_str().to_owned(),
        starts: Starts::Entry,
        adopt: spec.adopt,
        protect: spec.protect,
    });
    let logs = scope.personal().and_then(|personal| logs::rotation(state, personal));
    let prunes = prune::of_jobs(state, &keeper).chain(prune::timed(state));
    let verifies = verify::of_jobs(state, &keeper);
    let watch = notify::watch(state, &keeper);
    let after_boot = sweep(state, &keeper).into_iter().chain(watch);
    let mut all: Vec<Timed> =
        jobs.chain(after_boot).chain(own).chain(prunes).chain(verifies).chain(logs).collect();
    if let Some(home) = &state.home {
        for timed in all.iter_mut().filter(|timed| timed.starts.is_rlvm()) {
            // Neither cron nor systemd passes on the variable that this rlvm was called with.
            timed.command = format!("RLVM_HOME={} {}", quote(home.as_str()), timed.command);
        }
    }
    all
}

/// Returns what ends at boot what runs have left that a power cut, say, has ended; nothing if nothing runs.
fn sweep(state: &State, keeper: &UserName) -> Option<Timed> {
    let runs = state.jobs.values().any(|job| job.enabled);
    Some(Timed {
        place: "jobs".into(),
        name: SWEEP.into(),
        whose: format!("sweep of {} after a boot", state.host),
        schedule: "@reboot".parse().ok().filter(|_| runs)?,
        jitter: None,
        user: keeper.clone(),
        command: format!("{} --quiet sweep", quote(state.rlvm_path.as_str())),
        starts: Starts::Sweep,
        adopt: false,
        protect: false,
    })
}

/// Declares what could be made, or says why not.
pub(super) fn take<E: ToString>(expanded: &mut Expanded, place: &str, made: Result<Declared, E>) {
    match made {
        Ok(declared) => expanded.add(declared),
        Err(err) => expanded.findings.push(Finding::new(Severity::Error, place, err.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        expand::{UserFacts, expand},
        model::Personal,
    };

    const YAML: &str = "version: 1
host: web01
destinations: { a: { local: { path: /home/ann/a }, password_file: /home/ann/p } }
jobs: { home: { to: [a], sources: [{ path: /home }], schedule: '@daily', verify: { schedule: '@weekly' } } }
cron: { own: { schedule: '@daily', command: 'date' } }
";

    fn state(more: &str) -> State {
        let yaml = format!("{YAML}{more}");
        crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state
    }

    /// Returns each line of cron's that runs a command, and each service.
    fn commands(state: &State, scope: &Scope) -> Vec<String> {
        let expanded = expand(state, &UserFacts::default(), scope);
        let json = serde_json::to_value(
            expanded.resources.values().map(|declared| &declared.resource).collect::<Vec<_>>(),
        );
        let mut found = Vec::new();
        texts(&json.unwrap(), &mut found);
        found
    }

    fn texts(json: &serde_json::Value, found: &mut Vec<String>) {
        match json {
            serde_json::Value::String(text) if text.contains("[Service]") => found.push(text.clone()),
            serde_json::Value::String(text) => {
                let runs =
                    |line: &&str| line.starts_with('@') || line.starts_with(|it: char| it.is_ascii_digit());
                found.extend(text.lines().filter(runs).filter(|line| line.contains(' ')).map(Into::into));
            }
            serde_json::Value::Array(all) => all.iter().for_each(|it| texts(it, found)),
            serde_json::Value::Object(all) => all.values().for_each(|it| texts(it, found)),
            _ => {}
        }
    }

    #[test]
    fn what_starts_rlvm_names_the_home_that_it_was_called_with() {
        let ann = Scope::User(Box::new(Personal::ann()));
        for (scheduler, scope, written) in [
            ("scheduler: cron\n", &Scope::Host, "RLVM_HOME='/srv/my home' /usr/bin/rlvm"),
            ("scheduler: cron\n", &ann, "RLVM_HOME='/srv/my home' /usr/bin/rlvm"),
            ("scheduler: systemd\n", &Scope::Host, "\nEnvironment=\"RLVM_HOME=/srv/my home\"\n"),
            ("scheduler: systemd\n", &ann, "\nEnvironment=\"RLVM_HOME=/srv/my home\"\n"),
        ] {
            let mut state = state(scheduler);
            for home in [None, Some("/srv/my home".parse().unwrap())] {
                state.home = home;
                let commands = commands(&state, scope);
                let of_rlvm = commands.iter().filter(|it| it.contains("bin/rlvm ")).count();
                assert!(of_rlvm >= 3, "{commands:?}");
                for command in &commands {
                    let carries = state.home.is_some() && command.contains("bin/rlvm ");
                    assert_eq!(command.contains(written), carries, "{command}");
                }
            }
        }
    }
}
