//! Observes a remote repository, through restic only, with a time limit.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Repository, RepositorySeen, RepositoryState, look, state::Missing};
use crate::{
    effect::{Cmd, QUIET_SSH, Query},
    host::Observe,
    model::{PublicKey, Server, UserName},
    resource::{Look, NotSeen},
    restic::{self, Found, Version},
};

/// A repository that is not in a directory of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// The repository in restic's words, without any secret.
    pub repository: String,
    /// Programs that restic starts for it, each with Debian's package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<(String, String)>,
    /// Its directory there, if it can be listed over SFTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The machine, if it is reached over SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
}

/// Another machine that is reached over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The user there; ssh's own choice if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// Its name in the state.
    pub host: Server,
    /// Where it really is.
    pub address: Server,
    /// Its port.
    pub port: u16,
    /// The keys by which it is known; none if it is not declared.
    pub host_keys: Vec<PublicKey>,
}

/// The oldest restic that is known to make no repository where there are keys.
const CAREFUL: Version = Version(0, 18, 0);
/// What is left of a repository where restic says that there is none.
pub(super) const LOST_CONFIG: &str = "its configuration is missing, and its keys are there";
/// ssh's exit code for its own failures (ssh(1)).
const SSH_FAILED: i32 = 255;
/// What ssh says of a host that it does not trust (OpenSSH 9.2, sshconnect.c).
const UNTRUSTED: &str = "Host key verification failed";
/// What ssh says of a user that it may not become.
const NO_LOGIN: &str = "Permission denied (";

impl Repository {
    pub(super) fn look_remote(
        &self,
        look: &Look<'_, RepositorySeen>,
        remote: &Remote,
    ) -> Result<RepositorySeen> {
        let host = look.host;
        let state = |why| RepositoryState::NotSeen(why);
        let left = |why: &str| Ok(RepositorySeen::of(state(NotSeen::Left(why.into()))));
        if look.leaving {
            return left("it is no longer declared");
        }
        if host.is_tree() {
            return left("it is left to the running system");
        }
        if look.looks.offline {
            return left("--offline");
        }
        let tried = host.entry(&self.password.0)?.file().map(|meta| Box::new(meta.stamp));
        let password = tried.is_some();
        let of = |state| RepositorySeen { password, tried: tried.clone(), ..RepositorySeen::of(state) };
        // A place that cannot be listed is blind whatever a look says: it is told before it is made.
        let blind = look.last.is_none() && remote.directory.is_none() && self.is_careless(host)?;
        let waits = |why: String| RepositorySeen { blind, ..of(state(NotSeen::Waits(why))) };
        if let Some(engine) = look::engine_missing(host, &self.means)? {
            return Ok(waits(engine));
        }
        let tool = missing_tool(host, remote)?;
        if let Some(tool) = tool.or(look::tool(host, &self.means, false)?) {
            return Ok(RepositorySeen { tool: Some(Box::new(tool)), ..waits("a program is missing".into()) });
        }
        if !password {
            return Ok(waits(format!("{} is not there", self.password.0)));
        }
        if let Some(why) = self.unready(host)? {
            return Ok(waits(why));
        }
        if !host.has_user(&self.user)? {
            return Ok(waits(format!("there is no user {}", self.user)));
        }
        let mut listed = None;
        let found = match host.query(&self.access().look()?) {
            Ok(output) => restic::found(&output),
            // A credential that is not there, a line that is none.
            Err(err) => return Ok(waits(format!("{err:#}"))),
        };
        let seen = match found {
            Found::Absent => {
                listed = self.has_keys(host, remote)?;
                let lost = || RepositoryState::Opened(Found::Damaged(LOST_CONFIG.into()));
                if listed == Some(true) { lost() } else { RepositoryState::Absent }
            }
            Found::Unreachable(why) => {
                // Who did not answer restic in time does not answer ssh either.
                let silent = why.starts_with(restic::SILENT);
                let why = if silent { why } else { self.says_ssh(host, remote)?.unwrap_or(why) };
                let other_host_key = if why.contains(UNTRUSTED) { remote.shown_keys(host)? } else { None };
                return Ok(RepositorySeen { other_host_key, ..waits(why) });
            }
            found => RepositoryState::Opened(found),
        };
        let making = seen == RepositoryState::Absent;
        let ready = matches!(seen, RepositoryState::Opened(Found::Ready { .. }));
        Ok(RepositorySeen {
            tool: look::tool(host, &self.means, making)?.map(Box::new),
            locked: ready && self.has_locks(host)?,
            shown_instead: if making { self.shown_instead(host, remote)? } else { None },
            blind: making && listed.is_none() && self.is_careless(host)?,
            ..of(seen)
        })
    }

