//! A change of rlvm's file in sshd's configuration, as data, with the settings that sshd must then report for each
//! account.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Cmd, quote};
use crate::model::{HostPath, UserName};

/// The server. It wants to be called by its whole path.
const SSHD: &str = "/usr/sbin/sshd";

/// What sshd does not print where it was built without.
const OPTIONAL: [&str; 2] = ["gssapiauthentication", "kerberosauthentication"];

/// Variables that only choose a language and colours: sshd's own example accepts the first two.
const HARMLESS: [&str; 4] = ["LANG", "LANGUAGE", "COLORTERM", "NO_COLOR"];

/// Says whether a pattern of `AcceptEnv` lets a client set nothing that changes what a program does.
pub fn is_harmless_variable(pattern: &str) -> bool {
    HARMLESS.contains(&pattern) || pattern.starts_with("LC_") || pattern == "LANG*"
}

/// A file of sshd's configuration that is put in place, or goes, only if sshd then does what is meant; and sshd told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigureSshd {
    /// Where, in a directory that sshd's own configuration includes.
    pub path: HostPath,
    /// What it shall hold; none if it goes.
    pub after: Option<String>,
    /// What sshd must then mean.
    pub logins: Vec<Login>,
}

/// What holds for one user that logs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user.
    pub user: UserName,
    /// Each word in small letters and its value, as `sshd -T` prints them.
    pub meant: BTreeMap<String, String>,
}

/// Returns where sshd is.
pub fn sshd_path() -> HostPath {
    HostPath::fixed(SSHD)
}

/// Returns the mark that stands while sshd may not have read yet what was put in place: after a crash it tells.
pub fn sshd_mark() -> HostPath {
    HostPath::fixed("/run/rlvm/sshd-reload")
}

/// Returns the file whose time of change says when rlvm last made every sshd read its configuration.
pub fn sshd_reloaded() -> HostPath {
    HostPath::fixed("/run/rlvm/sshd-reloaded")
}

impl Login {
    /// Asks sshd what holds for a user. It reads its configuration and no more.
    ///
    /// The connection names all that a `Match` line can ask for: sshd refuses to answer when one is missing
    /// (servconf.c, `match_test_missing_fatal`).
    pub fn ask(user: &UserName) -> Cmd {
        let connection = "host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22,rdomain=";
        Cmd::at(&sshd_path()).args(["-T", "-C"]).arg(format!("user={user},{connection}"))
    }

    /// Lists in which words sshd says something else than is meant.
    pub fn differences<'a>(&'a self, said: &str) -> Vec<(&'a str, &'a str, String)> {
        // A word with several values has a line for each.
        let mut values: BTreeMap<&str, String> = BTreeMap::new();
        for (word, value) in said.lines().filter_map(|line| line.split_once(' ')) {
            // What several blocks accept adds up.
            if word == "acceptenv" && is_harmless_variable(value) {
                continue;
            }
            let all = values.entry(word).or_default();
            if !all.is_empty() {
                all.push(' ');
            }
            all.push_str(value);
        }
        let differs = |(word, meant): (&'a String, &'a String)| {
            let now = match values.get(word.as_str()) {
                None if OPTIONAL.contains(&word.as_str()) => return None,
                now => now.map_or("nothing", String::as_str),
            };
            (now != meant).then(|| (word.as_str(), meant.as_str(), now.to_owned()))
        };
        self.meant.iter().filter_map(differs).collect()
    }
}

/// Writes what a person would do, in short.
impl fmt::Display for ConfigureSshd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = quote(self.path.as_str());
        let bytes = match &self.after {
            Some(text) => {
                write!(f, "install -o root -g root -m 0644 /dev/stdin {path}")?;
                format!("{} bytes, ", text.len())
            }
            None => {
                write!(f, "rm {path}")?;
                String::new()
            }
        };
        write!(f, " && sshd -t && systemctl reload ssh  # {bytes}undone if sshd objects")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named() {
        let meant = [
            ("acceptenv", "RLVM_NONE"),
            ("chrootdirectory", "/srv/a b"),
            ("gssapiauthentication", "no"),
            ("passwordauthentication", "no"),
            ("permittty", "no"),
        ];
        let meant = meant.map(|(word, value)| (word.to_owned(), value.to_owned()));
        let login = Login { user: "a".parse().unwrap(), meant: meant.into() };
        let said = "port 22\nacceptenv LC_*\nacceptenv RLVM_NONE\nchrootdirectory /srv/a b\npasswordauthentication no\npermittty no\n";
        assert!(login.differences(said).is_empty());
        let said = "acceptenv RLVM_NONE\nacceptenv *\nchrootdirectory none\npasswordauthentication no\ngssapiauthentication yes\n";
        let expected = [
            ("acceptenv", "RLVM_NONE", "RLVM_NONE *".to_owned()),
            ("chrootdirectory", "/srv/a b", "none".to_owned()),
            ("gssapiauthentication", "no", "yes".to_owned()),
            ("permittty", "no", "nothing".to_owned()),
        ];
        assert_eq!(login.differences(said), expected);
        let asked =
            "/usr/sbin/sshd -T -C user=a,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22,rdomain=";
        assert_eq!(Login::ask(&login.user).to_string(), asked);
    }
}
