//! The address of a resource: kind and key.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::BadText;

/// A resource's name: its kind and what tells it from others of the kind, `directory:/srv/backup`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

impl Address {
    /// Makes the address of `key` among `kind`.
    pub fn new(kind: &str, key: &str) -> Self {
        Self([kind, ":", key].concat())
    }

    /// Returns the address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the kind's name.
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or("", |(kind, _)| kind)
    }

    /// Returns what tells it from others of its kind.
    pub fn key(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, key)| key)
    }
}

impl FromStr for Address {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        match text.split_once(':') {
            Some((kind, key)) if !kind.is_empty() && !key.is_empty() => Ok(Self(text.into())),
            _ => {
                Err(BadText::new(text, "is no address").remedy("write KIND:NAME, like directory:/srv/backup"))
            }
        }
    }
}

impl TryFrom<String> for Address {
    type Error = BadText;

    fn try_from(text: String) -> Result<Self, BadText> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl From<&Address> for String {
    fn from(address: &Address) -> Self {
        address.0.clone()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_and_key() {
        let address: Address = "directory:/a:b".parse().unwrap();
        assert_eq!((address.kind(), address.key()), ("directory", "/a:b"));
        for bad in ["", "a", ":a", "a:"] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }
}
