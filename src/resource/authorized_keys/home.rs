//! Finds what an account left from before: keys and files that set variables in its home, and what starts its programs
//! without a login.
//!
//! The account may have been a person's or another tool's before it became a client's. sshd no longer reads keys from
//! its home. Variables are still read from there: by sshd with `PermitUserEnvironment`, and by `pam_env` with
//! `user_readenv=1` (`pam_env(8)`), which Debian 12 sets for sshd.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    host::{Entry, Observe},
    model::{HostPath, PublicKey, UserName},
};

/// Where sshd looks for keys if it is told nothing else, below a home.
const KEYS: [&str; 2] = ["authorized_keys", "authorized_keys2"];
/// Files below a home that set variables at a login.
const ENVIRONMENT: [&str; 2] = [".ssh/environment", ".pam_environment"];

/// Directories that hold a file with the name of each account whose programs start without a login: crontabs of Debian and
/// of cronie, and accounts whose units systemd starts at boot (`loginctl enable-linger`).
const NAMED: [&str; 3] = ["/var/spool/cron/crontabs", "/var/spool/cron", "/var/lib/systemd/linger"];
/// Directories that hold jobs of at(1), each its account's.
const OWNED: [&str; 2] = ["/var/spool/cron/atjobs", "/var/spool/at"];

/// An entry in an account's home that sshd or PAM may read and that rlvm does not manage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HomeEntry {
    /// A key, and the file and line that it stands in.
    Key(String, PublicKey),
    /// A file of keys, or a line of one, that cannot be read, and why.
    Unread(String),
    /// A file that sets variables at a login.
    Environment(HostPath),
    /// A file by which programs of the account start without a login.
    Scheduled(HostPath),
}

/// Lists the entries of an account: keys in its present home, and variables there and in the home that is declared.
pub(super) fn entries(host: &dyn Observe, user: &UserName, declared: &HostPath) -> Result<Vec<HomeEntry>> {
    let home = host.home(user)?;
    let mut found = match &home {
        Some(home) => keys(host, home)?,
        None => Vec::new(),
    };
    let other = home.filter(|home| home != declared);
    for home in std::iter::once(declared).chain(other.as_ref()) {
        for name in ENVIRONMENT {
            let path = name.split('/').try_fold(home.clone(), |dir, name| dir.join(name))?;
            // A directory that cannot be entered is reported where it is declared.
            if !matches!(host.entry(&path)?, Entry::Absent | Entry::Blocked(_)) {
                found.push(HomeEntry::Environment(path));
            }
        }
    }
    found.extend(scheduled(host, user)?.into_iter().map(HomeEntry::Scheduled));
    Ok(found)
}

/// Lists the files by which programs of an account start without a login: its crontab, at jobs, and units that systemd
/// starts at boot. They were put there while the account was allowed to do more.
fn scheduled(host: &dyn Observe, user: &UserName) -> Result<Vec<HostPath>> {
    let mut found = Vec::new();
    for dir in NAMED {
        let path = HostPath::fixed(dir).join(user.as_str())?;
        if !matches!(host.entry(&path)?, Entry::Absent | Entry::Blocked(_) | Entry::Directory(_)) {
            found.push(path);
        }
    }
    for dir in OWNED.map(HostPath::fixed) {
        if host.entry(&dir)?.directory().is_none() {
            continue;
        }
        for name in host.names(&dir)? {
            let path = dir.join(&name)?;
            if host.entry(&path)?.file().is_some_and(|meta| meta.owner == user.as_str()) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn keys(host: &dyn Observe, home: &HostPath) -> Result<Vec<HomeEntry>> {
    let mut found = Vec::new();
    for name in KEYS {
        let path = home.join(".ssh")?.join(name)?;
        let unread = |why: &str| HomeEntry::Unread(format!("{path} cannot be read: {why}"));
        match host.text(&path)? {
            (Entry::Absent, _) => {}
            (Entry::File(_), Some(text)) => match std::str::from_utf8(&text) {
                Ok(text) => found.extend(of_lines(&path, text)),
                Err(_) => found.push(unread("it is no UTF-8 text")),
            },
            (Entry::File(_), None) => found.push(unread("it is far too large")),
            (Entry::Blocked(why), _) => found.push(unread(&why)),
            (other, _) => found.push(unread(&format!("it is {}, no file", other.noun()))),
        }
    }
    Ok(found)
}

/// Takes the keys of a file's lines; before a key options may stand, in which blanks are quoted.
pub(super) fn of_lines(path: &HostPath, text: &str) -> Vec<HomeEntry> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let of_line = |(number, line): (usize, &str)| {
        let place = format!("{path}:{number}");
        let mut starts = std::iter::once(0).chain(line.match_indices([' ', '\t']).map(|(at, _)| at + 1));
        match starts.find_map(|at| line[at..].replace('\t', " ").parse().ok()) {
            Some(key) => HomeEntry::Key(place, key),
            None => HomeEntry::Unread(format!("{place} has no key of a type that rlvm knows")),
        }
    };
    lines.map(of_line).collect()
}
