//! Amounts of data: a number of bytes, or a share of a volume.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text::{BadText, word};

/// A size: `512M`, `1.5G`, `1GiB`, or a share like `10%`. Units are powers of 1024, as LVM's and restic's are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Size {
    /// So many bytes.
    Bytes(u64),
    /// A share, in thousandths of a percent, so that it can be compared and hashed: `10%` is 10,000.
    Percent(u32),
}

word!(Size, "rlvm-size", "A size with its unit (K, M, G, T; powers of 1024), or a share like 10%.", "2G");

const UNITS: [(&str, u32); 5] = [("T", 40), ("G", 30), ("M", 20), ("K", 10), ("B", 0)];
const PERCENT: u32 = 1000;

impl Size {
    /// Returns the size in bytes, a share being taken of `whole`, rounded up.
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(share) => {
                let part = (u128::from(whole) * u128::from(share)).div_ceil(u128::from(100 * PERCENT));
                u64::try_from(part).unwrap_or(u64::MAX)
            }
        }
    }
}

/// Reads `12.5` as a count of `1 / scale`, dropping what is finer; `None` if it is no plain decimal.
fn decimal(text: &str, scale: u128) -> Option<u128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let base = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let (whole, part): (u128, u128) = (whole.parse().ok()?, part.parse().ok()?);
    Some(whole * scale + part * scale / base)
}

impl FromStr for Size {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let bad = |why| BadText::new(text, why);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = (text[..end].trim_end(), text[end..].trim_start());
        let example = "write it like 512M, 1.5G or 10%";
        if unit == "%" {
            let share = decimal(number, PERCENT.into()).ok_or_else(|| bad("is no share").remedy(example))?;
            return match u32::try_from(share) {
                Ok(share) if (1..=100 * PERCENT).contains(&share) => Ok(Self::Percent(share)),
                _ => Err(bad("must be more than 0% and at most 100%")),
            };
        }
        let short = unit.strip_suffix("iB").unwrap_or(unit).to_ascii_uppercase();
        if decimal(number, 1).is_some() && short.len() == 2 && short.ends_with('B') {
            let remedy = format!("write {number}{}iB (1024) to be clear", &short[..1]);
            return Err(bad("could mean powers of 1000 or of 1024").remedy(remedy));
        }
        let shift = UNITS.iter().find(|(name, _)| *name == short).map(|(_, shift)| *shift);
        let (Some(shift), Some(_)) = (shift, decimal(number, 1)) else {
            let why = if unit.is_empty() && !number.is_empty() { "has no unit" } else { "is no size" };
            return Err(bad(why).remedy(example));
        };
        match decimal(number, 1 << shift).map(u64::try_from) {
            Some(Ok(0)) => Err(bad("must be more than nothing")),
            Some(Ok(bytes)) => Ok(Self::Bytes(bytes)),
            _ => Err(bad("is more than can be counted")),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bytes(bytes) => {
                let whole = |&&(_, shift): &&(&str, u32)| bytes.is_multiple_of(1 << shift);
                let &(unit, shift) = UNITS.iter().find(whole).unwrap_or(&("B", 0));
                write!(f, "{}{unit}", bytes >> shift)
            }
            Self::Percent(share) if share % PERCENT == 0 => write!(f, "{}%", share / PERCENT),
            Self::Percent(share) => {
                let part = format!("{:03}", share % PERCENT);
                write!(f, "{}.{}%", share / PERCENT, part.trim_end_matches('0'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        // R14
        for (text, bytes, shown) in [
            ("512M", 512 << 20, "512M"),
            ("2G", 2 << 30, "2G"),
            ("1.5G", 3 << 29, "1536M"),
            ("1GiB", 1 << 30, "1G"),
            ("3k", 3 << 10, "3K"),
            ("1T", 1 << 40, "1T"),
            ("1 G", 1 << 30, "1G"),
            ("1000B", 1000, "1000B"),
            ("1.1K", 1126, "1126B"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size, Size::Bytes(bytes), "{text}");
            assert_eq!(size.to_string(), shown);
            assert_eq!(shown.parse(), Ok(size));
        }
    }

    #[test]
    fn shares_are_of_the_origin() {
        for (text, share) in [("10%", 10_000), ("12.5%", 12_500), ("100%", 100_000), ("0.001%", 1)] {
            assert_eq!(text.parse(), Ok(Size::Percent(share)), "{text}");
            assert_eq!(Size::Percent(share).to_string(), text);
        }
        assert_eq!(Size::Percent(10_000).of(1001), 101);
        assert_eq!(Size::Bytes(7).of(1), 7);
        assert_eq!(Size::Percent(100_000).of(u64::MAX), u64::MAX);
    }

    #[test]
    fn rubbish_is_refused() {
        for bad in [
            "",
            "G",
            "2",
            "2X",
            "2GB",
            "-1G",
            "1..5G",
            "1.G",
            ".5G",
            "0G",
            "0%",
            "101%",
            "1e3M",
            "2G x",
            "99999999T",
            "%",
        ] {
            assert!(bad.parse::<Size>().is_err(), "{bad:?}");
        }
        assert_eq!(
            "2GB".parse::<Size>().unwrap_err().remedy.as_deref(),
            Some("write 2GiB (1024) to be clear")
        );
    }
}
