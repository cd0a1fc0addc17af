//! Defines destinations: restic repositories, one file per kind. Pure.
//!
//! restic receives the location byte for byte as the state has it ([`Destination::repository`]).
//! [`Destination::identity`] decides by restic's own rules whether two destinations are one repository.

mod b2;
mod local;
mod rclone;
mod reach;
mod rest;
mod s3;
mod sftp;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use b2::B2;
pub use local::Local;
pub use rclone::{Rclone, RcloneSsh};
pub use reach::{Credential, Reach};
pub use rest::Rest;
pub use s3::S3;
pub use sftp::Sftp;

use crate::{
    effect::{Arg, Private},
    model::{
        DataPrune, Line, Name, SecretFile, Server, Size, Span, UserName,
        field::{is_default, keyed},
    },
};

/// A place for backups: one restic repository. Exactly one of `local`, `sftp`, `rest`, `s3`, `b2` and `rclone` says where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Which kind of place it is, and where.
    #[serde(flatten)]
    pub kind: Kind,
    /// The file with the repository's password. Its mode is 0600, and it belongs to the job's user. The content is
    /// never shown.
    pub password_file: SecretFile,
    /// Creates a random password if the password file does not exist. Save it with `rlvm secret show`. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub generate_password: bool,
    /// A file with NAME=VALUE lines, like `AWS_ACCESS_KEY_ID=…`, for restic's environment. Other programs do not get
    /// them. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<SecretFile>,
    /// Credentials for restic's environment, by variable: `AWS_SECRET_ACCESS_KEY: { file: /etc/rlvm/secrets/key }`, or
    /// `{ credential: NAME }` from systemd. Other programs do not get them. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Line, Credential>")]
    pub credentials: BTreeMap<Line, Credential>,
    /// More flags for restic: `limit-upload: "5000"` becomes `--limit-upload=5000` (KiB/s), and a name with a dot,
    /// `s3.connections: "10"`, becomes `-o s3.connections=10`. Flags that rlvm sets itself are refused. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "keyed::<Line, Line>")]
    pub options: BTreeMap<Line, Line>,
    /// How hard restic compresses: `auto`, `off` or `max`. Default: restic's own, auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// The size that restic aims at for a pack file, like 16M; larger ones suit slow object stores.
    /// Default: restic's own, 16M.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack_size: Option<Size>,
    /// How long backups here may be missing because the destination is away: a removable disk, a machine that sleeps.
    /// `run`, `prune`, `verify` and `snapshots` skip the destination while it is away, and status is critical when its newest backup is older than this.
    /// A local path needs a directory with `mounted: true` at or above it. Default: a run fails while the destination is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_be_absent: Option<Span>,
    /// How long a run goes on trying while this destination gives no answer: `15m`. A request that hangs without an error is
    /// ended by restic 0.17 and later after 5m, by an older restic only by the job's `timeout`. Default: what the job says,
    /// or 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_for: Option<Span>,
    /// Limits for `rlvm prune` at this destination: how much unneeded data may stay, and how much is repacked. Default:
    /// restic's own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prune: DataPrune,
    /// Takes over what is there already, even where it differs from what is declared. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would forget this destination, until an apply without `protect`. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protect: bool,
    /// Names that this destination had before, so that its history goes on under the new one. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<Name>,
}

/// Another machine that a destination is reached at over SSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer<'a> {
    /// The user there; ssh's own choice if none.
    pub user: Option<&'a UserName>,
    /// The machine.
    pub host: &'a Server,
    /// The port; ssh's own choice if none.
    pub port: Option<u16>,
}

/// The kinds of destinations. The YAML has one key for it: `local: { path: /srv/backup }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A directory of this host: `{ path: /srv/backup/web01 }`.
    Local(Local),
    /// A directory of another machine, over SSH: `{ user: backup, host: nas.lan, path: /repo }`.
    Sftp(Sftp),
    /// A rest-server: `{ url: https://backup.lan:8000/web01 }`.
    Rest(Rest),
    /// An S3 bucket, Amazon's or another's: `{ endpoint: https://s3.lan, bucket: backups, prefix: web01 }`.
    S3(S3),
    /// A Backblaze B2 bucket: `{ bucket: backups, prefix: web01 }`.
    B2(B2),
    /// A remote of rclone: `{ remote: drive, path: repo }`, or rclone on another machine, over SSH.
    Rclone(Rclone),
}

