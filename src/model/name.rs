//! Names: of jobs, destinations and entries, of users, groups and hosts.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text::{BadText, word};

/// The name of a job, destination, profile, notifier, cron entry or logrotate rule.
///
/// It becomes a file name in `/etc/cron.d`, where Debian's cron reads only letters, digits, `-` and `_`
/// (cron(8)), so a name is just that; it is never a word that a shell or a tool could take for an option.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

word!(Name, "rlvm-name", "A name: letters, digits, `-` and `_`, starting with a letter or digit.", "vault");

/// A user of the managed host, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

word!(UserName, "rlvm-user", "A user of the host, by name.", "root");

/// A group of the managed host, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);

word!(GroupName, "rlvm-group", "A group of the host, by name.", "root");

/// A host's own name, as `hostname` prints it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

word!(HostName, "rlvm-host", "A host's name, as `hostname` prints it.", "web01");

const LONGEST_NAME: usize = 63;
/// useradd(8) refuses longer ones.
const LONGEST_ACCOUNT: usize = 32;

impl FromStr for Name {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(inner) {
            let why = "must be letters, digits, `-` and `_`, starting with a letter or digit";
            return Err(BadText::new(text, why));
        }
        if text.len() > LONGEST_NAME {
            return Err(BadText::new(text, format!("is longer than {LONGEST_NAME} characters")));
        }
        Ok(Self(text.into()))
    }
}

/// Checks a user's or group's name by what useradd(8) and systemd accept in their laxer modes.
fn account(text: &str) -> Result<String, BadText> {
    let start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let body = text.strip_suffix('$').unwrap_or(text);
    if !body.starts_with(start) || !body.chars().all(inner) {
        let why = "is no account name: letters, digits, `_`, `-` and `.`, starting with a letter or `_`";
        return Err(BadText::new(text, why));
    }
    if text.len() > LONGEST_ACCOUNT {
        return Err(BadText::new(text, format!("is longer than {LONGEST_ACCOUNT} characters")));
    }
    Ok(text.into())
}

impl FromStr for UserName {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        account(text).map(Self)
    }
}

impl FromStr for GroupName {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        account(text).map(Self)
    }
}

impl FromStr for HostName {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('-')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        if text.len() > 253 || !text.split('.').all(part) {
            return Err(BadText::new(
                text,
                "is no host name: letters, digits and `-`, in parts divided by `.`",
            ));
        }
        Ok(Self(text.into()))
    }
}

macro_rules! plain {
    ($($Word:ident),*) => {$(
        impl $Word {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $Word {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
plain!(Name, UserName, GroupName, HostName);

impl UserName {
    /// Returns `root`.
    pub fn root() -> Self {
        Self("root".into())
    }
}

impl GroupName {
    /// Returns `root`.
    pub fn root() -> Self {
        Self("root".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_cron_reads() {
        for good in ["a", "web01", "Web-01_b", "0", &"a".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        // R43, R64
        for bad in ["", "-a", "_a", "a.b", "a b", "a/b", "a\n", "ä", "$(id)", "a;b", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn accounts_and_hosts() {
        for good in ["root", "_apt", "backup-web01", "www.data", "machine$", "Admin"] {
            assert!(good.parse::<UserName>().is_ok() && good.parse::<GroupName>().is_ok(), "{good}");
        }
        for bad in ["", "0", "-x", "a:b", "a b", "$", "a\n", &"a".repeat(33)] {
            assert!(bad.parse::<UserName>().is_err(), "{bad:?}");
        }
        for good in ["web01", "web01.example.org", "a_b"] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "a..b", "-a", "a b", "a/b", "a."] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
        }
    }
}
