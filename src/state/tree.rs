//! A YAML text as a tree that knows the place of each word.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    problem::{Problem, Severity},
    scalar,
};
use crate::model::{mask_in_place, mask_passwords};

/// Where a word stands. Small, since each node has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: u32,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) length: u32,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) what: What,
}

/// What a value is. What a scalar means is asked late ([`scalar`]), so that its text can be shown as it was written.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A word; only a plain one, without quotes, can be a number, a bool or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Place,
    pub(super) value: Node,
}

impl Node {
    /// Returns the entries, if it is a map.
    pub(super) fn entries(&self) -> &[Entry] {
        if let What::Map(entries) = &self.what { entries } else { &[] }
    }

    /// Returns the entries to be changed, if it is a map.
    pub(super) fn entries_mut(&mut self) -> &mut [Entry] {
        if let What::Map(entries) = &mut self.what { entries } else { &mut [] }
    }

    /// Returns the entry of a key, if it is a map that has one.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// Returns the value of a key, if it is a map that has one.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Takes an entry out.
    pub(super) fn take(&mut self, key: &str) -> Option<Node> {
        let What::Map(entries) = &mut self.what else { return None };
        let place = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(place).value)
    }

    /// Returns the items, if it is a list.
    pub(super) fn items(&self) -> &[Node] {
        if let What::List(items) = &self.what { items } else { &[] }
    }

    /// Returns the text, if it is a word.
    pub(super) fn text(&self) -> Option<&str> {
        if let What::Scalar { text, .. } = &self.what { Some(text) } else { None }
    }

    /// Finds where the thing that a path leads to stands: its value, and its key if it has one.
    ///
    /// A path that leads nowhere gives the last thing on the way.
    pub(super) fn find<S: AsRef<str>>(&self, path: impl IntoIterator<Item = S>) -> Found<'_> {
        let mut found = Found { key: None, node: self, whole: true };
        for part in path {
            let part = part.as_ref();
            let item = || found.node.items().get(part.parse::<usize>().ok()?);
            if let Some(entry) = found.node.entry(part) {
                found = Found { key: Some(entry.at), node: &entry.value, whole: true };
            } else if let Some(item) = item() {
                found = Found { key: None, node: item, whole: true };
            } else {
                return Found { whole: false, ..found };
            }
        }
        found
    }

    /// Makes a JSON value of it.
    pub(super) fn to_value(&self) -> Value {
        match &self.what {
            What::Scalar { text, plain: false } => Value::String(text.clone()),
            What::Scalar { text, plain: true } => scalar::resolve(text),
            What::List(items) => items.iter().map(Self::to_value).collect(),
            What::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value())).collect(),
            ),
        }
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    /// Where its key stands.
    pub(super) key: Option<Place>,
    /// The value.
    pub(super) node: &'a Node,
    /// Whether the path could be followed to its end.
    pub(super) whole: bool,
}

impl Found<'_> {
    /// Returns the key's place; of a thing without a key its value's.
    pub(super) fn key(&self) -> Place {
        self.key.unwrap_or(self.node.at)
    }

    /// Returns where a word stands as value, or the key of what is more than a word: a caret below a whole block
    /// says nothing.
    pub(super) fn at(&self) -> Place {
        match (&self.node.what, self.key) {
            (What::Map(_) | What::List(_), Some(key)) => key,
            (What::Scalar { text, plain: true }, Some(key)) if text.is_empty() => key,
            _ => self.node.at,
        }
    }
}

/// Lays a map over another: maps are merged by key, all else is replaced, and so is `retention`, which stands for
/// itself.
pub(super) fn merge(base: Node, over: Node) -> Node {
    let Node { at, what } = over;
    let (mut under, entries) = match (base.what, what) {
        (What::Map(under), What::Map(entries)) => (under, entries),
        (_, what) => return Node { at, what },
    };
    let index: HashMap<String, usize> = match under.len() {
        0..=16 => HashMap::new(),
        _ => under.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place)).collect(),
    };
    for entry in entries {
        let known = if index.is_empty() {
            under.iter().position(|old| old.key == entry.key)
        } else {
            index.get(&entry.key).copied()
        };
        match known {
            None => under.push(entry),
            Some(place) if entry.key == "retention" => under[place] = entry,
            Some(place) => {
                let Entry { key, at, value } = entry;
                let old = std::mem::replace(&mut under[place].value, EMPTY);
                under[place] = Entry { key, at, value: merge(old, value) };
            }
        }
    }
    Node { at, what: What::Map(under) }
}

const EMPTY: Node =
    Node { at: Place { file: 0, line: 0, column: 0, length: 0 }, what: What::List(Vec::new()) };

/// The files that were read, to show their lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    pub(super) names: Vec<String>,
    pub(super) texts: Vec<String>,
}

impl Files {
    /// Adds a file and returns its number.
    pub(super) fn add(&mut self, name: &str, text: String) -> u32 {
        self.names.push(name.into());
        self.texts.push(text);
        u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX)
    }

    /// Returns the text of the line at a place.
    pub(super) fn line(&self, at: Place) -> &str {
        let text = self.texts.get(at.file as usize).map_or("", String::as_str);
        text.lines().nth((at.line as usize).saturating_sub(1)).unwrap_or("")
    }

    /// Makes an error at a place.
    pub(super) fn error(&self, at: Place, message: impl Into<String>) -> Problem {
        let line = self.line(at);
        // The parser counts the white space after a quoted word to it.
        let word: String =
            line.chars().skip(at.column.saturating_sub(1) as usize).take(at.length as usize).collect();
        let length = u32::try_from(word.trim_end().chars().count()).unwrap_or(1);
        let (source_line, skipped) = around(&mask_in_place(line), at.column);
        Problem {
            file: self.names.get(at.file as usize).cloned().unwrap_or_default(),
            line: at.line,
            column: at.column,
            length: length.max(1),
            severity: Severity::Error,
            message: mask_passwords(&message.into()).into_owned(),
            remedy: None,
            source_line,
            skipped,
        }
    }

    /// Makes a warning at a place.
    pub(super) fn warning(&self, at: Place, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..self.error(at, message) }
    }
}

/// Returns the part of a line that is kept with a problem, and how many characters stand before that part. Each of many
/// problems keeps a line: of a long one, as of JSON, only what is around the place.
fn around(line: &str, column: u32) -> (String, u32) {
    if line.len() <= LONGEST_LINE {
        return (line.into(), 0);
    }
    let skipped = column.saturating_sub(1).saturating_sub(BEFORE);
    (line.chars().skip(skipped as usize).take(2 * BEFORE as usize).collect(), skipped)
}

/// The longest line that is kept as a whole, in bytes.
const LONGEST_LINE: usize = 400;
/// How much of a longer line is kept before the place of a problem, and after, in characters.
const BEFORE: u32 = 80;

impl Problem {
    /// Adds what to do about it.
    #[must_use]
    pub(super) fn help(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Adds what to do about it, where that is known.
    #[must_use]
    pub(super) fn help_if(self, remedy: Option<impl Into<String>>) -> Self {
        match remedy {
            Some(remedy) => self.help(remedy),
            None => self,
        }
    }
}
