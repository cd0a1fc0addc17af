//! An SSH key pair, created if there is none and never overwritten; or a user's own key, which rlvm only looks at.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{
    Account, AgentSeen, Attribute, Diff, Edit, FileSeen, Finding, Kind, Look, RemovalRule, Severity,
    look::names_of,
};
use crate::{
    effect::{Content, Op, Owner},
    host::{Entry, KeyHead, Observe, Stamp},
    model::{Address, HostPath, KeyType, Line, Mode, PublicKey},
};

/// A key pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKey {
    /// Where the private half is; the public one is beside it, `.pub`.
    pub path: HostPath,
    /// Who uses it.
    pub owner: Owner,
    /// What is made where there is none. Nothing, if the key is only named and not declared: a person makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub make: Option<NewKey>,
    /// The socket of the agent that holds it, if it has a passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<HostPath>,
}

/// A key that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: KeyType,
    /// What stands behind its public half.
    pub comment: Line,
}

/// What was seen of a key pair: never its private half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SshKeySeen {
    /// No private half.
    Absent {
        /// What is where its public half would be.
        public: PublicSeen,
        /// Whether ssh-keygen is installed.
        tool: bool,
    },
    /// A regular file with one name.
    File {
        /// The user's name, or number.
        owner: String,
        /// The group's name, or number.
        group: String,
        /// Permission bits.
        mode: Mode,
        /// What moves when it is written.
        stamp: Stamp,
        /// What the key shows of itself; none if the file holds no private key.
        head: Option<KeyHead>,
        /// What is where its public half belongs.
        public: PublicSeen,
        /// The agent, if the key needs one and one is declared.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentSeen>,
    },
    /// Something else: what.
    Other(String),
}

/// What is where a public half belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicSeen {
    /// Nothing.
    Absent,
    /// A public key.
    Key(PublicKey),
    /// A file with something else in it, which is not repeated.
    Wrong,
    /// Something that is never written over: what.
    Other(String),
}

/// What a private half may be read by: its owner.
const PRIVATE: Mode = Mode::new(0o600);
const PUBLIC: Mode = Mode::new(0o644);

