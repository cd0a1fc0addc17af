//! From YAML texts to a state, or to everything that is wrong with them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Defaults, State, check,
    include::Reader,
    problem::{Problem, Problems},
    profile,
    shape::{self, Rules},
    tree::{Files, Node},
    vars::Vars,
};

/// A state that was read, and where its words stand.
#[derive(Debug)]
pub struct Loaded {
    /// The state.
    pub state: State,
    /// The files it was read from, the main one first.
    pub files: Vec<String>,
    /// What is probably not what was meant.
    pub warnings: Problems,
    texts: Files,
    root: Node,
}

impl Loaded {
    /// Makes an error at the place that a path of keys leads to, like `["host"]`.
    pub fn error(&self, path: &[&str], message: &str, remedy: Option<&str>) -> Problem {
        self.texts.error(self.root.find(path).at(), message).help_if(remedy)
    }

    /// Makes a warning at the place that a path of keys leads to, like `["host"]`.
    pub fn warning(&self, path: &[&str], message: &str, remedy: Option<&str>) -> Problem {
        self.texts.warning(self.root.find(path).at(), message).help_if(remedy)
    }
}

/// Reads a state: `entry` names the main file, and `read` gives the text of a file by name. An included file's name
/// is made of the including one's by the words alone.
///
/// # Errors
///
/// All problems of all files at once, warnings too, if one of them is an error.
pub fn load(entry: &str, read: &mut dyn FnMut(&str) -> anyhow::Result<String>) -> Result<Loaded, Problems> {
    load_with(entry, &Defaults::default(), read)
}

/// Reads a state as [`load`] does, with what counts where it says nothing.
///
/// # Errors
///
/// As [`load`].
pub fn load_with(
    entry: &str,
    defaults: &Defaults,
    read: &mut dyn FnMut(&str) -> anyhow::Result<String>,
) -> Result<Loaded, Problems> {
    let mut reader = Reader { read, files: Files::default(), problems: Vec::new(), holes: false };
    // The schema takes some milliseconds, and needs nothing of the files.
    let (root, rules) = std::thread::scope(|scope| {
        let rules = scope.spawn(Rules::new);
        let root = reader.load(entry);
        (root, rules.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let Reader { files, mut problems, holes, .. } = reader;
    // Of what a missing file would have said, all else would be found missing.
    let Some(mut root) = root.filter(|_| !holes) else { return Err(Problems::new(problems)) };
    let known = replace_vars(&mut root, &files, &mut problems);
    profile::apply(&mut root, &files, &mut problems);
    let understood =
        rules.and_then(|rules| understand(&root, defaults, &rules, &files, &known, &mut problems));
    let state = match understood {
        Ok(state) => state,
        Err(err) => {
            let message = format!("rlvm cannot make sense of this, which is a fault of rlvm: {err:#}");
            problems.push(files.error(root.at, message).help("please report it with the file"));
            return Err(Problems::new(problems));
        }
    };
    let problems = Problems::new(problems);
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(Loaded { state, files: files.names.clone(), warnings: problems, texts: files, root })
}

/// Replaces variables; returns the places where that failed.
fn replace_vars(root: &mut Node, files: &Files, problems: &mut Vec<Problem>) -> BTreeSet<super::tree::Place> {
    let mut vars = Vars::of(root, files, problems);
    let mut failed = BTreeSet::new();
    for entry in root.entries_mut().iter_mut().filter(|entry| !matches!(&*entry.key, "vars" | "include")) {
        vars.replace(&mut entry.value, false, files, &mut |at, problem| {
            failed.insert(at);
            problems.push(problem);
        });
    }
    vars.unused(files, problems);
    failed
}

/// Makes a state of what fits, and reports what does not.
fn understand(
    root: &Node,
    defaults: &Defaults,
    rules: &Rules,
    files: &Files,
    known: &BTreeSet<super::tree::Place>,
    problems: &mut Vec<Problem>,
) -> anyhow::Result<State> {
    let mut value = root.to_value();
    let (wrong, pruned) = shape::check(root, &mut value, rules, files, known);
    problems.extend(wrong);
    strip(&mut value);
    defaults.put_into(&mut value);
    let state: State = serde_json::from_value(value)?;
    problems.extend(check::check(&state, root, files, &pruned));
    Ok(state)
}

/// Takes out what has been applied.
pub(super) fn strip(value: &mut Value) {
    let Some(root) = value.as_object_mut() else { return };
    for key in ["include", "vars", "defaults", "profiles"] {
        root.remove(key);
    }
    let jobs = root.get_mut("jobs").and_then(Value::as_object_mut);
    for job in jobs.into_iter().flat_map(|jobs| jobs.values_mut()).filter_map(Value::as_object_mut) {
        job.remove("profile");
    }
}
