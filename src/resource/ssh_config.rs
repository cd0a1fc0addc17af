//! A block in a user's ssh configuration that says how to reach the declared machines.
//!
//! ssh takes the first value that it finds. So the block is at the top and sets every relevant option, and a user's
//! own options for all hosts cannot weaken it. It ends in `Match all`, so that ssh reads the following lines as if
//! the block were not there.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{FileSeen, Finding, Kind, Look, ManagedBlock, Severity, SshHostSpec, managed_file::kind_is};
use crate::{
    effect::Owner,
    model::{Address, BadText, HostPath, Mode, PublicKey, Server, known_host::matches},
};

/// The block in a user's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshConfig {
    block: ManagedBlock,
    /// The machines for which a key is declared, and that key.
    identities: BTreeMap<Server, HostPath>,
}

/// One machine in it.
#[derive(Clone, Debug)]
pub struct SshConfigHost<'a> {
    /// The names that destinations use for it.
    pub names: Vec<&'a Server>,
    /// How it is reached.
    pub spec: &'a SshHostSpec,
}

/// What holds for every machine: nobody is asked, no other key is offered, no other host key is taken, nothing is
/// learned from the other side, no connection of somebody else's is shared, and one that is dead is noticed.
const ALWAYS: &str = "    IdentitiesOnly yes
    BatchMode yes
    StrictHostKeyChecking yes
    GlobalKnownHostsFile /dev/null
    VerifyHostKeyDNS no
    UpdateHostKeys no
    ControlPath none
    ClearAllForwardings yes
    ForwardAgent no
    ConnectTimeout 10
    ServerAliveInterval 30
    ServerAliveCountMax 4
";

impl SshConfig {
    /// Writes the block for a user's machines; `owner` is that user, with the group that a new file gets. `known_hosts` is the file by which they are known, `agent` the socket
    /// of the agent that holds the user's keys, if there is one.
    ///
    /// # Errors
    ///
    /// If a path is none that ssh's configuration can name.
    pub fn new(
        path: HostPath,
        owner: Owner,
        hosts: &[SshConfigHost<'_>],
        known_hosts: &HostPath,
        agent: Option<&HostPath>,
    ) -> Result<Self, BadText> {
        let mut text = String::new();
        for host in hosts {
            write_host(&mut text, host)?;
        }
        let all: Vec<String> = hosts.iter().map(names).collect();
        let agent = agent.map_or(Ok("none".to_owned()), word)?;
        let _ = writeln!(text, "Host {}", all.join(" "));
        let _ = writeln!(text, "    UserKnownHostsFile {}", word(known_hosts)?);
        let _ = writeln!(text, "    IdentityAgent {agent}");
        text.push_str(ALWAYS);
        text.push_str("Match all\n");
        let with_key = |host: &SshConfigHost<'_>| {
            let identity = host.spec.identity.as_ref()?;
            Some(host.names.iter().map(|name| ((*name).clone(), identity.0.clone())).collect::<Vec<_>>())
        };
        let identities = hosts.iter().filter_map(with_key).flatten().collect();
        let Owner { user, group } = owner;
        let block = ManagedBlock { path, user, group, mode: Mode::new(0o600), text };
        Ok(Self { block, identities })
    }

    /// Lists the foreign lines by which ssh would try another key once the declared one is refused: of keys it takes
    /// not the first it finds, but all.
    fn other_keys<'a>(&'a self, seen: &FileSeen) -> Vec<(usize, &'a Server)> {
        let all = || self.identities.keys().collect::<Vec<_>>();
        let (mut found, mut of) = (Vec::new(), all());
        for (number, line) in self.block.foreign(seen) {
            let line = line.trim();
            let (word, rest) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
            let rest = rest.trim_matches([' ', '\t', '=']);
            match word.to_ascii_lowercase().as_str() {
                "host" => of = all().into_iter().filter(|name| is_host(rest, name.as_str())).collect(),
                // Whether the other conditions hold is told when ssh is called.
                "match" => of = if rest.eq_ignore_ascii_case("all") { all() } else { Vec::new() },
                "identityfile" if !rest.eq_ignore_ascii_case("none") => {
                    let file = rest.trim_matches('"');
                    let other =
                        |name: &&&Server| self.identities.get(**name).is_some_and(|it| it.as_str() != file);
                    found.extend(of.iter().find(other).map(|name| (number, *name)));
                }
                _ => {}
            }
        }
        found
    }
}

/// Holds a name against the patterns of a `Host` line.
fn is_host(patterns: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split_ascii_whitespace().map(|it| it.trim_matches('"')) {
        match pattern.strip_prefix('!') {
            Some(not) if matches(not, name) => return false,
            Some(_) => {}
            None => found |= matches(pattern, name),
        }
    }
    found
}

/// Writes a machine's names as they stand behind `Host`.
fn names(host: &SshConfigHost<'_>) -> String {
    host.names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
}

/// Writes what differs from one machine to the next.
fn write_host(out: &mut String, host: &SshConfigHost<'_>) -> Result<(), BadText> {
    let spec = host.spec;
    let _ = writeln!(out, "Host {}", names(host));
    if let Some(address) = &spec.address {
        let _ = writeln!(out, "    HostName {address}");
    }
    if let Some(port) = spec.port {
        let _ = writeln!(out, "    Port {port}");
    }
    if let Some(user) = &spec.user {
        let _ = writeln!(out, "    User {user}");
    }
    if let Some(identity) = &spec.identity {
        let _ = writeln!(out, "    IdentityFile {}", word(&identity.0)?);
    }
    // A key of another type, or a certificate, is not even asked for.
    let algorithms: Vec<&str> = spec.host_keys.iter().flat_map(signatures).collect();
    let _ = writeln!(out, "    HostKeyAlgorithms {}", algorithms.join(","));
    Ok(())
}

