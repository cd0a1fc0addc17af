//! The keys by which a user's ssh knows other machines: a block in the user's `known_hosts`.
//!
//! ssh takes any key that some line has for a host. So a foreign line with another key than the declared one is an
//! error: rlvm does not decide which of the two is right. A foreign `@cert-authority` is none, since the block in the
//! configuration asks for no certificate.

use std::{borrow::Cow, fmt::Write};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{FileSeen, Finding, Kind, Look, ManagedBlock, Severity, SshKey, managed_file::kind_is};
use crate::{
    effect::Owner,
    model::{Address, HostPath, KnownHost, Marker, Mode, PublicKey},
};

/// The block in a user's `known_hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHosts {
    block: ManagedBlock,
    hosts: Vec<Known>,
    /// The user's key pairs: made first, in the order that a person goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<HostPath>,
}

/// A machine and its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// By which names ssh looks it up (see [`crate::model::known_name`]).
    pub names: Vec<String>,
    /// The declared keys.
    pub keys: Vec<PublicKey>,
}

impl KnownHosts {
    /// Writes the block of a user's machines, which are reached by these key pairs.
    pub fn new(path: HostPath, owner: Owner, hosts: Vec<Known>, keys: Vec<HostPath>) -> Self {
        let mut text = String::new();
        for Known { names, keys } in &hosts {
            for key in keys {
                let _ = writeln!(text, "{} {}", names.join(","), key.identity());
            }
        }
        let Owner { user, group } = owner;
        Self { block: ManagedBlock { path, user, group, mode: Mode::new(0o644), text }, hosts, keys }
    }

    /// Holds a foreign line against what is declared.
    fn conflict(&self, number: usize, line: &str) -> Option<Finding> {
        let foreign = KnownHost::parse(line)?;
        let path = &self.block.path;
        let say = |message: String, remedy: String| {
            let address = Address::new(Self::NAME, &self.key());
            Some(Finding::new(Severity::Error, address, message).remedy(remedy))
        };
        let found = self.hosts.iter().find_map(|host| {
            let name = host.names.iter().find(|name| foreign.is_of(name))?;
            let of_type = |key: &&PublicKey| key.algorithm() == foreign.key.algorithm();
            let declared: Vec<&PublicKey> = host.keys.iter().filter(of_type).collect();
            let same = declared.iter().any(|key| key.identity() == foreign.key.identity());
            (!declared.is_empty()).then_some((name, declared, same))
        });
        let (name, declared, same) = found?;
        let (kind, theirs) = (foreign.key.algorithm(), foreign.key.fingerprint());
        match (foreign.marker, same) {
            (Marker::Revoked, true) => say(
                format!("the declared {kind} key of {name}, {theirs}, is revoked by {path}:{number}"),
                "find out why; then declare the host's new key, or take the line out".into(),
            ),
            (Marker::Host, false) => {
                let ours: Vec<String> = declared.iter().map(|key| key.fingerprint()).collect();
                let ours = ours.join(", ");
                let message = format!(
                    "two {kind} keys for {name}: the state declares {ours}, and {path}:{number} has {theirs}"
                );
                let remedy = format!(
                    "find out on {name} itself which is right (ssh-keygen -l -f on its host key's .pub); \
                     then correct the state, or take line {number} out"
                );
                say(message, remedy)
            }
            _ => None,
        }
    }
}

impl Kind for KnownHosts {
    const NAME: &'static str = "known_hosts";
    type Seen = FileSeen;

    kind_is!(block);

    fn key(&self) -> Cow<'_, str> {
        self.block.path.as_str().into()
    }

    fn needs(&self) -> Vec<Address> {
        let keys = self.keys.iter().map(|key| Address::new(SshKey::NAME, key.as_str()));
        self.block.needs().into_iter().chain(keys).collect()
    }

    fn observe(&self, look: &Look<'_, FileSeen>) -> Result<FileSeen> {
        self.block.observe(look.host)
    }

    fn checks(&self, seen: &FileSeen, _: Option<&FileSeen>) -> Vec<Finding> {
        let lines = self.block.foreign(seen);
        lines.into_iter().filter_map(|(number, line)| self.conflict(number, line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKlJ4yTzGq3x0m2bq5vT8yq7lq1m4E3v1xw0XcQ9mZpQ";
    /// A made up point, of the right length.
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn known() -> KnownHosts {
        let keys = vec![format!("{OURS} root@nas").parse().unwrap()];
        let names = vec!["nas.lan".to_owned(), "[nas.lan]:2222".to_owned()];
        KnownHosts::new("/k".parse().unwrap(), Owner::root(), vec![Known { names, keys }], Vec::new())
    }

    #[test]
    fn a_line_a_key() {
        assert_eq!(known().block.text, format!("nas.lan,[nas.lan]:2222 {OURS}\n"));
    }

    #[test]
    fn another_key_is_an_error_with_both_fingerprints() {
        // R29
        let prints: Vec<String> =
            [OURS, OTHER].iter().map(|key| key.parse::<PublicKey>().unwrap().fingerprint()).collect();
        for (line, said) in [
            (format!("nas.lan {OURS}"), ""),
            (format!("nas.lan {OTHER}"), "two ssh-ed25519 keys"),
            (format!("* {OTHER} comment"), "two ssh-ed25519 keys"),
            (format!("*.lan,!nas.lan {OTHER}"), ""),
            (format!("a,[nas.lan]:* {OTHER}"), "two ssh-ed25519 keys for [nas.lan]:2222"),
            (format!("web.lan {OTHER}"), ""),
            (format!("nas.lan {ECDSA}"), ""),
            (format!("@cert-authority *.lan {OTHER}"), ""),
            (format!("@revoked nas.lan {OTHER}"), ""),
            (format!("@revoked * {OURS}"), "is revoked by /k:4"),
            (format!("# nas.lan {OTHER}"), ""),
            ("rubbish".into(), ""),
        ] {
            let text = format!("{}{line}\n", "# a\n\n# b\n");
            let (owner, mode) = ("root".to_owned(), Mode::new(0o644));
            let seen = FileSeen::File { group: owner.clone(), owner, mode, text };
            let found = known().checks(&seen, None);
            let message = found.first().map_or("", |finding| finding.message.as_str());
            assert!(message.contains(said) && message.is_empty() == said.is_empty(), "{line}: {message}");
            if message.starts_with("two") {
                assert_eq!(found[0].severity, Severity::Error);
                assert!(
                    prints.iter().all(|it| message.contains(it)) && message.contains("/k:4"),
                    "{message}"
                );
            }
        }
    }
}
