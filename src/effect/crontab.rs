//! A user's crontab: how it is listed, and a change of some lines of it, as data.
//!
//! The change names what it replaces by its place, and the whole by a digest: a person's other lines stand in no plan,
//! no log and no saved file. People write passwords into crontabs.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::Cmd;
use crate::model::Sha256;

/// How long crontab may take, in seconds.
const PATIENCE: u64 = 30;

/// A change of the caller's own crontab: what stood in one place goes, a text is put first, all else stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditCrontab {
    /// The digest of the whole before; none if there was no crontab.
    before: Option<Sha256>,
    /// How many bytes of it stay.
    stay: usize,
    /// What goes, in bytes from the start.
    goes: Range<usize>,
    /// What is put first; nothing if it only goes.
    first: String,
}

/// Returns the command that prints the caller's crontab.
pub fn list_crontab() -> Cmd {
    Cmd::new("crontab").arg("-l").timeout(PATIENCE)
}

/// Returns the command that takes a crontab from its input.
pub fn install_crontab() -> Cmd {
    Cmd::new("crontab").arg("-").timeout(PATIENCE)
}

/// Returns the command that removes the caller's crontab.
pub fn remove_crontab() -> Cmd {
    Cmd::new("crontab").arg("-r").timeout(PATIENCE)
}

/// Reads what listing gave; `None` if there is no crontab. Who has none is told so with exit code 1 (Debian's cron
/// 3.0pl1, cronie 1.7.2, busybox 1.37).
///
/// # Errors
///
/// What the command said, in every other case: that the user may have none (cron.allow), for one.
pub fn listed(code: Option<i32>, stdout: String, stderr: &str) -> Result<Option<String>, String> {
    let said = stderr.trim();
    match code {
        Some(0) if stdout.contains(char::REPLACEMENT_CHARACTER) => {
            Err("it is no UTF-8: its lines could not be kept as they are".into())
        }
        Some(0) => Ok(Some(stdout)),
        Some(1) if said.starts_with("no crontab for ") || is_busybox_without(said) => Ok(None),
        _ if said.is_empty() => Err("`crontab -l` failed without a word".into()),
        _ => Err(format!("`crontab -l` says: {}", said.lines().collect::<Vec<_>>().join("; "))),
    }
}

/// Says whether these are busybox's words for a user without a crontab.
fn is_busybox_without(said: &str) -> bool {
    said.starts_with("crontab: can't open '") && said.ends_with("': No such file or directory")
}

impl EditCrontab {
    /// Replaces a part of a crontab by a text that is put first.
    pub fn new(now: Option<&str>, goes: Range<usize>, first: String) -> Self {
        let stay = now.map_or(0, str::len) - goes.len();
        Self { before: now.map(digest), stay, goes, first }
    }

    /// Returns the whole text as it shall be; `None` if the crontab is not what was looked at.
    pub fn after(&self, now: Option<&str>) -> Option<String> {
        if now.map(digest) != self.before {
            return None;
        }
        let now = now.unwrap_or_default();
        let (before, behind) = (now.get(..self.goes.start)?, now.get(self.goes.end..)?);
        Some(format!("{}{before}{behind}", self.first))
    }
}

fn digest(text: &str) -> Sha256 {
    Sha256::of_digest(&sha2::Sha256::digest(text))
}

impl fmt::Display for EditCrontab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first.as_str(), self.stay) {
            ("", 0) => f.write_str("crontab -r"),
            ("", _) => f.write_str("crontab -  # without these lines, all others as they are"),
            (_, 0) => f.write_str("crontab -  # these lines"),
            (..) => f.write_str("crontab -  # these lines first, all others as they are"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_looked_at_is_changed() {
        let edit = EditCrontab::new(Some("aXb"), 1..2, "Y".into());
        assert_eq!(edit.after(Some("aXb")).as_deref(), Some("Yab"));
        for other in [Some("aXc"), Some(""), None] {
            assert_eq!(edit.after(other), None, "{other:?}");
        }
        let fresh = EditCrontab::new(None, 0..0, "Y".into());
        assert_eq!(fresh.after(None).as_deref(), Some("Y"));
        // An empty crontab is one.
        assert_eq!(fresh.after(Some("")), None);
    }

    #[test]
    fn other_lines_are_not_shown() {
        let secret = "PASSWORD=hunter2\nX";
        for (now, goes, first, expected) in [
            (Some(secret), 0..0, "Y", "crontab -  # these lines first, all others as they are"),
            (Some(secret), 17..18, "", "crontab -  # without these lines, all others as they are"),
            (Some("X"), 0..1, "", "crontab -r"),
            (None, 0..0, "Y", "crontab -  # these lines"),
        ] {
            let edit = EditCrontab::new(now, goes, first.into());
            assert_eq!(edit.to_string(), expected);
            assert!(!format!("{edit:?}").contains("hunter2"));
        }
    }

    #[test]
    fn having_none_is_told_from_failing() {
        let read = |code, stdout: &str, stderr| listed(code, stdout.into(), stderr);
        assert_eq!(read(Some(0), "a\n", ""), Ok(Some("a\n".into())));
        assert_eq!(read(Some(0), "", ""), Ok(Some(String::new())));
        for none in ["no crontab for me\n", "crontab: can't open 'me': No such file or directory\n"] {
            assert_eq!(read(Some(1), "", none), Ok(None));
        }
        for (code, stdout, stderr, words) in [
            (
                Some(1),
                "",
                "You (me) are not allowed to use this program (crontab)\nSee crontab(1)\n",
                "not allowed",
            ),
            (Some(1), "", "", "without a word"),
            (None, "", "no crontab for me\n", "no crontab"),
            (Some(0), "\u{fffd}", "", "no UTF-8"),
        ] {
            let why = read(code, stdout, stderr).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}
