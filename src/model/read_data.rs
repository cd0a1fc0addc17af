//! How much of a repository's data a verification reads back.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Size, Span,
    text::{BadText, word},
};

/// How much is read: `all`, `5%`, `2G`, `all within 90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReadData {
    /// All, each time.
    All,
    /// A share: another part each time, until all was read. Or so many bytes, by chance.
    Share(Size),
    /// Another part each time, so large that all is read within that time.
    Within(Span),
}

word!(
    ReadData,
    "rlvm-read-data",
    "How much is read: all, a share like 5% (another part each time), bytes like 2G (by chance), or all within 90d.",
    "5%"
);

impl FromStr for ReadData {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["all"] => Ok(Self::All),
            ["all", "within", span] => Ok(Self::Within(span.parse()?)),
            [size] => size.parse().map(Self::Share).map_err(|bad: BadText| BadText {
                remedy: Some("write all, 5%, 2G, or all within 90d".into()),
                ..bad
            }),
            _ => {
                Err(BadText::new(text, "is no amount of data").remedy("write all, 5%, 2G, or all within 90d"))
            }
        }
    }
}

impl fmt::Display for ReadData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Share(size) => size.fmt(f),
            Self::Within(span) => write!(f, "all within {span}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written() {
        // R14
        for text in ["all", "5%", "2G", "0.5%", "all within 90d", "all within 1w"] {
            let read: ReadData = text.parse().unwrap();
            let again: ReadData = read.to_string().parse().unwrap();
            assert_eq!(read, again, "{text}");
        }
        assert_eq!("all within 90d".parse(), Ok(ReadData::Within("90d".parse().unwrap())));
        for bad in ["", "5", "all within", "within 90d", "all within 5%", "90d", "101%", "all all"] {
            assert!(bad.parse::<ReadData>().is_err(), "{bad}");
        }
    }
}