/// Names the signatures that a key gives. RSA's with SHA-1 is no longer one (OpenSSH 8.8).
fn signatures(key: &PublicKey) -> Vec<&str> {
    match key.algorithm() {
        "ssh-rsa" => vec!["rsa-sha2-512", "rsa-sha2-256"],
        other => vec![other],
    }
}

/// Writes a path as `ssh_config(5)` and `sshd_config(5)` read it: in quotes where it needs them, its `%` doubled.
pub(super) fn word(path: &HostPath) -> Result<String, BadText> {
    let text = path.as_str();
    if text.contains(['"', '\\']) || text.contains("${") {
        return Err(BadText::new(text, "is a path that ssh's configuration cannot name")
            .remedy("choose one without quotes, `\\` and `${`"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+,%".contains(c);
    let doubled = text.replace('%', "%%");
    Ok(if text.chars().all(plain) { doubled } else { format!("\"{doubled}\"") })
}

impl Kind for SshConfig {
    const NAME: &'static str = "ssh_config";
    type Seen = FileSeen;

    kind_is!(block);

    fn key(&self) -> Cow<'_, str> {
        self.block.path.as_str().into()
    }

    fn needs(&self) -> Vec<Address> {
        self.block.needs()
    }

    fn observe(&self, look: &Look<'_, FileSeen>) -> Result<FileSeen> {
        self.block.observe(look.host)
    }

    fn checks(&self, seen: &FileSeen, _: Option<&FileSeen>) -> Vec<Finding> {
        let path = &self.block.path;
        let say = |(number, name): (usize, &Server)| {
            let address = Address::new(Self::NAME, path.as_str());
            let message =
                format!("{path}:{number} offers {name} another key where the declared one is refused");
            Finding::new(Severity::Warning, address, message)
                .remedy(format!("put it below a line that leaves {name} out, like `Host * !{name}`"))
        };
        self.other_keys(seen).into_iter().map(say).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OneOrMore;

    #[test]
    fn everything_that_matters_is_said() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";
        let spec = SshHostSpec {
            address: "10.0.0.2".parse().ok(),
            port: Some(2222),
            user: "backup".parse().ok(),
            identity: Some(crate::model::SecretFile("/root/my keys/id%".parse().unwrap())),
            host_keys: OneOrMore::of(key.parse().unwrap(), []),
            adopt: false,
            protect: false,
        };
        let (name, agent): (Server, HostPath) =
            ("nas.lan".parse().unwrap(), "/root/.ssh/agent".parse().unwrap());
        let host = SshConfigHost { names: vec![&name], spec: &spec };
        let known: HostPath = "/root/.ssh/known_hosts".parse().unwrap();
        let path: HostPath = "/root/.ssh/config".parse().unwrap();
        let made = |hosts: &[SshConfigHost<'_>]| {
            SshConfig::new(path.clone(), Owner::root(), hosts, &known, Some(&agent)).map(|it| it.block.text)
        };
        let text = made(std::slice::from_ref(&host)).unwrap();
        let head = "Host nas.lan\n    HostName 10.0.0.2\n    Port 2222\n    User backup\n    \
            IdentityFile \"/root/my keys/id%%\"\n    HostKeyAlgorithms ssh-ed25519\nHost nas.lan\n    \
            UserKnownHostsFile /root/.ssh/known_hosts\n    IdentityAgent /root/.ssh/agent\n    IdentitiesOnly yes\n";
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with("\nMatch all\n"), "{text}");
        let bad = SshHostSpec {
            identity: Some(crate::model::SecretFile("/a\"b".parse().unwrap())),
            ..spec.clone()
        };
        assert!(made(&[SshConfigHost { spec: &bad, ..host }]).is_err());
    }

    #[test]
    fn another_key_in_the_users_own_lines_is_told() {
        let (nas, web): (Server, Server) = ("nas.lan".parse().unwrap(), "web.lan".parse().unwrap());
        let key = |text: &str| text.parse::<HostPath>().unwrap();
        let identities = BTreeMap::from([(nas, key("/k")), (web, key("/w"))]);
        let (path, mode) = (key("/root/.ssh/config"), Mode::new(0o600));
        let Owner { user, group } = Owner::root();
        let block = ManagedBlock { path, user, group, mode, text: "Match all\n".into() };
        let config = SshConfig { block, identities };
        for (text, expected) in [
            ("IdentityFile ~/.ssh/id", &[(1, "nas.lan")][..]),
            ("identityfile=/k\n", &[(1, "web.lan")]),
            ("Host *.lan\n  IdentityFile \"/x\"\n", &[(2, "nas.lan")]),
            ("Host * !nas.lan\n\tIdentityFile /x\nHost git\nIdentityFile /g\n", &[(2, "web.lan")]),
            ("Host * !*.lan\nIdentityFile /x\n", &[]),
            ("Match user git\nIdentityFile /x\nMatch all\nIdentityFile /y\n", &[(4, "nas.lan")]),
            ("IdentityFile none\n# IdentityFile /x\nCompression yes\n", &[]),
        ] {
            let (owner, text) = ("root".to_owned(), text.to_owned());
            let seen = FileSeen::File { group: owner.clone(), owner, mode, text };
            let found = config.other_keys(&seen);
            let found: Vec<(usize, &str)> =
                found.into_iter().map(|(line, name)| (line, name.as_str())).collect();
            assert_eq!(found, expected, "{seen:?}");
        }
    }
}
