//! The public half of an SSH key.

use std::{fmt, str::FromStr};

use base64ct::{Base64, Base64Unpadded, Encoding};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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

    /// Returns the key without its comment: what two keys must share to be one.
    pub fn identity(&self) -> &str {
        let end = self.0.match_indices(' ').nth(1).map_or(self.0.len(), |(end, _)| end);
        &self.0[..end]
    }

    /// Returns its type, the first word: `ssh-ed25519`.
    pub fn algorithm(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// Returns the key with another comment.
    #[must_use]
    pub fn commented(&self, comment: &str) -> Self {
        Self(format!("{} {comment}", self.identity()))
    }

    /// Returns its fingerprint as `ssh-keygen -l` prints it: `SHA256:` and the digest.
    pub fn fingerprint(&self) -> String {
        let key = self.0.split(' ').nth(1).unwrap_or_default();
        // It was decoded once already, when it was parsed.
        let blob = Base64::decode_vec(key).unwrap_or_default();
        format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(&blob)))
    }

    /// Reads the form that it has on the wire and in a private key's file (RFC 4253, section 6.6).
    pub(crate) fn of_blob(blob: &[u8]) -> Option<Self> {
        let (kind, _) = field(blob)?;
        let kind = std::str::from_utf8(kind).ok()?;
        format!("{kind} {}", Base64::encode_string(blob)).parse().ok()
    }
}

/// Splits a length and so many bytes off.
pub(crate) fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Says whether a key's bytes are fields to the end, of which the first names its type.
fn is_whole(blob: &[u8], kind: &str) -> bool {
    let Some((first, mut rest)) = field(blob) else { return false };
    while let Some((_, more)) = field(rest) {
        rest = more;
    }
    first == kind.as_bytes() && rest.is_empty()
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
        let whole = || Base64::decode_vec(key).is_ok_and(|blob| is_whole(&blob, kind));
        if !key.starts_with(start) || key.len() < 60 || !whole() {
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
    fn its_fingerprint_is_that_of_ssh_keygen() {
        // ssh-keygen -l (OpenSSH 9.2) of the same key.
        let key: PublicKey = KEY.parse().unwrap();
        assert_eq!(key.fingerprint(), "SHA256:pNzSZLvc/VwPg8PS8v0mASPwwQX97txw6nejuJAMqs8");
        assert_eq!(key.algorithm(), "ssh-ed25519");
        assert_eq!(key.commented("a b").as_str(), format!("{KEY} a b"));
        let blob = Base64::decode_vec(&KEY[12..]).unwrap();
        assert_eq!(PublicKey::of_blob(&blob), Some(key));
        assert_eq!(PublicKey::of_blob(&blob[..40]), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let cut = &KEY[..50];
        // Whole words of base64, and yet not the whole key.
        let short = &KEY[..76];
        let option = format!("command=\"id\" {KEY}");
        let lines = format!("{KEY}\n{KEY}");
        for bad in
            ["", "ssh-ed25519", "ssh-dss AAAA", cut, short, "ssh-rsa AAAAC3NzaC1lZDI1NTE5", &option, &lines]
        {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad:?}");
        }
    }
}
