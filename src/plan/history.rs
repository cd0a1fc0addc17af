//! Notes what a change of the state means for backups that exist: they stay under a former name, or hold what is no longer
//! a source. Pure.

use std::collections::BTreeMap;

use super::Options;
use crate::{
    destination::Destination,
    model::{Address, HostPath, Name},
    resource::{Finding, Severity},
    source::Source,
    state::{Job, State},
};

/// Compares a state with the one that was applied last. With targets there is nothing to say: apply then writes down no
/// definition.
pub fn of_backups(applied: Option<&State>, declared: &State, options: &Options) -> Vec<Finding> {
    let Some(applied) = applied.filter(|_| options.targets.is_empty()) else { return Vec::new() };
    let mut notes = renamed_jobs(applied, declared);
    notes.extend(renamed_destinations(applied, declared));
    notes.extend(left_sources(applied, declared));
    notes
}

fn note(kind: &str, name: &Name, message: String, remedy: String) -> Finding {
    Finding::new(Severity::Notice, Address::new(kind, name.as_str()), message).remedy(remedy)
}

/// Reports each job that leaves the state while a job with the same sources or destinations is new: without `was:` the new
/// job does not continue the backups of the old one.
fn renamed_jobs(applied: &State, declared: &State) -> Vec<Finding> {
    let is_kept = |name: &Name| declared.jobs.iter().any(|(new, job)| new == name || job.was.contains(name));
    let new: Vec<(&Name, &Job)> =
        declared.jobs.iter().filter(|(name, _)| !applied.jobs.contains_key(*name)).collect();
    let noted = |(old, left): (&Name, &Job)| {
        let like = |same: &dyn Fn(&Job) -> bool| new.iter().find(|(_, job)| same(job)).map(|(name, _)| *name);
        let (what, name) = match like(&|job| job.sources == left.sources) {
            Some(name) => ("sources", name),
            None => ("destinations", like(&|job| job.to == left.to)?),
        };
        let message = format!(
            "job {old} leaves the state, and job {name} with the same {what} is new: {name} does not continue the backups of \
             {old}, which stay under the old name"
        );
        Some(note("job", name, message, format!("if {old} was renamed, write `was: [{old}]` in job {name}")))
    };
    applied.jobs.iter().filter(|(name, _)| !is_kept(name)).filter_map(noted).collect()
}

/// Reports each destination that leaves the state while a new one is at the same place: without `was:` the run records under
/// the old name do not count for the new one.
fn renamed_destinations(applied: &State, declared: &State) -> Vec<Finding> {
    let is_kept =
        |name: &Name| declared.destinations.iter().any(|(new, it)| new == name || it.was.contains(name));
    let new: BTreeMap<&Name, &Destination> =
        declared.destinations.iter().filter(|(name, _)| !applied.destinations.contains_key(*name)).collect();
    let noted = |(old, left): (&Name, &Destination)| {
        let (name, _) = new.iter().find(|(_, it)| it.kind == left.kind)?;
        let message = format!(
            "destination {old} leaves the state, and destination {name} is new at the same place: the run records of {old} \
             do not count for {name}"
        );
        let remedy = format!("if {old} was renamed, write `was: [{old}]` in destination {name}");
        Some(note("destination", name, message, remedy))
    };
    applied.destinations.iter().filter(|(name, _)| !is_kept(name)).filter_map(noted).collect()
}

/// Reports what a job that stays no longer stores: its backups go on by the job's retention, which removes the last one that
/// holds it in the end.
fn left_sources(applied: &State, declared: &State) -> Vec<Finding> {
    let noted = |(name, job): (&Name, &Job)| {
        let before = job.names(name).into_iter().find_map(|name| applied.jobs.get(&name))?;
        let left: Vec<String> = before.sources.iter().flat_map(|it| no_longer(it, &job.sources)).collect();
        if left.is_empty() {
            return None;
        }
        let left = left.join(", ");
        let until = if job.retention.is_some() {
            "existing backups of this data stay until retention removes them"
        } else {
            "existing backups of this data stay"
        };
        let message = format!("job {name} no longer stores {left}: {until}");
        let remedy = format!(
            "to keep a copy: `rlvm restore {name} --snapshot ID --target DIR`, with an ID that `rlvm snapshots {name}` lists"
        );
        Some(note("job", name, message, remedy))
    };
    declared.jobs.iter().filter_map(noted).collect()
}

/// Names what a source stored and others do not.
fn no_longer(source: &Source, now: &[Source]) -> Vec<String> {
    // What a whole volume holds is known only on the host.
    let is_whole = |it: &Source| matches!(it, Source::Lvm(lvm) if lvm.paths.is_empty());
    if now.contains(source) || now.iter().any(is_whole) {
        return Vec::new();
    }
    if let Source::Lvm(lvm) = source
        && is_whole(source)
    {
        let is_of = |it: &Source| matches!(it, Source::Lvm(now) if now.volume == lvm.volume);
        return if now.iter().any(is_of) { Vec::new() } else { vec![lvm.volume.to_string()] };
    }
    let covered = |path: &HostPath| now.iter().flat_map(stored).any(|it| path.is_within(it));
    stored(source).into_iter().filter(|path| !covered(path)).map(ToString::to_string).collect()
}

