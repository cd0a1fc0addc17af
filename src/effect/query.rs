//! Lists the commands that only read. Observing may run these commands and no others.

use std::fmt;

use super::{Arg, Cmd};

/// A command from the reviewed list of those that change nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(Cmd);

/// A command that is not in the reviewed list.
#[derive(Debug)]
pub struct NotReadOnly(String);

/// How ssh and sftp are called to look, and by restic: they ask nobody, trust no host that they do not know, write into
/// no `known_hosts` (OpenSSH 8.5 and later learn keys there unless told not to), share no connection of somebody else's,
/// and give up in time (R29).
pub const QUIET_SSH: &[&str] = &[
    "-o",
    "BatchMode=yes",
    "-o",
    "StrictHostKeyChecking=yes",
    "-o",
    "UpdateHostKeys=no",
    "-o",
    "ControlPath=none",
    "-o",
    "ConnectTimeout=10",
];

/// Stands for a word that may be any.
const ANY: &str = "*";

/// The reviewed list: a program, the words it starts with, the words that must be there too (`|`: one of them).
///
/// restic writes a lock and a cache on `cat` unless told not to (tried with 0.14).
const READ_ONLY: &[(&str, &[&str], &[&str])] = &[
    ("restic", &["version"], &[]),
    // Reads the flags that follow, says what it does not take, and does nothing (tried with 0.14, 0.18 and 0.19).
    ("restic", &["backup", "--help"], &[]),
    ("restic", &["cat", "config"], &["--no-lock", "--no-cache"]),
    ("restic", &["list", "locks"], &["--no-lock", "--no-cache"]),
    ("restic", &["cat", "lock"], &["--no-lock", "--no-cache"]),
    // A cache that there is already is not state: what is in it can be fetched again.
    ("restic", &["snapshots", "--json"], &["--no-lock", "--no-cache|--cache-dir"]),
    ("restic", &["ls", "--json"], &["--no-lock", "--no-cache|--cache-dir"]),
    ("restic", &["stats", "--json"], &["--no-lock", "--no-cache|--cache-dir"]),
    // Says what would go (tried with 0.14, 0.18 and 0.19: the repository is the same to the byte).
    ("restic", &["forget", "--dry-run", "--json"], &["--no-lock", "--no-cache|--cache-dir"]),
    // Lists a directory; there is no other word in its input (see `Repository::has_keys`).
    ("sftp", &["-q", "-b", "-"], QUIET_SSH),
    // Logs in, and out at once: whatever the account runs gets no input.
    ("ssh", &["-nT"], QUIET_SSH),
    // Asks the agent, or the other machine; neither keeps anything of it (tried with OpenSSH 9.2).
    ("ssh-add", &["-L"], &[]),
    ("ssh-keyscan", &["-T"], &[]),
    // Asks the manager; a unit that it does not know yet it reads for that (systemctl(1)).
    ("systemctl", &["show", "-p"], &[]),
    ("systemctl", &["--user", "show", "-p"], &[]),
    // Read the configuration, say what is wrong with it or what it comes to for a user, and end (sshd(8)).
    ("sshd", &["-t"], &[]),
    ("sshd", &["-T", "-C"], &[]),
    // Tests whether a KRL lists a key, which comes by standard input (ssh-keygen(1); tried with OpenSSH 9.2).
    ("ssh-keygen", &["-Q", "-f"], &[]),
    ("crontab", &["-l"], &[]),
    // Lists; it takes a lock that others share, and writes nothing (lvs(8)).
    ("lvs", &["--reportformat", "json", "--units", "b", "--nosuffix", "-o"], &[]),
    // List and tell; with `--format` nothing but words. The first call of podman after a boot also brings its own records
    // up to date, as any would.
    ("docker", &["--version"], &[]),
    ("docker", &["ps", "--all", "--format"], &[]),
    ("docker", &["container", "inspect", "--format"], &[]),
    ("podman", &["ps", "--all", "--format"], &[]),
    ("podman", &["container", "inspect", "--format"], &[]),
    // Say their version, and list the services of a project.
    ("docker", &["compose", "version"], &[]),
    ("docker-compose", &["version"], &[]),
    ("podman", &["compose", "version"], &[]),
    ("docker", &["compose", "--project-directory", ANY, "ps", "--services", "--filter"], &[]),
    ("podman", &["compose", "--project-directory", ANY, "ps", "--services", "--filter"], &[]),
    ("docker-compose", &["--project-directory", ANY, "ps", "--services", "--filter"], &[]),
    // Lists the subvolumes in one (btrfs-subvolume(8)).
    ("btrfs", &["subvolume", "list", "-o"], &[]),
    ("test", &["-r"], &[]),
    ("test", &["-w"], &[]),
    ("test", &["-x"], &[]),
];

