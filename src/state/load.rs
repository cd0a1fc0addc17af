//! Turns YAML texts into a state, or into a list of all problems.

use std::{collections::BTreeSet, sync::LazyLock, thread};

use serde_json::Value;

use super::{
    Defaults, State, check,
    include::Reader,
    problem::{Problem, Problems},
    profile,
    shape::{self, Rules},
    size::SizeLimit,
    tree::{Files, Node, Place},
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
    // The schema takes some milliseconds, and needs nothing of the files.
    let rules = LazyLock::new(Rules::new as fn() -> anyhow::Result<Rules>);
    let mut reader = Reader::new(read, &rules);
    let root = thread::scope(|scope| {
        scope.spawn(|| LazyLock::force(&rules).is_ok());
        reader.load(entry)
    });
    let Reader { files, mut problems, holes, mut known, mut size, .. } = reader;
    // Without the declarations of a file that is missing or malformed, all that names them would be reported.
    let Some(mut root) = root.filter(|_| !holes) else { return Err(Problems::new(problems)) };
    known.extend(replace_vars(&mut root, &files, &mut size, &mut problems));
    profile::apply(&mut root, &files, &mut size, &mut problems);
    if size.is_exceeded() {
        return Err(Problems::new(problems));
    }
    let understood = match &*rules {
        Ok(rules) => understand(&root, defaults, rules, &files, &known, &mut problems),
        Err(err) => Err(anyhow::anyhow!("{err:#}")),
    };
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
fn replace_vars(
    root: &mut Node,
    files: &Files,
    size: &mut SizeLimit,
    problems: &mut Vec<Problem>,
) -> BTreeSet<Place> {
    let mut vars = Vars::of(root, files, size, problems);
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
    known: &BTreeSet<Place>,
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
