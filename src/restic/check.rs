//! Checks a repository and classifies the result: damage, or a problem that says nothing about the data (R77).
//!
//! Exit code 0 means success, whatever else is printed; no other code does. Damage is code 1, and so is everything
//! else before 0.17, so the messages decide. They were tried with 0.14.0, 0.18.0 and 0.19.1, see `tests/it/verify/`.

use super::{Access, Found, found, reason};
use crate::{effect::Cmd, host::Output, model::HostPath};

/// How long it may take, in seconds: all of the data may be read over a slow line.
const CHECK: u64 = 24 * 3600;
/// How many of the first words are kept, and how many of the last.
const KEPT: usize = 20;
/// How many complaints a message has.
const SHOWN: usize = 4;

/// How it ends where something is wrong with what the repository holds.
const FOUND_WRONG: [&str; 2] = ["repository contains errors", "LoadIndex returned errors"];
/// What nothing but the repository's content can be the reason of.
const CERTAIN: [&str; 9] = [
    "unexpected file size",
    "does not exist",
    "does not match",
    "ciphertext verification failed",
    "invalid data returned",
    "not found in ",
    "no such file or directory",
    "file is too short",
    " errors: [",
];
/// How lines go on that say nothing of what is wrong: what is tried again, and advice.
const BESIDE: [&str; 6] = [
    "returned error, retrying after",
    "The repository contains damaged pack files.",
    "The repository is damaged and must be repaired.",
    "The repository index is damaged and must be repaired.",
    "restic repair ",
    "Damaged pack files can be caused by",
];

/// What a check says while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    first: Vec<String>,
    last: Vec<String>,
    /// How many there were.
    count: usize,
    damage: bool,
    passing: bool,
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Well,
    /// Something in it is broken or missing: what.
    Damaged(String),
    /// It could not be got at: why.
    Unreachable(String),
    /// Somebody has a lock on it: who.
    Locked(String),
    /// Otherwise: why.
    Failed(String),
}

impl Access<'_> {
    /// Checks the repository, and reads so much of its data, in restic's words: `--read-data-subset=1/20`.
    ///
    /// It takes the repository for itself: what somebody removes meanwhile would look like damage. Its cache is one of its
    /// own, made anew in that directory and removed by itself, so that all is read from where it is.
    pub fn check(&self, read: Option<&str>, cache: &HostPath) -> Cmd {
        let cmd = self.call(&["check"]).arg("--cache-dir").path(cache);
        let cmd = read.into_iter().fold(cmd, Cmd::arg);
        let cmd = cmd.env("TMPDIR", crate::effect::Arg::Path(cache.clone()));
        cmd.ok(&[0, 1, 10, 11, 12]).timeout(CHECK).stoppable()
    }
}

impl Complaints {
    /// Hears a line of standard error.
    pub fn line(&mut self, line: &str) {
        let line = line.trim();
        self.damage |= CERTAIN.iter().any(|words| line.contains(words));
        self.passing |= super::passes(line);
        if line.is_empty() || BESIDE.iter().any(|words| line.contains(words)) {
            return;
        }
        self.count += usize::from(!is_end(line));
        if self.first.len() < KEPT {
            self.first.push(line.into());
        } else {
            if self.last.len() == KEPT {
                self.last.remove(0);
            }
            self.last.push(line.into());
        }
    }

    /// Lists the files of the repository that it complained of, each with its directory: `data/0a1b…`, `index/0a1b…`. An
    /// id may be cut short.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for line in self.first.iter().chain(&self.last) {
            let packs = line.split("pack ").skip(1).map(|rest| ("data", rest));
            let keys = line.split("config or key ").skip(1).map(|rest| ("keys", rest));
            let named = ["data", "index", "snapshots"].map(|of| (of, format!("<{of}/")));
            let named: Vec<(&str, &str)> = named
                .iter()
                .flat_map(|(of, start)| line.split(start.as_str()).skip(1).map(|rest| (*of, rest)))
                .collect();
            for (of, rest) in packs.chain(keys).chain(named) {
                let id: String = rest.chars().take_while(char::is_ascii_hexdigit).take(64).collect();
                // `<data/…>` also names blobs, which restic cuts shorter than files.
                let is_file = id.len() == 64 || of != "data" && id.len() >= 8;
                let file = format!("{of}/{id}");
                if is_file && !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        files
    }

