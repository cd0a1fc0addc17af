//! Versions of restic.

use std::fmt;

/// The oldest restic that is known to work: Debian 12's.
pub const OLDEST: Version = Version(0, 14, 0);

/// restic's version: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads what `restic version` printed: `restic 0.14.0 compiled with go1.19.8 on linux/amd64`.
    pub fn read(text: &str) -> Option<Self> {
        let word = text.split_whitespace().skip_while(|word| *word != "restic").nth(1)?;
        let plain = word.split(['-', '+']).next()?;
        let mut numbers = plain.split('.').map(|part| part.parse().ok());
        Some(Self(numbers.next()??, numbers.next()??, numbers.next().unwrap_or(Some(0))?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        for (text, expected) in [
            ("restic 0.14.0 compiled with go1.19.8 on linux/amd64\n", Some(Version(0, 14, 0))),
            ("restic 0.18.0-dev (compiled manually) compiled with go1.24", Some(Version(0, 18, 0))),
            ("restic 1.0", Some(Version(1, 0, 0))),
            ("restic", None),
            ("bash: restic: command not found", None),
            ("", None),
        ] {
            assert_eq!(Version::read(text), expected, "{text}");
        }
        assert!(Version(0, 9, 6) < OLDEST && Version(0, 18, 0) > OLDEST);
        assert_eq!(OLDEST.to_string(), "0.14.0");
    }
}
