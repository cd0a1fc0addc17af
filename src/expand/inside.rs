//! Finds repositories that lie inside a source. Runs leave them out: two repositories inside each other's sources
//! would grow with every run.

use super::Expanded;
use crate::{
    destination::Kind,
    resource::{Finding, Severity},
    source::Source,
    state::State,
};

pub(super) fn add(state: &State, expanded: &mut Expanded) {
    for (name, job) in state.jobs.iter().filter(|(_, job)| job.enabled) {
        let paths: Vec<_> = job.sources.iter().flat_map(Source::all_paths).collect();
        for (destination, declared) in &state.destinations {
            let Kind::Local(local) = &declared.kind else { continue };
            let is_asked_for = paths.iter().any(|path| path.is_within(&local.path));
            if let Some(path) = paths.iter().find(|path| local.path.is_within(path) && !is_asked_for) {
                let message =
                    format!("{}, the repository of {destination}, is left out of {path}", local.path);
                let place = format!("jobs.{name}.sources");
                expanded.findings.push(Finding::new(Severity::Notice, place, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state;

    #[test]
    fn a_repository_in_a_source_is_told() {
        for (path, said) in [
            ("/srv", &["/srv/a, the repository of a, is left out of /srv"][..]),
            ("/srv/a/data", &[]),
            ("/home", &[]),
        ] {
            let yaml = format!(
                "version: 1\nhost: web01\ndestinations:\n  a: {{ local: {{ path: /srv/a }}, password_file: /p }}\n  \
                 b: {{ local: {{ path: /mnt/b }}, password_file: /p }}\njobs:\n  \
                 j: {{ to: [b], sources: [{{ path: {path} }}] }}\n"
            );
            let state = state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state;
            let mut expanded = Expanded::default();
            add(&state, &mut expanded);
            let all: Vec<&str> = expanded.findings.iter().map(|it| it.message.as_str()).collect();
            assert_eq!(all, said, "{path}");
        }
    }
}
