//! Reads one YAML text into a tree. Features of YAML that hide mistakes are refused: duplicate keys, merge keys,
//! tags.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::{
    problem::Problem,
    size::{SizeLimit, TooLarge},
    tree::{Entry, Files, Node, Place, What},
};

/// How deep values may be nested; nothing in a state needs a tenth of it.
const DEEPEST: usize = 64;

/// Reads a file's text. Without a tree the problems say why.
pub(super) fn parse(
    file: u32,
    files: &Files,
    size: &mut SizeLimit,
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    let text = files.texts.get(file as usize).map_or("", String::as_str);
    let mut builder = Builder { file, files, size, problems, stack: Vec::new(), anchors: HashMap::new() };
    let mut root = None;
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        match event {
            Ok((Event::DocumentStart(_), span)) if root.is_some() => {
                let at = builder.place(span);
                builder.say(
                    at,
                    "a second document starts here",
                    "a state is one document: take the `---` out",
                );
                break;
            }
            Ok((event, span)) => {
                root = match builder.event(event, span) {
                    Ok(done) => done.or(root),
                    Err(Stop) => return None,
                }
            }
            Err(err) => {
                builder.syntax(&err);
                return None;
            }
        }
    }
    let start = Place { file, line: 1, column: 1, length: 1 };
    match root {
        Some(Node { what: What::Scalar { text, plain: true }, .. }) if text.is_empty() => None,
        Some(Node { what: What::Map(_), .. }) => return root,
        Some(node) => {
            let at = node.at;
            builder.say(at, "a state is a map of keys and values", "start with `version: 1`");
            return None;
        }
        None => None::<Node>,
    };
    builder.say(start, "the file is empty", "start with `version: 1`");
    None
}

/// The file cannot be read any further; the problem has been listed.
struct Stop;

struct Builder<'a> {
    file: u32,
    files: &'a Files,
    size: &'a mut SizeLimit,
    problems: &'a mut Vec<Problem>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
}

/// A list or map that is not at its end yet.
struct Frame {
    at: Place,
    anchor: usize,
    what: Open,
}

enum Open {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<(String, Place)>),
}

