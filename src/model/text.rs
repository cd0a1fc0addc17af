//! What all checked words share: an error that says what is wrong, and a list by which the schema knows them.

use std::{fmt, str::FromStr};

use super::{
    FetchUrl, FromPatterns, GroupName, HostName, HostPath, Line, LvName, Mode, Name, PathPattern, PublicKey,
    ReadData, Release, Schedule, Script, Server, Sha256, Size, Span, Url, UserName,
};

/// Why a text is not the word it should be: the text, what is wrong with it, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadText {
    /// The text as written.
    pub text: String,
    /// What is wrong, as the end of a sentence that starts with the text: "must start with `/`".
    pub why: String,
    /// What to write instead, where that can be said.
    pub remedy: Option<String>,
}

impl BadText {
    pub(crate) fn new(text: &str, why: impl Into<String>) -> Self {
        Self { text: text.into(), why: why.into(), remedy: None }
    }

    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.text.escape_debug(), self.why)
    }
}

impl std::error::Error for BadText {}

/// A word's name in the schema (`format`) and its parser, for checking without keeping the value.
pub struct Format {
    /// The value of `format` in the schema.
    pub name: &'static str,
    /// Parses and drops the value.
    pub check: fn(&str) -> Result<(), BadText>,
}

const fn format<T: FromStr<Err = BadText>>(name: &'static str) -> Format {
    Format { name, check: |text| text.parse::<T>().map(drop) }
}

/// Every checked word that a state file can hold.
pub const FORMATS: &[Format] = &[
    format::<HostPath>("rlvm-path"),
    format::<Mode>("rlvm-mode"),
    format::<Name>("rlvm-name"),
    format::<UserName>("rlvm-user"),
    format::<GroupName>("rlvm-group"),
    format::<HostName>("rlvm-host"),
    format::<Line>("rlvm-line"),
    format::<Script>("rlvm-script"),
    format::<Size>("rlvm-size"),
    format::<Span>("rlvm-span"),
    format::<Schedule>("rlvm-schedule"),
    format::<Server>("rlvm-server"),
    format::<Url>("rlvm-url"),
    format::<FetchUrl>("rlvm-fetch-url"),
    format::<Release>("rlvm-release"),
    format::<Sha256>("rlvm-sha256"),
    format::<PublicKey>("rlvm-public-key"),
    format::<FromPatterns>("rlvm-from"),
    format::<LvName>("rlvm-lv"),
    format::<PathPattern>("rlvm-path-pattern"),
    format::<ReadData>("rlvm-read-data"),
];

/// Gives a word that parses from text its serde, `Display` for a plain inner string, and its place in the schema.
macro_rules! word {
    ($Word:ident, $format:literal, $description:literal, $example:literal) => {
        impl TryFrom<String> for $Word {
            type Error = $crate::model::BadText;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$Word> for String {
            fn from(word: $Word) -> Self {
                word.to_string()
            }
        }

        impl schemars::JsonSchema for $Word {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Word).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "format": $format,
                    "description": $description,
                    "examples": [$example],
                })
            }
        }
    };
}

pub(crate) use word;
