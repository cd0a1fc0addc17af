//! Runs the hooks of a job.

use super::Facts;
use crate::{
    effect::{Arg, Cmd},
    model::{Name, RunId},
    state::{Hook, Job, OnFailure},
};

/// A hook of a job, as it is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Hooked {
    /// When it runs, and what it is called: `before flush caches`.
    pub name: String,
    /// What is run; how the run went is added where that is known.
    pub cmd: Cmd,
    /// Whether its failure fails the run.
    pub aborts: bool,
}

/// How a run went, as hooks are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `success`, `incomplete` or `failed`.
    pub status: &'static str,
    /// The destinations that failed.
    pub failed: Vec<Name>,
}

impl Hooked {
    /// Tells it how the run went.
    pub fn told(&self, outcome: &Outcome) -> Cmd {
        let failed: Vec<&str> = outcome.failed.iter().map(Name::as_str).collect();
        let word = |text: String| Arg::Word(text);
        let cmd = self.cmd.clone().env("RLVM_STATUS", word(outcome.status.into()));
        cmd.env("RLVM_FAILED", word(failed.join(" ")))
    }
}

/// Lists what the hooks of a job find in their environment.
pub fn environment(run: &RunId, name: &Name, job: &Job, facts: &Facts) -> [(&'static str, String); 4] {
    [
        ("HOME", facts.user_facts.homes.get(&job.user).map_or("/", |home| home.as_str()).to_owned()),
        ("LOGNAME", job.user.to_string()),
        ("RLVM_JOB", name.to_string()),
        ("RLVM_RUN", run.to_string()),
    ]
}

/// Says how the hooks of a job are run: by /bin/sh, as the job's user, at home.
pub(super) fn all(
    when: &str,
    hooks: &[Hook],
    run: &RunId,
    name: &Name,
    job: &Job,
    facts: &Facts,
) -> Vec<Hooked> {
    let one = |(index, hook): (usize, &Hook)| {
        let cmd = Cmd::new("/bin/sh").args(["-c", hook.run.as_str()]).timeout(hook.timeout.seconds());
        let cmd = if facts.own.is_some() { cmd } else { cmd.user(&job.user) };
        let told = environment(run, name, job, facts);
        let cmd = told.into_iter().fold(cmd, |cmd, (name, value)| cmd.env(name, Arg::Word(value)));
        let number = || (index + 1).to_string();
        Hooked {
            name: format!(
                "{when} {}",
                hook.name.as_ref().map_or_else(number, |name| name.as_str().to_owned())
            ),
            cmd,
            aborts: hook.on_failure == OnFailure::Abort,
        }
    };
    hooks.iter().enumerate().map(one).collect()
}
