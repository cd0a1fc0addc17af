//! Expands the schedules of verifications.

use super::schedules::{Starts, Timed};
use crate::{effect::quote, model::UserName, state::State};

/// How the entry of a job's verification begins: a job's own begins with `rlvm-`, and a job may be called `verify-x`.
const OF_JOB: &str = "rlvm_verify-";

/// Lists when the destinations of jobs are verified.
pub(super) fn of_jobs<'a>(state: &'a State, keeper: &'a UserName) -> impl Iterator<Item = Timed> + 'a {
    state.jobs.iter().filter(|(_, job)| job.enabled).filter_map(move |(name, job)| {
        Some(Timed {
            place: format!("jobs.{name}.verify"),
            name: format!("{OF_JOB}{name}"),
            whose: format!("verify of job {name} of {}", state.host),
            schedule: job.verify.schedule.clone()?,
            jitter: None,
            // As the job itself: rlvm, which then has restic run as the user.
            user: keeper.clone(),
            command: format!("{} --quiet verify {name}", quote(state.rlvm_path.as_str())),
            starts: Starts::VerifyOf(name.clone()),
            adopt: false,
            protect: job.protect,
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        expand::schedules,
        model::{Personal, Scope},
        state::State,
    };

    fn state(jobs: &str) -> State {
        let yaml = format!(
            "version: 1\nhost: web01\ndestinations:\n  a: {{ local: {{ path: /a }}, password_file: /p }}\n\
             jobs:\n{jobs}"
        );
        crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state
    }

    #[test]
    fn each_has_an_entry_of_its_own() {
        // R77
        let job = |name: &str, more: &str| {
            format!("  {name}: {{ to: [a], sources: [{{ path: /etc }}], user: backup{more} }}\n")
        };
        let weekly = ", verify: { schedule: '0 6 * * 0', drill: { files: 3 } }";
        let off = format!("{weekly}, enabled: false");
        let by_hand = ", verify: { read_data: 5% }";
        let jobs = [job("x", weekly), job("verify-x", weekly), job("off", &off), job("hand", by_hand)];
        let state = state(&jobs.concat());
        let entries = |scope: &Scope| -> Vec<String> {
            let all = schedules::timed(&state, scope);
            all.iter().map(|it| format!("{} {} {}", it.name, it.user, it.command)).collect()
        };
        let expected = [
            "rlvm_sweep root /usr/bin/rlvm --quiet sweep",
            "rlvm_verify-verify-x root /usr/bin/rlvm --quiet verify verify-x",
            "rlvm_verify-x root /usr/bin/rlvm --quiet verify x",
        ];
        assert_eq!(entries(&Scope::Host), expected);
        let own = entries(&Scope::User(Box::new(Personal::ann())));
        assert_eq!(own[2], "rlvm_verify-x ann /usr/bin/rlvm --quiet verify x");
    }
}