    /// Says what it came to, by its exit code; none if a signal ended it.
    pub fn verdict(&self, code: Option<i32>) -> Verdict {
        let all = || self.first.iter().chain(&self.last);
        if code == Some(0) {
            return Verdict::Well;
        }
        if code == Some(1) && all().any(|line| is_end(line)) {
            let what = self.what();
            // A line that broke while it was read is no damage, unless something beside it is.
            let broke = self.passing && !self.damage;
            return if broke { Verdict::Unreachable(what) } else { Verdict::Damaged(what) };
        }
        let locked = all().find_map(|line| line.split_once("repository is already locked"));
        match (code, locked) {
            (Some(1 | 11), Some((_, by))) => return Verdict::Locked(by.trim().to_owned()),
            (Some(11), None) => return Verdict::Locked(String::new()),
            (None, _) => return Verdict::Failed("restic was ended by a signal".into()),
            _ => {}
        }
        let stderr = all().map(String::as_str).collect::<Vec<_>>().join("\n");
        let said = Output { code, stderr, ..Output::default() };
        match found(&said) {
            Found::WrongPassword => {
                Verdict::Failed("wrong password: the password file does not open it".into())
            }
            Found::Absent => Verdict::Damaged("there is no repository".into()),
            Found::Damaged(why) => Verdict::Damaged(why),
            Found::Locked => Verdict::Locked(String::new()),
            Found::Unreachable(why) if super::passes(&said.stderr) => Verdict::Unreachable(why),
            // What has no words that are known says nothing: a failure, and neither of the two.
            Found::Unreachable(why) if code == Some(1) => Verdict::Failed(why),
            Found::Unreachable(_) => {
                let why = reason(&said.stderr);
                Verdict::Failed(format!("restic ended in a way that is not known: {why}"))
            }
            Found::Ready { .. } => Verdict::Failed("restic failed".into()),
        }
    }

    /// Says what a call came to that reads, by its exit code: what can only be damage is.
    pub fn of_reading(&self, code: Option<i32>) -> Verdict {
        match self.verdict(code) {
            Verdict::Failed(_) if code == Some(1) && self.damage => Verdict::Damaged(self.what()),
            other => other,
        }
    }

    /// Says what another program complained of, and how it ended.
    pub fn shown(&self, code: Option<i32>) -> String {
        let code = code.map_or("ended by a signal".into(), |code| format!("exit code {code}"));
        if self.count == 0 { code } else { format!("{} ({code})", self.what()) }
    }

    /// Says what is wrong: the first words, without those that end it.
    fn what(&self) -> String {
        let said = self.first.iter().map(String::as_str).filter(|line| !is_end(line));
        let said: Vec<&str> = said.take(SHOWN).collect();
        match (said.join("; "), self.count.saturating_sub(SHOWN)) {
            (_, _) if said.is_empty() => "restic says that it contains errors".into(),
            (what, 0) => what,
            (what, more) => format!("{what}; and {more} more"),
        }
    }
}

