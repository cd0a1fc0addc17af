//! Decides which definitions an apply puts in force. If the repository of a job could not be created or opened, the job keeps
//! the definition that was applied before, so that the next run stores where the last one did. Pure.

use std::collections::BTreeSet;

use crate::{
    model::{Address, Name},
    state::{Job, State},
};

/// What an apply puts in force.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// The declared state, with the former definitions of what waits.
    pub state: State,
    /// The definitions that wait, each with the resource that failed.
    pub waits: Vec<(Address, Address)>,
}

/// Returns what is put in force: what is `declared`, but for definitions that need a repository of the `failed` resources
/// that is new, changed, or used by another user than before. A definition that is not in `applied` has no former one and is
/// put in force.
pub fn in_force(applied: Option<&State>, declared: &State, failed: &BTreeSet<Address>) -> InForce {
    let mut now = InForce { state: declared.clone(), waits: Vec::new() };
    let Some(applied) = applied else { return now };
    let address = |name: &Name| Address::new("repository", name.as_str());
    let changed = |name: &Name| applied.destinations.get(name) != declared.destinations.get(name);
    let bad: Vec<&Name> = declared
        .destinations
        .keys()
        .filter(|name| failed.contains(&address(name)) && changed(name))
        .collect();
    for name in &bad {
        if let Some(former) = applied.destinations.get(*name) {
            now.state.destinations.insert((*name).clone(), former.clone());
            now.waits.push((Address::new("destination", name.as_str()), address(name)));
        }
    }
    for (name, job) in &declared.jobs {
        let Some((was, former)) = former(applied, name, job) else { continue };
        // Another user may not get into a repository that the former one did.
        let is_new =
            |it: &&Name| bad.contains(it) || (former.user != job.user && failed.contains(&address(it)));
        let Some(needed) = job.to.iter().chain(job.copy.keys()).find(is_new) else { continue };
        if former == job {
            continue;
        }
        let names = job.names(name).into_iter().filter(|it| it != name);
        // It is the same job under its new name: its history must go on.
        let was: Vec<Name> = names.chain((was != name).then(|| was.clone())).collect();
        let mut kept = former.clone();
        kept.was.extend(was.into_iter().filter(|it| !former.was.contains(it)));
        for to in kept.to.iter().chain(kept.copy.keys()) {
            if let (None, Some(it)) = (now.state.destinations.get(to), applied.destinations.get(to)) {
                now.state.destinations.insert(to.clone(), it.clone());
            }
        }
        for to in &kept.notify {
            if let (None, Some(it)) = (now.state.notify.get(to), applied.notify.get(to)) {
                now.state.notify.insert(to.clone(), it.clone());
            }
        }
        now.state.jobs.insert(name.clone(), kept);
        now.waits.push((Address::new("job", name.as_str()), address(needed)));
    }
    // A new destination that nothing in force uses is new at the next apply too: the job goes on waiting for it.
    for name in bad.into_iter().filter(|name| !applied.destinations.contains_key(*name)) {
        let uses = |job: &Job| job.to.contains(name) || job.copy.contains_key(name);
        if !now.state.jobs.values().any(uses) {
            now.state.destinations.remove(name);
            now.waits.push((Address::new("destination", name.as_str()), address(name)));
        }
    }
    now
}

/// Finds what a job was when it was applied last, by its name or a name that it had.
fn former<'a>(applied: &'a State, name: &'a Name, job: &'a Job) -> Option<(&'a Name, &'a Job)> {
    std::iter::once(name).chain(&job.was).find_map(|name| applied.jobs.get_key_value(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(destinations: &[(&str, &str)], jobs: &str) -> State {
        let destinations: Vec<String> = destinations
            .iter()
            .map(|(name, path)| format!("  {name}: {{ local: {{ path: {path} }}, password_file: /p }}\n"))
            .collect();
        let yaml = format!("version: 1\nhost: web01\ndestinations:\n{}jobs:\n{jobs}", destinations.concat());
        crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap_or_else(|err| panic!("{err}")).state
    }

    fn job(to: &str, more: &str) -> String {
        format!("  web: {{ sources: [{{ path: /srv }}], to: [{to}]{more} }}\n")
    }

    fn of(now: &InForce) -> (Vec<String>, Vec<String>) {
        let job: Vec<String> =
            now.state.jobs.values().next().unwrap().to.iter().map(ToString::to_string).collect();
        (job, now.waits.iter().map(|(what, by)| format!("{what} < {by}")).collect())
    }

    #[test]
    fn a_job_waits_for_its_new_repository() {
        let (near, far) = (("near", "/near"), ("far", "/far"));
        let failed = |name: &str| BTreeSet::from([Address::new("repository", name)]);
        let before = state(&[near], &job("near", ""));
        let kept = |to: &[&str], waits: &[&str]| {
            let own = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
            (own(to), own(waits))
        };
        let waits = kept(&["near"], &["job:web < repository:far", "destination:far < repository:far"]);
        for (declared, bad, expected) in [
            (state(&[near, far], &job("near, far", "")), "far", waits.clone()),
            // It moves, and the former place leaves the state.
            (state(&[far], &job("far", "")), "far", waits.clone()),
            (state(&[near, far], &job("near", ", copy: { far: { from: near } }")), "far", waits),
            (state(&[near, far], &job("near, far", "")), "other", kept(&["near", "far"], &[])),
            // What failed is as it was: the former definition would be no better.
            (state(&[near], &job("near", ", nice: 5")), "near", kept(&["near"], &[])),
            // As before, but by a user who may not get in there.
            (
                state(&[near], &job("near", ", user: backup")),
                "near",
                kept(&["near"], &["job:web < repository:near"]),
            ),
            (state(&[near], &job("near", ", user: backup")), "other", kept(&["near"], &[])),
            // The same destination at another place.
            (
                state(&[("near", "/else")], &job("near", "")),
                "near",
                kept(&["near"], &["destination:near < repository:near"]),
            ),
        ] {
            let now = in_force(Some(&before), &declared, &failed(bad));
            assert_eq!(of(&now), expected, "{declared:?}");
            let again = in_force(Some(&now.state), &declared, &failed(bad));
            let same = if expected.1.is_empty() { of(&now) } else { expected };
            assert_eq!(of(&again), same, "the next apply, {declared:?}");
            for to in &now.state.jobs.values().next().unwrap().to {
                let place = now.state.destinations.get(to).map(crate::destination::Destination::repository);
                let is_former = !now.waits.is_empty() && to.as_str() == "near";
                assert!(place.is_some() && (!is_former || place.as_deref() == Some("/near")), "{place:?}");
            }
        }
        let new = in_force(None, &state(&[far], &job("far", "")), &failed("far"));
        assert_eq!(of(&new), kept(&["far"], &[]), "there is nothing to keep");
    }

    #[test]
    fn a_renamed_job_keeps_its_history() {
        let before = state(&[("near", "/near")], "  www: { sources: [{ path: /srv }], to: [near] }\n");
        let declared = state(&[("far", "/far")], &job("far", ", was: [www]"));
        let now = in_force(Some(&before), &declared, &BTreeSet::from([Address::new("repository", "far")]));
        let web = now.state.jobs.get(&"web".parse::<Name>().unwrap()).unwrap();
        assert_eq!((web.to[0].as_str(), web.was[0].as_str(), now.state.jobs.len()), ("near", "www", 1));
    }
}
