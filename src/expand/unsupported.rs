//! What a state may say and this rlvm does not do yet. The list shrinks with each version, to nothing.

use super::Expanded;
use crate::{
    resource::{Finding, Severity},
    state::{Job, State, Verify},
};

pub(super) fn add(state: &State, expanded: &mut Expanded) {
    let mut say = |place: String, what: &str| {
        let message = format!("not yet supported: {what}");
        expanded.findings.push(Finding::new(Severity::Notice, place, message));
    };
    for (name, job) in state.jobs.iter().filter(|(_, job)| job.enabled) {
        say(format!("jobs.{name}"), "`rlvm run`; the schedule is installed, and the job fails until then");
        for key in extras(job) {
            say(format!("jobs.{name}.{key}"), "it is part of `rlvm run`");
        }
        if job.verify != Verify::default() {
            say(format!("jobs.{name}.verify"), "`rlvm verify` and its schedule");
        }
    }
    for name in state.notify.keys() {
        say(format!("notify.{name}"), "notifications");
    }
    if state.metrics.textfile.is_some() {
        say("metrics".into(), "metrics");
    }
}

/// Lists what of a job is more than sources, destinations and a schedule.
fn extras(job: &Job) -> Vec<&'static str> {
    let hooks = &job.hooks;
    let hooked =
        [&hooks.before, &hooks.after, &hooks.failed, &hooks.finally].iter().any(|all| !all.is_empty());
    let has = [("copy", !job.copy.is_empty()), ("hooks", hooked), ("stop", !job.stop.is_empty())];
    has.into_iter().filter(|(_, has)| *has).map(|(key, _)| key).collect()
}
