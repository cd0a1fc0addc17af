//! The version and digest that pin a program.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text::{BadText, word};

/// A released version of a program, in three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release([u32; 3]);

word!(Release, "rlvm-release", "A version of three numbers.", "0.18.0");

/// A SHA-256 digest in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(String);

word!(
    Sha256,
    "rlvm-sha256",
    "A SHA-256 digest: 64 hexadecimal digits.",
    "98f6dd8bf5b59058d04bfd8dab58e196cc2a680666ccee90275a3b722374438e"
);

impl Release {
    /// Returns the three numbers.
    pub const fn numbers(self) -> [u32; 3] {
        self.0
    }
}

impl Sha256 {
    /// Writes a digest that was computed.
    pub fn of_digest(digest: &[u8]) -> Self {
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Returns the digest in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Release {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let number =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let numbers: Option<Vec<u32>> = text.split('.').map(number).collect();
        match numbers.as_deref() {
            Some(&[major, minor, patch]) => Ok(Self([major, minor, patch])),
            _ => Err(BadText::new(text, "must be three numbers, like 0.18.0")),
        }
    }
}

impl FromStr for Sha256 {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(BadText::new(text, "must be 64 hexadecimal digits"))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_digests() {
        assert_eq!("0.18.0".parse(), Ok(Release([0, 18, 0])));
        for bad in ["", "0.18", "v0.18.0", "0.18.0.1", "0..1", "0.18.0-rc"] {
            assert!(bad.parse::<Release>().is_err(), "{bad:?}");
        }
        assert_eq!("A".repeat(64).parse::<Sha256>().unwrap().as_str(), "a".repeat(64));
        assert!("g".repeat(64).parse::<Sha256>().is_err() && "a".parse::<Sha256>().is_err());
    }
}
