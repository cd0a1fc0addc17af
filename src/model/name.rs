//! Names: of jobs, destinations and entries, of users, groups and hosts.

use std::{borrow::Cow, ops::Deref};

use serde::{Deserialize, Serialize};

use super::text::{BadText, plain_word};

/// The name of a job, destination, profile, notifier, cron entry or logrotate rule.
///
/// It becomes a file name in `/etc/cron.d`, where Debian's cron reads only letters, digits, `-` and `_`
/// (cron(8)), so a name is just that; it is never a word that a shell or a tool could take for an option.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

plain_word!(
    Name,
    check_name,
    "rlvm-name",
    "A name: letters, digits, `-` and `_`, starting with a letter or digit.",
    "vault"
);

/// A user of the managed host, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(AccountText);

plain_word!(UserName, check_account, "rlvm-user", "A user of the host, by name.", "root");

/// A group of the managed host, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(AccountText);

plain_word!(GroupName, check_account, "rlvm-group", "A group of the host, by name.", "root");

/// A host's own name, as `hostname` prints it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

plain_word!(HostName, check_host_name, "rlvm-host", "A host's name, as `hostname` prints it.", "web01");

/// The text of a user's or group's name. Nearly everything is root's, so that name is never copied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct AccountText(Cow<'static, str>);

const ROOT: &str = "root";

impl From<String> for AccountText {
    fn from(text: String) -> Self {
        Self(if text == ROOT { ROOT.into() } else { text.into() })
    }
}

impl From<AccountText> for String {
    fn from(text: AccountText) -> Self {
        text.0.into()
    }
}

impl Deref for AccountText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

const LONGEST_NAME: usize = 63;
/// useradd(8) refuses longer ones.
const LONGEST_ACCOUNT: usize = 32;

fn check_name(text: &str) -> Result<(), BadText> {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(inner) {
        let why = "must be letters, digits, `-` and `_`, starting with a letter or digit";
        return Err(BadText::new(text, why));
    }
    if text.len() > LONGEST_NAME {
        return Err(BadText::new(text, format!("is longer than {LONGEST_NAME} characters")));
    }
    Ok(())
}

/// Checks a user's or group's name by what useradd(8) and systemd accept in their laxer modes.
fn check_account(text: &str) -> Result<(), BadText> {
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
    Ok(())
}

fn check_host_name(text: &str) -> Result<(), BadText> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if text.len() > 253 || !text.split('.').all(part) {
        let why = "is no host name: letters, digits and `-`, in parts divided by `.`";
        return Err(BadText::new(text, why));
    }
    Ok(())
}

impl UserName {
    /// Returns `root`.
    pub fn root() -> Self {
        Self(AccountText(ROOT.into()))
    }
}

impl GroupName {
    /// Returns `root`.
    pub fn root() -> Self {
        Self(AccountText(ROOT.into()))
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
