//! Restores: how restic is called, what it prints, and what the result is.
//!
//! All versions (tried with 0.14.0, 0.18.0 and 0.19.1) exit with 1 if only one file failed, and leave a partial file
//! at its full length. All versions exit with 0 if there was nothing to restore. So neither the exit code nor the
//! size alone is enough.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Access, Found, Version, call, found};
use crate::{
    effect::Cmd,
    host::Output,
    model::{HostName, HostPath},
};

/// Since which version holes are written as holes.
pub const SPARSE: Version = Version(0, 15, 0);
/// Since which version the targets of symbolic links that are no UTF-8 are stored and given back as they were. Before, each
/// such byte becomes U+FFFD (<https://github.com/restic/restic/pull/3802>).
pub const RAW_TARGETS: Version = Version(0, 16, 0);
/// How 0.14 begins what it says of a file that failed.
const IGNORING: &str = "ignoring error for ";
/// How long one may look around, in seconds: a month.
const LOOKING: u64 = 31 * 24 * 3600;
/// How long what is said of one file can be, in bytes: a path, and why, which may hold another path.
const LONGEST: usize = 16 << 10;
/// How many of its last words are kept.
const LAST: usize = 20;

/// What is restored, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore<'a> {
    /// The snapshot's id.
    pub snapshot: &'a str,
    /// The paths; all if there are none. One that is a directory is restored with all that is in it.
    pub paths: &'a [String],
    /// The directory below which paths stand as they were.
    pub target: &'a HostPath,
    /// Which restic it is.
    pub version: Version,
    /// How long it may take.
    pub seconds: u64,
}

/// A file that was not restored, or not in full.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unrestored {
    /// Its path in the snapshot; bytes that are no UTF-8 are lost.
    pub path: String,
    /// Why.
    pub why: String,
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restoring {
    /// How many bytes are restored.
    pub bytes_restored: u64,
    /// How many there are.
    pub total_bytes: u64,
    /// How many files are restored.
    pub files_restored: u64,
    /// How many there are.
    pub total_files: u64,
}

/// What restic says of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What failed by restic's JSON, each path once.
    failed: Vec<Unrestored>,
    /// What 0.14 says of files that failed, each with its place in the order: `PATH: WHY` in plain text, which does not show
    /// where the path ends.
    texts: BTreeMap<String, usize>,
    /// The last such text: a path with a newline goes on in the next line.
    text: Option<String>,
    /// Its last words beside.
    last: Vec<String>,
}

/// What a restore came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// restic says that all of it is there.
    Whole,
    /// Some files failed: [`Heard::failed`].
    Incomplete,
    /// It ended before its end, or could not begin: why.
    Failed(String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    message_type: String,
    item: String,
    error: Why,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Why {
    message: String,
}

impl Access<'_> {
    /// Restores a snapshot, or some of its paths, below a directory that is there.
    ///
    /// It takes no lock: what a dead run has locked, or a disk that can only be read, is no reason not to restore; if
    /// something is removed from the repository meanwhile, that fails, and is said.
    pub fn restore(&self, of: &Restore<'_>) -> Cmd {
        let cmd = self.call_cached(&["restore", "--json", "--no-lock"]);
        let cmd = if of.version >= SPARSE { cmd.arg("--sparse") } else { cmd };
        let cmd = cmd.arg("--target").path(of.target);
        let cmd = of.paths.iter().fold(cmd, |cmd, path| cmd.arg(format!("--include={}", pattern(path))));
        cmd.args(["--", of.snapshot]).timeout(of.seconds).stoppable()
    }
}

impl Access<'_> {
    /// Mounts the snapshots of some hosts, to be read alone, in the foreground; it ends, and unmounts, on SIGINT.
    pub fn mount(&self, at: &HostPath, hosts: &[HostName]) -> Cmd {
        let cmd = self.call_cached(&["mount", "--no-lock"]);
        let cmd = hosts.iter().fold(cmd, |cmd, host| cmd.args(["--host", host.as_str()]));
        cmd.arg("--").path(at).timeout(LOOKING).stoppable()
    }
}

