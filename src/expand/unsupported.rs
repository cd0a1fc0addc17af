//! Reports keys of the state that this version of rlvm does not implement yet.

use std::collections::BTreeSet;

use super::Expanded;
use crate::{
    resource::{Finding, Severity},
    source::Source,
    state::State,
};

pub(super) fn add(state: &State, expanded: &mut Expanded) {
    let mut say = |place: String, what: &str| {
        let message = format!("not yet supported: {what}");
        expanded.findings.push(Finding::new(Severity::Notice, place, message));
    };
    for (name, job) in state.jobs.iter().filter(|(_, job)| job.enabled) {
        let kinds: BTreeSet<&str> =
            job.sources.iter().filter(|source| !source.is_supported()).map(Source::key).collect();
        for kind in kinds {
            say(
                format!("jobs.{name}.sources"),
                &format!("sources of the kind `{kind}`; the job fails until then"),
            );
        }
    }
}