/// Lists the paths that a source stores.
fn stored(source: &Source) -> Vec<&HostPath> {
    match source {
        Source::Btrfs(btrfs) if !btrfs.paths.is_empty() => btrfs.paths.iter().collect(),
        source => source.paths(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: &str = "destinations: {near: {local: {path: /n}, password_file: /p}, far: {local: {path: /f}, password_file: /p}}";

    fn state(sections: &str) -> State {
        let yaml = format!("version: 1\nhost: h\n{sections}\n");
        crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state
    }

    fn notes(before: &str, after: &str) -> Vec<String> {
        let found = of_backups(Some(&state(before)), &state(after), &Options::default());
        found.into_iter().map(|it| format!("{}: {}", it.message, it.remedy.unwrap_or_default())).collect()
    }

    #[test]
    fn a_job_renamed_without_was_is_noted() {
        let near = "destinations: {near: {local: {path: /n}, password_file: /p}, far: {local: {path: /f}, password_file: /p}}";
        let jobs = |jobs: &str| state(&format!("{near}\njobs: {{{jobs}}}"));
        let www = "www: {sources: [{path: /srv}], to: [near]}";
        for (after, noted) in [
            (
                "web: {sources: [{path: /srv}], to: [near]}",
                Some("job www leaves the state, and job web with the same sources is new"),
            ),
            ("web: {sources: [{path: /srv}], to: [far]}", Some("the same sources")),
            ("web: {sources: [{path: /home}], to: [near]}", Some("the same destinations")),
            ("web: {sources: [{path: /home}], to: [far]}", None),
            ("web: {sources: [{path: /srv}], to: [near], was: [www]}", None),
            ("www: {sources: [{path: /srv}], to: [near]}, web: {sources: [{path: /srv}], to: [near]}", None),
            ("", None),
        ] {
            let notes = of_backups(Some(&jobs(www)), &jobs(after), &Options::default());
            let said: Vec<&str> = notes.iter().map(|it| it.message.as_str()).collect();
            assert_eq!(said.len(), usize::from(noted.is_some()), "{after}: {said:?}");
            assert!(noted.is_none_or(|noted| said[0].contains(noted)), "{after}: {said:?}");
            assert!(
                notes
                    .iter()
                    .all(|it| it.remedy.as_deref()
                        == Some("if www was renamed, write `was: [www]` in job web"))
            );
        }
        // Two jobs and two states in which both exist: nothing is renamed.
        assert!(of_backups(None, &jobs(www), &Options::default()).is_empty());
    }

    #[test]
    fn a_destination_renamed_without_was_is_noted() {
        let jobs = |place: &str| {
            format!(
                "destinations: {{{place}: {{local: {{path: /n}}, password_file: /p}}}}\n\
                 jobs: {{web: {{sources: [{{path: /srv}}], to: [{place}]}}}}"
            )
        };
        let said = notes(&jobs("near"), &jobs("vault"));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].ends_with("if near was renamed, write `was: [near]` in destination vault"),
            "{said:?}"
        );
        let named = jobs("vault").replace("password_file: /p}", "password_file: /p, was: [near]}");
        let elsewhere = jobs("vault").replace("/n}", "/other}");
        for after in [named, elsewhere, jobs("near")] {
            assert_eq!(notes(&jobs("near"), &after), Vec::<String>::new(), "{after}");
        }
    }

    #[test]
    fn a_source_that_a_job_no_longer_stores_is_noted() {
        let job = |name: &str, sources: &str, more: &str| {
            format!("{PLACES}\njobs: {{{name}: {{sources: [{sources}], to: [near]{more}}}}}")
        };
        let was = job("web", "{path: /etc}, {path: /srv/www}", "");
        for (after, noted) in [
            (job("web", "{path: /etc}, {path: /srv/www}", ""), None),
            (job("web", "{path: /srv}, {path: /etc}", ""), None),
            (job("web", "{path: /etc}, {lvm: {volume: vg0/srv, paths: [/srv/www]}}", ""), None),
            (job("web", "{path: /etc}, {lvm: {volume: vg0/srv}}", ""), None),
            (job("web", "{path: /etc}, {btrfs: {subvolume: /srv/www}}", ""), None),
            (job("web", "{path: /etc}", ""), Some("/srv/www: existing backups of this data stay: ")),
            (
                job("www", "{path: /etc}", ", was: [web]"),
                Some("/srv/www: existing backups of this data stay: "),
            ),
            (
                job("web", "{path: /etc/ssh}", ", retention: {daily: 7}"),
                Some("/etc, /srv/www: existing backups of this data stay until retention removes them: "),
            ),
            (
                job("web", "{path: /etc}, {btrfs: {subvolume: /srv, paths: [/srv/mail]}}", ""),
                Some("/srv/www: "),
            ),
        ] {
            let said = notes(&was, &after);
            assert_eq!(said.len(), usize::from(noted.is_some()), "{after}: {said:?}");
            assert!(noted.is_none_or(|noted| said[0].contains(noted)), "{after}: {said:?}");
        }
        let volume = |name: &str| job("web", &format!("{{lvm: {{volume: {name}}}}}, {{path: /etc}}"), "");
        assert_eq!(notes(&volume("vg0/a"), &volume("vg0/a")), Vec::<String>::new());
        assert!(
            notes(&volume("vg0/a"), &job("web", "{path: /etc}", ""))[0].contains("no longer stores vg0/a: ")
        );
    }
}
