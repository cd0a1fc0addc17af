//! Reads a state's files and merges them.

use std::{collections::BTreeSet, sync::LazyLock};

use super::{
    problem::Problem,
    shape::{self, Fragment, Rules},
    size::SizeLimit,
    tree::{Files, Node, Place, merge},
    yaml,
};

/// More files than any state needs; an include that makes new names for ever ends here.
const MOST: usize = 200;

/// Reads the texts of files.
pub(super) struct Reader<'a> {
    pub(super) read: &'a mut dyn FnMut(&str) -> anyhow::Result<String>,
    pub(super) files: Files,
    pub(super) problems: Vec<Problem>,
    /// The places of problems that are not to be reported again.
    pub(super) known: BTreeSet<Place>,
    /// Whether declarations are missing: a file could not be read, or a part of a file has no meaning.
    pub(super) holes: bool,
    pub(super) size: SizeLimit,
    rules: &'a LazyLock<anyhow::Result<Rules>>,
}

impl<'a> Reader<'a> {
    /// Makes a reader that calls `read` for the text of each file.
    pub(super) fn new(
        read: &'a mut dyn FnMut(&str) -> anyhow::Result<String>,
        rules: &'a LazyLock<anyhow::Result<Rules>>,
    ) -> Self {
        Self {
            read,
            files: Files::default(),
            problems: Vec::new(),
            known: BTreeSet::new(),
            holes: false,
            size: SizeLimit::default(),
            rules,
        }
    }

    /// Reads the main file and all that it includes, merged; `None` if there is nothing to go on with.
    pub(super) fn load(&mut self, entry: &str) -> Option<Node> {
        match (self.read)(entry) {
            Ok(text) => self.file(entry, text, &mut Vec::new()),
            Err(err) => {
                let file = self.files.add(entry, String::new());
                let at = Place { file, line: 1, column: 1, length: 1 };
                self.problems.push(self.files.error(at, format!("cannot be read: {err:#}")));
                None
            }
        }
    }

    fn file(&mut self, name: &str, text: String, open: &mut Vec<String>) -> Option<Node> {
        let file = self.files.add(name, text);
        let Some(mut node) = yaml::parse(file, &self.files, &mut self.size, &mut self.problems) else {
            self.holes = true;
            return None;
        };
        if !open.is_empty() {
            self.check_included(&node);
        }
        open.push(name.into());
        let mut base: Option<Node> = None;
        let includes: Vec<(String, Place)> = match node.get("include") {
            Some(list) => {
                list.items().iter().filter_map(|item| Some((item.text()?.into(), item.at))).collect()
            }
            None => Vec::new(),
        };
        for (path, at) in includes {
            if let Some(included) = self.include(&resolve(name, &path), at, open) {
                base = Some(match base {
                    Some(base) => merge(base, included),
                    None => included,
                });
            }
        }
        open.pop();
        if let Some(mut base) = base {
            // Each file's own list was checked with the file; the main file's is checked with the state.
            base.take("include");
            node = merge(base, node);
        }
        Some(node)
    }

    /// Reports what has the wrong shape in an included file. A file that is laid over it may replace the malformed part
    /// as a whole, so nobody would see later that declarations are missing.
    fn check_included(&mut self, node: &Node) {
        // A broken schema is reported with the whole state.
        let Ok(rules) = &**self.rules else { return };
        let Fragment { problems, places, lost } = shape::check_fragment(node, rules, &self.files);
        self.problems.extend(problems);
        self.known.extend(places);
        self.holes |= lost;
    }

    fn include(&mut self, name: &str, at: Place, open: &mut Vec<String>) -> Option<Node> {
        if let Some(start) = open.iter().position(|file| file == name) {
            let round =
                open[start..].iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(" → ");
            let problem = self.files.error(at, format!("the file includes itself: {round}"));
            self.problems.push(problem.help("take one of the includes out"));
            return None;
        }
        // A file that is included on two ways is read once, where it comes first.
        if self.files.names.iter().any(|file| file == name) {
            return None;
        }
        if self.files.names.len() >= MOST {
            self.problems.push(self.files.error(at, format!("more than {MOST} files are included")));
            return None;
        }
        match (self.read)(name) {
            Ok(text) => self.file(name, text, open),
            Err(err) => {
                let problem =
                    self.files.error(at, format!("the included file `{name}` cannot be read: {err:#}"));
                let remedy = "paths of includes are relative to the file that includes";
                self.problems.push(problem.help(remedy));
                self.holes = true;
                None
            }
        }
    }
}

/// Finds an included file's name from the including one's, by the words alone.
fn resolve(from: &str, path: &str) -> String {
    let dir = from.rsplit_once('/').map_or("", |(dir, _)| if dir.is_empty() { "/" } else { dir });
    let joined = match (path.starts_with('/'), dir) {
        (true, _) | (_, "") => path.to_owned(),
        (_, "/") => format!("/{path}"),
        _ => format!("{dir}/{path}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{}{}", if joined.starts_with('/') { "/" } else { "" }, parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_relative_to_the_including_file() {
        for (from, path, name) in [
            ("state/hosts/web01.yaml", "../common/policy.yaml", "state/common/policy.yaml"),
            ("web01.yaml", "policy.yaml", "policy.yaml"),
            ("web01.yaml", "../policy.yaml", "../policy.yaml"),
            ("/etc/rlvm/a.yaml", "./b.yaml", "/etc/rlvm/b.yaml"),
            ("/a.yaml", "b.yaml", "/b.yaml"),
            ("a/b.yaml", "/c.yaml", "/c.yaml"),
        ] {
            assert_eq!(resolve(from, path), name, "{path} in {from}");
        }
    }
}
