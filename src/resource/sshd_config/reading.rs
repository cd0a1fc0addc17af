//! Lists what sshd reads, in its order: its main file, each file that an `Include` names, each `Match` block.
//!
//! `sshd -T` answers for one connection only, so a block that matches another address or port stays unseen there. This
//! module reads the text instead (servconf.c, `parse_server_config_depth`): the first value counts, a `Match` block
//! ends at the next `Match` or at the end of its file, and a block inside an included block needs both to match.
//! Whether a block matches anybody is deliberately not decided here.

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub(super) use super::of_host::OfHost;
use crate::model::known_host::matches;

/// As deep as sshd follows `Include` (servconf.h, `SERVCONF_MAX_DEPTH`).
const DEEPEST: usize = 16;
/// As many files as are read: more than any host has, and fewer than files that include each other could name.
const MOST_FILES: usize = 500;

/// What stands for bytes that are no text.
pub(super) const NO_TEXT: char = char::REPLACEMENT_CHARACTER;

/// One setting in sshd's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The file and the line number.
    pub(super) place: String,
    /// The criteria of each `Match` block around the setting, outermost first; none outside all blocks.
    pub(super) blocks: Vec<String>,
    /// The keyword as it is written.
    pub(super) keyword: String,
    /// The words after the keyword, without quotes and comment.
    pub(super) value: String,
}

/// What sshd reads.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// All settings in sshd's order, those of the part left out.
    pub(super) lines: Vec<Line>,
    /// How many of `lines` come before the part; `None` if sshd does not read the part for everybody.
    pub(super) before: Option<usize>,
    /// What sshd reads and rlvm cannot.
    pub(super) unread: Vec<Unread>,
    /// Each file and directory that sshd looks at, rlvm's file too.
    pub(super) paths: Vec<String>,
    /// The first `Include` of a relative path. Each build of sshd looks it up in a directory of its own (`/etc/ssh`).
    pub(super) relative: Option<String>,
}

/// A file, or a line, that sshd reads and rlvm cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// The file, perhaps with a line number, and the reason.
    pub what: String,
    /// Whether sshd reads it before rlvm's file, so that it may change what rlvm's file declares.
    pub is_early: bool,
}

/// Where the files come from: a host, or a table in a test.
pub(super) trait Files {
    /// Lists the names in a directory, sorted; nothing if there is no such directory, or the reason why it cannot be read.
    fn names(&self, dir: &str) -> Result<Result<Vec<String>, String>>;
    /// Returns the text of a file; `None` if there is none, or the reason why it cannot be read.
    fn text(&self, path: &str) -> Result<Result<Option<String>, String>>;
}

/// Reads sshd's configuration from its main file on. `part` is rlvm's own file, which may not be there yet.
pub(super) fn read(files: &dyn Files, main: &str, part: &str) -> Result<Read> {
    let mut reader = Reader { files, part, left: MOST_FILES, read: Read::default() };
    reader.file(main, &[], 0)?;
    Ok(reader.read)
}

struct Reader<'a> {
    files: &'a dyn Files,
    part: &'a str,
    left: usize,
    read: Read,
}

