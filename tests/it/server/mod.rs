//! The server's side: accounts that clients store through, against the machine's own sshd.

#![expect(clippy::disallowed_methods, reason = "tests look at the machine and change it themselves")]

mod access;
mod configured;
mod elsewhere;
mod foreign;
mod given;
mod hostile;
mod overlap;
mod revoked;
mod shut;

use std::{fs, process::Command};

use crate::{
    lab::Lab,
    support::{Ran, require},
};

/// Where the part is that rlvm writes.
const PART: &str = "/etc/ssh/sshd_config.d/00-rlvm.conf";

/// Whose accounts are declared: one for files alone, one that only adds.
const FILES: &str = "backup-web01";
const WORM: &str = "backup-web01-worm";

/// Makes a machine whose sshd is configured as Debian does it, with a client's keys in /root.
fn machine() -> Lab {
    // None of the accounts is there: rlvm makes them.
    let lab = Lab::named("web01");
    lab.file("/etc/hosts", &(lab.read("/etc/hosts") + "127.0.0.1 nas.lan\n"));
    require("/usr/bin", "rclone", "rclone");
    let config = "Include /etc/ssh/sshd_config.d/*.conf\nListenAddress 127.0.0.1:22\nHostKey /etc/ssh/host_key\n\
        UsePAM no\nX11Forwarding yes\nSubsystem sftp /usr/lib/openssh/sftp-server\n";
    lab.file("/etc/ssh/sshd_config", config);
    lab.dir("/etc/ssh/sshd_config.d", 0, 0o755);
    for key in ["/etc/ssh/host_key", "/root/files", "/root/worm", "/root/other"] {
        lab.ok(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", key]);
    }
    let client = "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nIdentitiesOnly yes\nBatchMode yes\n\
        LogLevel ERROR\n";
    lab.file_of("/root/.ssh/config", client, 0, 0o600);
    lab
}

/// Returns a public key of the client's.
fn public(lab: &Lab, name: &str) -> String {
    lab.read(&format!("/root/{name}.pub")).trim().to_owned()
}

/// Writes the state of an account for files with these entries of keys, and one that only adds.
fn state(lab: &Lab, files: &str, more: &str) {
    let worm = public(lab, "worm");
    lab.state(&format!(
        "ssh:
  users:
    {FILES}: {{ directory: /srv/clients/files, authorized_keys: [{files}] }}
    {WORM}: {{ directory: /srv/clients/worm, access: append_only, authorized_keys: [{{ key: {worm} }}] }}
{more}"
    ));
}

/// Returns an entry of a key, and from where it may be used.
fn entry(lab: &Lab, name: &str, from: Option<&str>) -> String {
    let from = from.map(|from| format!(", from: \"{from}\"")).unwrap_or_default();
    format!("{{ key: {}{from} }}", public(lab, name))
}

/// Writes the usual state.
fn usual(lab: &Lab) {
    state(lab, &entry(lab, "files", None), "");
}

/// Calls one of ssh's programs with a key.
fn ssh(lab: &Lab, program: &str, key: &str, args: &[&str]) -> Ran {
    let identity = format!("IdentityFile=/root/{key}");
    lab.run(&[&[program, "-o", &identity], args].concat())
}

/// Has SFTP commands carried out in the account for files.
fn sftp(lab: &Lab, key: &str, commands: &str) -> Ran {
    lab.file("/root/batch", commands);
    ssh(lab, "sftp", key, &["-b", "/root/batch", &format!("{FILES}@nas.lan")])
}

/// Says whether a client gets in by a key.
fn gets_in(lab: &Lab, key: &str) -> bool {
    let mut ran = sftp(lab, key, "pwd\n");
    // sshd opens its socket anew when it reads its configuration.
    while ran.stderr.contains("Connection re") {
        ran = sftp(lab, key, "pwd\n");
    }
    let refused = ran.stderr.contains("Permission denied (publickey");
    assert!(refused || ran.code == Some(0), "{ran:?}");
    !refused
}

/// Returns the process that listens.
fn pid(lab: &Lab) -> String {
    lab.read("/run/sshd.pid").trim().to_owned()
}

/// Prepares a program of the machine's whose input a test goes on writing to.
fn open_ended(lab: &Lab, args: &[&str]) -> Command {
    let mut command = lab.program(args);
    command.stdin(std::process::Stdio::piped());
    command
}

/// Reads a file that may not be there.
fn read(lab: &Lab, path: &str) -> Option<String> {
    fs::read_to_string(lab.at(path)).ok()
}
