//! What sshd is to hold for whom, as data: the part of its configuration that is rlvm's, and what each login comes to.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Cmd, quote};
use crate::model::{HostPath, UserName};

/// The server. It wants to be called by its whole path.
const SSHD: &str = "/usr/sbin/sshd";

/// What sshd does not print where it was built without.
const OPTIONAL: [&str; 2] = ["gssapiauthentication", "kerberosauthentication"];

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

impl Login {
    /// Asks sshd what holds for a user. It reads its configuration and no more; older ones (OpenSSH 7) want all three.
    pub fn ask(user: &UserName) -> Cmd {
        Cmd::at(&sshd_path()).args(["-T", "-C"]).arg(format!("user={user},host=localhost,addr=127.0.0.1"))
    }

    /// Lists in which words sshd says something else than is meant.
    pub fn differences<'a>(&'a self, said: &str) -> Vec<(&'a str, &'a str, String)> {
        let said: BTreeMap<&str, &str> = said.lines().filter_map(|line| line.split_once(' ')).collect();
        let differs = |(word, meant): (&'a String, &'a String)| {
            let now = match said.get(word.as_str()) {
                None if OPTIONAL.contains(&word.as_str()) => return None,
                now => now.copied().unwrap_or("nothing"),
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
            ("chrootdirectory", "/srv/a b"),
            ("gssapiauthentication", "no"),
            ("passwordauthentication", "no"),
            ("permittty", "no"),
        ];
        let meant = meant.map(|(word, value)| (word.to_owned(), value.to_owned()));
        let login = Login { user: "a".parse().unwrap(), meant: meant.into() };
        let said = "port 22\nchrootdirectory /srv/a b\npasswordauthentication no\npermittty no\n";
        assert!(login.differences(said).is_empty());
        let said = "chrootdirectory none\npasswordauthentication no\ngssapiauthentication yes\n";
        let expected = [
            ("chrootdirectory", "/srv/a b", "none".to_owned()),
            ("gssapiauthentication", "no", "yes".to_owned()),
            ("permittty", "no", "nothing".to_owned()),
        ];
        assert_eq!(login.differences(said), expected);
        let asked = "/usr/sbin/sshd -T -C user=a,host=localhost,addr=127.0.0.1";
        assert_eq!(Login::ask(&login.user).to_string(), asked);
    }
}
