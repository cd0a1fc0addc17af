//! How a prune removes data that no backup needs any more.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Size,
    text::{BadText, word},
};

/// Limits for removing data that no backup needs any more. restic repacks a pack that holds needed and unneeded data: it
/// reads the pack, writes the needed data to a new pack, and removes the old pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataPrune {
    /// How much unneeded data may stay: a share of the repository like `10%`, a size, `"0"` or `unlimited`. More means less
    /// repacking. Default: restic's own, 5%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unused: Option<UnusedData>,
    /// How much data one prune repacks at most, like 20G. The next prune continues. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_repack_size: Option<Size>,
}

/// How much unneeded data may stay: `unlimited`, `0`, a size like `2G`, or a share of the repository like `10%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum UnusedData {
    /// Any amount: only packs in which nothing is needed are removed.
    Unlimited,
    /// None.
    Nothing,
    /// At most so much.
    AtMost(Size),
}

word!(
    UnusedData,
    "rlvm-unused-data",
    "How much unneeded data may stay: unlimited, 0, a size like 2G, or a share of the repository like 10%.",
    "10%"
);

impl UnusedData {
    /// Returns the value in the form of restic's `--max-unused`: bytes without a unit, since restic takes no fractions of one.
    pub fn for_restic(self) -> String {
        match self {
            Self::AtMost(Size::Bytes(bytes)) => bytes.to_string(),
            _ => self.to_string(),
        }
    }
}

impl FromStr for UnusedData {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        match text {
            "unlimited" => Ok(Self::Unlimited),
            "0" => Ok(Self::Nothing),
            _ => text.parse().map(Self::AtMost).map_err(|bad: BadText| BadText {
                remedy: Some("write unlimited, \"0\", 2G or 10%".into()),
                ..bad
            }),
        }
    }
}

impl fmt::Display for UnusedData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::Nothing => f.write_str("0"),
            Self::AtMost(size) => size.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written() {
        for (text, for_restic) in [
            ("unlimited", "unlimited"),
            ("0", "0"),
            ("1.5G", "1610612736"),
            ("2G", "2147483648"),
            ("10%", "10%"),
            ("0.5%", "0.5%"),
        ] {
            let read: UnusedData = text.parse().unwrap();
            assert_eq!(read.to_string().parse(), Ok(read), "{text}");
            assert_eq!(read.for_restic(), for_restic, "{text}");
        }
        for bad in ["", "-1", "5", "0%", "101%", "all", "none"] {
            assert!(bad.parse::<UnusedData>().is_err(), "{bad}");
        }
    }
}