/// How hard restic compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Compression {
    /// Fast, and not what is compressed already.
    Auto,
    /// Not at all.
    Off,
    /// As small as it gets, slowly.
    Max,
}

impl Compression {
    const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Max => "max",
        }
    }
}

impl Destination {
    /// Returns the repository as restic's `--repo` takes it.
    pub fn repository(&self) -> String {
        match &self.kind {
            Kind::Local(local) => local.repository(),
            Kind::Sftp(sftp) => sftp.repository(),
            Kind::Rest(rest) => rest.repository(),
            Kind::S3(s3) => s3.repository(),
            Kind::B2(b2) => b2.repository(),
            Kind::Rclone(rclone) => rclone.repository(),
        }
    }

    /// Returns how restic gets at it, and how it works there.
    pub fn reach(&self) -> Reach {
        let mut reach = self.access();
        if let Some(compression) = self.compression {
            reach.flags.extend(["--compression", compression.word()].map(|word| Arg::Word(word.into())));
        }
        if let Some(size) = &self.pack_size {
            // In MiB (restic help): rounded up, as a pack that is larger than asked for is what restic makes anyway.
            let mib = size.of(0).div_ceil(1 << 20).to_string();
            reach.flags.extend(["--pack-size", &mib].map(|word| Arg::Word(word.into())));
        }
        for (name, value) in &self.options {
            let name = name.as_str();
            if name.contains('.') {
                reach.option(name, value.as_str());
            } else {
                reach.flags.push(Arg::Word(format!("--{name}={value}")));
            }
        }
        reach
    }

    /// Returns how restic gets at it: what a copy from here needs too.
    pub fn access(&self) -> Reach {
        let mut reach = match &self.kind {
            Kind::Local(_) | Kind::B2(_) => Reach::default(),
            Kind::Sftp(sftp) => sftp.reach(),
            Kind::Rest(rest) => rest.reach(),
            Kind::S3(s3) => s3.reach(),
            Kind::Rclone(rclone) => rclone.reach(),
        };
        // First, so that nothing in it has the last word.
        let file = self.env_file.iter().cloned().map(Private::All);
        let credentials = self.credentials.iter().map(|(name, from)| from.private(name.as_str()));
        reach.secrets = file.chain(reach.secrets).chain(credentials).collect();
        reach
    }

    /// Returns the machine that it is reached at over SSH, if it is.
    pub fn peer(&self) -> Option<Peer<'_>> {
        match &self.kind {
            Kind::Sftp(Sftp { user, host, port, .. })
            | Kind::Rclone(Rclone { ssh: Some(RcloneSsh { user, host, port }), .. }) => {
                Some(Peer { user: user.as_ref(), host, port: *port })
            }
            _ => None,
        }
    }

    /// Returns what two destinations that mean one repository have in common, as far as words can tell: symbolic
    /// links are not looked at here.
    pub fn identity(&self) -> String {
        match &self.kind {
            Kind::Local(local) => local.repository(),
            Kind::Sftp(sftp) => sftp.identity(),
            Kind::Rest(rest) => rest.identity(),
            Kind::S3(s3) => s3.identity(),
            Kind::B2(b2) => b2.identity(),
            Kind::Rclone(rclone) => rclone.identity(),
        }
    }
}

impl Kind {
    /// Returns the kind's key in the YAML.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Sftp(_) => "sftp",
            Self::Rest(_) => "rest",
            Self::S3(_) => "s3",
            Self::B2(_) => "b2",
            Self::Rclone(_) => "rclone",
        }
    }
}

/// Cleans a path as restic does (Go's `path.Clean`): no empty, `.` or `..` part, no `/` at the end.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_restic_does() {
        // R07, R09
        for (path, cleaned) in [
            ("/a//b/", "/a/b"),
            ("a/./b", "a/b"),
            ("/a/../b", "/b"),
            ("/..", "/"),
            ("../a", "../a"),
            ("a/..", ""),
            ("", ""),
            ("/", "/"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}
