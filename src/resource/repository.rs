//! A restic repository: created if there is none, recognised by its id afterwards, and never removed.

mod locks;
mod look;
mod remote;
mod state;

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use locks::has_process;
pub use remote::{Machine, Remote};
use state::Marks;
pub use state::{RepositorySeen, RepositoryState};

use super::{
    Attribute, Cost, Diff, Directory, Edit, Finding, Identity, Kind, Look, NotSeen, Overlap, Reachability,
    RemovalRule, Secret, Severity,
};
use crate::{
    effect::{Arg, Op},
    host::{Entry, Observe},
    model::{Address, HostPath, Name, SecretFile, UserName},
    restic::{self, Access, Found, Means, Original},
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
    /// What restic needs beside, to get at it.
    #[serde(default)]
    pub means: Box<Means>,
    /// The destination that it gets copies from, and how that is got at: it is made with its chunker's parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<Box<(Name, Original)>>,
    /// What must be in place before, beside directories and secrets: the SSH configuration, the pinned restic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// For a local one, the directories that must be mount points: it may lie below one by a link.
    #[serde(default, skip_serializing_if = "<[HostPath]>::is_empty")]
    pub mounts: Box<[HostPath]>,
    /// Whether the destination has `may_be_absent`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_absent: bool,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// A directory of this host.
    Local(HostPath),
    /// Somewhere else, over a network.
    Remote(Box<Remote>),
}

impl Kind for Repository {
    const NAME: &'static str = "repository";
    type Seen = RepositorySeen;

