//! A schedule, as cron writes it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text::{BadText, word};

/// A time in cron's words: five fields, or a name like `@daily`.
///
/// Stricter than any one cron, so that what it accepts means the same to all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule(String);

word!(
    Schedule,
    "rlvm-schedule",
    "A time in cron's words: minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, @monthly, @yearly, @reboot.",
    "30 2 * * *"
);

const NAMES: [&str; 8] =
    ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "@reboot"];
const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// The days of each month, February's in a leap year.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// One of the five fields: what it is called, its range, and the names that may stand for numbers.
pub(super) struct Field {
    name: &'static str,
    pub(super) first: u32,
    pub(super) last: u32,
    names: &'static [&'static str],
}

pub(super) const FIELDS: [Field; 5] = [
    Field { name: "minute", first: 0, last: 59, names: &[] },
    Field { name: "hour", first: 0, last: 23, names: &[] },
    Field { name: "day of month", first: 1, last: 31, names: &[] },
    Field { name: "month", first: 1, last: 12, names: MONTHS },
    Field { name: "day of week", first: 0, last: 7, names: DAYS },
];

impl Field {
    /// Reads one number or name; the names count from the field's first number.
    fn number(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(number) = named.and_then(|place| u32::try_from(place).ok()) {
            return Ok(self.first + number);
        }
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if plain && (self.first..=self.last).contains(&number) => Ok(number),
            Ok(_) if plain => Err(format!("{text} is not in {}-{}", self.first, self.last)),
            _ => Err(format!("`{}` is no {}", text.escape_debug(), self.name)),
        }
    }

    /// Reads the field into a set of bits.
    pub(super) fn set(&self, text: &str) -> Result<u64, String> {
        let mut set = 0;
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => match step.parse::<usize>() {
                    Ok(size) if size > 0 && step.bytes().all(|b| b.is_ascii_digit()) => (range, Some(size)),
                    _ => return Err(format!("`{}` is no step", step.escape_debug())),
                },
                None => (item, None),
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.first, self.last),
                Some((from, to)) => (self.number(from)?, self.number(to)?),
                None if step.is_some() => {
                    return Err(format!("a step needs a range, like */{}", step.unwrap_or(1)));
                }
                None => (self.number(range)?, self.number(range)?),
            };
            if from > to {
                return Err(format!("{from}-{to} runs backwards"));
            }
            set |= (from..=to).step_by(step.unwrap_or(1)).fold(0, |bits, number| bits | 1 << number);
        }
        Ok(set)
    }
}

impl Schedule {
    /// Returns the schedule as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether the date is in no calendar, as 31 February.
    pub fn never_comes(&self) -> bool {
        let fields: Vec<&str> = self.0.split(' ').collect();
        let [_, _, day, month, weekday] = fields[..] else { return false };
        // With a day of month and a day of week cron takes either.
        if !weekday.starts_with('*') {
            return false;
        }
        let (Ok(days), Ok(months)) = (FIELDS[2].set(day), FIELDS[3].set(month)) else { return false };
        let comes = |(month, length): (usize, &u32)| {
            months & 1 << (month + 1) != 0 && days.trailing_zeros() <= *length
        };
        !LENGTHS.iter().enumerate().any(comes)
    }
}

/// Says what is wrong with a word that is not five fields.
fn count(text: &str, fields: usize) -> BadText {
    if text.starts_with('@') {
        let remedy = format!("use one of {}", NAMES.join(", "));
        return BadText::new(text, "is no name that cron knows").remedy(remedy);
    }
    let why = format!("must have five fields, and has {fields}");
    let remedy = match fields {
        6 | 7 => "cron knows neither seconds nor years: minute, hour, day of month, month, day of week",
        _ => "write minute, hour, day of month, month, day of week: `30 2 * * *`; or a name like @daily",
    };
    BadText::new(text, why).remedy(remedy)
}

impl FromStr for Schedule {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        if text.contains(|c: char| c.is_control() && c != '\t') {
            return Err(BadText::new(text, "must be one line"));
        }
        let lower = text.trim().to_ascii_lowercase();
        if NAMES.contains(&lower.as_str()) {
            return Ok(Self(lower));
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        if text.starts_with('@') || words.len() != FIELDS.len() {
            return Err(count(text, words.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "*/,- \t".contains(c);
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return Err(BadText::new(text, format!("has `{c}`, which not every cron reads")));
        }
        for (field, word) in FIELDS.iter().zip(&words) {
            field.set(word).map_err(|why| BadText::new(text, format!("has a bad {}: {why}", field.name)))?;
        }
        Ok(Self(words.join(" ")))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_cron_reads() {
        // R11
        for (text, shown) in [
            ("30 2 * * *", "30 2 * * *"),
            ("  30\t2  * * * ", "30 2 * * *"),
            ("*/5 0-6,22,23 1,15 JAN-mar MON", "*/5 0-6,22,23 1,15 JAN-mar MON"),
            ("0 0 31 12 7", "0 0 31 12 7"),
            ("0-59/10 * * * *", "0-59/10 * * * *"),
            ("@Daily", "@daily"),
            ("@reboot", "@reboot"),
        ] {
            assert_eq!(text.parse::<Schedule>().map(|s| s.to_string()), Ok(shown.into()), "{text}");
        }
    }

    #[test]
    fn what_some_crons_refuse_is_refused() {
        for bad in [
            "",
            "* * * *",
            "0 30 2 * * *",
            "0 30 2 * * * 2026",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * 0 *",
            "* * * * 8",
            "* * * * FRI#2",
            "* * L * *",
            "* * 15W * *",
            "* * ? * *",
            "30-10 * * * *",
            "*/0 * * * *",
            "5/10 * * * *",
            "*/x * * * *",
            "1, * * * *",
            "+1 * * * *",
            "MON * * * *",
            "* * * MON *",
            "0 2 * * *\n* * * * * root id",
            "0 2 * * $(id)",
            "0 2 * * *;",
            "0 2 * * %",
            "@noon",
            "@daily x",
            "~ 2 * * *",
        ] {
            assert!(bad.parse::<Schedule>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn dates_that_are_in_no_calendar() {
        for (text, never) in [
            ("0 0 31 2 *", true),
            ("0 0 30 FEB *", true),
            ("0 0 31 4,6,9,11 *", true),
            ("0 0 29 2 *", false),
            ("0 0 31 2 MON", false),
            ("0 0 31 2,3 *", false),
            ("0 0 */31 2 *", false),
            ("@monthly", false),
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap().never_comes(), never, "{text}");
        }
    }
}
