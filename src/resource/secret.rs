//! A file that contains a secret: a repository's password, an environment file. rlvm never reads its content while it
//! plans.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Account, Attribute, Diff, Edit, Finding, Kind, Look, RemovalRule, Severity, look::names_of};
use crate::{
    effect::{Op, Owner},
    host::{Entry, Stamp},
    model::{Address, HostPath, Mode, Name, SecretFile},
};

/// A file that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The destination or notifier that it is for, the first one if there are several.
    pub destination: Name,
    /// Where.
    pub file: SecretFile,
    /// Who reads it: the job's user, and that user's or root's group.
    pub owner: Owner,
    /// What it holds.
    pub role: Role,
    /// Whether it is drawn from the system's randomness where there is none. Else a person writes it, and rlvm
    /// only looks.
    pub generate: bool,
}

/// What a secret's file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A repository's password.
    Password,
    /// The same, of a client's repository: the client has it.
    Theirs,
    /// Variables of the environment, `NAME=value` each.
    Environment,
    /// One variable of the environment.
    Credential,
    /// A program's configuration with secrets in it: rclone's.
    Configuration,
    /// What a notifier's letters take: an address, a token, a password.
    Notifier,
    /// A certificate that is trusted: no secret, but what it stands for rests on nobody else having written it.
    Certificate,
}

impl Role {
    /// Says what a person must write into the file.
    fn holds(self, of: &Name) -> String {
        match self {
            Self::Password => format!("the password of the repository at `{of}`"),
            Self::Theirs => format!("the password with which client `{of}` opens its repository"),
            Self::Environment => format!("the variables of `{of}`, one NAME=value in a line,"),
            Self::Credential => format!("the credential of `{of}`"),
            Self::Configuration => format!("the rclone configuration of `{of}`"),
            Self::Notifier => format!("the address, token or password of notifier `{of}`"),
            Self::Certificate => format!("the certificate of `{of}`"),
        }
    }
}

/// What was seen of a secret: never its content, nor a digest of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSeen {
    /// Nothing.
    Absent,
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
    },
    /// Something else: what.
    Other(String),
}

/// What a generated secret may be read by: its owner.
const MODE: Mode = Mode::new(0o600);

impl Kind for Secret {
    const NAME: &'static str = "secret";
    type Seen = SecretSeen;

