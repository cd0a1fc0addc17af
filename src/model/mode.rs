//! Permission bits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text::{BadText, word};

/// Permission bits of a file or directory, written in octal: `"0750"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

word!(Mode, "rlvm-mode", "Permission bits in octal, in quotes: YAML reads a bare 0750 as a number.", "0750");

impl Mode {
    /// Makes a mode of its bits; those above 0o7777 are dropped.
    pub const fn new(bits: u32) -> Self {
        Self(bits & 0o7777)
    }

    /// Returns the bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Says whether group or others may do anything at all.
    pub const fn is_private(self) -> bool {
        matches!(self.0 & 0o077, 0)
    }
}

impl FromStr for Mode {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let plain = matches!(text.len(), 3 | 4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(text, 8) {
            Ok(bits) if plain => Ok(Self(bits)),
            _ => Err(BadText::new(text, "must be three or four octal digits")
                .remedy("write the mode in quotes, like \"0750\"")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_digits_only() {
        for (text, bits) in [("0750", 0o750), ("755", 0o755), ("1777", 0o1777), ("0000", 0)] {
            assert_eq!(text.parse(), Ok(Mode::new(bits)), "{text}");
        }
        for bad in ["", "75", "0o750", "07500", "0788", "rwx", "+755", "-755", " 755"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn shown_with_four_digits_and_private_or_not() {
        assert_eq!(Mode::new(0o100_644).to_string(), "0644");
        assert!(Mode::new(0o600).is_private() && Mode::new(0o400).is_private());
        assert!(!Mode::new(0o640).is_private() && !Mode::new(0o601).is_private());
    }
}
