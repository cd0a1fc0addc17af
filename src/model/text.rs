//! Defines the error of all checked types, and the list by which the schema knows these types.

use std::fmt;

use super::{
    FetchUrl, FromPatterns, GroupName, HostName, HostPath, Line, LvName, Mode, Name, PathPattern, PublicKey,
    ReadData, Release, Schedule, Script, Server, Sha256, Size, Span, UnusedData, Url, UserName,
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

/// A checked word.
pub(super) trait Word {
    /// The value of `format` in the schema.
    const FORMAT: &'static str;

    /// Says what is wrong with a text, if it is not such a word.
    fn check(text: &str) -> Result<(), BadText>;
}

const fn format<T: Word>() -> Format {
    Format { name: T::FORMAT, check: T::check }
}

/// Every checked word that a state file can hold.
pub const FORMATS: &[Format] = &[
    format::<HostPath>(),
    format::<Mode>(),
    format::<Name>(),
    format::<UserName>(),
    format::<GroupName>(),
    format::<HostName>(),
    format::<Line>(),
    format::<Script>(),
    format::<Size>(),
    format::<UnusedData>(),
    format::<Span>(),
    format::<Schedule>(),
    format::<Server>(),
    format::<Url>(),
    format::<FetchUrl>(),
    format::<Release>(),
    format::<Sha256>(),
    format::<PublicKey>(),
    format::<FromPatterns>(),
    format::<LvName>(),
    format::<PathPattern>(),
    format::<ReadData>(),
];

/// Gives a word that parses from text its serde, and its place in the schema.
macro_rules! word {
    ($Word:ident, $format:literal, $description:literal, $example:literal) => {
        impl $crate::model::text::Word for $Word {
            const FORMAT: &'static str = $format;

            fn check(text: &str) -> Result<(), $crate::model::BadText> {
                text.parse::<Self>().map(drop)
            }
        }

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

        $crate::model::text::described!($Word, $format, $description, $example);
    };
}

/// Gives a word that is kept as it was written all that [`word`] gives, and its parser, its text and `Display` too.
/// `check` says what is wrong with a text. A text that is given away is not copied.
macro_rules! plain_word {
    ($Word:ident, $check:path, $format:literal, $description:literal, $example:literal) => {
        impl $crate::model::text::Word for $Word {
            const FORMAT: &'static str = $format;

            fn check(text: &str) -> Result<(), $crate::model::BadText> {
                $check(text)
            }
        }

        impl std::str::FromStr for $Word {
            type Err = $crate::model::BadText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $check(text).map(|()| Self(text.to_owned().into()))
            }
        }

        impl TryFrom<String> for $Word {
            type Error = $crate::model::BadText;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                $check(&text).map(|()| Self(text.into()))
            }
        }

        impl From<$Word> for String {
            fn from(word: $Word) -> Self {
                word.0.into()
            }
        }

        impl std::fmt::Display for $Word {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl $Word {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        $crate::model::text::described!($Word, $format, $description, $example);
    };
}

/// Gives a word its place in the schema.
macro_rules! described {
    ($Word:ident, $format:literal, $description:literal, $example:literal) => {
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

pub(crate) use {described, plain_word, word};

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text on each way that there is.
    fn read<T>(text: &str) -> Vec<Result<String, BadText>>
    where
        T: Word + std::str::FromStr<Err = BadText> + TryFrom<String, Error = BadText> + Into<String>,
    {
        let checked = T::check(text).map(|()| text.to_owned());
        let parsed = text.parse::<T>().map(Into::into);
        let moved = T::try_from(text.to_owned()).map(Into::into);
        vec![checked, parsed, moved]
    }

    #[test]
    fn a_plain_word_is_the_same_however_it_is_read() {
        for text in ["root", "a", "/", "/srv/a", "web01", "", "a b", "../a", "\n", "ä", "/a/", "x*"] {
            for all in [
                read::<HostPath>(text),
                read::<Name>(text),
                read::<UserName>(text),
                read::<GroupName>(text),
                read::<HostName>(text),
                read::<Line>(text),
                read::<Script>(text),
                read::<PathPattern>(text),
            ] {
                assert!(all.iter().all(|it| *it == all[0]), "{text:?}: {all:?}");
            }
        }
    }
}
