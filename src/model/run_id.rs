//! The id of a run.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text::BadText;

/// A run's name: twelve hexadecimal digits, drawn. Short enough to be part of a volume's name and to be read out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// How many digits it has.
    pub const LENGTH: usize = 12;

    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == Self::LENGTH && text.bytes().all(hex) {
            return Ok(Self(text.into()));
        }
        Err(BadText::new(text, "is no run: that is 12 hexadecimal digits"))
    }
}

impl TryFrom<String> for RunId {
    type Error = BadText;

    fn try_from(text: String) -> Result<Self, BadText> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_digits() {
        assert!("0123456789ab".parse::<RunId>().is_ok());
        for bad in ["", "0123456789a", "0123456789AB", "0123456789abc", "../../../../x"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
    }
}