    /// Asks ssh itself why it does not get there: restic may end before it has passed on what ssh said.
    fn says_ssh(&self, host: &dyn Observe, remote: &Remote) -> Result<Option<String>> {
        let Some(machine) = &remote.machine else { return Ok(None) };
        let port = machine.port.to_string();
        let user = machine.user.iter().flat_map(|user| ["-l", user.as_str()]);
        let words = ["-nT"].into_iter().chain(QUIET_SSH.iter().copied()).chain(["-p", &port]).chain(user);
        let words = words.chain([machine.host.as_str(), "exit"]);
        let cmd = self.means.run_as(Cmd::new("ssh").args(words), &self.user).ok(&[0, SSH_FAILED]).timeout(10);
        let output = host.query(&Query::new(cmd)?)?;
        if output.code != Some(SSH_FAILED) {
            return Ok(None);
        }
        let mut lines = output.stderr.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(lines.next_back().map(ToOwned::to_owned))
    }

    /// Says whether there are keys where restic finds no repository: then its configuration is lost, and 0.14 would make
    /// a new one over its keys and data. Only a directory over SFTP can be listed.
    fn has_keys(&self, host: &dyn Observe, remote: &Remote) -> Result<Option<bool>> {
        let Some(path) = &remote.directory else { return Ok(None) };
        Ok(self.list(host, remote, &format!("{path}/keys"))?.map(|names| !names.is_empty()))
    }

    /// Names what the machine shows at its top, if the repository's way does not begin there: inside a chroot paths
    /// start at the chroot (R32).
    fn shown_instead(&self, host: &dyn Observe, remote: &Remote) -> Result<Option<Vec<String>>> {
        let Some(path) = remote.directory.as_ref().filter(|path| path.starts_with('/')) else {
            return Ok(None);
        };
        let Some(first) = path.split('/').find(|part| !matches!(*part, "" | ".")) else { return Ok(None) };
        let names = self.list(host, remote, "/")?.filter(|names| !names.is_empty());
        Ok(names.filter(|names| !names.iter().any(|name| name == first)))
    }

    /// Lists a directory of the other machine; none if that cannot be told.
    fn list(&self, host: &dyn Observe, remote: &Remote, path: &str) -> Result<Option<Vec<String>>> {
        let Some(machine) = &remote.machine else { return Ok(None) };
        // What sftp would take for a pattern or split is not asked for.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@%+,=".contains(c);
        if !path.chars().all(plain) || path.starts_with('-') || host.program("sftp")?.is_none() {
            return Ok(None);
        }
        let port = machine.port.to_string();
        let user = machine.user.as_ref().map(|user| format!("User={user}"));
        let user = user.iter().flat_map(|user| ["-o", user.as_str()]);
        let words = ["-q", "-b", "-"].into_iter().chain(QUIET_SSH.iter().copied()).chain(["-P", &port]);
        let words = words.chain(user).chain(["--", machine.host.as_str()]);
        let list = format!("ls -1 {path}\n");
        let cmd = Cmd::new("sftp").args(words).input(&list);
        let cmd = self.means.run_as(cmd, &self.user).ok(&[0, 1]).timeout(10);
        let output = host.query(&Query::new(cmd)?)?;
        let lines = || output.stdout.lines().map(str::trim);
        let listed = lines().filter(|line| !line.is_empty() && !line.starts_with("sftp>"));
        // With the directory, if one was named.
        let names = listed.map(|line| line.rsplit('/').next().unwrap_or(line).to_owned());
        Ok(match output.code {
            Some(0) => Some(names.collect()),
            Some(1) if output.stderr.contains("not found") => Some(Vec::new()),
            _ => None,
        })
    }

    /// Says whether this restic would make a repository over what is left of another: 0.14 does not look, and 0.18
    /// refuses where there are keys (tried with both).
    fn is_careless(&self, host: &dyn Observe) -> Result<bool> {
        let is_there = match &self.means.engine {
            Some(_) => look::engine_missing(host, &self.means)?.is_none(),
            None => host.program("restic")?.is_some(),
        };
        if !is_there {
            return Ok(false);
        }
        let output = host.query(&restic::ask_version(self.means.engine.as_ref())?)?;
        Ok(Version::read(&output.stdout).is_none_or(|version| version < CAREFUL))
    }

