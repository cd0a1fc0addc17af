//! The observed state of a repository, and the findings about it.

use serde::{Deserialize, Serialize};

use super::{Repository, remote::LOST_CONFIG};
use crate::{
    host::Stamp,
    model::Address,
    resource::{Finding, Kind, NotSeen, Severity},
    restic::Found,
};

/// What was seen of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositorySeen {
    /// What it is.
    pub state: RepositoryState,
    /// Whether there are locks in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
    /// Why the user cannot work with it, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// In which unprivileged user's directory it lies, if it is root's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lent: Option<String>,
    /// The program that is missing or too old, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Box<Missing>>,
    /// Whether its password file is there.
    pub password: bool,
    /// What must not have moved for it to be known without opening it; only of a local one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marks: Option<Box<Marks>>,
    /// The password file's stamp, for a remote one: what opened it once opens it again, as long as its keys are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Box<Stamp>>,
    /// What the other machine shows at its top, if the repository's way does not begin there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_instead: Option<Vec<String>>,
    /// Whether it would be made without anybody having looked what is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blind: bool,
    /// The keys that the other machine shows, if it is another one than declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_host_key: Option<Vec<String>>,
}

/// A program that is missing or too old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// A repository's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepositoryState {
    /// Nothing is there: not even the directory of a local one; of a remote one, restic says so.
    Absent,
    /// An empty directory is there, or what an `init` that was cut short left: no configuration, no snapshot, no pack.
    /// These are its keys: they open nothing, and would stand beside the new one's.
    Unfinished(Vec<String>),
    /// Something else is there: what.
    Foreign(String),
    /// What restic found.
    Opened(Found),
    /// It could not be looked at.
    NotSeen(NotSeen),
}

/// What moves when a local repository is replaced, gets another key, or would be opened otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    pub(super) config: Stamp,
    pub(super) keys: Stamp,
    pub(super) password: Stamp,
    pub(super) restic: Stamp,
}

impl Missing {
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }
}

impl RepositorySeen {
    /// Says what it is, and nothing beside.
    pub fn of(state: RepositoryState) -> Self {
        let (denied, tool, marks, tried, other_host_key) = (None, None, None, None, None);
        Self {
            state,
            locked: false,
            denied,
            lent: None,
            tool,
            password: false,
            marks,
            tried,
            shown_instead: None,
            blind: false,
            other_host_key,
        }
    }

    /// Returns the repository's id, if it opened.
    pub fn id(&self) -> Option<&str> {
        if let RepositoryState::Opened(Found::Ready { id }) = &self.state { Some(id) } else { None }
    }
}

impl Repository {
    /// Says what is wrong with the repository itself.
    pub(super) fn state_finding(
        &self,
        seen: &RepositorySeen,
        last: Option<&RepositorySeen>,
    ) -> Option<Finding> {
        let address = Address::new(Self::NAME, self.name.as_str());
        let say = |severity, message: String, remedy: String| {
            Some(Finding::new(severity, &address, message).remedy(remedy))
        };
        let known = last.and_then(RepositorySeen::id);
        let RepositoryState::Opened(found) = &seen.state else {
            // R33: what was there is gone; a new one must not take its place in silence.
            let gone = known.filter(|_| !self.exists(seen))?;
            let message = format!("the repository {} is gone from {}", short(gone), self.place());
            let remedy = format!("bring it back; to start a new one: rlvm ledger forget {address}");
            return say(Severity::Error, message, remedy);
        };
        match found {
            Found::Ready { id } => match known {
                // R33
                Some(known) if known != id => {
                    let (id, known) = (short(id), short(known));
                    let message = format!("this is another repository: its id is {id}, and was {known}");
                    let remedy =
                        format!("find out who made it; to take it as it is: rlvm ledger forget {address}");
                    say(Severity::Error, message, remedy)
                }
                _ if seen.locked => {
                    let message = "locked: something works on it, or died working on it".to_owned();
                    say(Severity::Notice, message, "runs, prune and verify remove a lock that was not renewed for 30 minutes".into())
                }
                _ => None,
            },
            Found::WrongPassword if seen.password => self.wrong_password(seen, last, say),
            Found::Locked => {
                say(Severity::Error, "locked".into(), "wait until the process that uses the repository ends; `run`, `prune` and `verify` remove a lock that nothing renews for 30 minutes".into())
            }
            Found::Damaged(what) => {
                let remedy = if what == LOST_CONFIG {
                    "if it ever held a backup, bring its config back from a copy; if making it was cut short, remove \
                     its keys/ over there, and apply again"
                } else {
                    "do not make a new one over it: look with `restic check`, or bring it back from a copy"
                };
                say(Severity::Error, format!("damaged: {what}"), remedy.into())
            }
            // Said as a missing password file, and by `reach`.
            Found::WrongPassword | Found::Unreachable(_) => None,
            Found::Absent => say(
                Severity::Error,
                "damaged: restic finds no repository here".into(),
                "look with restic".into(),
            ),
        }
    }

    /// restic says the same of a wrong password and of a repository without keys. Of a local one the keys are looked
    /// at first; of a remote one restic is all there is, but a password that opened it once is not wrong.
    fn wrong_password(
        &self,
        seen: &RepositorySeen,
        last: Option<&RepositorySeen>,
        say: impl Fn(Severity, String, String) -> Option<Finding>,
    ) -> Option<Finding> {
        let file = &self.password.0;
        let then = last.filter(|last| last.id().is_some()).and_then(|last| last.tried.as_ref());
        if then.is_some() && then == seen.tried.as_ref() {
            let message = format!(
                "damaged: its keys were changed, or are gone: {file} opened it at the last apply, and was not written since"
            );
            let remedy =
                "ask who looks after it; do not make a new one over it: bring its keys/ back from a copy";
            return say(Severity::Error, message, remedy.into());
        }
        let message = format!("wrong password: {file} does not open it");
        let remedy =
            "put the right password into the file; nothing was changed. If it is right, keys/ may be gone";
        say(Severity::Error, message, remedy.into())
    }
}

/// An id as restic shows it.
fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}
