//! Chooses a snapshot by its id, by a time, or as the latest.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::Listed;

/// The fewest digits of an id that name it.
const FEWEST: usize = 4;
/// How rlvm prints the days of the week.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Which snapshot is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The newest.
    Latest,
    /// The newest that is not after this.
    Until(Timestamp),
    /// The one whose id begins so; a copy of it too.
    Id(String),
}

impl Wanted {
    /// Reads what a person writes: `latest`, an id or how it begins, `2026-11-20`, `2026-11-20 14:00`, a time of RFC 3339, or
    /// a time as rlvm prints it: `Fri 2026-11-20 14:00:30 CET`. A day, a minute and a second are meant to their end, so
    /// that a time that was printed picks the snapshot that it was printed of. Where clocks were set back and no zone is
    /// named, a time is meant to its last minute of that name.
    ///
    /// # Errors
    ///
    /// If it is none of these.
    pub fn read(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let text = text.trim();
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if text.len() >= FEWEST && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Id(text.to_ascii_lowercase()));
        }
        until(text, zone).map(Self::Until).ok_or_else(|| {
            format!(
                "cannot read `{text}` as a snapshot: write `latest`, at least {FEWEST} digits of an id, `2026-11-20` or `2026-11-20 14:00`"
            )
        })
    }

    /// Picks it out of a list, the oldest first; none if there is none.
    ///
    /// # Errors
    ///
    /// If several are meant.
    pub fn pick<'a>(&self, all: &[&'a Listed]) -> Result<Option<&'a Listed>, String> {
        match self {
            Self::Latest => Ok(all.last().copied()),
            Self::Until(until) => {
                Ok(all.iter().rev().find(|it| it.time().is_some_and(|time| time <= *until)).copied())
            }
            Self::Id(id) => {
                let is = |it: &&&Listed| {
                    it.id.starts_with(id) || it.original.as_ref().is_some_and(|of| of.starts_with(id))
                };
                let found: Vec<&Listed> = all.iter().filter(is).copied().collect();
                match found.as_slice() {
                    [] => Ok(None),
                    [one] => Ok(Some(one)),
                    several => {
                        let ids: Vec<&str> =
                            several.iter().map(|it| it.id.get(..12).unwrap_or(&it.id)).collect();
                        Err(format!("several snapshots have an id that begins with {id}: {}", ids.join(", ")))
                    }
                }
            }
        }
    }
}

/// Reads a time, and returns its last nanosecond.
fn until(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return stamp.checked_add(rest(text)).ok();
    }
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    // The day of the week says nothing more.
    let text = match text.split_once(' ') {
        Some((first, rest)) if DAYS.contains(&first) => rest,
        _ => text,
    };
    let (text, abbreviation) = match text.rsplit_once(' ') {
        Some((rest, last)) if is_word(last) => (rest, Some(last)),
        _ => (text, None),
    };
    if let Some(day) = text.parse::<Date>().ok().filter(|_| text.len() == 10 && abbreviation.is_none()) {
        // Not the last second of the day, which may have been set back.
        let midnight = zone.to_ambiguous_timestamp(day.tomorrow().ok()?.at(0, 0, 0, 0)).earlier().ok()?;
        return midnight.checked_sub(SignedDuration::from_nanos(1)).ok();
    }
    let time = zone.to_ambiguous_timestamp(text.parse::<DateTime>().ok()?);
    let found = match abbreviation {
        None => time.later().ok()?,
        Some(word) => [time.later().ok()?, time.earlier().ok()?]
            .into_iter()
            .find(|it| it.to_zoned(zone.clone()).strftime("%Z").to_string() == word)?,
    };
    found.checked_add(rest(text)).ok()
}