    /// Says whether something has a lock on it. What cannot be told is not said: opening it has just gone well.
    fn has_locks(&self, host: &dyn Observe) -> Result<bool> {
        let output = host.query(&self.access().locks()?)?;
        Ok(output.code == Some(0) && restic::lock_ids(&output.stdout).next().is_some())
    }
}

/// Names a program that restic would start and that is not there (R31).
pub(super) fn missing_tool(host: &dyn Observe, remote: &Remote) -> Result<Option<Missing>> {
    for (program, package) in &remote.tools {
        if host.program(program)?.is_none() {
            let message = format!("there is no {program} on PATH");
            return Ok(Some(Missing::new(message, format!("apt-get install {package}"))));
        }
    }
    Ok(None)
}

/// Says what to do about a place that cannot be reached.
pub(super) fn remedy(why: &str) -> &'static str {
    if why.contains(NO_LOGIN) {
        "put this host's public key (`rlvm show` has it) where the other machine's account takes it from, then apply again"
    } else if why.contains(" cannot read ") {
        "open the way to it for that user (chmod o+x on the directories), or put it elsewhere"
    } else if why.contains(UNTRUSTED) {
        "`rlvm ssh scan HOST` shows its host keys: check them there, and declare them in `ssh: hosts:`"
    } else {
        "see to that, then plan again; `--offline` leaves out what needs the network"
    }
}

impl Remote {
    /// Asks the machine for its host keys, if none of them is a declared one. Nothing is sent to it but the question.
    fn shown_keys(&self, host: &dyn Observe) -> Result<Option<Vec<String>>> {
        let Some(machine) = self.machine.as_ref().filter(|machine| !machine.host_keys.is_empty()) else {
            return Ok(None);
        };
        let port = machine.port.to_string();
        let scan = Cmd::new("ssh-keyscan").args(["-T", "5", "-p", &port, "--"]).arg(machine.address.as_str());
        let output = host.query(&Query::new(scan.timeout(10))?)?;
        let shown: Vec<PublicKey> = output.stdout.lines().filter_map(scanned).collect();
        let known = |key: &PublicKey| machine.host_keys.iter().any(|it| it.identity() == key.identity());
        if shown.is_empty() || shown.iter().any(known) {
            return Ok(None);
        }
        Ok(Some(shown.iter().map(|key| key.identity().to_owned()).collect()))
    }

    /// Says that the machine is not the declared one, with both fingerprints.
    pub(super) fn other_key(&self, shown: &[String]) -> String {
        let Some(machine) = &self.machine else { return "the machine is another one".into() };
        let print = |keys: &[PublicKey]| {
            keys.iter()
                .map(|key| format!("{} {}", key.algorithm(), key.fingerprint()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let shown: Vec<PublicKey> = shown.iter().filter_map(|key| key.parse().ok()).collect();
        // The same kind of key is what can be compared; the others only if there is none.
        let same = |key: &&PublicKey| machine.host_keys.iter().any(|it| it.algorithm() == key.algorithm());
        let alike: Vec<PublicKey> = shown.iter().filter(same).cloned().collect();
        let shown = if alike.is_empty() { shown } else { alike };
        format!(
            "{} shows another host key than the declared one: {}, and the state says {}",
            machine.host,
            print(&shown),
            print(&machine.host_keys)
        )
    }

    /// Says what to do then.
    pub(super) fn other_key_remedy(&self) -> String {
        let host = self.machine.as_ref().map_or("HOST", |machine| machine.host.as_str());
        format!(
            "somebody may stand between: ask who looks after {host}. Only if its key was changed on purpose: \
             rlvm ssh scan {host}, compare over there, and put it into `host_keys`"
        )
    }
}

/// Reads a line of ssh-keyscan: the machine, the key's type, the key.
fn scanned(line: &str) -> Option<PublicKey> {
    if line.starts_with('#') {
        return None;
    }
    line.split_once(' ')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_fit() {
        for (why, word) in [
            ("me@nas: Permission denied (publickey).", "public key"),
            ("Host key verification failed.", "ssh scan"),
            ("no answer within 10 s", "--offline"),
        ] {
            assert!(remedy(why).contains(word), "{why}");
        }
    }
}
