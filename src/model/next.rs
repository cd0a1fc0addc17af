//! Computes the next time of a schedule, by cron's rules (crontab(5)), in the host's civil time.
//!
//! The scheduler decides what happens when the clock is put forward or back. On such a night, Debian's cron runs an
//! entry with a fixed hour once (cron(8)), and systemd runs an hour that is skipped right after it.

use jiff::civil::DateTime;

use super::{Schedule, schedule::FIELDS};

/// After so many days nothing comes any more: a 29 February on one day of the week comes again within 40 years, also
/// where a year like 2100 has none.
const FAR: u32 = 41 * 366;

/// How many times are looked at to tell how far they lie apart.
const TIMES: usize = 64;

/// A schedule as sets of bits.
struct Times {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day of the month or one of the week will do: both are restricted, and neither begins with `*`.
    either: bool,
}

impl Schedule {
    /// Returns the first time after another one, to the minute; none if there is no such time, as for `@reboot`.
    pub fn next(&self, after: DateTime) -> Option<DateTime> {
        let times = self.times()?;
        let mut date = after.date();
        let mut from = u32::try_from(after.hour()).ok()? * 60 + u32::try_from(after.minute()).ok()? + 1;
        for _ in 0..FAR {
            if times.has_day(date)
                && let Some(minute) = (from..24 * 60).find(|minute| times.has_minute(*minute))
            {
                let part = |number: u32| i8::try_from(number).ok();
                return Some(date.at(part(minute / 60)?, part(minute % 60)?, 0, 0));
            }
            date = date.tomorrow().ok()?;
            from = 0;
        }
        None
    }

    /// Returns the last time up to another one, that one too; none if there is no such time.
    pub fn last(&self, until: DateTime) -> Option<DateTime> {
        let times = self.times()?;
        let mut date = until.date();
        let mut to = u32::try_from(until.hour()).ok()? * 60 + u32::try_from(until.minute()).ok()?;
        for _ in 0..FAR {
            if times.has_day(date)
                && let Some(minute) = (0..=to).rev().find(|minute| times.has_minute(*minute))
            {
                let part = |number: u32| i8::try_from(number).ok();
                return Some(date.at(part(minute / 60)?, part(minute % 60)?, 0, 0));
            }
            date = date.yesterday().ok()?;
            to = 24 * 60 - 1;
        }
        None
    }

    /// Returns the longest time between two in a row from then on, in seconds; none if it does not come twice.
    pub fn longest_gap(&self, after: DateTime) -> Option<u64> {
        let mut last = self.next(after)?;
        let mut longest = None;
        for _ in 0..TIMES {
            let Some(next) = self.next(last) else { break };
            longest = longest.max(u64::try_from(next.duration_since(last).as_secs()).ok());
            last = next;
        }
        longest
    }

    fn times(&self) -> Option<Times> {
        let fields = self.fields()?;
        let set = |place: usize| FIELDS[place].set(fields[place]).ok();
        let either = !fields[2].starts_with('*') && !fields[4].starts_with('*');
        let (minutes, hours, days, months, weekdays) = (set(0)?, set(1)?, set(2)?, set(3)?, set(4)?);
        Some(Times { minutes, hours, days, months, weekdays, either })
    }
}

impl Times {
    fn has_day(&self, date: jiff::civil::Date) -> bool {
        let has = |set: u64, number: i8| set & 1 << number != 0;
        let weekday = date.weekday().to_sunday_zero_offset();
        // 7 is Sunday too.
        let on_weekday = has(self.weekdays, weekday) || weekday == 0 && has(self.weekdays, 7);
        let on_day = has(self.days, date.day());
        has(self.months, date.month())
            && if self.either { on_day || on_weekday } else { on_day && on_weekday }
    }

