//! Defines what rlvm can do to a host, as data. Nothing here does it.
//!
//! A plan holds these values. Their `Display` is the text that a person reads, and `host` carries out the same
//! values, so what is shown is what is done. The list is deliberately small: each new op is a new way to change a
//! host.

mod cmd;
mod crontab;
mod install;
mod letter;
mod query;
mod sshd;
mod step;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use cmd::{Arg, Cmd, Private, is_credential, is_own, quote};
pub use crontab::{EditCrontab, install_crontab, list_crontab, listed, remove_crontab};
pub(crate) use install::is_packed;
pub use install::{Install, Receipt};
pub use letter::{Carrier, Letter, Mail, Post, Tls, Where};
pub use query::{NotReadOnly, QUIET_SSH, Query};
pub use sshd::{ConfigureSshd, Login, is_harmless_variable, sshd_mark, sshd_path, sshd_reloaded};
pub use step::Step;

use crate::model::{GroupName, HostPath, KeyType, Line, Mode, Personal, UserName};

/// To whom a file or directory belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub user: UserName,
    /// The group.
    pub group: GroupName,
}

impl Owner {
    /// Returns root and root's group.
    pub fn root() -> Self {
        Self { user: UserName::root(), group: GroupName::root() }
    }

    /// Returns a user and that user's first group.
    pub fn of(personal: &Personal) -> Self {
        Self { user: personal.user.clone(), group: personal.group.clone() }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

/// What a file is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The whole content.
    pub text: String,
    /// To whom it shall belong.
    pub owner: Owner,
    /// Its permission bits.
    pub mode: Mode,
}

/// One effect on the host. This list is all that rlvm can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Makes a directory in one that is there; fails if something is there already.
    MakeDir {
        /// Where.
        path: HostPath,
        /// To whom it shall belong.
        owner: Owner,
        /// Its permission bits.
        mode: Mode,
    },
    /// Makes a directory that something else needs, unless there is one; that is left as it is.
    EnsureDir {
        /// Where.
        path: HostPath,
        /// To whom it shall belong if it is made.
        owner: Owner,
        /// Its permission bits if it is made.
        mode: Mode,
    },
    /// Gives a file or directory, not what is in it, to somebody else.
    SetOwner {
        /// Which.
        path: HostPath,
        /// To whom it shall belong.
        owner: Owner,
    },
    /// Gives all that is in a directory to somebody else; fails if something is mounted in it. Cut short, it is done again
    /// from the start.
    GiveTree {
        /// Which directory.
        path: HostPath,
        /// To whom all shall belong.
        owner: Owner,
    },
    /// Sets the permission bits of a file or directory.
    SetMode {
        /// Which.
        path: HostPath,
        /// The bits.
        mode: Mode,
    },
    /// Writes a file new, makes it durable, and puts it in place of whatever was there. For files that hold nothing of
    /// anybody else's.
    WriteFile {
        /// Where.
        path: HostPath,
        /// The whole content.
        text: String,
        /// To whom it shall belong.
        owner: Owner,
        /// Its permission bits.
        mode: Mode,
    },
    /// Changes a file that somebody else writes too, if it still is as it was when it was looked at; else fails.
    EditFile {
        /// Which.
        path: HostPath,
        /// The whole content before; none if there was no file.
        before: Option<String>,
        /// What it shall be; none if it goes.
        after: Option<Content>,
    },
    /// Writes a secret that the system's randomness gives, where there is none. Only `host` ever holds it.
    MakeSecret {
        /// Where.
        path: HostPath,
        /// To whom it shall belong.
        owner: Owner,
        /// Its permission bits.
        mode: Mode,
    },
    /// Makes a pair of SSH keys with ssh-keygen where there is none: the private half 0600, the public one beside it
    /// (`.pub`) 0644. Neither is ever written over. Only `host` ever holds the private half.
    MakeKey {
        /// Where the private half goes.
        path: HostPath,
        /// To whom both shall belong.
        owner: Owner,
        /// Of which type it shall be.
        kind: KeyType,
        /// What stands behind the public half.
        comment: Line,
    },
    /// Removes a file, and what a write of it that was cut short left.
    RemoveFile {
        /// Which.
        path: HostPath,
    },
    /// Removes what a making of this file or directory that was cut short left beside it, and nothing else.
    RemoveTemporary {
        /// What was to be made.
        path: HostPath,
    },
    /// Removes an empty directory, unless there is none; fails if it is not empty.
    RemoveDir {
        /// Which.
        path: HostPath,
    },
    /// Removes the private directory of a restore with all that is in it, unless there is none. Its name says that it is one
    /// ([`STAGING`]); nothing else is ever removed by the tree.
    RemoveStaging {
        /// Which.
        path: HostPath,
    },
    /// Removes a btrfs subvolume, unless there is none.
    DeleteSubvolume {
        /// Which.
        path: HostPath,
    },
    /// Changes lines of the caller's own crontab, if it still is as it was when it was looked at; else fails.
    EditCrontab(EditCrontab),
    /// Fetches a program, checks it, and puts it in place of what was there, with its [`Receipt`] beside it.
    Install(Install),
    /// Puts a part of sshd's configuration in place, or takes it away, if sshd then does what is meant, and tells sshd;
    /// else all is left as it was.
    ConfigureSshd(ConfigureSshd),
    /// Runs a program.
    Run(Cmd),
}

