//! Merges defaults and profiles into the jobs.

use super::{
    problem::Problem,
    size::SizeLimit,
    suggest,
    tree::{Files, Node, What, merge},
};

/// Gives each job what `defaults` and its `profile` say; the job's own words stand over both.
pub(super) fn apply(root: &mut Node, files: &Files, size: &mut SizeLimit, problems: &mut Vec<Problem>) {
    let is_map = |node: &&Node| matches!(node.what, What::Map(_));
    let defaults = root.get("defaults").filter(is_map).cloned();
    let profiles = root.get("profiles").cloned();
    let profiles = profiles.as_ref().map_or(&[][..], Node::entries);
    let mut used = vec![false; profiles.len()];
    let What::Map(entries) = &mut root.what else { return };
    let Some(jobs) = entries.iter_mut().find(|entry| entry.key == "jobs") else { return };
    let What::Map(jobs) = &mut jobs.value.what else { return };
    for job in jobs.iter_mut().filter(|job| matches!(job.value.what, What::Map(_))) {
        if let Err(too_large) = defaults.iter().try_for_each(|defaults| size.add_tree(defaults)) {
            problems.push(too_large.at(job.at, files));
            return;
        }
        let mut base = defaults.clone();
        if let Some((name, node)) = job.value.get("profile").and_then(|node| Some((node.text()?, node))) {
            if let Some(index) = profiles.iter().position(|profile| profile.key == name) {
                used[index] = true;
                let profile = &profiles[index].value;
                if let Err(too_large) = size.add_tree(profile) {
                    problems.push(too_large.at(node.at, files));
                    return;
                }
                if is_map(&profile) {
                    base = Some(base.map_or_else(|| profile.clone(), |base| merge(base, profile.clone())));
                }
            } else if !name.is_empty() {
                // R05
                let message = format!(
                    "job `{}` has the profile `{}`, which is not declared",
                    job.key,
                    name.escape_debug()
                );
                let names = profiles.iter().map(|profile| profile.key.as_str());
                problems.push(files.error(node.at, message).help(suggest::remedy(name, names, "profiles")));
            }
        }
        if let Some(mut base) = base {
            // What has no meaning for a job in general is reported where it stands, not again in each job.
            for key in super::schema::NOT_IN_PROFILES {
                base.take(key);
            }
            let own = std::mem::replace(&mut job.value.what, What::List(Vec::new()));
            job.value = merge(base, Node { at: job.value.at, what: own });
        }
    }
    // An included file's profiles are meant for other hosts too.
    for (profile, _) in profiles.iter().zip(used).filter(|(profile, used)| !used && profile.at.file == 0) {
        let message = format!("the profile `{}` is never used", profile.key.escape_debug());
        problems.push(files.warning(profile.at, message).help("take it out, or name it in a job"));
    }
}
