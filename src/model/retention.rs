//! How many backups a retention keeps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// Which snapshots are kept; the others are forgotten. Stands for itself: it is never mixed with an inherited one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Keeps this many of the newest snapshots, whatever their age. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// For the last so many hours that have one, the newest snapshot of each is kept. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hourly: Option<u32>,
    /// For the last so many days that have one, the newest snapshot of each is kept. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<u32>,
    /// For the last so many weeks that have one, the newest snapshot of each is kept. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u32>,
    /// For the last so many months that have one, the newest snapshot of each is kept. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u32>,
    /// For the last so many years that have one, the newest snapshot of each is kept. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly: Option<u32>,
    /// Keeps all snapshots that are at most this much older than the newest one; in whole hours, like `30d`. Default:
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<Span>,
}

impl Retention {
    /// Lists the counts with restic's names for them.
    pub fn counts(&self) -> [(&'static str, Option<u32>); 6] {
        [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ]
    }

    /// Says in words which are kept.
    pub fn words(&self) -> String {
        let of = |(name, count): (&str, Option<u32>)| {
            let count = count.filter(|count| *count > 0)?;
            let s = if count == 1 { "" } else { "s" };
            Some(match name.strip_suffix("ly") {
                None => format!("the newest {count}"),
                Some("dai") => format!("the newest of each of {count} day{s}"),
                Some(unit) => format!("the newest of each of {count} {unit}{s}"),
            })
        };
        let within = self.keep_within.map(|span| format!("all that are up to {span} older than the newest"));
        self.counts().into_iter().filter_map(of).chain(within).collect::<Vec<_>>().join(", ")
    }

    /// Says whether anything is kept at all. Of nothing but zeros restic says "no policy was specified", and
    /// returns 0.
    pub fn keeps_something(&self) -> bool {
        self.keep_within.is_some()
            || self.counts().iter().any(|(_, count)| count.is_some_and(|count| count > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_words() {
        let retention = Retention {
            last: Some(3),
            daily: Some(7),
            weekly: Some(0),
            yearly: Some(1),
            keep_within: "30d".parse().ok(),
            ..Retention::default()
        };
        assert_eq!(
            retention.words(),
            "the newest 3, the newest of each of 7 days, the newest of each of 1 year, all that are up to 30d older than \
             the newest"
        );
    }

    #[test]
    fn something_must_be_kept() {
        // R12
        let none = Retention::default();
        assert!(!none.keeps_something());
        assert!(!Retention { daily: Some(0), last: Some(0), ..none.clone() }.keeps_something());
        assert!(Retention { daily: Some(0), weekly: Some(1), ..none.clone() }.keeps_something());
        assert!(Retention { keep_within: "1d".parse().ok(), ..none }.keeps_something());
    }
}
