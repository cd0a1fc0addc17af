//! Counts and describes what a restore would change: the files of the snapshot compared with the files on the host.

use std::fmt::Write;

use serde::Serialize;

use super::{copies::said_of_alike, decide::Verdict, leads::Leads, nodes::Node, one_line};
use crate::{host::Sort, restic::Unrestored};

/// How many files the preview names.
const NAMED: usize = 200;
/// How many names restic is given in place of the paths that were asked for, and how long they may be together.
const MOST: (usize, usize) = (500, 60_000);

/// A file that is there, and would be overwritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Overwritten {
    /// Its path.
    pub(super) path: String,
    /// What is there, if it is of another kind than what was stored: `a symbolic link`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<&'static str>,
    /// What was stored, if it is of another kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) was: Option<&'static str>,
}

/// What a restore would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Comparison {
    /// How many files there are in all that was asked for: of any kind, directories apart.
    pub(super) files: u64,
    /// How many bytes they have.
    pub(super) bytes: u64,
    /// How many directories.
    pub(super) directories: u64,
    /// How many are not there.
    pub(super) new: u64,
    /// How many bytes these have.
    pub(super) new_bytes: u64,
    /// How many directories are not there.
    pub(super) new_directories: u64,
    /// How many are there, and differ: they would be overwritten.
    pub(super) differing: u64,
    /// How many bytes are written for these.
    pub(super) differing_bytes: u64,
    /// How many are there as they were.
    pub(super) same: u64,
    /// How many are there with the stored size and time, but changed since the backup, and were not compared.
    pub(super) not_compared: u64,
    /// How many bytes these have.
    pub(super) not_compared_bytes: u64,
    /// How many directories are there with another owner or mode.
    pub(super) directories_differing: u64,
    /// These, each: owner and mode are set back.
    pub(super) directories_set_back: Vec<String>,
    /// These, each.
    pub(super) overwritten: Vec<Overwritten>,
    /// What cannot be put there, and why.
    pub(super) blocked: Vec<Unrestored>,
    /// Where symbolic links on the way to the paths lead.
    pub(super) leads: Vec<Leads>,
    /// What restic is given, if that is little: what is new, and what differs.
    #[serde(skip)]
    few: Vec<String>,
    #[serde(skip)]
    many: bool,
    #[serde(skip)]
    length: usize,
    /// How many names are made or overwritten; what lies in a new directory counts with it.
    #[serde(skip)]
    to_do: u64,
    /// How many bytes are fetched to be compared.
    #[serde(skip)]
    copied: u64,
    /// Number of paths whose exact name is known only after the restore, because the name is not UTF-8.
    #[serde(skip)]
    pub(super) unclear: u64,
}

impl Comparison {
    /// Takes in one of the snapshot's files.
    pub(super) fn add(&mut self, node: &Node, verdict: &Verdict, only_missing: bool) {
        let is_dir = node.sort == Sort::Directory;
        if is_dir {
            self.directories += 1;
        } else {
            self.files += 1;
            self.bytes += node.size;
        }
        match verdict {
            Verdict::New => {
                if is_dir {
                    self.new_directories += 1;
                } else {
                    self.new += 1;
                    self.new_bytes += node.size;
                }
                self.wants(node);
            }
            Verdict::Differs if is_dir => {
                self.directories_differing += 1;
                if !only_missing {
                    self.directories_set_back.push(node.path.clone());
                }
            }
            Verdict::Differs | Verdict::Replaces(_) => {
                self.differing += 1;
                self.differing_bytes += node.size;
                let now = if let Verdict::Replaces(now) = verdict { Some(now.noun()) } else { None };
                let was = now.map(|_| node.sort.noun());
                self.overwritten.push(Overwritten { path: node.path.clone(), now, was });
                if !only_missing {
                    self.wants(node);
                }
            }
            Verdict::Same if is_dir => {}
            Verdict::Same => self.same += 1,
            Verdict::Alike => {
                self.not_compared += 1;
                self.not_compared_bytes += node.size;
            }
            Verdict::Blocked(why) => {
                self.blocked.push(Unrestored { path: node.path.clone(), why: why.clone() });
            }
        }
    }

    /// Takes in what the comparison of a file that looked as it was came to: [`Verdict::Same`] or [`Verdict::Differs`].
    pub(super) fn settle(&mut self, node: &Node, verdict: &Verdict) {
        self.not_compared -= 1;
        self.not_compared_bytes -= node.size;
        self.files -= 1;
        self.bytes -= node.size;
        self.add(node, verdict, false);
    }