impl SshKey {
    /// Returns the public half, as far as it was seen: with the comment of the `.pub` file, if that is of this key.
    pub fn public<'a>(&self, seen: &'a SshKeySeen) -> Option<&'a PublicKey> {
        let SshKeySeen::File { head: Some(head), public, .. } = seen else { return None };
        match (public, &head.public) {
            (PublicSeen::Key(public), Some(own)) if public.identity() != own.identity() => Some(own),
            (PublicSeen::Key(public), _) => Some(public),
            (_, own) => own.as_ref(),
        }
    }

    fn look_at_public(&self, host: &dyn Observe) -> Result<PublicSeen> {
        let read = |text: Vec<u8>| String::from_utf8(text).map_err(|_| "is no text".into());
        Ok(match FileSeen::look(host, &self.path.public_half(), &self.owner, read)? {
            FileSeen::Absent => PublicSeen::Absent,
            // Perhaps the only one, under a wrong name.
            FileSeen::File { text, .. } if text.contains("PRIVATE KEY") => PublicSeen::Other(format!(
                "{} holds a private key, and is not written over: move it away",
                self.path.public_half()
            )),
            FileSeen::File { text, .. } => text.trim_end().parse().map_or(PublicSeen::Wrong, PublicSeen::Key),
            FileSeen::Other(what) => PublicSeen::Other(what),
        })
    }

    fn creation(&self, new: &NewKey) -> Edit {
        let attributes = vec![
            Attribute::new("owner", (), self.owner.user.as_str()),
            Attribute::new("group", (), self.owner.group.as_str()),
            Attribute::new("mode", (), PRIVATE.to_string()),
            Attribute::new("type", (), new.kind.word()),
            Attribute { sensitive: true, ..Attribute::new("private_key", (), ()) },
        ];
        let (path, owner) = (self.path.clone(), self.owner.clone());
        let op = Op::MakeKey { path, owner, kind: new.kind, comment: new.comment.clone() };
        Edit { attributes, text: None, ops: vec![op] }
    }

    /// Puts the private half's owner and mode right.
    fn repair(&self, now_owner: &str, now_group: &str, now_mode: Mode) -> Edit {
        let path = &self.path;
        let mut edit = Edit::default();
        let Owner { user, group } = &self.owner;
        if now_owner != user.as_str() {
            edit.attributes.push(Attribute::new("owner", now_owner, user.as_str()));
        }
        if now_group != group.as_str() {
            edit.attributes.push(Attribute::new("group", now_group, group.as_str()));
        }
        if !edit.attributes.is_empty() {
            edit.ops.push(Op::SetOwner { path: path.clone(), owner: self.owner.clone() });
        }
        if now_mode.bits() & !PRIVATE.bits() != 0 {
            edit.attributes.push(Attribute::new("mode", now_mode.to_string(), PRIVATE.to_string()));
            edit.ops.push(Op::SetMode { path: path.clone(), mode: PRIVATE });
        }
        edit
    }

    /// Writes the public half anew, if it is not this key's. An error says what is there that is never written over.
    fn write_public(
        &self,
        edit: &mut Edit,
        own: &PublicKey,
        public: &PublicSeen,
        new: &NewKey,
    ) -> Result<(), String> {
        let before = match public {
            PublicSeen::Key(there) if there.identity() == own.identity() => return Ok(()),
            PublicSeen::Key(there) => there.as_str(),
            PublicSeen::Absent => "none",
            PublicSeen::Wrong => "something else",
            PublicSeen::Other(what) => return Err(what.clone()),
        };
        let after = own.commented(new.comment.as_str());
        edit.attributes.push(Attribute::new("public_key", before, after.as_str()));
        let (path, text) = (self.path.public_half(), format!("{after}\n"));
        let (owner, mode) = (self.owner.clone(), PUBLIC);
        edit.ops.push(if *public == PublicSeen::Absent {
            Op::EditFile { path, before: None, after: Some(Content { text, owner, mode }) }
        } else {
            Op::WriteFile { path, text, owner, mode }
        });
        Ok(())
    }

    /// Says what keeps a key with a passphrase from being used.
    fn passphrase(&self, head: &KeyHead, public: &PublicSeen, agent: Option<&AgentSeen>) -> Option<Finding> {
        let path = &self.path;
        let say = |severity, message: String| {
            Finding::new(severity, Address::new(Self::NAME, path.as_str()), message)
        };
        let without = format!("use a key without one (`ssh-keygen -p -f {path}` takes it off)");
        let why = format!("{path} has a passphrase");
        let (Some(socket), Some(agent)) = (&self.agent, agent) else {
            let finding = say(Severity::Error, format!("{why}, and no agent is declared to hold it"));
            return Some(finding.remedy(format!("declare `ssh: agent: socket:`, or {without}")));
        };
        if self.owner.user.as_str() != "root" {
            let user = &self.owner.user;
            let finding = say(Severity::Error, format!("{why}, and only root can use the agent, not {user}"));
            return Some(finding.remedy(without));
        }
        if *agent == AgentSeen::Deferred {
            let message = "deferred: it has a passphrase, and the agent is asked of the running host";
            return Some(say(Severity::Notice, message.into()));
        }
        let ((Some(known), _) | (None, PublicSeen::Key(known))) = (&head.public, public) else {
            let message =
                format!("{why}, and without its public half rlvm cannot tell whether the agent holds it");
            let remedy = format!("ssh-keygen -y -f {path} > {path}.pub");
            return Some(say(Severity::Error, message).remedy(remedy));
        };
        let (what, remedy) = agent.lacks(known, socket)?;
        Some(say(Severity::Error, format!("{why}, and {what}")).remedy(remedy))
    }
}

impl Kind for SshKey {
    const NAME: &'static str = "ssh_key";
    type Seen = SshKeySeen;

