//! Checks jobs: that each stores something, at some destination, without repetition, and keeps it.

use std::collections::BTreeMap;

use jiff::civil::{DateTime, datetime};

use super::Check;
use crate::{
    model::{Name, ReadData, Retention, malformed_exclude},
    state::Job,
};

/// A day from which schedules are counted: what is said of a state does not depend on when.
const SOME_DAY: DateTime = datetime(2026, 1, 1, 0, 0, 0, 0);

/// Flags of `restic backup` that rlvm sets itself, and where their value belongs.
const REFUSED: [(&str, &str); 14] = [
    ("repo", "name a destination in `to`"),
    ("password-file", "write it at the destination"),
    ("host", "a snapshot's host is the state's `host`"),
    ("tag", "rlvm tags snapshots with the job's name"),
    ("time", "rlvm sets it to when the sources were frozen"),
    ("parent", "restic finds it by host and path"),
    ("exclude", "write `exclude`"),
    ("iexclude", "write `exclude`"),
    ("one-file-system", "write `one_file_system`"),
    ("files-from", "write `sources`"),
    ("stdin", "write `sources`"),
    ("dry-run", "that is `rlvm run --dry-run`"),
    ("json", "rlvm reads what restic prints"),
    ("cache-dir", "rlvm's cache is in /var/cache/rlvm"),
];