/// Writes a path as a pattern that matches it alone: restic takes `*`, `?`, `[` and `\` for more (Go's filepath.Match). A
/// U+FFFD may stand for a byte that is no UTF-8. `?` matches both, and any other letter (tried with 0.14.0, 0.18.0, 0.19.1).
fn pattern(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter == char::REPLACEMENT_CHARACTER {
            pattern.push('?');
            continue;
        }
        if matches!(letter, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

impl Found {
    /// Says it to a person.
    pub fn sentence(&self) -> String {
        match self {
            Self::WrongPassword => "wrong password: the password file does not open it".into(),
            Self::Absent => "there is no repository".into(),
            Self::Locked => "locked by something else".into(),
            Self::Damaged(why) => format!("damaged: {why}"),
            Self::Unreachable(why) => why.clone(),
            Self::Ready { .. } => "restic failed".into(),
        }
    }
}

impl Heard {
    /// Hears a line of either stream; returns how far it is, if it says so.
    pub fn line(&mut self, line: &str) -> Option<Restoring> {
        let said = if line.starts_with('{') { serde_json::from_str::<Line>(line).ok() } else { None };
        let Some(said) = said else {
            self.words(line);
            return None;
        };
        self.end_text();
        match said.message_type.as_str() {
            "status" | "summary" => return serde_json::from_str(line).ok(),
            "error" => self.fail(said.item, said.error.message),
            "exit_error" => self.keep(said.message.trim()),
            _ => {}
        }
        None
    }

    /// Hears what is no JSON: 0.14's words, and what is said of the connection.
    fn words(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix(IGNORING) {
            self.end_text();
            self.text = Some(rest.to_owned());
            return;
        }
        // Whether this belongs to the path, only a path that is known can tell.
        if let Some(text) = self.text.as_mut().filter(|text| text.len() < LONGEST) {
            text.push('\n');
            text.push_str(line);
        }
        // How 0.14 begins.
        if !line.trim().is_empty() && !line.starts_with("restoring <Snapshot ") {
            self.keep(line);
        }
    }

    fn keep(&mut self, line: &str) {
        if self.last.len() == LAST {
            self.last.remove(0);
        }
        self.last.push(line.into());
    }

    fn end_text(&mut self) {
        if let Some(text) = self.text.take() {
            let place = self.texts.len();
            self.texts.entry(plain(&text)).or_insert(place);
        }
    }

    /// Lists what failed. `known` are the paths that were to be restored: each of them is listed that may be meant.
    pub fn failed<'a>(&self, known: impl Iterator<Item = &'a str>) -> Vec<Unrestored> {
        let mut texts = self.texts.clone();
        texts.extend(self.text.iter().map(|text| (plain(text), self.texts.len())));
        let mut meant: BTreeSet<&str> = BTreeSet::new();
        let mut failed = self.failed.clone();
        for path in known {
            let start = format!("{}: ", plain(path));
            let said = texts.range(start.clone()..).take_while(|(text, _)| text.starts_with(&start));
            let said: Vec<(&String, &usize)> = said.collect();
            // What it said first is the reason.
            if let Some((text, _)) = said.iter().min_by_key(|(_, place)| **place) {
                let why = text[start.len()..].lines().next().unwrap_or_default().to_owned();
                failed.push(Unrestored { path: path.to_owned(), why });
            }
            meant.extend(said.iter().map(|(text, _)| text.as_str()));
        }
        // What is no known path's is not passed over.
        for text in texts.keys().filter(|it| !meant.contains(it.as_str())) {
            let (path, why) = text.split_once(": ").unwrap_or((text, ""));
            let why = why.lines().next().unwrap_or_default().to_owned();
            if failed.last().is_none_or(|last| last.path != path) {
                failed.push(Unrestored { path: path.to_owned(), why });
            }
        }
        failed
    }

    fn has_failed(&self) -> bool {
        !self.failed.is_empty() || !self.texts.is_empty() || self.text.is_some()
    }

    fn fail(&mut self, path: String, why: String) {
        // It is said again for each piece.
        if !self.failed.iter().rev().take(100).any(|it| it.path == path) {
            self.failed.push(Unrestored { path, why });
        }
    }

    /// Says what it came to, by its exit code: none if a signal ended it.
    pub fn came(&self, code: Option<i32>) -> Came {
        match code {
            Some(0) if !self.has_failed() => Came::Whole,
            Some(0 | 1) if self.has_failed() => Came::Incomplete,
            None => Came::Failed("restic was ended by a signal".into()),
            code => {
                let stderr = call::plain(&self.last.join("\n"));
                Came::Failed(found(&Output { code, stderr, ..Output::default() }).sentence())
            }
        }
    }
}

/// Returns a text as it is after it was read line by line: without what may end a line.
fn plain(text: &str) -> String {
    text.replace('\r', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        effect::Arg,
        model::{SecretFile, UserName},
        restic::Means,
    };

    #[test]
    fn names_stand_for_themselves() {
        let (password, user, means) = (SecretFile("/p".parse().unwrap()), UserName::root(), Means::default());
        let access = Access {
            location: Arg::Path("/r".parse().unwrap()),
            password: &password,
            user: &user,
            means: &means,
        };
        let (paths, target) = (vec![r"/a b/*[x]?\'".to_owned(), "/-c".into()], "/t x".parse().unwrap());
        let of = Restore {
            snapshot: "ab12",
            paths: &paths,
            target: &target,
            version: Version(0, 14, 0),
            seconds: 9,
        };
        assert_eq!(
            access.restore(&of).to_string(),
            r"restic restore --json --no-lock --no-cache --repo /r --password-file /p --target '/t x' '--include=/a b/\*\[x]\?\\'\''' --include=/-c -- ab12"
        );
        // A byte that is no UTF-8 may be any.
        assert_eq!(pattern("/lat\u{fffd}/w\u{f6}rld*"), "/lat?/w\u{f6}rld\\*");
        let sparse = access.restore(&Restore { version: Version(0, 18, 0), ..of }).to_string();
        assert!(sparse.contains(" --sparse --target "), "{sparse}");
    }

    fn heard(lines: &[&str]) -> Heard {
        let mut heard = Heard::default();
        for line in lines {
            heard.line(line);
        }
        heard
    }

    fn own((path, why): (&str, &str)) -> (String, String) {
        (path.to_owned(), why.to_owned())
    }

    fn failed(heard: &Heard, known: &[&str]) -> Vec<(String, String)> {
        heard.failed(known.iter().copied()).into_iter().map(|it| (it.path, it.why)).collect()
    }

    #[test]
    fn each_path_that_old_words_may_mean_has_failed() {
        let (bad, worse) = ("ciphertext verification failed", "StreamPack: no such file");
        for names in [
            &["/s/a: \nb"][..],
            &["/s/p", "/s/p\nq"],
            &["/s/p\nq", "/s/p\nr"],
            &["/s/p: q", "/s/x\r\nb"],
            &["/s/a: ", "/s/b:", "/s/\n", "/s/Fatal: x\nignored"],
        ] {
            for again in [1, 2] {
                let mut old = Heard::default();
                for (name, why) in names.iter().zip([bad, worse].iter().cycle()) {
                    let said = format!("{IGNORING}{name}: {why}\n").repeat(again);
                    for line in said.lines() {
                        old.line(line);
                    }
                }
                old.line("Fatal: There were 2 errors");
                let others = ["/s/good", "/s/pq", "/s/good\nb"];
                let known: Vec<&str> = names.iter().copied().chain(others).collect();
                let found: BTreeSet<String> =
                    failed(&old, &known).into_iter().map(|(path, _)| path).collect();
                assert!(names.iter().all(|name| found.contains(*name)), "{names:?}: {found:?}");
                assert!(others.iter().all(|name| !found.contains(*name)), "{names:?}: {found:?}");
                assert_eq!(old.came(Some(1)), Came::Incomplete);
            }
        }
    }

    #[test]
    fn what_each_version_says() {
        // Copied from 0.14.0, 0.18.0 and 0.19.1, paths apart.
        let old = heard(&[
            "restoring <Snapshot dff38fea of [/s] at 2026-11-21 17:33:45 +0000 UTC by root@web01> to t",
            "ignoring error for /s/rand1: ciphertext verification failed",
            "ignoring error for /s/new",
            "line: StreamPack: open /r/data/6f: no such file or directory",
            "ignoring error for /s/rand2: write /t/s/rand2: no space left on device",
            "ignoring error for /s/rand2: write /t/s/rand2: no space left on device",
            "Fatal: There were 4 errors",
            "",
        ]);
        let rand = ("/s/rand1", "ciphertext verification failed");
        let new = ("/s/new\nline", "StreamPack: open /r/data/6f: no such file or directory");
        let full = ("/s/rand2", "write /t/s/rand2: no space left on device");
        assert_eq!(
            failed(&old, &["/s/rand1", "/s/rand2", "/s/new\nline", "/s/new"]),
            [rand, full, new].map(own)
        );
        assert_eq!(failed(&old, &[]), [new, rand, full].map(own));
        assert_eq!(old.came(Some(1)), Came::Incomplete);
        let mut new = heard(&[
            r#"{"message_type":"summary","total_files":19,"files_restored":18,"total_bytes":11242896,"bytes_restored":9850685}"#,
            r#"{"message_type":"error","error":{"message":"mknod /t/s/n: operation not permitted"},"during":"restore","item":"/s/n"}"#,
            r#"{"message_type":"exit_error","code":1,"message":"Fatal: There were 1 errors\n"}"#,
        ]);
        assert_eq!(failed(&new, &["/s/n"]), [own(("/s/n", "mknod /t/s/n: operation not permitted"))]);
        assert_eq!(new.came(Some(1)), Came::Incomplete);
        let status = r#"{"message_type":"status","percent_done":0.3,"total_files":19,"files_restored":1,"total_bytes":9,"bytes_restored":4}"#;
        let far = Restoring { bytes_restored: 4, total_bytes: 9, files_restored: 1, total_files: 19 };
        assert_eq!(new.line(status), Some(far));
    }

    #[test]
    fn only_nothing_said_and_a_zero_is_well() {
        let said = heard(&[r#"{"message_type":"summary"}"#]);
        assert_eq!(said.came(Some(0)), Came::Whole);
        // "An unknown one is a failure": restic's manual.
        for code in [Some(1), Some(3), Some(7), Some(130), None] {
            assert!(matches!(said.came(code), Came::Failed(_)), "{code:?}");
        }
        let failed = heard(&["ignoring error for /a: x"]);
        assert_eq!(failed.came(Some(0)), Came::Incomplete);
        assert!(matches!(failed.came(Some(3)), Came::Failed(_)));
        let json =
            r#"{"message_type":"exit_error","code":12,"message":"Fatal: wrong password or no key found"}"#;
        let why = "wrong password: the password file does not open it";
        assert_eq!(heard(&[json]).came(Some(12)), Came::Failed(why.into()));
        assert_eq!(heard(&["Fatal: wrong password or no key found"]).came(Some(1)), Came::Failed(why.into()));
    }
}