/// Says whether a line is the last one of a check that found something wrong.
fn is_end(line: &str) -> bool {
    FOUND_WRONG.iter().any(|words| line.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(code: i32, stderr: &str) -> Verdict {
        let mut complaints = Complaints::default();
        stderr.lines().for_each(|line| complaints.line(line));
        complaints.verdict(Some(code))
    }

    #[test]
    fn what_all_versions_say() {
        // R77. Copied from 0.14.0 and 0.19.1, ids cut short.
        let damaged = |what: &str| Verdict::Damaged(what.into());
        for (code, stderr, expected) in [
            (0, "", Verdict::Well),
            // What an interrupted backup leaves is no damage; 0.14 and later end with 0.
            (0, "error: whatever it says", Verdict::Well),
            (
                1,
                "pack fe2a: unexpected file size: got 302195, expected 302295\nFatal: repository contains errors",
                damaged("pack fe2a: unexpected file size: got 302195, expected 302295"),
            ),
            (
                1,
                "Pack ID does not match, want fe2a, got 9d19\nFatal: repository contains errors",
                damaged("Pack ID does not match, want fe2a, got 9d19"),
            ),
            (
                1,
                "error for tree bf1d:\n  decrypting blob bf1d failed: ciphertext verification failed\n\nThe repository is damaged and must be repaired. Please follow the troubleshooting guide at https://x .\n\nFatal: repository contains errors",
                damaged("error for tree bf1d:; decrypting blob bf1d failed: ciphertext verification failed"),
            ),
            (
                1,
                "pack f98e: does not exist\nLoad(<data/f98e>, 249, 488) returned error, retrying after 552ms: open /r: no such file or directory\nFatal: repository contains errors",
                damaged("pack f98e: does not exist"),
            ),
            (
                1,
                "error: error loading index 841e: load <index/841e>: invalid data returned\nFatal: LoadIndex returned errors",
                damaged("error: error loading index 841e: load <index/841e>: invalid data returned"),
            ),
            (
                1,
                "Load(<data/6dd9>, 9, 0) failed: Get \"http://r/data/6dd9\": dial tcp 127.0.0.1:8000: connect: connection refused\nFatal: repository contains errors",
                Verdict::Unreachable(
                    "Load(<data/6dd9>, 9, 0) failed: Get \"http://r/data/6dd9\": dial tcp 127.0.0.1:8000: connect: connection refused".into(),
                ),
            ),
            (12, "Fatal: wrong password or no key found", Verdict::Failed("wrong password: the password file does not open it".into())),
            (1, "Fatal: wrong password or no key found", Verdict::Failed("wrong password: the password file does not open it".into())),
            (10, "Fatal: repository does not exist: unable to open config file", damaged("there is no repository")),
            (
                1,
                "Fatal: unable to open config file: client.Head: Head \"http://r/config\": dial tcp 127.0.0.1:1: connect: connection refused\nIs there a repository at the following location?\nrest:http://r",
                Verdict::Unreachable("Fatal: unable to open config file: client.Head: Head \"http://r/config\": dial tcp 127.0.0.1:1: connect: connection refused".into()),
            ),
            (
                1,
                "unable to create lock in backend: repository is already locked by PID 26193 on vm by root (UID 0, GID 0)\nlock was created at 2026",
                Verdict::Locked("by PID 26193 on vm by root (UID 0, GID 0)".into()),
            ),
            (11, "", Verdict::Locked(String::new())),
            // "An unknown one is a failure", says restic's manual.
            (7, "Fatal: strange", Verdict::Failed("restic ended in a way that is not known: Fatal: strange".into())),
            (1, "Fatal: strange", Verdict::Failed("Fatal: strange".into())),
            (130, "", Verdict::Failed("restic ended in a way that is not known: no reason given".into())),
        ] {
            assert_eq!(verdict(code, stderr), expected, "{code} {stderr}");
        }
        assert!(matches!(Complaints::default().verdict(None), Verdict::Failed(_)));
    }

    #[test]
    fn files_that_were_complained_of_are_listed() {
        // Words of 0.14.0 and 0.19.1.
        let (pack, other) = ("5c".repeat(32), "0d".repeat(32));
        let mut complaints = Complaints::default();
        for line in [
            format!(
                "pack {pack} contains 4 errors: [blob {other}: read blob <data/fdebf7fc> from 817a9a1c: wrong data returned]"
            ),
            format!("pack {other}: does not exist"),
            "error: error loading index 841e1111: load <index/841e111122>: invalid data returned".into(),
            format!("restic repair packs {pack}"),
            format!("Fatal: config or key {pack} is damaged: ciphertext verification failed"),
        ] {
            complaints.line(&line);
        }
        let named = [
            format!("data/{pack}"),
            format!("data/{other}"),
            "index/841e111122".into(),
            format!("keys/{pack}"),
        ];
        assert_eq!(complaints.files(), named);
    }

    #[test]
    fn many_complaints_make_a_short_message() {
        let text: String = (0..500).map(|it| format!("pack {it}: does not exist\n")).collect();
        let Verdict::Damaged(what) = verdict(1, &(text + "Fatal: repository contains errors")) else {
            panic!()
        };
        assert!(
            what.starts_with("pack 0: does not exist; pack 1: ") && what.ends_with("; and 496 more"),
            "{what}"
        );
    }
}