impl Op {
    /// Returns the file or directory that it is about; none for a program.
    pub fn path(&self) -> Option<&HostPath> {
        match self {
            Self::MakeDir { path, .. }
            | Self::EnsureDir { path, .. }
            | Self::SetOwner { path, .. }
            | Self::GiveTree { path, .. }
            | Self::SetMode { path, .. }
            | Self::WriteFile { path, .. }
            | Self::EditFile { path, .. }
            | Self::MakeSecret { path, .. }
            | Self::MakeKey { path, .. }
            | Self::RemoveFile { path }
            | Self::RemoveTemporary { path }
            | Self::RemoveDir { path }
            | Self::RemoveStaging { path }
            | Self::DeleteSubvolume { path } => Some(path),
            Self::Install(install) => Some(&install.path),
            Self::ConfigureSshd(sshd) => Some(&sshd.path),
            Self::EditCrontab(_) | Self::Run(_) => None,
        }
    }
}

/// Writes the op as the command that would have the same effect, for a person to read.
///
/// A file's text stands in the plan's diff, not here; a secret's stands nowhere.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDir { path, owner: Owner { user, group }, mode } => {
                write!(f, "install -d -o {user} -g {group} -m {mode} {}", quote(path.as_str()))
            }
            Self::EnsureDir { path, owner: Owner { user, group }, mode } => {
                let path = quote(path.as_str());
                write!(f, "test -d {path} || install -d -o {user} -g {group} -m {mode} {path}")
            }
            Self::SetOwner { path, owner } => write!(f, "chown -h {owner} {}", quote(path.as_str())),
            Self::GiveTree { path, owner } => {
                write!(f, "chown -R --no-dereference {owner} {}", quote(path.as_str()))
            }
            Self::SetMode { path, mode } => write!(f, "chmod {mode} {}", quote(path.as_str())),
            Self::WriteFile { path, text, owner, mode }
            | Self::EditFile { path, after: Some(Content { text, owner, mode }), .. } => {
                let (Owner { user, group }, path) = (owner, quote(path.as_str()));
                write!(f, "install -o {user} -g {group} -m {mode} /dev/stdin {path}  # {} bytes", text.len())
            }
            Self::MakeSecret { path, owner: Owner { user, group }, mode } => {
                let path = quote(path.as_str());
                write!(f, "install -o {user} -g {group} -m {mode} /dev/stdin {path}  # random, never shown")
            }
            Self::MakeKey { path, owner, kind, comment } => {
                let (public, comment) = (quote(path.public_half().as_str()), quote(comment.as_str()));
                let path = quote(path.as_str());
                write!(f, "ssh-keygen -q {} -N '' -C {comment} -f {path}", kind.flags().join(" "))?;
                if *owner == Owner::root() {
                    return Ok(());
                }
                write!(f, " && chown {owner} {path} {public}")
            }
            Self::RemoveFile { path } | Self::EditFile { path, after: None, .. } => {
                write!(f, "rm {}", quote(path.as_str()))
            }
            Self::RemoveTemporary { path } => write!(f, "rm -df {}", quote(&temporary(path))),
            Self::RemoveDir { path } => write!(f, "rmdir {}", quote(path.as_str())),
            Self::RemoveStaging { path } => write!(f, "rm -rf --one-file-system {}", quote(path.as_str())),
            Self::DeleteSubvolume { path } => write!(f, "btrfs subvolume delete {}", quote(path.as_str())),
            Self::EditCrontab(edit) => edit.fmt(f),
            Self::Install(install) => install.fmt(f),
            Self::ConfigureSshd(sshd) => sshd.fmt(f),
            Self::Run(cmd) => cmd.fmt(f),
        }
    }
}

/// How the name of the private directory of a restore begins; the run's follows.
pub const STAGING: &str = ".rlvm-restore-";

