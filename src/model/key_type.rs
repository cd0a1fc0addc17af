//! The types of SSH keys that rlvm creates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PublicKey;

/// The type of a key that rlvm makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum KeyType {
    /// Ed25519: short, fast, and known to every server of the last ten years.
    #[default]
    Ed25519,
    /// RSA of 4096 bits, for old servers.
    Rsa,
    /// ECDSA on the curve P-256.
    Ecdsa,
}

impl KeyType {
    /// Returns its word in the state.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
            Self::Ecdsa => "ecdsa",
        }
    }

    /// Returns the flags by which ssh-keygen makes one.
    pub const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Ed25519 => &["-t", "ed25519"],
            Self::Rsa => &["-t", "rsa", "-b", "4096"],
            Self::Ecdsa => &["-t", "ecdsa", "-b", "256"],
        }
    }

    /// Says whether a key is of this type. How long an RSA key is, or which curve, is its owner's choice.
    pub fn is_of(self, key: &PublicKey) -> bool {
        match self {
            Self::Ed25519 => key.algorithm() == "ssh-ed25519",
            Self::Rsa => key.algorithm() == "ssh-rsa",
            Self::Ecdsa => key.algorithm().starts_with("ecdsa-sha2-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_its_type_alone() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";
        let key: PublicKey = key.parse().unwrap();
        assert!(KeyType::Ed25519.is_of(&key) && !KeyType::Rsa.is_of(&key) && !KeyType::Ecdsa.is_of(&key));
    }
}
