//! Explains why a value does not fit the schema, and what to write instead.

use serde_json::Value;

use super::{
    schema::NOT_IN_PROFILES,
    suggest::{list, nearest},
    tree::Node,
};
use crate::model::FORMATS;

/// What is wrong, and what to write instead.
pub(super) struct Said {
    pub(super) message: String,
    pub(super) remedy: Option<String>,
}

impl Said {
    fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: Some(remedy.into()) }
    }
}

/// Finds the part of the schema that describes what a path leads to. There is one at most: a choice is an object.
pub(super) fn schema_at<'a>(root: &'a Value, path: &[String]) -> &'a Value {
    let follow = |schema: &'a Value| match schema.get("$ref").and_then(Value::as_str) {
        Some(name) => root.pointer(name.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => schema,
    };
    path.iter().fold(follow(root), |schema, part| {
        let property = schema.get("properties").and_then(|properties| properties.get(part));
        let below = property.or_else(|| schema.get("additionalProperties")).or_else(|| schema.get("items"));
        follow(below.unwrap_or(&Value::Null))
    })
}

/// Lists the keys that a schema's object can have.
pub(super) fn keys(schema: &Value) -> Vec<&str> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// Lists the keys of which exactly one is wanted.
pub(super) fn choice(schema: &Value) -> Vec<&str> {
    let branches = schema.get("oneOf").and_then(Value::as_array);
    branches.into_iter().flatten().filter_map(|branch| branch.pointer("/required/0")?.as_str()).collect()
}

/// Returns the key that a person would name a path by: its last one that is no number.
pub(super) fn name(path: &[String]) -> Option<&str> {
    path.iter().rev().map(String::as_str).find(|part| part.parse::<usize>().is_err())
}

fn subject(name: Option<&str>) -> String {
    name.map_or_else(|| "this".into(), |name| format!("`{}`", name.escape_debug()))
}

pub(super) fn unknown_key(path: &[String], key: &str, keys: &[&str]) -> Said {
    let shown = key.escape_debug();
    let shared = matches!(path.first().map(String::as_str), Some("defaults" | "profiles"));
    if shared && NOT_IN_PROFILES.contains(&key) {
        let message = format!("`{shown}` belongs into a job, not into defaults or a profile");
        return Said::new(message, "write it in each job");
    }
    let remedy = match nearest(key, keys.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known keys: {}", list(keys.iter().copied(), "and")),
    };
    Said::new(format!("unknown key `{shown}`"), remedy)
}

pub(super) fn missing(path: &[String], property: &str, schema: &Value) -> Said {
    let subject = if path.is_empty() { "the state".into() } else { subject(name(path)) };
    let about = schema.pointer(&format!("/properties/{property}/description")).and_then(Value::as_str);
    let about = about.map_or_else(|| "write it".into(), |about| about.replace('\n', " "));
    Said::new(format!("{subject} needs `{property}`"), format!("`{property}`: {about}"))
}

pub(super) fn none_of(name: Option<&str>, choice: &[&str]) -> Said {
    let message = format!("{} needs exactly one of {}", subject(name), list(choice.iter().copied(), "and"));
    Said::new(message, "write one of them")
}

pub(super) fn too_many(given: &[&str], in_list: bool) -> Said {
    let message = format!("{} exclude each other", list(given.iter().copied(), "and"));
    Said::new(message, if in_list { "start each with a `- ` of its own" } else { "keep one" })
}

pub(super) fn empty_list(name: Option<&str>) -> Said {
    Said::new(format!("{} must have at least one item", subject(name)), "write one, or leave the key out")
}

pub(super) fn bound(name: Option<&str>, which: &str, limit: &Value) -> Said {
    Said { message: format!("{} must be {which} {limit}", subject(name)), remedy: None }
}

pub(super) fn other(name: Option<&str>, keyword: &str) -> Said {
    Said { message: format!("{} does not fit: {keyword}", subject(name)), remedy: None }
}

