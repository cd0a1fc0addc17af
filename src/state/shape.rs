//! Validates a state against the schema, and explains each problem.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind as Kind};
use serde_json::Value;

use super::{
    explain::{self, Said},
    problem::Problem,
    schema, suggest,
    tree::{Files, Found, Node, Place},
};
use crate::model::FORMATS;

/// What was taken out of a state since it does not fit; what depends on it is not reported again.
#[derive(Debug, Default)]
pub(super) struct Pruned(BTreeSet<Vec<String>>);

impl Pruned {
    /// Says whether a part, or what holds it, was taken out.
    pub(super) fn holds(&self, path: &[&str]) -> bool {
        (1..=path.len()).any(|end| self.0.iter().any(|gone| gone.iter().eq(&path[..end])))
    }

    /// Says whether a key of this map that was taken out was probably meant to be `key`.
    pub(super) fn meant(&self, map: &[&str], key: &str) -> bool {
        let unknown = self.0.iter().filter_map(|gone| match gone.split_last() {
            Some((last, above)) if above.iter().eq(map) => Some(last),
            _ => None,
        });
        unknown.into_iter().any(|unknown| suggest::nearest(unknown, [key]).is_some())
    }

    /// Says whether a part is not what was written, since something in it was taken out.
    pub(super) fn touches(&self, path: &[&str]) -> bool {
        self.0
            .iter()
            .any(|gone| gone.len() >= path.len() && gone.iter().zip(path).all(|(gone, part)| gone == part))
    }
}

/// The schema, and the validator made of it.
pub(super) struct Rules {
    schema: Value,
    validator: Validator,
}

impl Rules {
    /// Makes the schema and compiles it.
    pub(super) fn new() -> anyhow::Result<Self> {
        let schema = schema::schema();
        let validator = validator(&schema)?;
        Ok(Self { schema, validator })
    }
}

/// Compiles the schema; the words are checked by the very parsers that read them.
pub(super) fn validator(schema: &Value) -> anyhow::Result<Validator> {
    let options = jsonschema::options().should_validate_formats(true);
    let options = FORMATS.iter().fold(options, |options, format| {
        options.with_format(format.name, |text: &str| (format.check)(text).is_ok())
    });
    options.build(schema).map_err(|err| anyhow::anyhow!("the schema of states is broken: {err}"))
}

/// Reports what does not fit and takes it out of the value, so that the rest can still be looked at.
///
/// `known` are places of problems that were reported already.
pub(super) fn check(
    root: &Node,
    value: &mut Value,
    Rules { schema, validator }: &Rules,
    files: &Files,
    known: &BTreeSet<Place>,
) -> (Vec<Problem>, Pruned) {
    if validator.is_valid(value) {
        return (Vec::new(), Pruned::default());
    }
    let mut shape = Shape { root, schema, files, unknown: BTreeMap::new() };
    let errors: Vec<ValidationError<'_>> = validator.iter_errors(value).collect();
    for error in &errors {
        if let Kind::AdditionalProperties { unexpected } = error.kind() {
            shape.unknown.insert(path(error), unexpected.clone());
        }
    }
    let mut problems = Vec::new();
    let mut gone = Vec::new();
    for error in &errors {
        for (at, said, cut) in shape.error(error) {
            if let Some(said) = said.filter(|_| !known.contains(&at)) {
                problems.push(files.error(at, said.message).help_if(said.remedy));
            }
            gone.push(cut);
        }
    }
    drop(errors);
    let mut pruned = Pruned::default();
    // What is left may miss what was taken out of it; then it goes as well, until the rest has a meaning.
    for _ in 0..ROUNDS {
        for cut in gone {
            remove(value, &cut);
            pruned.0.insert(cut);
        }
        gone = validator.iter_errors(value).map(|error| whole(path(&error))).collect();
        if gone.is_empty() {
            break;
        }
    }
    (problems, pruned)
}

/// What is wrong with a file by itself.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    pub(super) problems: Vec<Problem>,
    /// Where the problems stand.
    pub(super) places: Vec<Place>,
    /// Whether a map or list, and so declarations, cannot be understood.
    pub(super) lost: bool,
}

