//! Describes how restic reaches a destination: the location on its command line, and the files and variables that it
//! needs.

use crate::{
    effect::{Arg, Private, QUIET_SSH},
    model::{HostPath, Name, SecretFile},
};

/// How restic gets at a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Flags that belong to the kind of place, each with its value.
    pub flags: Vec<Arg>,
    /// Variables of its environment that are no secrets.
    pub variables: Vec<(&'static str, Arg)>,
    /// Secrets of its environment.
    pub secrets: Vec<Private>,
    /// Certificates that it reads.
    pub certificates: Vec<HostPath>,
    /// Programs that it starts, each with Debian's package.
    pub tools: Vec<(&'static str, &'static str)>,
}

/// ssh and where Debian has it.
pub(super) const SSH: (&str, &str) = ("ssh", "openssh-client");

impl Reach {
    /// Adds an extended option, `-o name=value`.
    pub(super) fn option(&mut self, name: &str, value: &str) {
        self.flags.extend([Arg::Word("-o".into()), Arg::Word(format!("{name}={value}"))]);
    }

    /// Adds a certificate to trust.
    pub(super) fn ca(&mut self, file: Option<&HostPath>) {
        if let Some(file) = file {
            self.flags.extend([Arg::Word("--cacert".into()), Arg::Path(file.clone())]);
            self.certificates.push(file.clone());
        }
    }
}

/// Returns how restic calls ssh.
///
/// The same stands in the managed configuration; a host that is not declared there must not hang the night either.
pub(super) fn ssh(words: &[&str]) -> String {
    std::iter::once("ssh")
        .chain(QUIET_SSH.iter().copied())
        .chain(words.iter().copied())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Where one credential comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// A file with only this credential, in one line. Its mode is 0600, and it belongs to the job's user.
    File(SecretFile),
    /// The name of a systemd credential: from the unit's `LoadCredential=`, else from `/etc/credstore` or, encrypted,
    /// from `/etc/credstore.encrypted`.
    Credential(Name),
}

impl Credential {
    /// Returns how a child's environment gets it.
    pub(super) fn private(&self, variable: &str) -> Private {
        let name = variable.to_owned();
        match self {
            Self::File(file) => Private::File { name, file: file.clone() },
            Self::Credential(credential) => Private::Credential { name, credential: credential.clone() },
        }
    }
}