    fn key(&self) -> Cow<'_, str> {
        self.file.0.as_str().into()
    }

    fn path(&self) -> Option<&HostPath> {
        Some(&self.file.0)
    }

    fn needs(&self) -> Vec<Address> {
        Account::needs(&self.owner.user, &self.owner.group)
    }

    fn observe(&self, look: &Look<'_, SecretSeen>) -> Result<SecretSeen> {
        let path = &self.file.0;
        Ok(match look.host.entry(path)? {
            Entry::Absent if self.generate => match look.host.not_made(path, &self.owner)? {
                Some(why) => SecretSeen::Other(why),
                None => SecretSeen::Absent,
            },
            Entry::Absent => SecretSeen::Absent,
            Entry::File(meta) if meta.links > 1 => {
                SecretSeen::Other(format!("{path} has {} names (hard links)", meta.links))
            }
            Entry::File(meta) => {
                let (owner, group) = names_of(look.host, &meta, &self.owner)?;
                let seen = SecretSeen::File { owner, group, mode: meta.mode, stamp: meta.stamp };
                match self.diff(&seen).not_given(look.host)? {
                    Some(why) => SecretSeen::Other(why),
                    None => seen,
                }
            }
            Entry::Blocked(why) => SecretSeen::Other(why),
            other => SecretSeen::Other(format!("{path} is {}, no file", other.noun())),
        })
    }

    fn exists(&self, seen: &SecretSeen) -> bool {
        *seen != SecretSeen::Absent
    }

    fn diff(&self, seen: &SecretSeen) -> Diff {
        if !self.generate {
            return Diff::Unmanaged; // A person's; `checks` says what is wrong with it.
        }
        let path = self.file.0.clone();
        let Owner { user, group } = &self.owner;
        let (now_owner, now_group, now_mode) = match seen {
            SecretSeen::Absent => return Diff::Create(self.creation()),
            SecretSeen::Other(what) => return Diff::Refuse(what.clone()),
            SecretSeen::File { owner, group, mode, .. } => (owner, group, *mode),
        };
        let mut edit = Edit::default();
        if now_owner != user.as_str() {
            edit.attributes.push(Attribute::new("owner", now_owner.as_str(), user.as_str()));
        }
        if now_group != group.as_str() {
            edit.attributes.push(Attribute::new("group", now_group.as_str(), group.as_str()));
        }
        if !edit.attributes.is_empty() {
            edit.ops.push(Op::SetOwner { path: path.clone(), owner: self.owner.clone() });
        }
        if !is_private(now_mode) {
            edit.attributes.push(Attribute::new("mode", now_mode.to_string(), MODE.to_string()));
            edit.ops.push(Op::SetMode { path, mode: MODE });
        }
        if edit.ops.is_empty() { Diff::Same } else { Diff::Update(edit) }
    }

    fn checks(&self, seen: &SecretSeen, last: Option<&SecretSeen>) -> Vec<Finding> {
        let path = &self.file.0;
        let user = &self.owner.user;
        let say = |severity, message: String, remedy: String| {
            Finding::new(severity, Address::new(Self::NAME, path.as_str()), message).remedy(remedy)
        };
        // R25
        match seen {
            SecretSeen::Absent if self.generate && last.is_some() && self.role == Role::Password => {
                let message = format!(
                    "{path} is gone since the last apply: a new one opens nothing that was made with it"
                );
                let remedy = format!(
                    "put the old one back from where you keep it; if nothing was made with it: rlvm ledger forget {}:{path}",
                    Self::NAME
                );
                vec![say(Severity::Error, message, remedy)]
            }
            // The first is made, the second refused, by `diff`.
            SecretSeen::Absent | SecretSeen::Other(_) if self.generate => Vec::new(),
            SecretSeen::Absent => {
                let holds = self.role.holds(&self.destination);
                let or = if self.role == Role::Password { ", or set `generate_password: true`" } else { "" };
                let remedy = format!("write {holds} into {path}, readable by {user} alone (mode 0600){or}");
                vec![say(Severity::Error, format!("{path} is not there"), remedy)]
            }
            SecretSeen::Other(what) => {
                vec![say(Severity::Error, what.clone(), format!("put a plain file at {path}"))]
            }
            SecretSeen::File { owner, mode, stamp, .. } => {
                let mut findings = Vec::new();
                if stamp.size == 0 {
                    let remedy = match self.role {
                        Role::Notifier => "write the secret into it",
                        _ => {
                            "write the secret into it; if a repository was made with it, only the lost content opens it"
                        }
                    };
                    findings.push(say(Severity::Error, format!("{path} is empty"), remedy.into()));
                }
                if self.role == Role::Certificate {
                    findings.extend(
                        certificate(path, owner, *mode)
                            .map(|(message, remedy)| say(Severity::Warning, message, remedy)),
                    );
                    return findings;
                }
                if owner != user.as_str() && !self.generate {
                    let message = format!("{path} belongs to {owner}, but {user} works with it");
                    findings.push(say(Severity::Error, message, format!("chown {user} {path}")));
                }
                if mode.bits() & 0o022 != 0 && !self.generate {
                    let message = format!("{path} can be written by others than {owner} (mode {mode})");
                    let remedy = format!("see that it holds what it should, then: chmod 0600 {path}");
                    findings.push(say(Severity::Error, message, remedy));
                } else if !is_private(*mode) && !self.generate {
                    let message = format!("{path} can be read by others than {owner} (mode {mode})");
                    findings.push(say(Severity::Warning, message, format!("chmod 0600 {path}")));
                }
                if let Some(SecretSeen::File { stamp: then, .. }) = last
                    && (then.ino, then.size, then.mtime) != (stamp.ino, stamp.size, stamp.mtime)
                {
                    let message =
                        format!("{path} was written since the last apply (its content is not shown)");
                    let check = match self.role {
                        Role::Notifier => {
                            format!("check that it still works: rlvm notify test {}", self.destination)
                        }
                        _ => "check that it still opens its repository".into(),
                    };
                    let remedy = format!("{check}; the next apply takes it as it is");
                    findings.push(say(Severity::Warning, message, remedy));
                }
                findings
            }
        }
    }

    fn removal_rule(&self) -> RemovalRule {
        RemovalRule::Permanent("a secret is never removed: what it opens may still be needed".into())
    }

    fn to_put_away(&self) -> Option<&Name> {
        self.generate.then_some(&self.destination)
    }

    fn remember(&self, seen: &SecretSeen) -> Option<SecretSeen> {
        Some(seen.clone())
    }
}

