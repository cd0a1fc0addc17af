//! Free text of one line, or of several lines.

use serde::{Deserialize, Serialize};

use super::text::{BadText, plain_word};

/// Text of one line, not empty, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Line(String);

plain_word!(Line, check_line, "rlvm-line", "One line of text, not empty.", "text");

/// Shell, as the user wrote it: not empty, of one or several lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Script(String);

plain_word!(
    Script,
    check_script,
    "rlvm-script",
    "Shell, for /bin/sh -c; one line or several.",
    "/usr/local/bin/shop flush"
);

fn check_line(text: &str) -> Result<(), BadText> {
    if text.trim().is_empty() {
        return Err(BadText::new(text, "must not be empty").remedy("write a value, or leave the key out"));
    }
    if text.contains(|c: char| c.is_control()) {
        return Err(BadText::new(text, "must be one line, without control characters"));
    }
    Ok(())
}

fn check_script(text: &str) -> Result<(), BadText> {
    if text.trim().is_empty() {
        return Err(BadText::new(text, "must not be empty").remedy("write a command, or leave the hook out"));
    }
    if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return Err(BadText::new(text, "must have no control characters"));
    }
    Ok(())
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