impl Query {
    /// Takes a command that is in the list.
    ///
    /// # Errors
    ///
    /// If it is not: then it might change something.
    pub fn new(cmd: Cmd) -> Result<Self, NotReadOnly> {
        let words: Vec<&str> = cmd
            .words()
            .iter()
            .map(|arg| match arg {
                Arg::Word(word) => word.as_str(),
                Arg::Path(path) => path.as_str(),
            })
            .collect();
        // The last word on a flag counts, and a user's own flags come behind.
        let taken_back = words
            .iter()
            .any(|word| ["--dry-run=", "--no-lock=", "--help="].iter().any(|flag| word.starts_with(flag)));
        let plain_input = cmd.given().is_none_or(|input| {
            let is_plain = cmd.name() == "ssh-keygen" || input.starts_with("ls ");
            is_plain && input.lines().count() == 1
        });
        let listed = plain_input
            && !taken_back
            && READ_ONLY.iter().any(|(program, start, flags)| {
                cmd.name() == *program
                    && words.len() >= start.len()
                    && start.iter().zip(&words).all(|(start, word)| *start == ANY || start == word)
                    && flags.iter().all(|flag| flag.split('|').any(|flag| words.contains(&flag)))
            });
        if listed { Ok(Self(cmd)) } else { Err(NotReadOnly(cmd.to_string())) }
    }

    /// Returns the command.
    pub fn cmd(&self) -> &Cmd {
        &self.0
    }
}

impl fmt::Display for NotReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not in the list of commands that only read", self.0)
    }
}

impl std::error::Error for NotReadOnly {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed() {
        let restic = || Cmd::new("restic");
        assert!(Query::new(restic().arg("version")).is_ok());
        assert!(Query::new(restic().args(["cat", "config", "--no-lock", "--no-cache"])).is_ok());
        // R24
        assert!(Query::new(restic().args(["cat", "config", "--no-cache"])).is_err());
        assert!(Query::new(restic().arg("init")).is_err());
        let forget = |word: &str| {
            Query::new(restic().args(["forget", "--dry-run", "--json", "--no-lock", "--no-cache", word]))
        };
        assert!(forget("--group-by").is_ok() && forget("--dry-run=false").is_err());
        assert!(forget("--no-lock=false").is_err());
        assert!(Query::new(restic().args(["forget", "--json", "--no-lock", "--no-cache"])).is_err());
        assert!(Query::new(restic().args(["init", "version"])).is_err());
        assert!(Query::new(Cmd::new("ssh-add").arg("-L")).is_ok());
        assert!(Query::new(Cmd::new("ssh-add").arg("/root/.ssh/id_rlvm")).is_err());
        assert!(Query::new(Cmd::new("systemctl").args(["show", "-p", "Id", "x"])).is_ok());
        assert!(Query::new(Cmd::new("systemctl").args(["start", "show"])).is_err());
        assert!(Query::new(Cmd::new("rm").arg("-w")).is_err());
        assert!(Query::new(Cmd::new("sshd").args(["-T", "-C", "user=a"])).is_ok());
        assert!(Query::new(Cmd::new("sshd").arg("-D")).is_err() && Query::new(Cmd::new("sshd")).is_err());
        let keygen =
            |words: &[&str]| Query::new(Cmd::new("ssh-keygen").args(words.iter().copied()).input("x\n"));
        assert!(keygen(&["-Q", "-f", "/k", "/dev/stdin"]).is_ok());
        assert!(keygen(&["-k", "-f", "/k", "/dev/stdin"]).is_err() && keygen(&["-f", "/k", "-Q"]).is_err());
        assert!(Query::new(Cmd::new("crontab").arg("-l")).is_ok());
        assert!(Query::new(Cmd::new("crontab").arg("-r")).is_err());
        let compose = |words: &[&str]| {
            Query::new(
                Cmd::new("docker").args(["compose", "--project-directory", "/a"]).args(words.iter().copied()),
            )
        };
        assert!(compose(&["ps", "--services", "--filter", "status=running"]).is_ok());
        assert!(compose(&["ps"]).is_err() && compose(&["stop", "ps", "--services", "--filter"]).is_err());
        assert!(
            Query::new(Cmd::new("docker").args(["container", "inspect", "--format", "x", "--", "a"])).is_ok()
        );
        assert!(Query::new(Cmd::new("podman").args(["container", "stop", "a"])).is_err());
        let sftp = |input| {
            let words = ["-q", "-b", "-"].into_iter().chain(QUIET_SSH.iter().copied()).chain(["nas"]);
            Query::new(Cmd::new("sftp").args(words).input(input))
        };
        assert!(Query::new(Cmd::new("ssh").args(["-nT", "nas", "exit"])).is_err());
        assert!(sftp("ls /a\n").is_ok() && sftp("rm /a\n").is_err() && sftp("ls /a\nrm /b\n").is_err());
    }
}