    fn key(&self) -> Cow<'_, str> {
        self.name.as_str().into()
    }

    fn path(&self) -> Option<&HostPath> {
        match &self.location {
            Location::Local(path) => Some(path),
            Location::Remote(_) => None,
        }
    }

    fn needs(&self) -> Vec<Address> {
        let mut needs = vec![Address::new(Secret::NAME, self.password.0.as_str())];
        // Its directory is a resource of its own, so that it has its owner before restic works as that user.
        needs.extend(self.path().map(|path| Address::new(Directory::NAME, path.as_str())));
        let secrets = self.means.secrets.iter().flat_map(crate::effect::Private::files);
        needs.extend(secrets.map(|file| Address::new(Secret::NAME, file.0.as_str())));
        needs.extend(self.like.iter().map(|like| Address::new(Self::NAME, like.0.as_str())));
        needs.extend(self.after.iter().cloned());
        needs
    }

    fn cost(&self) -> Cost {
        match self.location {
            Location::Local(_) => Cost::Work,
            Location::Remote(_) => Cost::Wait,
        }
    }

    fn observe(&self, look: &Look<'_, RepositorySeen>) -> Result<RepositorySeen> {
        let seen = match &self.location {
            Location::Local(path) => self.look_local(look, path),
            Location::Remote(remote) => self.look_remote(look, remote),
        };
        match seen {
            // It stays where it is, whatever it is: its disk may be dead.
            Err(err) if look.leaving => {
                Ok(RepositorySeen::of(RepositoryState::NotSeen(NotSeen::Left(format!("{err:#}")))))
            }
            seen => seen,
        }
    }

    fn exists(&self, seen: &RepositorySeen) -> bool {
        !matches!(seen.state, RepositoryState::Absent | RepositoryState::Unfinished(_))
    }

    fn diff(&self, seen: &RepositorySeen) -> Diff {
        match &seen.state {
            RepositoryState::Opened(_) => Diff::Same, // Whether it is well is said by `checks`.
            RepositoryState::Foreign(what) => Diff::Refuse(what.clone()),
            // What could not be looked at is made only if a look finds that there is none: `plan` sees to that.
            RepositoryState::Absent | RepositoryState::NotSeen(_) => Diff::Create(self.creation(&[])),
            RepositoryState::Unfinished(keys) => Diff::Create(self.creation(keys)),
        }
    }

    fn checks(&self, seen: &RepositorySeen, last: Option<&RepositorySeen>) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.state_finding(seen, last).into_iter().collect();
        let address = Address::new(Self::NAME, self.name.as_str());
        if let Some(names) = &seen.shown_instead {
            let message = format!(
                "what {} begins with is not there; the machine shows: {}",
                self.place(),
                names.join(", ")
            );
            let remedy = "an account that is shut in by a chroot sees it as `/`: write the path as it is seen from inside";
            findings.push(Finding::new(Severity::Warning, &address, message).remedy(remedy));
        }
        if let Some(lent) = &seen.lent {
            let message =
                format!("{lent}: that user can delete the repository, or put an older one in its place");
            let remedy = "give the directory to root, or keep a second copy at another destination";
            findings.push(Finding::new(Severity::Warning, &address, message).remedy(remedy));
        }
        if seen.blind {
            let message =
                format!("this restic makes a repository over what may be left of one in {}", self.place());
            let remedy =
                "see that nothing is there, or pin restic 0.18 or later, which refuses where there are keys";
            findings.push(Finding::new(Severity::Warning, &address, message).remedy(remedy));
        }
        let mut error = |message: &str, remedy: &str| {
            findings.push(Finding::new(Severity::Error, &address, message).remedy(remedy));
        };
        if let Some(missing) = &seen.tool {
            error(&missing.message, &missing.remedy); // R31
        }
        if let (Some(message), Location::Remote(remote)) = (seen.other_host_key.as_ref(), &self.location) {
            error(&remote.other_key(message), &remote.other_key_remedy()); // R29
        }
        let opened = matches!(seen.state, RepositoryState::Opened(_));
        if opened && !seen.password {
            let message =
                format!("the repository is there, and its password file {} is not", self.password.0);
            error(&message, "put the password back; a new one would not open it");
        }
        findings
    }

    fn way(&self, seen: &RepositorySeen) -> Reachability {
        let not_seen = if let RepositoryState::NotSeen(why) = &seen.state { Some(why.clone()) } else { None };
        let mut way = Reachability { not_seen, is_closed: seen.denied.is_some(), ..Reachability::default() };
        let (message, remedy) = match (&seen.denied, &seen.state) {
            // R20
            (Some(denied), _) => (
                denied.clone(),
                "give the user access to that directory, or name another `user:` for the job",
            ),
            // What is missing is said where it is missing.
            (None, RepositoryState::NotSeen(NotSeen::Waits(why)))
                if seen.tool.is_none() && seen.other_host_key.is_none() && seen.password =>
            {
                (format!("unreachable: {why}"), remote::remedy(why))
            }
            (None, RepositoryState::Opened(Found::Unreachable(why)))
                if seen.tool.is_none() && seen.password =>
            {
                (format!("unreachable: {why}"), "see to that, then plan again")
            }
            _ => return way,
        };
        let address = Address::new(Self::NAME, self.name.as_str());
        let severity =
            if self.may_be_absent && seen.denied.is_none() { Severity::Warning } else { Severity::Error };
        way.findings.push(Finding::new(severity, address, message).remedy(remedy));
        way
    }

    fn removal_rule(&self) -> RemovalRule {
        RemovalRule::Permanent(format!("the repository stays in {} with all its backups", self.place()))
    }

    fn identity(&self, seen: &RepositorySeen) -> Option<Identity> {
        // R07: whatever links lead there, its configuration is one file; wherever it is, its id is one.
        let thing = match (seen.marks.as_deref(), seen.id()) {
            (Some(Marks { config, .. }), _) => format!("{}:{}", config.dev, config.ino),
            (None, Some(id)) => id.to_owned(),
            (None, None) => return None,
        };
        let overlap = Overlap {
            noun: "repository",
            consequence: "jobs of one host would store there under two names",
            remedy: "declare it once, and name it in each job",
        };
        let (at, shared) = (self.place().to_string(), self.password.0.to_string());
        let (things, within, holds) = (vec![thing], Vec::new(), Vec::new());
        Some(Identity { at, things, within, holds, shared, overlap })
    }

    fn remember(&self, seen: &RepositorySeen) -> Option<RepositorySeen> {
        let ready = matches!(seen.state, RepositoryState::Opened(Found::Ready { .. }));
        // Locks come and go: they are no part of what it is.
        ready.then(|| RepositorySeen { locked: false, ..seen.clone() })
    }
}

