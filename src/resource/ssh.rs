//! SSH: accounts for clients, keys, known hosts, the agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OnRemove;
use crate::{
    effect::quote,
    model::{
        BadText, FromPatterns, HostPath, KeyType, Line, OneOrMore, PublicKey, Schedule, SecretFile, Server,
        Span, UserName, field::is_default,
    },
    restic::CLOSED,
};

/// An account of this host through which a client stores its backups here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshUserSpec {
    /// The directory that the client sees, an absolute path. It belongs to root (0755). The directory `repo` in it
    /// belongs to the account (0700).
    pub directory: HostPath,
    /// What the account may do. Default: sftp.
    #[serde(default)]
    pub access: Access,
    /// The keys that can log in; at least one. Taking out a key revokes it and leaves the others.
    pub authorized_keys: OneOrMore<AuthorizedKey>,
    /// Removes old backups of this client on this server, since an append-only client cannot. Default: nothing is
    /// removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<ClientPrune>,
    /// Takes over an existing account that differs. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would remove it, until an apply without `protect`. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protect: bool,
    /// What happens when the block is taken out: `default` and `forget` leave the account, `delete` deletes it if rlvm
    /// made it; its files stay. Default: default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_remove: OnRemove,
}

/// What an account runs that can only add. Distributions and rclone's own packages install it there, and sshd gives a
/// user another `PATH` than anybody expects.
pub(super) const RCLONE: &str = "/usr/bin/rclone";
/// Starts a program with the environment that is named and no other (coreutils).
const ENV: &str = "/usr/bin/env";
/// Takes a kernel lock, and starts a program that keeps it (util-linux).
const FLOCK: &str = "/usr/bin/flock";

impl SshUserSpec {
    /// Says where the account's own directory is.
    ///
    /// # Errors
    ///
    /// If the path would be too long.
    pub fn repo(&self) -> Result<HostPath, BadText> {
        self.directory.join("repo")
    }

    /// Writes what the account runs whatever it asks for, as its shell reads it; nothing if it may choose.
    ///
    /// # Errors
    ///
    /// If its directory's path would be too long.
    pub(super) fn forced_command(&self) -> Result<Option<String>, BadText> {
        Ok(match self.access {
            Access::Sftp => Some("internal-sftp".into()),
            // Without a configuration rclone has no remotes, and writes none into the account's home. Each of rclone's
            // options can come from a variable too (`RCLONE_LOG_FILE`, `RCLONE_RC`), so its environment is empty.
            // Each session shares a kernel lock on the repository's directory. `rlvm prune` takes the lock for itself, and
            // no file is added while restic judges what to remove. A crash of rlvm frees the lock. restic prints what its
            // rclone says only if that does not end at once.
            Access::AppendOnly => {
                let repo = quote(self.repo()?.as_str());
                Some(format!(
                    "{FLOCK} --shared --no-fork --wait 20 --conflict-exit-code 75 {repo} \
                     {ENV} -i HOME=/nonexistent {RCLONE} serve restic --stdio --append-only --config /dev/null {repo} \
                     || {{ CODE=$?; [ $CODE != 75 ] || {{ echo {CLOSED}, try again later >&2; sleep 1; }}; exit $CODE; }}"
                ))
            }
            Access::Shell => None,
        })
    }
}

/// How old backups of a client are removed by the server that keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ClientPrune {
    /// How long backups are kept: `90d`. There is no other rule, since a compromised client could forge any number of
    /// backups and push real ones out.
    pub keep_within: Span,
    /// The schedule as for cron. Default: only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The file on this server that holds the repository's password: an absolute path, root's, 0600.
    pub password_file: SecretFile,
}

/// What an account may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Access {
    /// File transfer alone, shut into its directory.
    #[default]
    Sftp,
    /// Add to its repository and never delete: rclone over the connection, as a forced command.
    AppendOnly,
    /// A shell.
    Shell,
}

/// A key that may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct AuthorizedKey {
    /// The public key, as in the `.pub` file.
    pub key: PublicKey,
    /// The addresses, networks or patterns from which the key works, separated by commas as in sshd's `from=`. Default:
    /// anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FromPatterns>,
}

/// A key pair of this host. It is made where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshKeySpec {
    /// The key's type. Default: ed25519.
    #[serde(default, rename = "type")]
    pub kind: KeyType,
    /// The user that owns it. Default: root.
    #[serde(default = "UserName::root")]
    pub owner: UserName,
    /// The comment in the `.pub` file. Default: owner and host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Line>,
    /// Takes over an existing key that differs. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would forget it, until an apply without `protect`. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protect: bool,
}

/// How another machine is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshHostSpec {
    /// The name or address of the machine. Default: the name of this block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Server>,
    /// The port of its SSH server. Default: 22.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The user on the other machine. Default: what the destination says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// The only private key that ssh uses for this machine: an absolute path. Default: ssh's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<SecretFile>,
    /// The host keys of the machine; at least one. `rlvm ssh scan HOST` prints them.
    pub host_keys: OneOrMore<PublicKey>,
    /// Takes over an existing entry that differs. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would remove it, until an apply without `protect`. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protect: bool,
}

/// The agent that holds keys with a passphrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct SshAgentSpec {
    /// The agent's socket: an absolute path. Plan reports keys with a passphrase while the agent is not ready.
    pub socket: HostPath,
}
