//! What is started when it is time: the jobs, and the user's own entries. Each scheduler writes them its own way.

use super::{Declared, Expanded, crontab, logs, notify, prune, units, verify};
use crate::{
    effect::quote,
    model::{Address, HostPath, Name, Schedule, Scope, Span, UserName},
    resource::{Account, CronFile, CronLine, Finding, Kind as _, Program, Severity},
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

pub(super) fn add(state: &State, scope: &Scope, expanded: &mut Expanded) {
    let all = timed(state, scope);
    if all.iter().any(|timed| !matches!(timed.starts, Starts::Rotation | Starts::Entry)) {
        expanded.add(Declared::plain(Program::rlvm(state.rlvm_path.clone())));
    }
    for user in all.iter().map(|timed| &timed.user).filter(|user| **user != UserName::root()) {
        // Cron passes over an entry of nobody's in silence.
        let account = Account::User(user.clone());
        if !expanded.resources.contains_key(&Address::new(Account::NAME, &account.key())) {
            expanded.add(Declared::plain(account));
        }
    }
    match (state.scheduler, scope) {
        (Scheduler::Cron, Scope::Host) => cron_files(&all, expanded),
        (Scheduler::Cron, Scope::User(personal)) => crontab::add(&all, personal, expanded),
        (Scheduler::Systemd, scope) => units::add(state, &all, scope, expanded),
    }
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
    jobs.chain(after_boot).chain(own).chain(prunes).chain(verifies).chain(logs).collect()
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