impl Repository {
    /// Says how it is reached.
    pub fn access(&self) -> Access<'_> {
        let location = match &self.location {
            Location::Local(path) => Arg::Path(path.clone()),
            Location::Remote(remote) => Arg::Word(remote.repository.clone()),
        };
        Access { location, password: &self.password, user: &self.user, means: &self.means }
    }

    /// Lists the programs that restic's calls find by PATH, restic itself among them, each with its package.
    pub fn tools(&self) -> Vec<(String, String)> {
        let restic = self.means.engine.is_none().then(|| ("restic".to_owned(), "restic".to_owned()));
        let others = match &self.location {
            Location::Local(_) => Vec::new(),
            Location::Remote(remote) => remote.tools.clone(),
        };
        restic.into_iter().chain(others).collect()
    }

    /// Says why restic cannot be run on it now, if so: what is missing, and what somebody else could have written.
    ///
    /// # Errors
    ///
    /// If the host cannot be looked at.
    pub fn unfit(&self, host: &dyn Observe) -> Result<Option<String>> {
        if let Some(why) = self.not_mounted(host) {
            return Ok(Some(why));
        }
        if let Some(engine) = look::engine_missing(host, &self.means)? {
            return Ok(Some(engine));
        }
        let tool = match &self.location {
            Location::Local(_) => None,
            Location::Remote(remote) => remote::missing_tool(host, remote)?,
        };
        if let Some(missing) = tool.or(look::tool(host, &self.means, false)?) {
            return Ok(Some(format!("{}; {}", missing.message, missing.remedy)));
        }
        if !host.has_user(&self.user)? {
            return Ok(Some(format!("there is no user {}", self.user)));
        }
        let password = &self.password.0;
        match host.entry(password)? {
            Entry::File(_) => {}
            Entry::Absent => return Ok(Some(format!("its password file {password} is not there"))),
            Entry::Blocked(why) => {
                return Ok(Some(format!("its password file {password} cannot be reached: {why}")));
            }
            other => {
                return Ok(Some(format!("its password file {password} is {}, not a file", other.noun())));
            }
        }
        self.unready(host)
    }

    /// Says that the disk of a local repository is not mounted, if so.
    pub fn not_mounted(&self, host: &dyn Observe) -> Option<String> {
        host.missing_mount(self.path()?, &self.mounts)
    }

    /// Says why a destination with `may_be_absent` cannot be reached now; `None` if it can, or must not be absent. A remote
    /// one is asked for.
    ///
    /// # Errors
    ///
    /// If restic cannot be asked.
    pub fn absence(&self, host: &dyn Observe) -> Result<Option<String>> {
        if !self.may_be_absent {
            return Ok(None);
        }
        if self.path().is_some() || self.unfit(host)?.is_some() {
            return Ok(self.not_mounted(host));
        }
        Ok(match restic::found(&host.query(&self.access().look()?)?) {
            Found::Unreachable(why) => Some(why),
            _ => None,
        })
    }

    /// Says why the pinned restic must not be run, if so. Whoever is about to run restic asks this first.
    ///
    /// # Errors
    ///
    /// If the host cannot be looked at.
    pub fn distrusted(&self, host: &dyn Observe) -> Result<Option<String>> {
        look::engine_missing(host, &self.means)
    }

    /// Names the place for a sentence.
    pub fn place(&self) -> &str {
        match &self.location {
            Location::Local(path) => path.as_str(),
            Location::Remote(remote) => &remote.repository,
        }
    }

    /// Says how it is made, where an `init` that was cut short left these keys.
    fn creation(&self, left: &[String]) -> Edit {
        let key = if self.path().is_some() { "path" } else { "repository" };
        let mut attributes = vec![
            Attribute::new(key, (), self.place()),
            Attribute::new("user", (), self.user.as_str()),
            Attribute::new("password_file", (), self.password.0.as_str()),
        ];
        if let Some(like) = &self.like {
            attributes.push(Attribute::new("chunker_like", (), like.0.as_str()));
        }
        let original = self.like.as_ref().map(|like| &like.1);
        let keys = self.path().and_then(|path| path.join("keys").ok());
        let left = left.iter().filter_map(|name| keys.as_ref()?.join(name).ok());
        let mut ops: Vec<Op> = left.map(|path| Op::RemoveFile { path }).collect();
        ops.push(Op::Run(self.access().init(original)));
        Edit { attributes, text: None, ops }
    }
}

#[cfg(test)]
mod tests {
    use super::{state::Missing, *};

    fn repository() -> Repository {
        Repository {
            name: "vault".parse().unwrap(),
            location: Location::Local("/r".parse().unwrap()),
            password: SecretFile("/p".parse().unwrap()),
            user: UserName::root(),
            means: Box::default(),
            like: None,
            after: Vec::new(),
            mounts: Box::default(),
            may_be_absent: false,
        }
    }

    fn seen(state: RepositoryState) -> RepositorySeen {
        RepositorySeen { password: true, ..RepositorySeen::of(state) }
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
        assert_eq!(ops(RepositoryState::Unfinished(Vec::new())), [init]);
        // A key that was left would open with the same password, and then decrypt nothing of the new repository.
        assert_eq!(ops(RepositoryState::Unfinished(vec!["ab".into()])), ["rm /r/keys/ab", init]);
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
            (
                RepositorySeen { tool: Some(Box::new(Missing::new("old", "x"))), ..ready("ab") },
                None,
                "Error old",
            ),
        ] {
            let mut findings = repository().checks(&seen, last.as_ref());
            findings.extend(repository().way(&seen).findings);
            let said: Vec<String> =
                findings.iter().map(|it| format!("{:?} {}", it.severity, it.message)).collect();
            assert_eq!(said.join("; "), expected);
            assert!(findings.iter().all(|it| it.remedy.is_some()));
        }
    }

    #[test]
    fn it_is_never_removed() {
        // R46
        let rule = repository().removal_rule();
        assert!(matches!(rule, RemovalRule::Permanent(why) if why.contains("stays in /r")));
    }
}