    fn key(&self) -> Cow<'_, str> {
        self.path.as_str().into()
    }

    fn path(&self) -> Option<&HostPath> {
        Some(&self.path)
    }

    fn needs(&self) -> Vec<Address> {
        Account::needs(&self.owner.user, &self.owner.group)
    }

    fn observe(&self, look: &Look<'_, SshKeySeen>) -> Result<SshKeySeen> {
        let path = &self.path;
        Ok(match look.host.private_key(path)? {
            (Entry::Absent, _) => match look.host.not_made(path, &self.owner)? {
                Some(why) if self.make.is_some() => SshKeySeen::Other(why),
                _ => SshKeySeen::Absent {
                    public: self.look_at_public(look.host)?,
                    tool: look.host.program("ssh-keygen")?.is_some(),
                },
            },
            (Entry::File(meta), _) if meta.links > 1 => {
                SshKeySeen::Other(format!("{path} has {} names (hard links)", meta.links))
            }
            (Entry::File(meta), head) => {
                let agent = match (&self.agent, &head) {
                    (Some(socket), Some(KeyHead { encrypted: true, .. })) => {
                        Some(AgentSeen::look(look.host, socket)?)
                    }
                    _ => None,
                };
                let public = self.look_at_public(look.host)?;
                let (owner, group) = names_of(look.host, &meta, &self.owner)?;
                let (mode, stamp) = (meta.mode, meta.stamp);
                let seen = SshKeySeen::File { owner, group, mode, stamp, head, public, agent };
                match self.diff(&seen).not_given(look.host)? {
                    Some(why) => SshKeySeen::Other(why),
                    None => seen,
                }
            }
            (Entry::Blocked(why), _) => SshKeySeen::Other(why),
            (other, _) => SshKeySeen::Other(format!("{path} is {}, no file", other.noun())),
        })
    }

    fn exists(&self, seen: &SshKeySeen) -> bool {
        !matches!(seen, SshKeySeen::Absent { .. })
    }

    fn diff(&self, seen: &SshKeySeen) -> Diff {
        let Some(new) = &self.make else {
            return Diff::Unmanaged; // A person's; `checks` says what is wrong with it.
        };
        let path = &self.path;
        let (now_owner, now_group, now_mode, head, public) = match seen {
            SshKeySeen::Absent { public: PublicSeen::Absent, .. } => return Diff::Create(self.creation(new)),
            SshKeySeen::Absent { public: PublicSeen::Other(what), .. } | SshKeySeen::Other(what) => {
                return Diff::Refuse(what.clone());
            }
            SshKeySeen::Absent { .. } => {
                let why = format!("{path}.pub is there, and {path}, its private half, is not");
                return Diff::Refuse(format!("{why}: put that back, or take the .pub away for a new pair"));
            }
            SshKeySeen::File { owner, group, mode, head, public, .. } => (owner, group, *mode, head, public),
        };
        let Some(head) = head else { return Diff::Refuse(format!("{path} holds no private key")) };
        if let Some(other) = head.public.as_ref().filter(|key| !new.kind.is_of(key)) {
            let (is, word) = (other.algorithm(), new.kind.word());
            return Diff::Refuse(format!(
                "{path} is a key of type {is}, and {word} is declared; a key is never replaced: declare another path"
            ));
        }
        let mut edit = self.repair(now_owner, now_group, now_mode);
        if let Some(own) = &head.public
            && let Err(what) = self.write_public(&mut edit, own, public, new)
        {
            return Diff::Refuse(what);
        }
        if edit.ops.is_empty() { Diff::Same } else { Diff::Update(edit) }
    }

    fn checks(&self, seen: &SshKeySeen, _: Option<&SshKeySeen>) -> Vec<Finding> {
        // R25, R29
        let (path, user) = (&self.path, &self.owner.user);
        let error = |message: String, remedy: String| {
            Finding::new(Severity::Error, Address::new(Self::NAME, path.as_str()), message).remedy(remedy)
        };
        let (owner, mode, size, head, public, agent) = match seen {
            SshKeySeen::Absent { tool: false, .. } if self.make.is_some() => {
                return vec![error(
                    "ssh-keygen is not installed".into(),
                    "apt-get install openssh-client".into(),
                )];
            }
            // The first is made, the second refused, by `diff`.
            SshKeySeen::Absent { .. } | SshKeySeen::Other(_) if self.make.is_some() => return Vec::new(),
            SshKeySeen::Absent { .. } => {
                let remedy =
                    format!("put it there, or declare it in `ssh: keys:`, and it is made for {user}");
                return vec![error(format!("{path} is not there"), remedy)];
            }
            SshKeySeen::Other(what) => {
                return vec![error(what.clone(), format!("put the private key at {path}"))];
            }
            SshKeySeen::File { owner, mode, stamp, head, public, agent, .. } => {
                (owner, *mode, stamp.size, head, public, agent.as_ref())
            }
        };
        let mut findings = Vec::new();
        if self.make.is_none() {
            if owner != user.as_str() {
                let message = format!("{path} belongs to {owner}, but {user} works with it");
                findings.push(error(message, format!("chown {user} {path}")));
            }
            if !mode.is_private() {
                let message = format!("{path} is open to others than {owner} (mode {mode}): ssh refuses it");
                findings.push(error(message, format!("chmod 0600 {path}")));
            }
            if head.is_none() {
                let what = if size == 0 { "is empty" } else { "holds no private key" };
                findings.push(error(format!("{path} {what}"), format!("put the private key at {path}")));
            }
        }
        if let Some(head) = head.as_ref().filter(|head| head.encrypted) {
            findings.extend(self.passphrase(head, public, agent));
        }
        findings
    }

    fn removal_rule(&self) -> RemovalRule {
        RemovalRule::Permanent(
            "a key is never removed: a server may know it, and nothing else may open that".into(),
        )
    }
}

#[cfg(test)]
mod tests;