    /// Has a file fetched to be compared.
    pub(super) fn wants_copy(&mut self, node: &Node) {
        self.copied += node.size;
        self.fetch(node);
    }

    fn wants(&mut self, node: &Node) {
        self.to_do += 1;
        self.fetch(node);
    }

    fn fetch(&mut self, node: &Node) {
        // A directory brings along what is in it, which comes right behind it.
        if self.few.last().is_some_and(|last| within(&node.path, last)) {
            return;
        }
        self.length += node.path.len();
        self.many |= self.few.len() >= MOST.0 || self.length > MOST.1;
        if !self.many {
            self.few.push(node.path.clone());
        }
    }

    /// Says how many bytes are fetched.
    pub(super) fn needed(&self, only_missing: bool) -> u64 {
        let listed = self.new_bytes + self.copied + if only_missing { 0 } else { self.differing_bytes };
        // Without a list restic gets the paths that were asked for, and fetches all that is in them.
        let all = self.few(only_missing).is_none() && (self.many || !self.is_empty(only_missing));
        if all { self.bytes } else { listed }
    }

    /// Says what restic is to restore, if that is less than what was asked for.
    pub(super) fn few(&self, only_missing: bool) -> Option<&[String]> {
        let dirs = !only_missing && self.directories_differing > 0 || self.unclear > 0;
        (!self.many && !dirs && !self.few.is_empty()).then_some(&self.few)
    }

    /// Says how many files are there and stay as they are.
    pub(super) fn unchanged(&self, only_missing: bool) -> u64 {
        self.same + self.not_compared + if only_missing { self.differing } else { 0 }
    }

    /// Says whether there is nothing to do.
    pub(super) fn is_empty(&self, only_missing: bool) -> bool {
        self.to_do == 0 && self.unclear == 0 && (only_missing || self.directories_differing == 0)
    }

    fn text_of_leads(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        for Leads { path, to } in self.leads.iter().take(NAMED) {
            let _ = writeln!(
                text,
                "  {} resolves to {}: rlvm restores the files to that directory",
                one_line(path),
                one_line(to)
            );
        }
        if self.leads.len() > NAMED {
            let _ = writeln!(text, "  and {} more links: --json lists all", self.leads.len() - NAMED);
        }
        text
    }

    /// Says it to a person.
    pub(super) fn text(&self, only_missing: bool) -> String {
        let bytes = |bytes| indicatif::HumanBytes(bytes).to_string();
        let mut text = self.text_of_leads();
        // Writing into a String cannot fail.
        let _ = match self.new {
            0 => writeln!(text, "  no missing files"),
            new => {
                writeln!(text, "  {} ({}) will be created", files(new, "missing file"), bytes(self.new_bytes))
            }
        };
        match self.new_directories {
            0 => {}
            1 => text.push_str("  1 missing directory will be created\n"),
            count => {
                let _ = writeln!(text, "  {count} missing directories will be created");
            }
        }
        let fate = if only_missing { "stay as they are (--only-missing)" } else { "will be OVERWRITTEN" };
        let differing = files(self.differing, "file");
        let _ = match self.differing {
            0 => writeln!(text, "  no files with differences"),
            _ => writeln!(text, "  {differing} ({}) with differences {fate}:", bytes(self.differing_bytes)),
        };
        // What is of another kind now is named, each: somebody made it on purpose.
        let (kinds, alike): (Vec<_>, Vec<_>) = self.overwritten.iter().partition(|it| it.now.is_some());
        for Overwritten { path, now, was } in kinds.iter().chain(alike.iter().take(NAMED)) {
            let (now, was) = (now.unwrap_or_default(), was.unwrap_or_default());
            let kind = if now.is_empty() { String::new() } else { format!(" ({now} now, was {was})") };
            let _ = writeln!(text, "      {}{kind}", one_line(path));
        }
        if alike.len() > NAMED {
            let _ = writeln!(text, "      and {} more: --json lists all", alike.len() - NAMED);
        }
        let _ = writeln!(text, "  {} unchanged", files(self.same, "file"));
        if let Some(said) = said_of_alike(self.not_compared, only_missing) {
            let _ = writeln!(text, "  {said}");
        }
        if self.unclear > 0 {
            let paths = files(self.unclear, "path");
            let _ = writeln!(
                text,
                "  {paths} with a name that is not UTF-8: rlvm restores all requested files to a private directory to compare the exact names"
            );
        }
        if self.directories_differing > 0 && !only_missing {
            let count = self.directories_differing;
            let _ = writeln!(text, "  directories that get their stored owner or mode back: {count}");
            for path in self.directories_set_back.iter().take(NAMED) {
                let _ = writeln!(text, "      {}", one_line(path));
            }
            if self.directories_set_back.len() > NAMED {
                let more = self.directories_set_back.len() - NAMED;
                let _ = writeln!(text, "      and {more} more: --json lists all");
            }
        }
        if !only_missing && self.directories > 0 && !self.is_empty(only_missing) {
            let _ = writeln!(
                text,
                "  existing directories that contain restored files get their stored time, attributes and ACLs back"
            );
        }
        if let Some(first) = self.blocked.first() {
            let count = self.blocked.len();
            let _ = writeln!(
                text,
                "  paths that cannot be restored: {count}, the first is {}: {}",
                one_line(&first.path),
                one_line(&first.why)
            );
        }
        text
    }
}

