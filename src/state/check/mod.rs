//! Checks what the schema cannot check: references to undeclared names, two destinations that are one repository,
//! dates that never come.

mod clients;
mod destinations;
mod jobs;
mod notify;

use std::collections::BTreeMap;

use super::{
    State,
    problem::Problem,
    shape::Pruned,
    suggest,
    tree::{Files, Node},
};
use crate::{
    model::{Line, Name, Schedule},
    restic::{OLDEST, Version},
};

/// Lists what is wrong with a state's meaning. What was taken out since it has no shape is not missed.
pub(super) fn check(state: &State, root: &Node, files: &Files, pruned: &Pruned) -> Vec<Problem> {
    let mut check = Check { state, root, files, pruned, problems: Vec::new() };
    check.destinations();
    check.jobs();
    check.cron();
    check.clients();
    check.hosts();
    check.restic();
    check.notifiers();
    check.problems
}

struct Check<'a> {
    state: &'a State,
    root: &'a Node,
    files: &'a Files,
    pruned: &'a Pruned,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn error(&mut self, path: &[&str], message: impl Into<String>, remedy: impl Into<String>) {
        let at = self.root.find(path).at();
        self.problems.push(self.files.error(at, message).help(remedy));
    }

    fn warning(&mut self, path: &[&str], message: impl Into<String>, remedy: impl Into<String>) {
        let at = self.root.find(path).at();
        self.problems.push(self.files.warning(at, message).help(remedy));
    }

    /// Says whether a section declares a name, if only in a shape that does not fit.
    fn declares(&self, section: &str, name: &Name) -> bool {
        self.root.get(section).is_some_and(|section| section.entry(name.as_str()).is_some())
    }

    /// R05: a name that names nothing, with both ends.
    fn undeclared(&mut self, path: &[&str], who: &str, kind: &str, section: &str, name: &Name) {
        if self.declares(section, name) {
            return;
        }
        let names =
            self.root.get(section).map_or(&[][..], Node::entries).iter().map(|entry| entry.key.as_str());
        let remedy = suggest::remedy(name.as_str(), names, section);
        self.error(path, format!("{who} names the {kind} `{name}`, which is not declared"), remedy);
    }

    /// R11: a date that is in no calendar.
    fn schedule(&mut self, path: &[&str], schedule: Option<&Schedule>) {
        if schedule.is_some_and(Schedule::never_comes) {
            self.warning(path, "this date never comes", "no month that it names has that day");
        }
    }

    /// Refuses flags that rlvm sets itself.
    fn options(&mut self, path: &[&str], options: &BTreeMap<Line, Line>, refused: &[(&str, &str)]) {
        for key in options.keys().map(Line::as_str) {
            let at = self.root.find(path.iter().copied().chain([key])).key();
            let mut say = |message: String, remedy: &str| {
                self.problems.push(self.files.error(at, message).help(remedy));
            };
            if let Some(flag) = key.strip_prefix('-') {
                let flag = flag.trim_start_matches('-').split('=').next().unwrap_or_default();
                say(format!("`{key}` is no flag's name"), &format!("write `{flag}`, without dashes"));
            } else if let Some((_, instead)) = refused.iter().find(|(flag, _)| *flag == key) {
                say(format!("`{key}` is set by rlvm itself"), instead);
            } else if key.contains(|c: char| c.is_whitespace() || c == '=') {
                say(format!("`{key}` is no flag's name"), "write name and value as key and value");
            }
        }
    }

    fn cron(&mut self) {
        for (name, entry) in &self.state.cron {
            self.schedule(&["cron", name.as_str(), "schedule"], Some(&entry.schedule));
            let of_jobs = [
                ("rlvm-", "job"),
                ("rlvm_prune-", "prune of the job"),
                ("rlvm_verify-", "verify of the job"),
            ];
            for (prefix, what) in of_jobs {
                let of = name.as_str().strip_prefix(prefix);
                if let Some(job) = of.filter(|of| self.state.jobs.keys().any(|it| it.as_str() == *of)) {
                    let message =
                        format!("the cron entry `{name}` would stand in the file of the {what} `{job}`");
                    self.error(&["cron", name.as_str()], message, "give it another name");
                }
            }
            for (own, what) in
                [("rlvm_sweep", "the sweep after a boot"), ("rlvm_watch", "what tells of overdue jobs")]
            {
                if name.as_str() == own {
                    let message = format!("the cron entry `{name}` would stand in the file of {what}");
                    self.error(&["cron", name.as_str()], message, "give it another name");
                }
            }
        }
    }

    /// A name cannot be an old one and one in use.
    fn hosts(&mut self) {
        for (place, old) in self.state.was.iter().enumerate() {
            if *old == self.state.host {
                let message = format!("`{old}` is this host's name still");
                self.error(&["was", &place.to_string()], message, "take it out of `was`");
            }
        }
    }

    /// R31: a restic that would not do.
    fn restic(&mut self) {
        let Some(pin) = &self.state.restic else { return };
        let [major, minor, patch] = pin.version.numbers();
        if Version(major, minor, patch) < OLDEST {
            let message = format!("restic {} is too old", pin.version);
            self.error(&["restic", "version"], message, format!("at least {OLDEST} is needed"));
        }
    }

    fn was(&mut self, section: &str, name: &Name, was: &[Name]) {
        for (place, old) in was.iter().enumerate() {
            if self.declares(section, old) {
                let message = format!("`{name}` was not `{old}`: that is still declared");
                let path = [section, name.as_str(), "was", &place.to_string()];
                self.error(&path, message, "take it out of `was`, or take the old block out");
            }
        }
    }
}
