//! Which snapshot is meant: by its id, by a time, or the latest.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::Listed;

/// The fewest digits of an id that name it.
const FEWEST: usize = 4;

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
    /// Reads what a person writes: `latest`, an id or how it begins, `2026-11-20`, `2026-11-20 14:00`, or a time of RFC 3339.
    /// A day is meant to its end. Where clocks were set back a time is meant to its last minute of that name.
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
        if let Ok(stamp) = text.parse::<Timestamp>() {
            return Ok(Self::Until(stamp));
        }
        let at = |time: DateTime| zone.to_ambiguous_timestamp(time).later().ok();
        let day = text.parse::<Date>().ok().filter(|_| text.len() == 10);
        let until = match day {
            // Not the last second of the day, which may have been set back.
            Some(day) => day.tomorrow().ok().and_then(|next| {
                let midnight = zone.to_ambiguous_timestamp(next.at(0, 0, 0, 0)).earlier().ok()?;
                midnight.checked_sub(jiff::SignedDuration::from_nanos(1)).ok()
            }),
            None => text.parse::<DateTime>().ok().and_then(at),
        };
        until.map(Self::Until).ok_or_else(|| {
            format!(
                "`{text}` is no snapshot: write `latest`, at least {FEWEST} digits of an id, `2026-11-20` or `2026-11-20 14:00`"
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
                        Err(format!("several snapshots are called {id}: {}", ids.join(", ")))
                    }
                }
            }
        }
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
            ("2026-11-20 14:00", "2026-11-20T13:00:00Z"),
            ("2026-11-20T14:00:30", "2026-11-20T13:00:30Z"),
            ("2026-10-25 01:59", "2026-10-24T23:59:00Z"),
            ("2026-10-25 02:30", "2026-10-25T01:30:00Z"),
            ("2026-10-25 03:00", "2026-10-25T02:00:00Z"),
            ("2026-10-25", "2026-10-25T22:59:59.999999999Z"),
            ("2026-03-29 02:30", "2026-03-29T01:30:00Z"),
            ("2026-03-29 03:30", "2026-03-29T01:30:00Z"),
            ("2026-10-25T02:30:00+02:00", "2026-10-25T00:30:00Z"),
            ("2026-11-20T14:00:00Z", "2026-11-20T14:00:00Z"),
        ] {
            let until = Wanted::Until(expected.parse().unwrap());
            assert_eq!(Wanted::read(text, &zone), Ok(until), "{text}");
        }
        assert_eq!(Wanted::read("latest", &zone), Ok(Wanted::Latest));
        assert_eq!(Wanted::read("7A8f", &zone), Ok(Wanted::Id("7a8f".into())));
        assert_eq!(Wanted::read("20261120", &zone), Ok(Wanted::Id("20261120".into())));
        for bad in ["", "yesterday", "7a8", "2026-13-01", "2026-11-20 25:00", "-r"] {
            assert!(Wanted::read(bad, &zone).is_err(), "{bad}");
        }
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