impl Builder<'_> {
    /// Takes one event; returns the root when it is complete.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Stop> {
        let at = self.place(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.no_tag(tag.is_some(), at);
                let counted = self.size.add_value(&text);
                self.within_limit(counted, at)?;
                let plain = style == ScalarStyle::Plain;
                let node = Node { at, what: What::Scalar { text: text.into_owned(), plain } };
                self.value(node, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.open(at, anchor, tag.is_some(), Open::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                self.open(at, anchor, tag.is_some(), Open::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Frame { at, anchor, what }) = self.stack.pop() else { return Err(Stop) };
                let what = match what {
                    Open::List(items) => What::List(items),
                    Open::Map(entries, _) => What::Map(self.unique(entries)),
                };
                self.value(Node { at, what }, anchor)
            }
            Event::Alias(anchor) => {
                let node = self.alias(anchor, at)?;
                self.value(node, 0)
            }
            _ => Ok(None),
        }
    }

    fn open(&mut self, at: Place, anchor: usize, tagged: bool, what: Open) -> Result<Option<Node>, Stop> {
        self.no_tag(tagged, at);
        let counted = self.size.add_value("");
        self.within_limit(counted, at)?;
        if self.stack.len() >= DEEPEST {
            self.say(at, format!("nested more than {DEEPEST} deep"), "no part of a state needs that");
            return Err(Stop);
        }
        if let Some(Frame { what: Open::Map(_, None), .. }) = self.stack.last() {
            self.say(at, "a key must be a word, not a list or map", "did a value lose its quotes?");
            return Err(Stop);
        }
        self.stack.push(Frame { at, anchor, what });
        Ok(None)
    }

    /// Puts a complete value where it belongs.
    fn value(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, Stop> {
        if anchor != 0 {
            let counted = self.size.add_tree(&node);
            self.within_limit(counted, node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else { return Ok(Some(node)) };
        match &mut frame.what {
            Open::List(items) => items.push(node),
            Open::Map(entries, key) => {
                if let Some((key, at)) = key.take() {
                    entries.push(Entry { key, at, value: node });
                } else if let What::Scalar { text, .. } = node.what {
                    *key = Some((text, node.at));
                } else {
                    self.say(node.at, "a key must be a word, not a list or map", "write the key out");
                    return Err(Stop);
                }
            }
        }
        Ok(None)
    }

    fn alias(&mut self, anchor: usize, at: Place) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&anchor) else {
            self.say(at, "the anchor is not complete here: it would hold itself", "write the value out");
            return Err(Stop);
        };
        let counted = self.size.add_tree(node).map(|()| node.clone());
        let node = self.within_limit(counted, at)?;
        // A mistake in it is shown where it is written, at the anchor.
        Ok(node)
    }

    /// Stops where the state becomes too large.
    fn within_limit<T>(&mut self, counted: Result<T, TooLarge>, at: Place) -> Result<T, Stop> {
        counted.map_err(|too_large| {
            self.problems.push(too_large.at(at, self.files));
            Stop
        })
    }

    /// Drops the keys that stand there a second time, and merge keys, and says so.
    fn unique(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let is_odd = |entry: &Entry| entry.key.is_empty() || entry.key == "<<";
        let rises = |pair: &[Entry]| pair[0].key < pair[1].key;
        if !entries.iter().any(is_odd) && (entries.windows(2).all(rises) || are_few_and_differ(&entries)) {
            return entries;
        }
        let mut order: Vec<usize> = (0..entries.len()).collect();
        // Stable, so that of two the first is first.
        order.sort_by(|a, b| entries[*a].key.cmp(&entries[*b].key));
        let mut drop = vec![false; entries.len()];
        for pair in order.windows(2) {
            let (first, second) = (&entries[pair[0]], &entries[pair[1]]);
            if first.key == second.key {
                let message = format!("`{}` stands there twice", first.key.escape_debug());
                let remedy =
                    format!("the other is at line {}, column {}: keep one", first.at.line, first.at.column);
                self.problems.push(self.files.error(second.at, message).help(remedy));
                drop[pair[1]] = true;
            }
        }
        for (entry, drop) in entries.iter().zip(&mut drop) {
            if entry.key == "<<" {
                let problem = self.files.error(entry.at, "merge keys (`<<`) are not part of YAML 1.2");
                self.problems
                    .push(problem.help("share words through `profiles:`, `defaults:` or `include:`"));
                *drop = true;
            } else if entry.key.is_empty() {
                self.problems
                    .push(self.files.error(entry.at, "a key must not be empty").help("write a name"));
                *drop = true;
            }
        }
        if drop.contains(&true) {
            let mut drop = drop.into_iter();
            entries.retain(|_| !drop.next().unwrap_or(false));
        }
        entries
    }

    fn no_tag(&mut self, tagged: bool, at: Place) {
        if tagged {
            self.say(
                at,
                "tags (`!name`) have no meaning here",
                "write the value without it, in quotes if it is text",
            );
        }
    }

    fn place(&self, span: Span) -> Place {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let one_line = span.start.line() == span.end.line();
        let length = if one_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        Place {
            file: self.file,
            line: number(span.start.line()),
            column: number(span.start.col() + 1),
            length: number(length),
        }
    }

    /// Says in plain words what the parser could not read.
    fn syntax(&mut self, err: &ScanError) {
        let at = self.place(Span::empty(*err.marker()));
        let line = self.files.line(at);
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some(tab) = indent.find('\t') {
            let at = Place { column: u32::try_from(tab + 1).unwrap_or(1), ..at };
            self.say(at, "a tab indents this line", "YAML wants spaces");
            return;
        }
        let word = line.trim_start().split_once(": ").map_or("", |(_, value)| value);
        let remedy = match word.chars().next() {
            Some('*' | '&' | '%' | '@' | '`' | '!' | '|' | '>' | '{' | '[' | '"' | '\'') => {
                "a value that starts with a special character, or has a `: ` in it, needs quotes"
            }
            _ => "look at indentation, at quotes, and at brackets of this line and the one before",
        };
        self.say(at, format!("this is no YAML: {}", err.info()), remedy);
    }

    fn say(&mut self, at: Place, message: impl Into<String>, remedy: &str) {
        self.problems.push(self.files.error(at, message).help(remedy));
    }
}

/// Says whether a small map has each key once, without the memory that a sort would take.
fn are_few_and_differ(entries: &[Entry]) -> bool {
    let differs = |(at, entry): (usize, &Entry)| entries[..at].iter().all(|before| before.key != entry.key);
    entries.len() <= 8 && entries.iter().enumerate().all(differs)
}
