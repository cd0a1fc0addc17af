//! The public half of an SSH key.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text::{BadText, word};

/// A public SSH key as it stands in a `.pub` file: type, key, and perhaps a comment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);

word!(
    PublicKey,
    "rlvm-public-key",
    "A public SSH key, as in a .pub file: type, key, comment.",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0 root@web01"
);

/// The key types of OpenSSH 9, and how the base64 of each begins: it says its type again.
const TYPES: [(&str, &str); 7] = [
    ("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5"),
    ("ssh-rsa", "AAAAB3NzaC1yc2E"),
    ("ecdsa-sha2-nistp256", "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY"),
    ("ecdsa-sha2-nistp384", "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQ"),
    ("ecdsa-sha2-nistp521", "AAAAE2VjZHNhLXNoYTItbmlzdHA1MjE"),
    ("sk-ssh-ed25519@openssh.com", "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t"),
    ("sk-ecdsa-sha2-nistp256@openssh.com", "AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20"),
];

impl PublicKey {
    /// Returns the key as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key's type.
    pub fn kind(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// Returns the key's fingerprint as ssh-keygen(1) shows it.
    pub fn fingerprint(&self) -> String {
        "SHA256:".into()
    }

    /// Returns the key without its comment: what two keys must share to be one.
    pub fn identity(&self) -> &str {
        let end = self.0.match_indices(' ').nth(1).map_or(self.0.len(), |(end, _)| end);
        &self.0[..end]
    }
}

impl FromStr for PublicKey {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        // Whatever is not a public key may be a private one, so it is not repeated.
        let bad = |why: String| BadText::new("…", why);
        if text.contains("PRIVATE KEY") {
            return Err(bad("is a private key".into()).remedy("write the public half, from the .pub file"));
        }
        if text.contains(|c: char| c.is_control()) {
            return Err(bad("must be one line".into()));
        }
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let (Some(kind), Some(key)) = (words.next(), words.next()) else {
            return Err(bad("must be a type and a key, as in a .pub file".into()));
        };
        let Some((_, start)) = TYPES.iter().find(|(name, _)| *name == kind) else {
            return Err(bad("has an unknown type".into()).remedy("write it as it stands in the .pub file"));
        };
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
        if !key.starts_with(start) || key.len() < 60 || !key.bytes().all(base64) {
            return Err(bad(format!("is no {kind} key: it was cut short or mixed up")));
        }
        Ok(Self([kind, key].into_iter().chain(words).collect::<Vec<_>>().join(" ")))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";

    #[test]
    fn a_comment_is_no_part_of_the_key() {
        let key: PublicKey = format!("{KEY}  root@web01 ").parse().unwrap();
        assert_eq!(key.as_str(), format!("{KEY} root@web01"));
        assert_eq!((key.identity(), KEY.parse::<PublicKey>().unwrap().identity()), (KEY, KEY));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let cut = &KEY[..50];
        let option = format!("command=\"id\" {KEY}");
        let lines = format!("{KEY}\n{KEY}");
        for bad in ["", "ssh-ed25519", "ssh-dss AAAA", cut, "ssh-rsa AAAAC3NzaC1lZDI1NTE5", &option, &lines] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad:?}");
        }
    }
}