/// Returns the rest of a pattern that means to begin with a user's home directory, as a shell would read it.
fn in_home(pattern: &str) -> Option<&str> {
    let pattern = pattern.strip_prefix('!').unwrap_or(pattern);
    let rest = pattern.strip_prefix('~').or_else(|| pattern.strip_prefix("$HOME"))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

impl Check<'_> {
    pub(super) fn jobs(&mut self) {
        for (name, job) in &self.state.jobs {
            let at = ["jobs", name.as_str()];
            let path = |key| [at[0], at[1], key];
            self.was("jobs", name, &job.was);
            self.something_somewhere(name, job);
            self.kinds_of_sources(name, job);
            self.names(name, job);
            self.once(name, job);
            self.options(&path("options"), &job.options, &REFUSED);
            for (place, pattern) in job.exclude.iter().enumerate() {
                if let Some(why) = malformed_exclude(pattern.as_str()) {
                    let message = format!("restic refuses the pattern `{pattern}`: {why}");
                    let remedy = r"write `\[` for a bracket that means itself";
                    self.error(&["jobs", name.as_str(), "exclude", &place.to_string()], message, remedy);
                } else if let Some(rest) = in_home(pattern.as_str()) {
                    let message = format!(
                        "the pattern `{pattern}` excludes nothing: restic does not replace `~` or `$HOME` by a home directory"
                    );
                    let remedy = format!("write the path: `/root{rest}`, or `/home/*{rest}` for all users");
                    self.error(&["jobs", name.as_str(), "exclude", &place.to_string()], message, remedy);
                }
            }
            self.schedule(&path("schedule"), job.schedule.as_ref());
            self.schedule(&["jobs", name.as_str(), "prune", "schedule"], job.prune.schedule.as_ref());
            self.schedule(&["jobs", name.as_str(), "verify", "schedule"], job.verify.schedule.as_ref());
            self.read_data(name, job);
            if let Some(retention) = &job.retention {
                self.retention(name, retention);
            } else if job.prune.schedule.is_some() && !self.pruned.holds(&path("retention")) {
                let message = format!("job `{name}` is pruned on schedule, and keeps everything");
                self.warning(&["jobs", name.as_str(), "prune"], message, "write `retention`");
            }
        }
    }

    /// A time within which all is read is shared out among the schedule's.
    fn read_data(&mut self, name: &Name, job: &Job) {
        let path = ["jobs", name.as_str(), "verify", "read_data"];
        if let Some(ReadData::Within(span)) = job.verify.read_data {
            match &job.verify.schedule {
                None => self.error(
                    &path,
                    format!("nothing says when the job `{name}` is verified, so all is read within {span} by no part of it"),
                    "write `verify: { schedule: \"0 6 * * 0\" }`, or how much is read each time: `5%`",
                ),
                Some(schedule) => {
                    let often = schedule.longest_gap(SOME_DAY).is_some_and(|gap| gap <= span.seconds());
                    if !often && !schedule.never_comes() {
                        let message = format!("it is verified less often than once in {span}");
                        self.warning(&path, message, "all is read each time, and later than that");
                    }
                }
            }
        }
    }

    /// R04
    fn something_somewhere(&mut self, name: &Name, job: &Job) {
        for (key, empty, remedy) in [
            ("sources", job.sources.is_empty(), "write `sources:`, like `- path: /etc`"),
            ("to", job.to.is_empty(), "write `to: [NAME]`, with a name from `destinations:`"),
        ] {
            let pruned = self.pruned;
            let job = ["jobs", name.as_str()];
            if empty && !pruned.holds(&["jobs", name.as_str(), key]) && !pruned.meant(&job, key) {
                let what = if key == "to" { "destination" } else { "source" };
                let path = ["jobs", name.as_str(), key];
                let found = self.root.find(path);
                let at = if found.whole { found.at() } else { found.key() };
                let problem = self.files.error(at, format!("job `{name}` has no {what}")).help(remedy);
                self.problems.push(problem);
            }
        }
    }

    /// A job with a source that is not stored must not look like a backup of it.
    fn kinds_of_sources(&mut self, name: &Name, job: &Job) {
        for (place, source) in job.sources.iter().enumerate().filter(|(_, source)| !source.is_supported()) {
            let message =
                format!("this version of rlvm cannot back up sources of the kind `{}`", source.key());
            let remedy = match source.key() {
                "mysql" | "postgres" | "sqlite" => {
                    "dump the database in a hook, and make the directory of the dumps a source: examples/databases.yaml"
                }
                _ => {
                    "stop the container or virtual machine with `stop`, and declare its directory as a `path` source, or its logical volume as an `lvm` source"
                }
            };
            self.error(&["jobs", name.as_str(), "sources", &place.to_string()], message, remedy);
        }
    }

    /// R05
    fn names(&mut self, name: &Name, job: &Job) {
        let who = format!("job `{name}`");
        let name = name.as_str();
        for (place, to) in job.to.iter().enumerate() {
            self.undeclared(
                &["jobs", name, "to", &place.to_string()],
                &who,
                "destination",
                "destinations",
                to,
            );
        }
        for (to, copy) in &job.copy {
            self.undeclared(&["jobs", name, "copy", to.as_str()], &who, "destination", "destinations", to);
            if !job.to.contains(&copy.from) && !self.pruned.holds(&["jobs", name, "to"]) {
                let message = format!("{who} copies from `{}`, which it does not store at", copy.from);
                let remedy =
                    crate::state::suggest::remedy(copy.from.as_str(), job.to.iter().map(Name::as_str), "to");
                self.error(&["jobs", name, "copy", to.as_str(), "from"], message, remedy);
            }
        }
        for (place, notifier) in job.notify.iter().enumerate() {
            self.undeclared(
                &["jobs", name, "notify", &place.to_string()],
                &who,
                "notifier",
                "notify",
                notifier,
            );
        }
    }

    /// R10: one repository twice in a job.
    fn once(&mut self, name: &Name, job: &Job) {
        let mut seen: BTreeMap<String, &Name> = BTreeMap::new();
        let stored =
            job.to.iter().enumerate().map(|(place, to)| (to, vec!["to".to_owned(), place.to_string()]));
        let copied = job.copy.keys().map(|to| (to, vec!["copy".to_owned(), to.to_string()]));
        for (to, path) in stored.chain(copied) {
            let Some(destination) = self.state.destinations.get(to) else { continue };
            let Some(first) = seen.insert(destination.identity(), to) else { continue };
            let path: Vec<&str> =
                ["jobs", name.as_str()].into_iter().chain(path.iter().map(String::as_str)).collect();
            let message = if first == to {
                format!("job `{name}` names `{to}` twice")
            } else {
                format!("job `{name}` names one repository twice: `{first}` and `{to}`")
            };
            self.error(&path, message, "keep one");
        }
    }

    /// R12
    fn retention(&mut self, name: &Name, retention: &Retention) {
        let path = ["jobs", name.as_str(), "retention"];
        if !retention.keeps_something() && !self.pruned.touches(&path) {
            let message = format!("the retention of job `{name}` keeps nothing");
            self.error(
                &path,
                message,
                "write how many are kept, like `daily: 7`; without `retention` all are kept",
            );
        }
        if retention.keep_within.is_some_and(|span| !span.is_kept_within()) {
            let path = ["jobs", name.as_str(), "retention", "keep_within"];
            self.error(
                &path,
                "`keep_within` is nothing that restic could count",
                super::clients::KEEP_WITHIN,
            );
        }
    }
}
