//! Free text: of one line, or of several.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text::{BadText, word};

/// Text of one line, not empty, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Line(String);

word!(Line, "rlvm-line", "One line of text, not empty.", "text");

/// Shell, as the user wrote it: not empty, of one or several lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Script(String);

word!(Script, "rlvm-script", "Shell, for /bin/sh -c; one line or several.", "/usr/local/bin/shop flush");

impl Line {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Script {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Line {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        if text.trim().is_empty() {
            return Err(BadText::new(text, "must not be empty").remedy("write a value, or leave the key out"));
        }
        if text.contains(|c: char| c.is_control()) {
            return Err(BadText::new(text, "must be one line, without control characters"));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for Script {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        if text.trim().is_empty() {
            return Err(
                BadText::new(text, "must not be empty").remedy("write a command, or leave the hook out")
            );
        }
        if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
            return Err(BadText::new(text, "must have no control characters"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_needed() {
        // R02
        for bad in ["", " ", "\t", "a\0", "a\x1b[0m"] {
            assert!(bad.parse::<Line>().is_err() && bad.parse::<Script>().is_err(), "{bad:?}");
        }
        assert!("a\nb".parse::<Line>().is_err());
        assert!("a\n\tb\n".parse::<Script>().is_ok() && "ä b".parse::<Line>().is_ok());
    }
}