/// Says what the word's own parser says of it.
pub(super) fn word(name: Option<&str>, text: &str, format: &str) -> Said {
    if text.trim().is_empty() {
        // R02
        return Said::new(format!("{} is empty", subject(name)), "write a value, or leave the key out");
    }
    let known = FORMATS.iter().find(|known| known.name == format);
    match known.and_then(|known| (known.check)(text).err()) {
        Some(bad) => {
            let name = name.map(|name| format!("`{}`: ", name.escape_debug())).unwrap_or_default();
            Said { message: format!("{name}{bad}"), remedy: bad.remedy }
        }
        None => other(name, format),
    }
}

/// Says whether a list of what may stand somewhere has words in it, not numbers.
pub(super) fn lists_words(options: &Value) -> bool {
    options.as_array().into_iter().flatten().any(Value::is_string)
}

pub(super) fn not_listed(name: Option<&str>, value: &Value, options: &Value) -> Said {
    let words: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match value.as_str() {
        Some("") => word(name, "", ""),
        Some(text) if !words.is_empty() => {
            let message = format!("{} cannot be `{}`", subject(name), text.escape_debug());
            let remedy = match nearest(text, words.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write {}", list(words, "or")),
            };
            Said::new(message, remedy)
        }
        // The one list of numbers there is: the versions of the format.
        _ => Said::new(format!("{} {value} is not known to this rlvm", subject(name)), "write `version: 1`"),
    }
}

/// Says what is there instead of what is wanted, and how it is written.
///
/// `item` is the schema of an item, if a list is wanted.
pub(super) fn wrong_type(
    name: Option<&str>,
    node: &Node,
    value: &Value,
    (schema, item): (&Value, &Value),
) -> Said {
    let subject = subject(name);
    let raw = node.text().unwrap_or_default();
    if value.is_null() {
        return Said::new(format!("{subject} has no value"), "write a value, or leave the key out");
    }
    let wanted = match schema.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        _ => "string",
    };
    match (wanted, value) {
        ("string", Value::Number(_) | Value::Bool(_)) => {
            let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
            let known = FORMATS.iter().find(|known| known.name == format);
            if known.is_some_and(|known| (known.check)(raw).is_err()) {
                // Quotes alone would not help.
                return word(name, raw, format);
            }
            let is = if value.is_number() { "a number" } else { "true or false" };
            // R16
            let message = format!("{subject} must be text, and {raw} without quotes is {is}");
            Said::new(message, format!("write \"{raw}\""))
        }
        ("string", _) => Said::new(format!("{subject} must be one word, not a list or map"), about(schema)),
        ("boolean", _) => {
            let remedy = match raw.to_ascii_lowercase().as_str() {
                "no" | "off" | "n" => "write `false`",
                "yes" | "on" | "y" => "write `true`",
                "true" | "false" => "write it without quotes",
                _ => "write `true` or `false`",
            };
            Said::new(format!("{subject} must be true or false"), remedy)
        }
        ("integer", Value::String(text)) if text.parse::<i64>().is_ok() => Said::new(
            format!("{subject} must be a number, and \"{text}\" in quotes is text"),
            format!("write {text}"),
        ),
        ("integer", _) => Said::new(format!("{subject} must be a whole number"), about(schema)),
        ("array", _) => Said::new(format!("{subject} must be a list"), list_hint(raw, value, item)),
        _ => {
            let keys = keys(schema);
            let remedy = if keys.is_empty() {
                "write a name for each entry, then a colon".into()
            } else {
                format!("its keys: {}", list(keys, "and"))
            };
            Said::new(format!("{subject} must be a map of keys and values"), remedy)
        }
    }
}

/// Says how to write a list: with the given word as its only item if its items are words, else what an item is.
fn list_hint(raw: &str, value: &Value, item: &Value) -> String {
    if item.get("type").and_then(Value::as_str) == Some("object") {
        return format!("start each item with `- `: {}", about(item));
    }
    match value {
        // JSON's quoted text is YAML's too.
        Value::String(_) | Value::Number(_) | Value::Bool(_) => format!("write [{}]", Value::from(raw)),
        _ => "start each item with `- `".into(),
    }
}

fn about(schema: &Value) -> String {
    let about = schema.get("description").and_then(Value::as_str).unwrap_or("look it up with `rlvm schema`");
    about.replace('\n', " ")
}