/// Checks a file that others are laid over: whatever they add, these problems stay. What a fragment may leave out (a
/// key that a job needs) and what variables stand for is checked with the whole state.
pub(super) fn check_fragment(root: &Node, Rules { schema, validator }: &Rules, files: &Files) -> Fragment {
    let value = root.to_value();
    let mut fragment = Fragment::default();
    if validator.is_valid(&value) {
        return fragment;
    }
    let shape = Shape { root, schema, files, unknown: BTreeMap::new() };
    let may_change = |error: &ValidationError<'_>| {
        matches!(
            error.kind(),
            Kind::Required { .. } | Kind::OneOfNotValid { .. } | Kind::MinProperties { .. }
        ) || error.instance().as_str().is_some_and(|text| text.contains("${"))
    };
    let is_container = |value: &Value| value.is_object() || value.is_array();
    let wants_container = |error: &ValidationError<'_>| {
        let schema = explain::schema_at(schema, &path(error));
        matches!(schema.get("type").and_then(Value::as_str), Some("object" | "array"))
    };
    for error in validator.iter_errors(&value) {
        let wrong_type = matches!(error.kind(), Kind::Type { .. });
        if may_change(&error) && !(wrong_type && wants_container(&error)) {
            continue;
        }
        fragment.lost |= wrong_type && (is_container(error.instance()) || wants_container(&error));
        for (at, said, _) in shape.error(&error) {
            fragment.places.push(at);
            fragment.problems.extend(said.map(|said| files.error(at, said.message).help_if(said.remedy)));
        }
    }
    fragment
}

struct Shape<'a> {
    root: &'a Node,
    schema: &'a Value,
    files: &'a Files,
    /// Unknown keys by the path of the map that holds them.
    unknown: BTreeMap<Vec<String>, Vec<String>>,
}

/// Where it is wrong, what is said of it if it is not said already, and what is taken out.
type Wrong = (Place, Option<Said>, Vec<String>);

impl Shape<'_> {
    fn error(&self, error: &ValidationError<'_>) -> Vec<Wrong> {
        let path = path(error);
        let found = self.root.find(&path);
        let schema = explain::schema_at(self.schema, &path);
        let name = explain::name(&path);
        let cut = unit(&path);
        let said = match error.kind() {
            Kind::AdditionalProperties { unexpected } => return self.unknown(&path, unexpected, schema),
            Kind::PropertyNames { error } => {
                let Value::String(key) = error.instance().as_ref() else { return Vec::new() };
                let below: Vec<String> = path.iter().chain([key]).cloned().collect();
                let format = format(error);
                let said = explain::word(None, key, format);
                return vec![(self.root.find(&below).key(), Some(said), below)];
            }
            Kind::Required { property } => {
                let property = property.as_str().unwrap_or_default();
                let cut = if path.is_empty() { vec![property.to_owned()] } else { cut };
                let misspelt = self.misspelt(&path, schema, &[property]);
                let said = (!misspelt).then(|| explain::missing(&path, property, schema));
                return vec![(found.key(), said, cut)];
            }
            Kind::OneOfNotValid { .. } => {
                let choice = explain::choice(schema);
                let misspelt = self.misspelt(&path, schema, &choice);
                let said = (!misspelt).then(|| explain::none_of(name, &choice));
                return vec![(found.key(), said, cut)];
            }
            Kind::OneOfMultipleValid { .. } | Kind::MaxProperties { .. } => {
                let (at, said) = too_many(found, schema, &path);
                return vec![(at, Some(said), cut)];
            }
            Kind::MinProperties { .. } => explain::none_of(name, &explain::keys(schema)),
            Kind::Type { .. } => {
                let inside: Vec<String> = path.iter().cloned().chain(["0".to_owned()]).collect();
                let item = explain::schema_at(self.schema, &inside);
                explain::wrong_type(name, found.node, error.instance(), (schema, item))
            }
            // A type that does not fit is reported as that.
            Kind::Enum { .. } if !error.instance().is_string() && !error.instance().is_number() => {
                return vec![(found.at(), None, cut)];
            }
            Kind::Enum { options } if error.instance().is_string() && !explain::lists_words(options) => {
                return vec![(found.at(), None, cut)];
            }
            Kind::Enum { options } => explain::not_listed(name, error.instance(), options),
            Kind::Format { .. } => {
                explain::word(name, error.instance().as_str().unwrap_or_default(), format(error))
            }
            Kind::Minimum { limit } => explain::bound(name, "at least", limit),
            Kind::Maximum { limit } => explain::bound(name, "at most", limit),
            Kind::MinItems { .. } => explain::empty_list(name),
            other => explain::other(name, other.keyword()),
        };
        vec![(self.place(found.at()), Some(said), cut)]
    }

    fn unknown(&self, path: &[String], unexpected: &[String], schema: &Value) -> Vec<Wrong> {
        let keys = explain::keys(schema);
        let wrong = |key: &String| {
            let below: Vec<String> = path.iter().chain([key]).cloned().collect();
            let at = self.root.find(&below).key();
            // Without its one key a choice is nothing.
            let cut = if schema.get("maxProperties").is_some() { unit(path) } else { below };
            (at, Some(explain::unknown_key(path, key, &keys)), cut)
        };
        unexpected.iter().map(wrong).collect()
    }

    /// Says whether a missing key stands there misspelt, which is reported already.
    fn misspelt(&self, path: &[String], schema: &Value, wanted: &[&str]) -> bool {
        let keys = explain::keys(schema);
        let unknown = self.unknown.get(path).into_iter().flatten();
        unknown
            .filter_map(|key| suggest::nearest(key, keys.iter().copied()))
            .any(|near| wanted.contains(&near))
    }

    /// Moves a caret that would stand at the end of a line, for a value that is missing, to where it can be seen.
    fn place(&self, at: Place) -> Place {
        let width = self.files.line(at).chars().count();
        let column = at.column.min(u32::try_from(width.max(1)).unwrap_or(1));
        Place { column, ..at }
    }
}

