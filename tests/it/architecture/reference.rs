//! The reference pages docs/state-reference.md and docs/verbs.md are written from the schema and from clap.
//!
//! `RLVM_WRITE_DOCS=1 cargo test --test it reference` writes them anew.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    fs,
    path::Path,
};

use clap::{Arg, Command, CommandFactory as _};
use serde_json::Value;

/// Says that nobody should edit the page by hand.
const GENERATED: &str =
    "<!-- Generated: edit the source, then run `RLVM_WRITE_DOCS=1 cargo test --test it reference`. -->\n";

/// Compares a page with its source, or writes the page if `RLVM_WRITE_DOCS` is set.
fn keep(name: &str, page: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("RLVM_WRITE_DOCS").is_some() {
        fs::write(&file, page).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == page, "docs/{name} is stale: RLVM_WRITE_DOCS=1 cargo test --test it reference");
}

/// Puts a text on one line of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

/// Returns the anchor that mdBook and GitHub give a heading.
pub(super) fn anchor(heading: &str) -> String {
    let heading = heading.to_lowercase().replace(' ', "-");
    heading.chars().filter(|letter| letter.is_alphanumeric() || ['-', '_'].contains(letter)).collect()
}

/// The sections of the state reference: those that are written, and those that some table links to.
struct Sections<'a> {
    schema: &'a Value,
    /// Types that several sections share; each has a section of its own.
    waiting: VecDeque<(String, &'a Value)>,
    /// Maps within the section that is being written; they follow it.
    nested: Vec<(String, &'a Value)>,
    known: Vec<String>,
}

impl<'a> Sections<'a> {
    /// Returns a link to the section of an object, which is written later.
    fn link(&mut self, heading: String, schema: &'a Value) -> String {
        let link = format!("[{heading}](#{})", anchor(&heading));
        if !self.known.contains(&heading) {
            self.known.push(heading.clone());
            if heading.contains('.') {
                self.nested.push((heading, schema));
            } else {
                self.waiting.push_back((heading, schema));
            }
        }
        link
    }

    /// Says what a value may be.
    fn kind(&mut self, place: &str, schema: &'a Value) -> String {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            let target = &self.schema["$defs"][name];
            return if target["properties"].is_object() {
                self.link(name.trim_end_matches("Spec").to_owned(), target)
            } else {
                self.kind(place, target)
            };
        }
        if schema["properties"].is_object() {
            return self.link(place.to_owned(), schema);
        }
        if let Some(words) = schema["enum"].as_array() {
            let words =
                words.iter().map(|word| format!("`{}`", word.as_str().map_or(word.to_string(), Into::into)));
            return words.collect::<Vec<_>>().join(", ");
        }
        if let Some(format) = schema["format"].as_str().and_then(|it| it.strip_prefix("rlvm-")) {
            return format.replace('-', " ");
        }
        match schema["type"].as_str() {
            Some("array") => format!("list of {}", self.kind(place, &schema["items"])),
            Some("object") => {
                let key = self.kind(place, &schema["propertyNames"]);
                format!("map of {key} to {}", self.kind(place, &schema["additionalProperties"]))
            }
            Some("boolean") => "`true`, `false`".to_owned(),
            Some("string") => "text".to_owned(),
            Some(word) => word.to_owned(),
            None => schema["type"].as_array().map_or("text".to_owned(), |types| {
                types.iter().map(|it| it.as_str().unwrap()).collect::<Vec<_>>().join(", ")
            }),
        }
    }

    /// Writes the table of one object.
    fn table(&mut self, heading: &str, schema: &'a Value) -> String {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut text = String::from("\n| key | value | meaning |\n| --- | --- | --- |\n");
        for (key, of) in schema["properties"].as_object().unwrap() {
            let place = if heading.is_empty() { key.clone() } else { format!("{heading}.{key}") };
            let kind = self.kind(&place, of);
            let must = if required.contains(&key.as_str()) { " (required)" } else { "" };
            let meaning = cell(of["description"].as_str().unwrap_or_default());
            writeln!(text, "| `{key}`{must} | {kind} | {meaning} |").unwrap();
        }
        text
    }
}