    fn has_minute(&self, minute: u32) -> bool {
        self.hours & 1 << (minute / 60) != 0 && self.minutes & 1 << (minute % 60) != 0
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    #[test]
    fn the_next_times() {
        for (schedule, after, expected) in [
            ("30 2 * * *", "2026-11-21T01:00", Some("2026-11-21T02:30")),
            // Strictly after, whatever the seconds.
            ("30 2 * * *", "2026-11-21T02:30", Some("2026-11-22T02:30")),
            ("30 2 * * *", "2026-11-21T02:29:59", Some("2026-11-21T02:30")),
            ("*/20 * * * *", "2026-12-31T23:40", Some("2027-01-01T00:00")),
            ("@hourly", "2026-11-21T23:59", Some("2026-11-22T00:00")),
            ("@weekly", "2026-11-21T12:00", Some("2026-11-22T00:00")),
            ("0 4 * * 7", "2026-11-21T12:00", Some("2026-11-22T04:00")),
            ("@yearly", "2026-11-21T12:00", Some("2027-01-01T00:00")),
            // Either: the 13th, and Fridays; both, where one begins with `*`.
            ("0 0 13 * FRI", "2026-11-07T00:00", Some("2026-11-13T00:00")),
            ("0 0 13 * FRI", "2026-11-13T00:00", Some("2026-11-20T00:00")),
            ("0 0 13 * FRI", "2026-12-12T00:00", Some("2026-12-13T00:00")),
            ("0 0 */2 * FRI", "2026-11-21T00:00", Some("2026-11-27T00:00")),
            ("0 0 1-7 * */7", "2026-11-21T00:00", Some("2026-12-06T00:00")),
            // Leap days, and the one that 2100 lacks.
            ("0 0 29 2 *", "2026-11-21T00:00", Some("2028-02-29T00:00")),
            ("0 0 29 2 *", "2096-03-01T00:00", Some("2104-02-29T00:00")),
            ("0 0 29 2 */6", "2096-03-01T00:00", Some("2116-02-29T00:00")),
            ("0 0 31 2 *", "2026-11-21T00:00", None),
            ("@reboot", "2026-11-21T00:00", None),
            ("0 0 1 1 *", "9999-11-21T00:00", None),
        ] {
            let next = schedule.parse::<Schedule>().unwrap().next(at(after));
            assert_eq!(next, expected.map(at), "{schedule} after {after}");
        }
    }

    #[test]
    fn the_last_times() {
        for (schedule, until, expected) in [
            ("30 2 * * *", "2026-11-21T01:00", Some("2026-11-20T02:30")),
            ("30 2 * * *", "2026-11-21T02:30:59", Some("2026-11-21T02:30")),
            ("@hourly", "2027-01-01T00:00", Some("2027-01-01T00:00")),
            ("0 4 * * 7", "2026-11-21T12:00", Some("2026-11-15T04:00")),
            ("0 0 29 2 *", "2026-11-21T00:00", Some("2024-02-29T00:00")),
            ("0 0 31 2 *", "2026-11-21T00:00", None),
            ("@reboot", "2026-11-21T00:00", None),
        ] {
            let last = schedule.parse::<Schedule>().unwrap().last(at(until));
            assert_eq!(last, expected.map(at), "{schedule} until {until}");
            if let Some(last) = last {
                let next = schedule.parse::<Schedule>().unwrap().next(last);
                assert!(next.is_some_and(|next| next > at(until)), "{schedule} until {until}");
            }
        }
    }

    #[test]
    fn how_far_apart() {
        const HOUR: u64 = 3600;
        for (schedule, hours) in [
            ("* * * * *", None),
            ("@hourly", Some(1)),
            ("@daily", Some(24)),
            ("0 5 * * 0", Some(7 * 24)),
            ("0 9-17 * * 1-5", Some(64)),
            ("@monthly", Some(31 * 24)),
            ("@reboot", None),
            ("0 0 31 2 *", None),
        ] {
            let gap = schedule.parse::<Schedule>().unwrap().longest_gap(at("2026-11-21T00:00"));
            assert_eq!(gap.filter(|gap| *gap > 60), hours.map(|hours| hours * HOUR), "{schedule}");
        }
    }

    /// Reads one of cron's fields, by crontab(5), not by what is tested.
    fn matches(field: &str, first: i8, last: i8, value: i8) -> bool {
        field.split(',').any(|item| {
            let (range, step) = item.split_once('/').unwrap_or((item, "1"));
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (first, last),
                Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
                None => (range.parse().unwrap(), range.parse().unwrap()),
            };
            (from..=to).step_by(step.parse().unwrap()).any(|it| it == value)
        })
    }

    /// Says whether cron starts it in this minute.
    fn starts(fields: &[String; 5], minute: DateTime) -> bool {
        let [minutes, hours, days, months, weekdays] = fields;
        let weekday = minute.weekday().to_sunday_zero_offset();
        let day = matches(days, 1, 31, minute.day());
        let week = matches(weekdays, 0, 7, weekday) || weekday == 0 && matches(weekdays, 0, 7, 7);
        let both = days.starts_with('*') || weekdays.starts_with('*');
        matches(minutes, 0, 59, minute.minute())
            && matches(hours, 0, 23, minute.hour())
            && matches(months, 1, 12, minute.month())
            && if both { day && week } else { day || week }
    }

    fn field(first: u32, last: u32) -> impl Strategy<Value = String> {
        let number = first..=last;
        let range = (first..=last, 0..=last).prop_map(move |(from, more)| (from, (from + more).min(last)));
        prop_oneof![
            3 => Just("*".to_owned()),
            2 => (1..8_u32).prop_map(|step| format!("*/{step}")),
            2 => range.prop_map(|(from, to)| format!("{from}-{to}")),
            3 => prop::collection::vec(number, 1..4)
                .prop_map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Minute by minute, as cron itself does it.
        #[test]
        fn as_cron_finds_it(
            fields in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)),
            day in 0..1500_i32,
            minute in 0..1440_i32,
        ) {
            let fields = [fields.0, fields.1, fields.2, fields.3, fields.4];
            let after = at("2024-01-01T00:00") + day.days().minutes(minute);
            let next = fields.join(" ").parse::<Schedule>().unwrap().next(after);
            let found = (1..8 * 1440).map(|more: i32| after + more.minutes()).find(|at| starts(&fields, *at));
            match found {
                Some(found) => prop_assert_eq!(next, Some(found)),
                None => prop_assert!(next.is_none_or(|next| next >= after + 8.days())),
            }
        }
    }
}
