//! Two hosts, each by its own state: a server that keeps clients' backups, and a client, with a wire between them.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine themselves")]

mod both;
mod shipped;

use std::{fs, path::Path};

use crate::{
    lab::{End, Lab, wire},
    support::Ran,
};

/// The client's key pair.
const KEY: &str = "/root/.ssh/id_rlvm";

/// sshd's configuration as Debian has it, on the loopback and on the wire.
const SSHD: &str = "Include /etc/ssh/sshd_config.d/*.conf\nListenAddress 127.0.0.1:22\nListenAddress 10.77.0.1:22\n\
    UsePAM no\nX11Forwarding yes\nMaxStartups 100\nSubsystem sftp /usr/lib/openssh/sftp-server\n";

/// Makes a server as it is installed: sshd, a file system for clients, none of their accounts.
fn server() -> Lab {
    let lab = Lab::named("nas");
    lab.file("/etc/ssh/sshd_config", SSHD);
    lab.dir("/etc/ssh/sshd_config.d", 0, 0o755);
    lab.ok(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/ssh/ssh_host_ed25519_key"]);
    lab.dir("/srv/clients", 0, 0o755);
    lab.ok(&["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/srv/clients"]);
    lab
}

/// Makes a client beside it, which is 10.0.0.12 too.
fn client(nas: &Lab) -> Lab {
    let web = Lab::named("web01");
    let ends = [("nas.lan", "10.77.0.1", nas), ("web01.lan", "10.77.0.2", &web)]
        .map(|(name, address, lab)| End { lab, address, name });
    wire([&ends[0], &ends[1]]);
    web.ok(&["ip", "address", "add", "10.0.0.12/32", "dev", "wire"]);
    nas.ok(&["ip", "route", "add", "10.0.0.12/32", "dev", "wire"]);
    for name in ["nas", "worm"] {
        web.file_of(&format!("/etc/rlvm/secrets/{name}.pass"), &format!("of {name}\n"), 0, 0o600);
    }
    web
}

/// Returns the shipped state of the server, these two keys in the place of its made-up ones, and more accounts.
fn nas_yaml(web01: &str, db01: &str, more: &str) -> String {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("state/hosts/nas.yaml");
    let text = fs::read_to_string(from).unwrap();
    let line = |end: &str| text.lines().find(|line| line.ends_with(end)).unwrap();
    let key = |key: &str| format!("        - key: {key}");
    let (old_web01, old_db01) = (line(" root@web01"), line(" root@db01"));
    text.replace(old_web01, &key(web01)).replace(old_db01, &key(db01)) + more
}

/// Returns the account through which the client can only add, and that the server prunes.
fn worm(key: &str) -> String {
    format!(
        "    backup-web01-worm:
      directory: /srv/clients/web01-worm
      access: append_only
      authorized_keys: [{{ key: {key} }}]
      prune: {{ keep_within: 30d, schedule: \"0 5 * * 0\", password_file: /etc/rlvm/secrets/web01-worm.pass }}
"
    )
}

/// Returns the client's state: what is like the shipped one's, as far as it concerns this server.
fn web01_yaml(nas_lan: &str) -> String {
    format!(
        "version: 1
host: web01
destinations:
  vault: {{ local: {{ path: /srv/backup/web01 }}, password_file: /etc/rlvm/secrets/vault.pass, generate_password: true }}
  nas: {{ sftp: {{ user: backup-web01, host: nas.lan, path: /repo }}, password_file: /etc/rlvm/secrets/nas.pass }}
  worm: {{ rclone: {{ ssh: {{ user: backup-web01-worm, host: nas.lan }}, path: repo }}, password_file: /etc/rlvm/secrets/worm.pass }}
jobs:
  system: {{ sources: [{{ path: /etc }}], to: [vault, nas, worm], schedule: \"30 2 * * *\" }}
{nas_lan}      identity: {KEY}
  keys: {{ {KEY}: {{ type: ed25519 }} }}
"
    )
}

/// Restic's words for a destination, as somebody would write them who has rlvm's configuration of ssh.
fn restic(web: &Lab, place: &str, to: &str, words: &[&str]) -> Ran {
    restic_within(web, "90", place, to, words)
}

/// Calls restic as [`restic`] does, for so many seconds at most.
fn restic_within(web: &Lab, seconds: &str, place: &str, to: &str, words: &[&str]) -> Ran {
    let program = format!("{place}/restic");
    let password = format!("/etc/rlvm/secrets/{to}.pass");
    let start = ["timeout", seconds, program.as_str(), "--no-cache", "-q", "-p", &password];
    let there: &[&str] = match to {
        "nas" => &["-r", "sftp:backup-web01@nas.lan:/repo"],
        _ => &["-r", "rclone:repo", "-o", "rclone.program=ssh backup-web01-worm@nas.lan rclone"],
    };
    web.run(&[&start[..], there, words].concat())
}

/// Says how many snapshots there are.
#[track_caller]
fn snapshots(web: &Lab, to: &str) -> usize {
    let ran = restic(web, "/usr/bin", to, &["snapshots", "--no-lock", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout.matches("short_id").count()
}

/// Has one SFTP command carried out on the server.
fn sftp(web: &Lab, options: &[&str], user: &str, commands: &str) -> Ran {
    web.file("/root/batch", commands);
    let at = format!("{user}@nas.lan");
    web.run(&[&["sftp", "-o", "BatchMode=yes", "-b", "/root/batch"], options, &[at.as_str()]].concat())
}

/// Returns what is below the client's directories, names and owners, as the server has it.
fn stored(nas: &Lab) -> String {
    nas.ok(&["find", "/srv/clients", "-printf", "%p %u:%g %m\\n"])
}