impl Reader<'_> {
    fn file(&mut self, path: &str, around: &[String], depth: usize) -> Result<()> {
        self.read.paths.push(path.to_owned());
        if path == self.part {
            let is_for_all = around.iter().all(|criteria| criteria.eq_ignore_ascii_case("all"));
            if is_for_all && self.read.before.is_none() {
                self.read.before = Some(self.read.lines.len());
            }
            return Ok(());
        }
        if depth > DEEPEST || self.left == 0 {
            self.not_read(format!("{path}: too many files include each other"));
            return Ok(());
        }
        if path.contains(NO_TEXT) {
            self.not_read(format!("{path}: its name is not valid UTF-8"));
            return Ok(());
        }
        self.left -= 1;
        let text = match self.files.text(path)? {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(()),
            Err(why) => {
                self.not_read(format!("{path}: {why}"));
                return Ok(());
            }
        };
        let mut blocks = around.to_vec();
        for (number, line) in text.lines().enumerate() {
            if is_odd(line) {
                self.not_read(format!("{path}:{}: rlvm cannot tell how sshd reads this line", number + 1));
                continue;
            }
            let Some((keyword, rest)) = keyword_of(line) else { continue };
            if keyword.eq_ignore_ascii_case("match") {
                blocks = around.to_vec();
                // Quotes are kept: `Host "x User git"` names no user.
                // OpenSSH before 8.7 ends a line at each `#`, later ones only at that in front of a word.
                let is_cut = rest.split([' ', '\t']).any(|word| word.find('#').is_some_and(|at| at > 0));
                let is_plain = !rest.contains(['"', '\'', '\\']) && !is_cut;
                blocks.push(if is_plain { words(rest).join(" ") } else { rest.trim().to_owned() });
            } else if keyword.eq_ignore_ascii_case("include") {
                for pattern in words(rest) {
                    for file in self.expand(&pattern)? {
                        self.file(&file, &blocks, depth + 1)?;
                    }
                }
            } else {
                self.read.lines.push(Line {
                    place: format!("{path}:{}", number + 1),
                    blocks: blocks.clone(),
                    keyword: keyword.to_owned(),
                    value: words(rest).join(" "),
                });
            }
        }
        Ok(())
    }

    fn not_read(&mut self, what: String) {
        let unread = Unread { what, is_early: self.read.before.is_none() };
        if !self.read.unread.contains(&unread) {
            self.read.unread.push(unread);
        }
    }

    /// Lists the files that a pattern names, sorted as glob(3) does; the part too where it is not there yet.
    fn expand(&mut self, pattern: &str) -> Result<Vec<String>> {
        if !pattern.starts_with('/') {
            self.read.relative.get_or_insert_with(|| pattern.to_owned());
        }
        let whole = if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/ssh/{pattern}") };
        let way: Vec<&str> = components(&whole).filter(|component| *component != ".").collect();
        let mut found = vec![String::new()];
        for component in &way {
            if !component.contains(['*', '?', '[']) {
                found = found.into_iter().map(|path| format!("{path}/{component}")).collect();
                continue;
            }
            let mut next = Vec::new();
            for dir in found {
                self.read.paths.push(format!("{dir}/"));
                let names = match self.files.names(if dir.is_empty() { "/" } else { &dir })? {
                    Ok(names) => names,
                    Err(why) => {
                        self.not_read(format!("{dir}: {why}"));
                        continue;
                    }
                };
                let fit = names.into_iter().filter(|name| names_file(component, name));
                next.extend(fit.map(|name| format!("{dir}/{name}")));
            }
            found = next;
        }
        let parts: Vec<&str> = components(self.part).collect();
        let fits = way.len() == parts.len()
            && way.iter().zip(parts).all(|(pattern, name)| names_file(pattern, name));
        if fits && !found.iter().any(|file| file == self.part) {
            found.push(self.part.to_owned());
        }
        found.sort_unstable();
        Ok(found)
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty())
}

/// Says whether a component of a pattern names a file. Patterns with brackets do not get here.
fn names_file(pattern: &str, name: &str) -> bool {
    // glob(3) finds a hidden file only by a dot.
    (!name.starts_with('.') || pattern.starts_with('.')) && matches(pattern, name)
}

/// Says whether sshd may read something else in a line than this module does: sshd glues a quote inside a keyword to it,
/// passes over a `=` in front, takes a carriage return for a blank (misc.c, `strdelim`), and joins a line with a NUL to the
/// next one; glob(3) knows backslashes and sets of letters, the kernel follows a link before a `..`, and a `~` in front is no
/// part of /etc/ssh. Nobody writes so without a reason.
fn is_odd(line: &str) -> bool {
    let line = line.trim_matches([' ', '\t']);
    if line.contains('\0') {
        return true;
    }
    if line.is_empty() || line.starts_with('#') {
        return false;
    }
    // Blanks of other scripts are letters for sshd.
    let is_strange =
        |letter: char| (letter.is_whitespace() || letter.is_control()) && !matches!(letter, ' ' | '\t');
    let token = line.split([' ', '\t', '=']).next().unwrap_or_default();
    let inner = token.strip_prefix('"').and_then(|token| token.strip_suffix('"')).unwrap_or(token);
    let is_include = inner.eq_ignore_ascii_case("include");
    inner.is_empty()
        || inner.contains(['"', '\'', '\\'])
        || line.contains(is_strange)
        || is_include && (line.contains(['\\', '[', NO_TEXT]) || line.contains(".."))
        || is_include
            && keyword_of(line).is_some_and(|(_, rest)| words(rest).iter().any(|it| it.starts_with('~')))
}