/// Says how much of what a time names comes after it: a minute is meant to its end, a second too.
fn rest(text: &str) -> SignedDuration {
    let clock = text.split(['T', 't', ' ']).nth(1).unwrap_or_default();
    let clock = clock.split(['Z', 'z', '+', '-']).next().unwrap_or_default();
    match (clock.contains(['.', ',']), clock.matches(':').count()) {
        (true, _) => SignedDuration::ZERO,
        (false, 2) => SignedDuration::new(0, 999_999_999),
        (false, _) => SignedDuration::new(59, 999_999_999),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: &str, time: &str) -> Listed {
        Listed { id: id.into(), time: time.into(), ..Listed::default() }
    }

    #[test]
    fn by_time_where_clocks_are_set() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        // Clocks went from 3:00 back to 2:00 on 25 October, and from 2:00 on to 3:00 on 29 March.
        for (text, expected) in [
            ("2026-11-20", "2026-11-20T22:59:59.999999999Z"),
            ("2026-11-20 14:00", "2026-11-20T13:00:59.999999999Z"),
            ("2026-11-20T14:00:30", "2026-11-20T13:00:30.999999999Z"),
            ("2026-11-20T14:00:30.5", "2026-11-20T13:00:30.5Z"),
            ("Fri 2026-11-20 14:00", "2026-11-20T13:00:59.999999999Z"),
            ("Fri 2026-11-20 14:00:30 CET", "2026-11-20T13:00:30.999999999Z"),
            ("2026-10-25 01:59", "2026-10-24T23:59:59.999999999Z"),
            ("2026-10-25 02:30", "2026-10-25T01:30:59.999999999Z"),
            ("2026-10-25 02:30:00 CEST", "2026-10-25T00:30:00.999999999Z"),
            ("2026-10-25 02:30:00 CET", "2026-10-25T01:30:00.999999999Z"),
            ("2026-10-25 03:00", "2026-10-25T02:00:59.999999999Z"),
            ("2026-10-25", "2026-10-25T22:59:59.999999999Z"),
            ("2026-03-29 02:30", "2026-03-29T01:30:59.999999999Z"),
            ("2026-03-29 03:30", "2026-03-29T01:30:59.999999999Z"),
            ("2026-10-25T02:30:00+02:00", "2026-10-25T00:30:00.999999999Z"),
            ("2026-11-20T14:00:00Z", "2026-11-20T14:00:00.999999999Z"),
            ("2026-11-20T14:00:00.123456789Z", "2026-11-20T14:00:00.123456789Z"),
            ("2026-11-20T14:00:00.123456789-03:00", "2026-11-20T17:00:00.123456789Z"),
        ] {
            let until = Wanted::Until(expected.parse().unwrap());
            assert_eq!(Wanted::read(text, &zone), Ok(until), "{text}");
        }
        assert_eq!(Wanted::read("latest", &zone), Ok(Wanted::Latest));
        assert_eq!(Wanted::read("7A8f", &zone), Ok(Wanted::Id("7a8f".into())));
        assert_eq!(Wanted::read("20261120", &zone), Ok(Wanted::Id("20261120".into())));
        for bad in
            ["", "yesterday", "7a8", "2026-13-01", "2026-11-20 25:00", "-r", "2026-11-20 14:00 EST", "Fri"]
        {
            assert!(Wanted::read(bad, &zone).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_time_that_is_printed_picks_what_it_was_printed_of() {
        let times = ["2026-11-28T23:00:59.7Z", "2026-11-28T23:01:02.4Z", "2026-11-28T23:01:58.9Z"];
        let all: Vec<Listed> = times.iter().map(|time| listed(time, time)).collect();
        let all: Vec<&Listed> = all.iter().collect();
        let picked = |text: &str| {
            let wanted = Wanted::read(text, &TimeZone::UTC).unwrap();
            wanted.pick(&all).unwrap().map(|it| it.id.clone())
        };
        for one in &all {
            for format in ["%a %Y-%m-%d %H:%M:%S %Z", "%a %Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S"] {
                let printed = one.time().unwrap().to_zoned(TimeZone::UTC).strftime(format).to_string();
                assert_eq!(picked(&printed).as_ref(), Some(&one.id), "{printed}");
            }
            assert_eq!(picked(&one.time).as_ref(), Some(&one.id));
        }
        // A minute is meant to its end.
        assert_eq!(picked("2026-11-28 23:01").as_deref(), Some(times[2]));
        assert_eq!(picked("2026-11-28 23:00").as_deref(), Some(times[0]));
    }

    #[test]
    fn the_newest_not_after_it() {
        let old = listed("aa01", "2026-11-01T02:30:00Z");
        let new = Listed { original: Some("ee01".into()), ..listed("aa02", "2026-11-02T03:30:00+01:00") };
        let all = [&old, &new];
        let zone = TimeZone::UTC;
        for (text, expected) in [
            ("latest", Some("aa02")),
            ("2026-11-02 02:30", Some("aa02")),
            ("2026-11-02 02:29", Some("aa01")),
            ("2026-11-01", Some("aa01")),
            ("2026-10-31", None),
            ("aa01", Some("aa01")),
            ("ee01", Some("aa02")),
            ("ffff", None),
        ] {
            let picked = Wanted::read(text, &zone).unwrap().pick(&all).unwrap();
            assert_eq!(picked.map(|it| it.id.as_str()), expected, "{text}");
        }
        assert!(Wanted::Id("aa0".into()).pick(&all).unwrap_err().contains("aa01, aa02"));
        assert_eq!(Wanted::Latest.pick(&[]), Ok(None));
    }
}