/// Returns the path under which a file or directory is prepared, beside its final place: `/etc/cron.d/night.rlvm-new~`.
///
/// No program may read a half-written file, and no program looks for the same marks. Debian's cron reads only names
/// without a dot and `~`. cronie, systemd-cron and logrotate skip names that end in `~`. systemd and sshd read only names
/// with endings of their own. A leading dot does not help: logrotate reads `.night.dpkg-new` (tried with 3.21).
pub fn temporary(path: &HostPath) -> String {
    format!("{path}.rlvm-new~")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What reads a directory of files says by the name alone which files it leaves out.
    type Reader = (&'static str, fn(&str) -> bool);

    fn ending(name: &str) -> &str {
        name.rsplit('.').next().unwrap_or_default()
    }

    /// Every program that reads a directory in which rlvm prepares files, and whether it reads a file of this name.
    const READERS: [Reader; 6] = [
        // cron(8), valid_name() in database.c: run-parts' names alone (tried with 3.0pl1-137, -162, -197, -212).
        ("Debian's cron", |name| name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '_')),
        // not_a_crontab() in database.c (tried with 1.7.2).
        ("cronie", |name| {
            let endings = ["~", ".rpmsave", ".rpmorig", ".rpmnew"];
            !name.starts_with(['.', '#']) && !endings.iter().any(|it| name.ends_with(it))
        }),
        // systemd-crontab-generator says which files it ignores (tried with 2.5.1).
        ("systemd-cron", |name| {
            let marks = [".dpkg-", ".rpm", "~"];
            !name.starts_with('.') && !marks.iter().any(|it| name.contains(it))
        }),
        // defTabooExts in config.c, as patterns whose `*` matches no leading dot (tried with 3.21 and 3.22).
        ("logrotate", |name| {
            let endings = [".bak", ".dpkg-new", ".dpkg-old", ".rpmnew", ".rpmsave", ".swp", "~"];
            name.starts_with('.') || !endings.iter().any(|it| name.ends_with(it))
        }),
        // systemd.unit(5)
        ("systemd", |name| matches!(ending(name), "service" | "timer")),
        // `Include /etc/ssh/sshd_config.d/*.conf`: a pattern of glob(7).
        ("sshd", |name| !name.starts_with('.') && ending(name) == "conf"),
    ];

    #[test]
    fn nobody_reads_what_is_being_written() {
        for place in ["/etc/cron.d/night", "/etc/logrotate.d/x.conf", "/x.service", "/a b/x.timer"] {
            let path: HostPath = place.parse().unwrap();
            let new: HostPath = temporary(&path).parse().unwrap();
            assert_eq!(new.parent(), path.parent());
            for (reader, reads) in READERS {
                assert!(!reads(new.name()), "{reader} reads {new}");
            }
        }
    }

    #[test]
    fn shown_as_commands() {
        let path: HostPath = "/a b".parse().unwrap();
        let (owner, mode) = (Owner::root(), Mode::new(0o600));
        let edit = |stays: bool| {
            let (path, content) =
                ("/a b".parse().unwrap(), Content { text: "x\n".into(), owner: Owner::root(), mode });
            Op::EditFile { path, before: None, after: stays.then_some(content) }
        };
        let key = |owner: &str| {
            let (user, group) = (owner.parse().unwrap(), owner.parse().unwrap());
            let (kind, comment) = (KeyType::Rsa, "a b".parse().unwrap());
            Op::MakeKey { path: "/k".parse().unwrap(), owner: Owner { user, group }, kind, comment }
        };
        let sshd = |after: Option<&str>| {
            let (path, after) = ("/d.conf".parse().unwrap(), after.map(ToOwned::to_owned));
            Op::ConfigureSshd(ConfigureSshd { path, after, logins: Vec::new() })
        };
        let write =
            Op::WriteFile { path: path.clone(), text: "hunter2\n".into(), owner: owner.clone(), mode };
        for (op, expected) in [
            (
                Op::MakeDir { path: path.clone(), owner: owner.clone(), mode },
                "install -d -o root -g root -m 0600 '/a b'",
            ),
            (
                Op::EnsureDir { path: path.clone(), owner: owner.clone(), mode },
                "test -d '/a b' || install -d -o root -g root -m 0600 '/a b'",
            ),
            (Op::SetOwner { path: path.clone(), owner: owner.clone() }, "chown -h root:root '/a b'"),
            (
                Op::GiveTree { path: path.clone(), owner: owner.clone() },
                "chown -R --no-dereference root:root '/a b'",
            ),
            (Op::SetMode { path: path.clone(), mode }, "chmod 0600 '/a b'"),
            (write, "install -o root -g root -m 0600 /dev/stdin '/a b'  # 8 bytes"),
            (
                Op::MakeSecret { path: path.clone(), owner, mode },
                "install -o root -g root -m 0600 /dev/stdin '/a b'  # random, never shown",
            ),
            (key("root"), "ssh-keygen -q -t rsa -b 4096 -N '' -C 'a b' -f /k"),
            (
                key("backup"),
                "ssh-keygen -q -t rsa -b 4096 -N '' -C 'a b' -f /k && chown backup:backup /k /k.pub",
            ),
            (edit(true), "install -o root -g root -m 0600 /dev/stdin '/a b'  # 2 bytes"),
            (edit(false), "rm '/a b'"),
            (Op::RemoveFile { path: path.clone() }, "rm '/a b'"),
            (
                sshd(Some("x\n")),
                "install -o root -g root -m 0644 /dev/stdin /d.conf && sshd -t && systemctl reload ssh  \
                 # 2 bytes, undone if sshd objects",
            ),
            (sshd(None), "rm /d.conf && sshd -t && systemctl reload ssh  # undone if sshd objects"),
            (Op::RemoveTemporary { path: path.clone() }, "rm -df '/a b.rlvm-new~'"),
            (Op::RemoveDir { path }, "rmdir '/a b'"),
            (Op::Run(Cmd::new("true")), "true"),
        ] {
            assert_eq!(op.to_string(), expected);
        }
    }
}