/// Counts something.
pub(super) fn files(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// Says whether a path is another one, or in it, by whole parts.
pub(super) fn within(path: &str, dir: &str) -> bool {
    dir == "/" || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Lists a path and all above it, `/` last.
pub(super) fn upwards(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rsplit_once('/')? {
        ("", "") => None,
        ("", _) => Some("/"),
        (above, _) => Some(above),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(path: &str, sort: Sort, size: u64) -> Node {
        Node { path: path.into(), sort, size, mode: 0o644, uid: 0, gid: 0, mtime: 7, identity: None }
    }

    #[test]
    fn only_what_is_wanted_is_fetched() {
        let mut all = Comparison::default();
        for (path, sort, size, verdict) in [
            ("/s", Sort::Directory, 0, Verdict::Same),
            ("/s/a", Sort::File, 3, Verdict::Same),
            ("/s/b", Sort::File, 5, Verdict::Differs),
            ("/s/new", Sort::Directory, 0, Verdict::New),
            ("/s/new/c", Sort::File, 7, Verdict::New),
            ("/s/newer", Sort::File, 11, Verdict::New),
        ] {
            all.add(&node(path, sort, size), &verdict, false);
        }
        assert_eq!((all.files, all.directories, all.bytes), (4, 2, 26));
        assert_eq!((all.new, all.differing, all.same), (2, 1, 1));
        assert_eq!((all.needed(false), all.needed(true)), (23, 18));
        let few: Vec<String> = ["/s/b", "/s/new", "/s/newer"].map(Into::into).into();
        assert_eq!(all.few(false), Some(few.as_slice()));
        assert!(!all.is_empty(false) && Comparison::default().is_empty(false));
        // More than a command line should hold: all that was asked for is fetched.
        for number in 0..MOST.0 {
            all.add(&node(&format!("/s/x{number}"), Sort::File, 1), &Verdict::New, false);
        }
        assert_eq!((all.few(false), all.needed(false)), (None, all.bytes));
    }

    #[test]
    fn all_is_fetched_for_the_owner_of_a_directory() {
        let mut all = Comparison::default();
        for (path, sort, size, verdict) in [
            ("/s", Sort::Directory, 0, Verdict::Differs),
            ("/s/a", Sort::File, 3, Verdict::Same),
            ("/s/b", Sort::File, 5, Verdict::New),
        ] {
            all.add(&node(path, sort, size), &verdict, false);
        }
        assert_eq!((all.few(false), all.needed(false), all.needed(true)), (None, 8, 5));
    }

    #[test]
    fn what_is_of_another_kind_is_named_each() {
        let mut all = Comparison::default();
        for number in 0..430 {
            let verdict = if number % 2 == 0 { Verdict::Differs } else { Verdict::Replaces(Sort::Link) };
            all.add(&node(&format!("/s/{number}"), Sort::File, 1), &verdict, false);
        }
        let text = all.text(false);
        assert_eq!(text.matches("(a symbolic link now, was a file)").count(), 215, "{text}");
        assert!(text.contains("430 files (430 B) with differences will be OVERWRITTEN:"), "{text}");
        assert!(text.contains("and 15 more: --json lists all"), "{text}");
        assert_eq!(all.overwritten.len(), 430);
    }

    #[test]
    fn up_to_the_root() {
        for (path, expected) in
            [("/a/b", &["/a/b", "/a", "/"][..]), ("/a", &["/a", "/"]), ("/", &["/"]), ("a", &["a"])]
        {
            assert_eq!(upwards(path).collect::<Vec<_>>(), expected, "{path}");
        }
    }

    #[test]
    fn by_whole_parts() {
        for (path, dir, expected) in
            [("/a/b", "/a", true), ("/a", "/a", true), ("/ab", "/a", false), ("/x", "/", true)]
        {
            assert_eq!(within(path, dir), expected, "{path} {dir}");
        }
    }
}