impl Secret {
    fn creation(&self) -> Edit {
        let Owner { user, group } = &self.owner;
        let content = Attribute { sensitive: true, ..Attribute::new("content", (), ()) };
        let attributes = vec![
            Attribute::new("owner", (), user.as_str()),
            Attribute::new("group", (), group.as_str()),
            Attribute::new("mode", (), MODE.to_string()),
            content,
        ];
        let op = Op::MakeSecret { path: self.file.0.clone(), owner: self.owner.clone(), mode: MODE };
        Edit { attributes, text: None, ops: vec![op] }
    }
}

/// Says what is wrong with a certificate: it may be read by all, and written by root alone.
fn certificate(path: &HostPath, owner: &str, mode: Mode) -> Option<(String, String)> {
    if owner != "root" {
        return Some((
            format!("{path} belongs to {owner}, who could trust another server by it"),
            format!("chown root {path}"),
        ));
    }
    let writable = mode.bits() & 0o022 != 0;
    let message = format!("{path} can be written by others than root (mode {mode})");
    writable.then(|| (message, format!("chmod go-w {path}")))
}

/// 0600 or stricter.
fn is_private(mode: Mode) -> bool {
    mode.bits() & !0o600 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(generate: bool) -> Secret {
        Secret {
            destination: "vault".parse().unwrap(),
            file: SecretFile("/s".parse().unwrap()),
            role: Role::Password,
            owner: Owner::root(),
            generate,
        }
    }

    fn file(owner: &str, mode: u32, size: u64) -> SecretSeen {
        let stamp = Stamp { dev: 1, ino: 1, size, mtime: 1, ctime: 1 };
        SecretSeen::File { owner: owner.into(), group: "root".into(), mode: Mode::new(mode), stamp }
    }

    fn ops(diff: Diff) -> String {
        match diff {
            Diff::Create(edit) | Diff::Update(edit) => {
                edit.ops.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_generated_one_is_made_and_kept_private() {
        let it = secret(true);
        assert_eq!(
            ops(it.diff(&SecretSeen::Absent)),
            "install -o root -g root -m 0600 /dev/stdin /s  # random, never shown"
        );
        assert_eq!(it.diff(&file("root", 0o600, 9)), Diff::Same);
        assert_eq!(it.diff(&file("root", 0o400, 9)), Diff::Same);
        assert_eq!(ops(it.diff(&file("root", 0o640, 9))), "chmod 0600 /s");
        assert_eq!(ops(it.diff(&file("www-data", 0o604, 9))), "chown -h root:root /s; chmod 0600 /s");
        assert_eq!(it.diff(&SecretSeen::Other("x".into())), Diff::Refuse("x".into()));
        assert!(it.checks(&SecretSeen::Absent, None).is_empty());
    }

    #[test]
    fn a_persons_own_is_only_looked_at() {
        // R25
        let it = secret(false);
        for (seen, expected) in [
            (SecretSeen::Absent, "Error /s is not there"),
            (SecretSeen::Other("a FIFO".into()), "Error a FIFO"),
            (file("root", 0o600, 9), ""),
            (file("root", 0o400, 9), ""),
            (file("root", 0o600, 0), "Error /s is empty"),
            (file("daemon", 0o600, 9), "Error /s belongs to daemon, but root works with it"),
            (file("root", 0o640, 9), "Warning /s can be read by others than root (mode 0640)"),
            (file("root", 0o700, 9), "Warning /s can be read by others than root (mode 0700)"),
        ] {
            assert_eq!(it.diff(&seen), Diff::Unmanaged);
            let said: Vec<String> =
                it.checks(&seen, None).iter().map(|it| format!("{:?} {}", it.severity, it.message)).collect();
            assert_eq!(said.join("; "), expected);
        }
    }

    #[test]
    fn a_write_is_noticed_and_its_content_is_not() {
        let (then, now) = (file("root", 0o600, 9), file("root", 0o600, 10));
        assert!(secret(true).checks(&then, Some(&then)).is_empty());
        assert!(secret(true).checks(&now, Some(&then))[0].message.contains("was written since"));
    }
}
