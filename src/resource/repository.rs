//! A restic repository: made where there is none, recognised by its id ever after, never removed.

mod look;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Attribute, Cost, Diff, Directory, Edit, Finding, Kind, Look, Removal, Secret, Severity};
use crate::{
    effect::{Arg, Op},
    host::{Entry, Stamp},
    model::{Address, HostPath, Name, SecretFile, UserName},
    restic::{Access, Found},
};

/// A restic repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// The destination's name.
    pub name: Name,
    /// Where it is.
    pub location: Location,
    /// The file with its password.
    pub password: SecretFile,
    /// Who works with it.
    pub user: UserName,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// A directory of this host.
    Local(HostPath),
}

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
    /// What is wrong with the restic that there is, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Whether its password file is there.
    pub password: bool,
    /// What must not have moved for it to be known without opening it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marks: Option<Marks>,
}

/// A repository's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepositoryState {
    /// Nothing is there, not even the directory.
    Absent,
    /// An empty directory is there, or what an `init` that was cut short left: no configuration, no snapshot.
    Unfinished,
    /// Something else is there: what.
    Foreign(String),
    /// What restic found.
    Opened(Found),
}

/// What moves when a local repository is replaced, gets another key, or would be opened otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    config: Stamp,
    keys: Stamp,
    password: Stamp,
    restic: Stamp,
}

impl Kind for Repository {
    const NAME: &'static str = "repository";
    type Seen = RepositorySeen;

    fn key(&self) -> String {
        self.name.to_string()
    }

    fn path(&self) -> Option<&HostPath> {
        let Location::Local(path) = &self.location;
        Some(path)
    }

    fn needs(&self) -> Vec<Address> {
        let Location::Local(path) = &self.location;
        // Its directory is a resource of its own, so that it has its owner before restic works as that user.
        vec![
            Address::new(Secret::NAME, self.password.0.as_str()),
            Address::new(Directory::NAME, path.as_str()),
        ]
    }

    fn cost(&self) -> Cost {
        Cost::Work
    }

    fn observe(&self, look: &Look<'_, RepositorySeen>) -> Result<RepositorySeen> {
        let Location::Local(path) = &self.location;
        let host = look.host;
        let names = host.names(path)?;
        let (state, marks) = match host.entry(path)? {
            Entry::Absent => (RepositoryState::Absent, None),
            Entry::Directory(_) => self.open(look, path, &names)?,
            Entry::Blocked(why) => (RepositoryState::Foreign(why), None),
            other => (RepositoryState::Foreign(format!("{path} is {}, no directory", other.noun())), None),
        };
        let making = matches!(state, RepositoryState::Absent | RepositoryState::Unfinished);
        let known = marks.is_some() && marks == look.last.and_then(|last| last.marks.clone());
        Ok(RepositorySeen {
            locked: names.iter().any(|name| name == "locks") && !host.names(&path.join("locks")?)?.is_empty(),
            denied: self.denied(host, path, &state)?,
            tool: if look.leaving || known { None } else { look::tool(host, making)? },
            password: host.entry(&self.password.0)?.file().is_some(),
            state,
            marks,
        })
    }

    fn exists(&self, seen: &RepositorySeen) -> bool {
        !matches!(seen.state, RepositoryState::Absent | RepositoryState::Unfinished)
    }

    fn diff(&self, seen: &RepositorySeen) -> Diff {
        match &seen.state {
            RepositoryState::Opened(_) => Diff::Same, // Whether it is well is said by `checks`.
            RepositoryState::Foreign(what) => Diff::Refuse(what.clone()),
            RepositoryState::Absent | RepositoryState::Unfinished => Diff::Create(self.creation()),
        }
    }

    fn checks(&self, seen: &RepositorySeen, last: Option<&RepositorySeen>) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.state_finding(seen, last).into_iter().collect();
        let address = Address::new(Self::NAME, self.name.as_str());
        let mut error = |message: &str, remedy: &str| {
            findings.push(Finding::new(Severity::Error, &address, message).remedy(remedy));
        };
        if let Some(tool) = &seen.tool {
            error(tool, "apt-get install restic"); // R31
        }
        if self.exists(seen) && !seen.password {
            let message =
                format!("the repository is there, and its password file {} is not", self.password.0);
            error(&message, "put the password back; a new one would not open it");
        }
        findings
    }

    fn reach(&self, seen: &RepositorySeen) -> Vec<Finding> {
        let (message, remedy) = match (&seen.denied, &seen.state) {
            // R20
            (Some(denied), _) => {
                (denied.clone(), "give the user the way there, or name another `user:` for the job")
            }
            (None, RepositoryState::Opened(Found::Unreachable(why)))
                if seen.tool.is_none() && seen.password =>
            {
                (format!("unreachable: {why}"), "see to that, then plan again")
            }
            _ => return Vec::new(),
        };
        let address = Address::new(Self::NAME, self.name.as_str());
        vec![Finding::new(Severity::Error, address, message).remedy(remedy)]
    }

    fn removal(&self, _: &RepositorySeen, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        let Location::Local(path) = &self.location;
        Removal::Forget(format!("the repository stays in {path} with all its backups"))
    }

    fn identity(&self, seen: &RepositorySeen) -> Option<(String, String)> {
        // R07: whatever links lead there, its configuration is one file.
        let Marks { config, .. } = seen.marks.as_ref()?;
        Some((format!("{}:{}", config.dev, config.ino), self.password.0.to_string()))
    }

    fn remember(&self, seen: &RepositorySeen) -> Option<RepositorySeen> {
        matches!(seen.state, RepositoryState::Opened(Found::Ready { .. })).then(|| seen.clone())
    }
}

