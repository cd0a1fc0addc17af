//! Describes what exists at a path.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{Mode, PublicKey};

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Nothing.
    Absent,
    /// A directory.
    Directory(Meta),
    /// A regular file.
    File(Meta),
    /// Something else: a symbolic link, a FIFO, a device, a socket.
    Other(String),
    /// The way there is not safe or not possible: why.
    Blocked(String),
}

/// What is known of a file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The user's name, or the number if it has none.
    pub owner: String,
    /// Whether it belongs to root or to the caller, by the number that the kernel has: a tree may call anybody root.
    pub trusted: bool,
    /// The group's name, or the number if it has none.
    pub group: String,
    /// Permission bits.
    pub mode: Mode,
    /// How many names a file has.
    pub links: u64,
    /// What moves when it is written or replaced.
    pub stamp: Stamp,
}

/// What moves when a file or directory is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// In bytes.
    pub size: u64,
    /// Last write, in nanoseconds since 1970.
    pub mtime: i64,
    /// Last change of inode, in nanoseconds since 1970.
    pub ctime: i64,
}

/// What the file of a private SSH key shows without its passphrase. Nothing of it is private.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyHead {
    /// The public half. A file in another form than OpenSSH's own (ssh-keygen before 7.8) does not show it.
    pub public: Option<PublicKey>,
    /// Whether a passphrase is needed to use it.
    pub encrypted: bool,
}

/// How much of a file system a user may fill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Where it is mounted.
    pub at: String,
    /// The limit, in bytes; none if none is set.
    pub limit: Option<u64>,
    /// In bytes.
    pub used: u64,
}

impl Entry {
    /// Returns what is known of it, if it is a directory.
    pub fn directory(&self) -> Option<&Meta> {
        if let Self::Directory(meta) = self { Some(meta) } else { None }
    }

    /// Returns what is known of it, if it is a regular file.
    pub fn file(&self) -> Option<&Meta> {
        if let Self::File(meta) = self { Some(meta) } else { None }
    }

    /// Names it for a sentence.
    pub fn noun(&self) -> &str {
        match self {
            Self::Absent => "nothing",
            Self::Directory(_) => "a directory",
            Self::File(_) => "a file",
            Self::Other(what) => what,
            Self::Blocked(_) => "out of reach",
        }
    }
}

/// What the system's accounts say of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEntry {
    /// The user's number.
    pub uid: u32,
    /// The first group's name, or number.
    pub group: String,
    /// All other groups by name, or number, sorted.
    pub groups: Vec<String>,
    /// Where the user is at home, as it is written there.
    pub home: String,
    /// What is started at a login, as it is written there.
    pub shell: String,
    /// Whether it is closed: it ran out on the second day there was (shadow(5), `usermod --expiredate 1`), and sshd lets
    /// nobody in by any means. Not known without root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// Whether a password opens it, an empty one too. Not known without root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub password: bool,
    /// The name of another account with the same number, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_uid: Option<String>,
}

/// What those sshds read that listen and do not read the usual file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshdsWithOtherConfig {
    /// The files that they were started with (`sshd -f`), each with the program that reads it if that is not the system's
    /// own sshd.
    pub configurations: BTreeMap<String, Option<String>>,
    /// The programs, other than the system's own, that were started without `-f`: each reads a default of its own.
    pub programs: BTreeSet<String>,
}