/// Writes docs/state-reference.md.
fn state_reference(schema: &Value) -> String {
    let mut sections = Sections { schema, waiting: VecDeque::new(), nested: Vec::new(), known: Vec::new() };
    let mut page = format!("# State reference\n\n{GENERATED}\n");
    page += "Every key of a state, from `schema/state.schema.json`. [The state file](state-file.md) explains how rlvm \
             finds and reads a state. The column \"value\" links to the section of a nested map; [other words](#words-for-values) name forms of text.\n\n## The top level\n";
    page += &sections.table("", schema);
    while let Some((heading, of)) = sections.waiting.pop_front() {
        let meaning = of["description"].as_str().unwrap_or_default();
        write!(page, "\n## {heading}\n\n{}\n", meaning.trim().replace('<', "&lt;")).unwrap();
        page += &sections.table(&heading, of);
        for inner in std::mem::take(&mut sections.nested).into_iter().rev() {
            sections.waiting.push_front(inner);
        }
    }
    let mut values = BTreeMap::new();
    examples(schema, &mut values);
    page += "\n## Words for values\n\n| value | example |\n| --- | --- |\n";
    for (word, example) in values {
        writeln!(page, "| {word} | `{}` |", cell(&example)).unwrap();
    }
    page
}

/// Finds the first example of each format.
fn examples(schema: &Value, found: &mut BTreeMap<String, String>) {
    if let (Some(format), Some(example)) = (schema["format"].as_str(), schema["examples"][0].as_str()) {
        let word = format.trim_start_matches("rlvm-").replace('-', " ");
        found.entry(word).or_insert_with(|| example.to_owned());
    }
    match schema {
        Value::Object(fields) => fields.values().for_each(|inner| examples(inner, found)),
        Value::Array(items) => items.iter().for_each(|inner| examples(inner, found)),
        _ => {}
    }
}

/// Writes an option as it is typed: `-y, --yes`, `--out <FILE>`, `[STATE]`.
fn typed(arg: &Arg) -> String {
    let value =
        arg.get_value_names().filter(|_| arg.get_action().takes_values()).and_then(|names| names.first());
    let value = value.map(ToString::to_string);
    let mut parts = Vec::new();
    parts.extend(arg.get_short().map(|short| format!("-{short}")));
    parts.extend(arg.get_long().map(|long| format!("--{long}")));
    match (parts.is_empty(), value) {
        (true, value) => value.unwrap_or_else(|| arg.get_id().to_string().to_uppercase()),
        (false, Some(value)) => format!("{} {value}", parts.join(", ")),
        (false, None) => parts.join(", "),
    }
}

/// Writes the table of a verb's arguments, or of those that every verb takes.
fn arguments<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    let mut text = String::new();
    for arg in args.filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())) {
        let meaning = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        writeln!(text, "| `{}` | {} |", typed(arg), cell(&meaning)).unwrap();
    }
    if text.is_empty() { text } else { format!("\n| argument | meaning |\n| --- | --- |\n{text}") }
}

/// Writes the section of a verb, and those of its own verbs.
fn verb(before: &str, command: &Command, page: &mut String) {
    let name = format!("{before} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    write!(page, "\n## {name}\n\n{}\n", about.replace('<', "&lt;")).unwrap();
    *page += &arguments(command.get_arguments().filter(|arg| !arg.is_global_set()));
    if let Some(after) = command.get_after_help() {
        let after = after.to_string();
        write!(page, "\n```text\n{}\n```\n", after.trim_end()).unwrap();
    }
    for inner in command.get_subcommands() {
        verb(&name, inner, page);
    }
}

/// Writes docs/verbs.md.
fn verbs() -> String {
    let cli = rlvm::cli::Cli::command();
    let mut page = format!("# Verb reference\n\n{GENERATED}\n");
    page += "Every verb with its arguments, as `rlvm VERB --help` prints them. [Exit codes](exit-codes.md) and \
             [JSON formats](json.md) have pages of their own.\n\n## Arguments of every verb\n";
    page += &arguments(cli.get_arguments());
    for command in cli.get_subcommands() {
        verb("rlvm", command, &mut page);
    }
    page
}

#[test]
fn the_state_reference_is_fresh() {
    keep("state-reference.md", &state_reference(&serde_json::to_value(rlvm::state::schema()).unwrap()));
}

#[test]
fn the_verb_reference_is_fresh() {
    keep("verbs.md", &verbs());
}