impl Repository {
    fn access(&self) -> Access<'_> {
        let Location::Local(path) = &self.location;
        Access { location: Arg::Path(path.clone()), password: &self.password, user: &self.user }
    }

    fn creation(&self) -> Edit {
        let Location::Local(path) = &self.location;
        let attributes = vec![
            Attribute::new("path", (), path.as_str()),
            Attribute::new("user", (), self.user.as_str()),
            Attribute::new("password_file", (), self.password.0.as_str()),
        ];
        Edit { attributes, text: None, ops: vec![Op::Run(self.access().init())] }
    }

    fn state_finding(&self, seen: &RepositorySeen, last: Option<&RepositorySeen>) -> Option<Finding> {
        let Location::Local(path) = &self.location;
        let address = Address::new(Self::NAME, self.name.as_str());
        let say = |severity, message: String, remedy: String| {
            Some(Finding::new(severity, &address, message).remedy(remedy))
        };
        let known = last.and_then(RepositorySeen::id);
        let RepositoryState::Opened(found) = &seen.state else {
            // R33: what was there is gone; a new one must not take its place in silence.
            let gone = known.filter(|_| !self.exists(seen))?;
            let message = format!("the repository {} is gone from {path}", short(gone));
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
                    say(Severity::Notice, message, "if nothing does: restic unlock".into())
                }
                _ => None,
            },
            Found::WrongPassword if seen.password => {
                let message = format!("wrong password: {} does not open it", self.password.0);
                say(
                    Severity::Error,
                    message,
                    "put the right password into the file; nothing was changed".into(),
                )
            }
            Found::Locked => {
                say(Severity::Error, "locked".into(), "if nothing works on it: restic unlock".into())
            }
            Found::Damaged(what) => {
                let remedy =
                    "do not make a new one over it: look with `restic check`, or bring it back from a copy";
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
}

impl RepositorySeen {
    /// Returns the repository's id, if it opened.
    pub fn id(&self) -> Option<&str> {
        if let RepositoryState::Opened(Found::Ready { id }) = &self.state { Some(id) } else { None }
    }
}

/// An id as restic shows it.
fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> Repository {
        Repository {
            name: "vault".parse().unwrap(),
            location: Location::Local("/r".parse().unwrap()),
            password: SecretFile("/p".parse().unwrap()),
            user: UserName::root(),
        }
    }

    fn seen(state: RepositoryState) -> RepositorySeen {
        RepositorySeen { state, locked: false, denied: None, tool: None, password: true, marks: None }
    }

    fn opened(found: Found) -> RepositorySeen {
        seen(RepositoryState::Opened(found))
    }

    fn ready(id: &str) -> RepositorySeen {
        opened(Found::Ready { id: id.repeat(32) })
    }

    #[test]
    fn only_what_is_absent_is_made() {
        let it = repository();
        let ops = |state| match it.diff(&seen(state)) {
            Diff::Create(edit) => edit.ops.iter().map(ToString::to_string).collect(),
            other => vec![format!("{other:?}")],
        };
        let init = "restic init --no-cache --repo /r --password-file /p";
        assert_eq!(ops(RepositoryState::Absent), [init]);
        assert_eq!(ops(RepositoryState::Unfinished), [init]);
        assert_eq!(it.diff(&seen(RepositoryState::Foreign("x".into()))), Diff::Refuse("x".into()));
        // R41: a wrong password is never "absent".
        for found in [
            Found::WrongPassword,
            Found::Absent,
            Found::Locked,
            Found::Damaged("x".into()),
            Found::Unreachable("x".into()),
            Found::Ready { id: "ab".repeat(32) },
        ] {
            assert_eq!(it.diff(&opened(found)), Diff::Same);
        }
    }

    #[test]
    fn each_state_has_its_own_words() {
        // R22, R33
        let locked = RepositorySeen { locked: true, ..ready("ab") };
        let bare = RepositorySeen { password: false, ..opened(Found::Unreachable("x".into())) };
        for (seen, last, expected) in [
            (ready("ab"), None, ""),
            (ready("ab"), Some(ready("ab")), ""),
            (
                ready("ab"),
                Some(ready("cd")),
                "Error this is another repository: its id is ababababab, and was cdcdcdcdcd",
            ),
            (seen(RepositoryState::Absent), None, ""),
            (
                seen(RepositoryState::Absent),
                Some(ready("cd")),
                "Error the repository cdcdcdcdcd is gone from /r",
            ),
            (locked, None, "Notice locked: something works on it, or died working on it"),
            (opened(Found::WrongPassword), None, "Error wrong password: /p does not open it"),
            (opened(Found::Locked), None, "Error locked"),
            (opened(Found::Damaged("x".into())), None, "Error damaged: x"),
            (opened(Found::Unreachable("x".into())), None, "Error unreachable: x"),
            (opened(Found::Absent), None, "Error damaged: restic finds no repository here"),
            (bare, None, "Error the repository is there, and its password file /p is not"),
            (RepositorySeen { denied: Some("no".into()), ..ready("ab") }, None, "Error no"),
            (RepositorySeen { tool: Some("old".into()), ..ready("ab") }, None, "Error old"),
        ] {
            let mut findings = repository().checks(&seen, last.as_ref());
            findings.extend(repository().reach(&seen));
            let said: Vec<String> =
                findings.iter().map(|it| format!("{:?} {}", it.severity, it.message)).collect();
            assert_eq!(said.join("; "), expected);
            assert!(findings.iter().all(|it| it.remedy.is_some()));
        }
    }

    #[test]
    fn it_is_never_removed() {
        // R46
        let removal = repository().removal(&ready("ab"), &|_| true);
        assert!(matches!(removal, Removal::Forget(why) if why.contains("stays in /r")));
    }
}