/// Says which keys of a map exclude each other, at the second of them.
fn too_many(found: Found<'_>, schema: &Value, path: &[String]) -> (Place, Said) {
    let choice = match explain::choice(schema) {
        choice if choice.is_empty() => explain::keys(schema),
        choice => choice,
    };
    let given = found.node.entries().iter().map(|entry| entry.key.as_str());
    let both: Vec<&str> = given.filter(|key| choice.contains(key)).collect();
    let at = both.get(1).and_then(|key| found.node.entry(key)).map_or(found.key(), |entry| entry.at);
    let in_list = path.last().is_some_and(|last| last.parse::<usize>().is_ok());
    (at, explain::too_many(&both, in_list))
}

fn format<'a>(error: &'a ValidationError<'_>) -> &'a str {
    if let Kind::Format { format } = error.kind() { format } else { "" }
}

/// Splits an error's place, a JSON pointer, into its parts.
fn path(error: &ValidationError<'_>) -> Vec<String> {
    let pointer = error.instance_path().as_str();
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

/// Each round goes one level up, and no state is as deep.
const ROUNDS: usize = 64;

/// Makes the path of a list of that of an item: a list is taken out as a whole.
fn whole(mut path: Vec<String>) -> Vec<String> {
    while path.len() > 1 && path.last().is_some_and(|last| last.parse::<usize>().is_ok()) {
        path.pop();
    }
    path
}

/// What a destination is nothing without.
const NEEDED: [&str; 7] = ["password_file", "local", "sftp", "rest", "s3", "b2", "rclone"];

/// Says what is to be taken out when something in it does not fit: the smallest part without which the rest still
/// means something.
fn unit(path: &[String]) -> Vec<String> {
    let length = match path.first().map(String::as_str) {
        Some("jobs" | "destinations") if path.get(2).is_some_and(|key| key == "options" || key == "copy") => {
            4
        }
        Some("ssh") if path.get(1).is_some_and(|key| key == "agent") => 2,
        Some("jobs" | "ssh") => 3,
        // All else of a destination can be left out.
        Some("destinations") if !path.get(2).is_some_and(|key| NEEDED.contains(&key.as_str())) => 3,
        Some("directories" | "destinations" | "cron" | "logrotate" | "notify" | "profiles" | "vars") => 2,
        _ => 1,
    };
    path[..length.min(path.len())].to_vec()
}

/// Takes a part out of a value; the two keys without which there is no state get a stand-in.
fn remove(value: &mut Value, path: &[String]) {
    match path {
        [] => {}
        [key] if key == "version" => value["version"] = 1.into(),
        [key] if key == "host" => value["host"] = "unknown".into(),
        [parents @ .., last] => {
            let parent = parents.iter().try_fold(value, |value, part| match value {
                Value::Object(map) => map.get_mut(part),
                Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?),
                _ => None,
            });
            if let Some(Value::Object(map)) = parent {
                map.remove(last);
            }
        }
    }
}