/// Splits a line after its keyword, which blanks or one `=` end (misc.c, `strdelim`).
fn keyword_of(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (keyword, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
        None => line.split_at(line.find([' ', '\t', '=', '"']).unwrap_or(line.len())),
    };
    let rest = rest.trim_start();
    Some((keyword, rest.strip_prefix('=').unwrap_or(rest).trim_start()))
}

/// Splits the words of a line; quotes hold one together, and a comment ends them (misc.c, `argv_split`).
fn words(text: &str) -> Vec<String> {
    let (mut found, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => found.extend(word.take()),
            (None, '#') if word.is_none() => break,
            _ => word.get_or_insert_default().push(letter),
        }
    }
    found.extend(word);
    found
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(in super::super) const MAIN: &str = "/etc/ssh/sshd_config";
    pub(in super::super) const PART: &str = "/etc/ssh/sshd_config.d/00-rlvm.conf";

    /// Files by path, each with its text.
    pub(in super::super) struct Table(pub(in super::super) BTreeMap<String, String>);

    impl Table {
        pub(in super::super) fn of(files: &[(&str, &str)]) -> Self {
            Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
        }
    }

    impl Files for Table {
        fn names(&self, dir: &str) -> Result<Result<Vec<String>, String>> {
            let dir = format!("{}/", dir.trim_end_matches('/'));
            let below = self.0.keys().filter_map(|path| path.strip_prefix(&dir));
            let mut names: Vec<String> =
                below.filter_map(|rest| rest.split('/').next()).map(ToOwned::to_owned).collect();
            names.dedup();
            Ok(Ok(names))
        }

        fn text(&self, path: &str) -> Result<Result<Option<String>, String>> {
            Ok(match self.0.get(path) {
                Some(text) if text == "LOCKED" => Err("no permission".into()),
                text => Ok(text.cloned()),
            })
        }
    }

    #[test]
    fn settings_are_listed_in_the_order_in_which_sshd_reads_them() {
        let read = read(
            &Table::of(&[
                (
                    MAIN,
                    "# x\nPort=22 # y\nInclude sshd_config.d/*.conf\nmatch address 10.0.0.1\n\
                     Include /etc/extra\n  X11Forwarding \"no\"\nPermitTTY yes\n",
                ),
                ("/etc/ssh/sshd_config.d/00-a.conf", "Match User me,you\n\tChrootDirectory '/a b'\n"),
                (PART, "Match all\nPermitTTY no\n"),
                ("/etc/ssh/sshd_config.d/.hidden.conf", "Banner none\n"),
                ("/etc/ssh/sshd_config.d/10-b.conf", "LOCKED"),
                ("/etc/extra", "Banner /x\nMatch LocalPort 23\nBanner /y\n"),
            ]),
            MAIN,
            PART,
        )
        .unwrap();
        let shown: Vec<String> = read
            .lines
            .iter()
            .map(|it| format!("{} [{}] {} {}", it.place, it.blocks.join("] ["), it.keyword, it.value))
            .collect();
        let expected = [
            "/etc/ssh/sshd_config:2 [] Port 22",
            "/etc/ssh/sshd_config.d/00-a.conf:2 [User me,you] ChrootDirectory /a b",
            "/etc/extra:1 [address 10.0.0.1] Banner /x",
            "/etc/extra:3 [address 10.0.0.1] [LocalPort 23] Banner /y",
            "/etc/ssh/sshd_config:6 [address 10.0.0.1] X11Forwarding no",
            "/etc/ssh/sshd_config:7 [address 10.0.0.1] PermitTTY yes",
        ];
        assert_eq!(shown, expected);
        assert_eq!(read.before, Some(2));
        let what = "/etc/ssh/sshd_config.d/10-b.conf: no permission".to_owned();
        assert_eq!(read.unread, [Unread { what, is_early: false }]);
    }

    #[test]
    fn what_sshd_reads_otherwise_than_rlvm_is_reported() {
        // Each was seen to free a client with OpenSSH 9.2.
        for line in [
            "Ma\"tch\" Address 127.0.0.2",
            "Chroot\"Directory\" none",
            "Accept\"Env\" LD_*",
            "=Match Address 127.0.0.2",
            "Match\rAddress 127.0.0.2",
            "Match User root\0,web01",
            "Include ~/e.conf",
            "Include=\"~e.conf\"",
            "Include /etc/ssh/x/\\e.conf",
            "Include x/[[:alpha:]].conf",
            "Include sshd_config.d/[1-9]*.conf",
            "Include /etc/ssh/link/../e.conf",
            "Include x/caf\u{fffd}.conf",
            "# a comment\0",
            "Match Address 127.0.0.2 User *,!web01\u{a0}",
        ] {
            let main = format!("{line}\nInclude sshd_config.d/*.conf\n{line}\n");
            let read = read(&Table::of(&[(MAIN, &main)]), MAIN, PART).unwrap();
            let early: Vec<bool> = read.unread.iter().map(|it| it.is_early).collect();
            assert_eq!(early, [true, false], "{line}");
        }
        for line in [
            "",
            "  # Match \"x",
            "# \u{a0}",
            "\"Match\" Address 10.0.0.1",
            "Port=22",
            "Banner \"/a b\"",
            "\tPort 22",
        ] {
            assert!(!is_odd(line), "{line}");
        }
    }

    #[test]
    fn the_part_must_be_included_for_everybody() {
        for (main, included) in [
            ("# x\nInclude /etc/ssh/sshd_config.d/*.conf\nPort 22\n", true),
            ("include=\"/etc/ssh/sshd_config.d/*\"\n", true),
            ("Port 22\n\tInclude /a sshd_config.d/*.conf\n", true),
            // A set of letters is an error of its own.
            ("Include sshd_config.d/[0-9]*.conf\n", false),
            ("Include /etc/*/*/*.conf\n", true),
            ("Match all\nInclude /etc/ssh/sshd_config.d/*.conf\n", true),
            ("Match User a\nPort 22\nMatch\tALL # x\n  Include sshd_config.d/*\n", true),
            ("Match User a\nInclude /etc/ssh/sshd_config.d/*.conf\n", false),
            ("Match all User a\nInclude /etc/ssh/sshd_config.d/*.conf\n", false),
            ("#Include /etc/ssh/sshd_config.d/*.conf\n", false),
            ("Include /etc/ssh/other.d/*.conf\n", false),
            ("Include /etc/ssh/*.conf\n", false),
            ("", false),
        ] {
            let read = read(&Table::of(&[(MAIN, main)]), MAIN, PART).unwrap();
            assert_eq!(read.before.is_some(), included, "{main}");
        }
    }

    #[test]
    fn names_that_are_no_text_are_reported() {
        for file in ["/etc/ssh/sshd_config.d/00-a\u{fffd}.conf", "/etc/ssh/sshd_config.d/b\u{fffd}/c.conf"] {
            let main = "Include sshd_config.d/*.conf\nInclude sshd_config.d/*/*.conf\n";
            let read = read(&Table::of(&[(MAIN, main), (file, "Port 22\n")]), MAIN, PART).unwrap();
            assert!(read.unread.iter().any(|it| it.what.contains("not valid UTF-8")), "{file}: {read:?}");
        }
    }

    #[test]
    fn files_that_include_each_other_end() {
        let read = read(&Table::of(&[(MAIN, "Include sshd_config\nInclude sshd_config\n")]), MAIN, PART);
        assert!(!read.unwrap().unread.is_empty());
    }
}
