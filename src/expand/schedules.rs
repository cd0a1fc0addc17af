//! Cron entries: the jobs', and the user's own.

use super::{Declared, Expanded};
use crate::{
    effect::quote,
    model::{HostPath, UserName},
    resource::{CronFile, CronLine, Finding, Program, Severity},
    state::State,
};

pub(super) fn add(state: &State, expanded: &mut Expanded) {
    // Needed with or without jobs: the last job's end does not take a system directory with it.
    expanded.add_needed(HostPath::fixed("/etc/cron.d"));
    if state.jobs.values().any(|job| job.enabled && job.schedule.is_some()) {
        expanded.add(Declared::plain(Program { at: state.rlvm_path.clone() }));
    }
    for (name, job) in state.jobs.iter().filter(|(_, job)| job.enabled) {
        let Some(schedule) = &job.schedule else { continue };
        // As root, whatever the job's user is: freezing needs it. restic then runs as the user.
        let (user, command) = (UserName::root(), format!("{} run {name}", quote(state.rlvm_path.as_str())));
        let line = CronLine { schedule, user: &user, command: &command };
        let whose = format!("job {name} of {}", state.host);
        let declared = |file| Declared { protect: job.protect, ..Declared::plain(file) };
        take(
            expanded,
            &format!("jobs.{name}"),
            CronFile::new(&format!("rlvm-{name}"), &whose, &line).map(declared),
        );
    }
    for (name, spec) in &state.cron {
        let line = CronLine { schedule: &spec.schedule, user: &spec.user, command: spec.command.as_str() };
        let whose = format!("cron entry {name} of {}", state.host);
        let declared = |file| Declared { adopt: spec.adopt, protect: spec.protect, ..Declared::plain(file) };
        take(expanded, &format!("cron.{name}"), CronFile::new(name.as_str(), &whose, &line).map(declared));
    }
}

/// Declares what could be made, or says why not.
pub(super) fn take<E: ToString>(expanded: &mut Expanded, place: &str, made: Result<Declared, E>) {
    match made {
        Ok(declared) => expanded.add(declared),
        Err(err) => expanded.findings.push(Finding::new(Severity::Error, place, err.to_string())),
    }
}
