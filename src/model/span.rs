//! Lengths of time.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::text::{BadText, word};

/// A length of time in whole seconds, never none: `90s`, `5m`, `6h`, `2d`, `1w`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

word!(Span, "rlvm-span", "A length of time: s, m (minutes), h, d, w; 1h30m too.", "6h");

const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl Span {
    /// Makes a span of so many minutes, at least one.
    pub const fn minutes(count: u64) -> Self {
        Self(if count == 0 { 60 } else { count * 60 })
    }

    /// Says whether restic's `--keep-within` takes it for what it is: whole hours, and no more than a century. It counts
    /// hours in nanoseconds of 64 bits, and of what does not fit (292 years) it keeps nothing (tried with 0.14).
    pub const fn is_kept_within(self) -> bool {
        self.0.is_multiple_of(3600) && self.0 <= 36_500 * 86_400
    }

    /// Returns the length in seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Returns the length as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

/// Adds up `1h30m`; `None` if it is not that.
fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(count.checked_mul(*length)?)?;
        rest = &rest[end + unit.len_utf8()..];
    }
    Some(total)
}

impl FromStr for Span {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        match seconds(text) {
            Some(0) => Err(BadText::new(text, "must be longer than nothing")),
            Some(seconds) => Ok(Self(seconds)),
            None => {
                Err(BadText::new(text, "is no length of time")
                    .remedy("write it like 90s, 5m, 6h, 2d or 1h30m"))
            }
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        for (unit, length) in UNITS {
            // Weeks only where they come out even: 8d is clearer than 1w1d.
            if rest >= length && (unit != 'w' || rest.is_multiple_of(length)) {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, seconds, shown) in [
            ("90s", 90, "1m30s"),
            ("5m", 300, "5m"),
            ("6h", 21_600, "6h"),
            ("2d", 172_800, "2d"),
            ("1w", 604_800, "1w"),
            ("8d", 691_200, "8d"),
            ("1h30m", 5400, "1h30m"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.seconds(), seconds, "{text}");
            assert_eq!(span.to_string(), shown);
            assert_eq!(shown.parse(), Ok(span));
        }
    }

    #[test]
    fn rubbish_is_refused() {
        for bad in [
            "",
            "0s",
            "0h0m",
            "5",
            "m",
            "5 m",
            "5M",
            "-5m",
            "1.5h",
            "5mm",
            "99999999999999999999s",
            "1y",
            "5ü",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }
}
