//! `rlvm ssh scan`: prints the host keys of another machine, to be checked and pasted into the state.

use std::fmt::Write;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::{
    context::Context,
    exit::{Exit, Failure},
};
use crate::{
    effect::{Cmd, Query},
    host::Host as _,
    model::{KnownHost, PublicKey, Server},
};

/// Work with host keys of other machines
#[derive(Debug, Subcommand)]
pub(super) enum SshVerb {
    Scan(Scan),
}

/// Print the host keys that a machine offers, in the form of the state
///
/// The keys come over the network, from whoever answers. Before you paste them, compare the fingerprints with those
/// that the machine itself shows on its console.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm ssh scan nas.lan
  rlvm ssh scan nas.lan --port 2222")]
pub(super) struct Scan {
    /// The machine: its name or address
    // An id of its own: every verb has an option that is called `host`.
    #[arg(id = "machine", value_name = "HOST")]
    host: Server,
    /// The port of its SSH server
    #[arg(long, default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
}

/// How long the other machine may take to answer, in seconds; and all of it.
const PATIENCE: (&str, u64) = ("10", 60);

impl SshVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let Self::Scan(scan) = self;
        scan.run(context)
    }
}

impl Scan {
    fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        let looker = host.looker();
        if looker.program("ssh-keyscan")?.is_none() {
            let missing = Failure::new(Exit::Failed, "ssh-keyscan is not installed");
            bail!(missing.help("apt-get install openssh-client"));
        }
        let scan = Cmd::new("ssh-keyscan").args(["-T", PATIENCE.0, "-p"]).arg(self.port.to_string());
        let scan = scan.arg(self.host.as_str()).timeout(PATIENCE.1);
        let output = looker.query(&Query::new(scan.clone())?)?;
        let mut keys: Vec<PublicKey> =
            output.stdout.lines().filter_map(KnownHost::parse).map(|known| known.key).collect();
        keys.sort_by_key(|key| (strength(key), key.clone()));
        keys.dedup();
        if keys.is_empty() {
            // It says the same once for each type of key.
            let mut lines: Vec<&str> = output.stderr.lines().filter(|line| !line.starts_with('#')).collect();
            lines.dedup();
            let said =
                if lines.is_empty() { String::new() } else { format!(", which said: {}", lines.join("; ")) };
            let message = format!("no host key from {}, port {}; tried `{scan}`{said}", self.host, self.port);
            let hint = "is the name right, is it up, does its SSH server listen on another port (--port)?";
            bail!(Failure::new(Exit::Failed, message).help(hint));
        }
        context.printer.print(&self.yaml(&keys))?;
        context.printer.remark(&format!(
            "\nThey came over the network, from whoever answers as {}. Before you trust them, compare the\n\
             fingerprints with what that machine itself says, on its console:\n  \
             for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -l -f \"$key\"; done\n",
            self.host
        ));
        Ok(Exit::Ok)
    }

    /// Writes the keys as a part of a state.
    fn yaml(&self, keys: &[PublicKey]) -> String {
        let name = if self.host.is_ipv6() { format!("\"{}\"", self.host) } else { self.host.to_string() };
        let mut out = format!("ssh:\n  hosts:\n    {name}:\n");
        if self.port != 22 {
            let _ = writeln!(out, "      port: {}", self.port);
        }
        out.push_str("      host_keys:\n");
        for key in keys {
            let _ = writeln!(out, "        - {}  # {}", key.identity(), key.fingerprint());
        }
        out
    }
}

/// Puts the key that one would choose first.
fn strength(key: &PublicKey) -> usize {
    let order = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];
    order.iter().position(|name| *name == key.algorithm()).unwrap_or(order.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_a_part_of_a_state() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";
        let key: PublicKey = key.parse().unwrap();
        for (host, port) in [("nas.lan", 22), ("nas.lan", 2222), ("fe80::1", 22), ("10.0.0.1", 22)] {
            let scan = Scan { host: host.parse().unwrap(), port };
            let text = format!("version: 1\nhost: web01\n{}", scan.yaml(std::slice::from_ref(&key)));
            let loaded = crate::state::load("state", &mut |_| Ok(text.clone()));
            let state = loaded.unwrap_or_else(|_| panic!("{text}")).state;
            let declared = &state.ssh.hosts[&scan.host];
            assert_eq!((declared.port.unwrap_or(22), declared.host_keys.to_vec()), (port, vec![key.clone()]));
            assert!(text.contains(&key.fingerprint()));
        }
    }
}
