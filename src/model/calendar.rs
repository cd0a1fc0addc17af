//! Converts cron schedules to `OnCalendar=` lines of systemd that mean the same minutes (systemd.time(7)).

use super::{
    Schedule,
    schedule::{FIELDS, Field},
};

/// What the names stand for (crontab(5)). `@reboot` is in no calendar.
const NAMED: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The days as systemd names them, in cron's order.
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

impl Schedule {
    /// Returns the five fields, a name's too; none for `@reboot`, which is in no calendar.
    pub(super) fn fields(&self) -> Option<[&str; 5]> {
        let named = NAMED.iter().find(|(name, _)| *name == self.as_str());
        let fields: Vec<&str> = named.map_or(self.as_str(), |(_, fields)| fields).split(' ').collect();
        fields.try_into().ok()
    }

    /// Returns the lines that mean the same to systemd; none for `@reboot`, which is in no calendar.
    ///
    /// Where day of month and day of week are both restricted cron takes either, hence two lines. Where one of the two
    /// begins with `*`, be it `*/2`, cron takes both (`DOM_STAR` and `DOW_STAR` in Vixie's, which Debian's is).
    pub fn on_calendar(&self) -> Option<Vec<String>> {
        let [minute, hour, day, month, weekday] = self.fields()?;
        let days = numbers(&FIELDS[2], day);
        let date = |days: &str| format!("*-{}-{days}", numbers(&FIELDS[3], month));
        let time = format!("{}:{}:00", numbers(&FIELDS[1], hour), numbers(&FIELDS[0], minute));
        let line = |weekdays: &str, days: &str| format!("{weekdays}{} {time}", date(days));
        let weekdays = weekdays(weekday);
        if day.starts_with('*') || weekday.starts_with('*') {
            return Some(vec![line(&weekdays, &days)]);
        }
        Some(vec![line("", &days), line(&weekdays, "*")])
    }
}

/// Writes a field's numbers: `*`, or a list of numbers and ranges.
fn numbers(field: &Field, text: &str) -> String {
    list(field.first, field.last, field.set(text).unwrap_or_default(), &|number| format!("{number:02}"))
}

/// Writes the days of the week with a space behind them; nothing for all of them.
fn weekdays(text: &str) -> String {
    let set = FIELDS[4].set(text).unwrap_or_default();
    // 7 is Sunday too. A range must not run backwards, and systemd's week ends on Sunday.
    let sunday = u64::from(set & 1 != 0) << 7;
    match list(1, 7, (set | sunday) & !1, &|number| DAYS[number as usize % 7].to_owned()).as_str() {
        "*" => String::new(),
        some => format!("{some} "),
    }
}

/// Writes a set of bits; three in a row are a range.
fn list(first: u32, last: u32, set: u64, name: &dyn Fn(u32) -> String) -> String {
    let has = |number: u32| number <= last && set & 1 << number != 0;
    if (first..=last).all(has) {
        return "*".into();
    }
    let (mut items, mut number) = (Vec::new(), first);
    while number <= last {
        let end = (number..=last).take_while(|it| has(*it)).last();
        match end {
            Some(end) if end > number + 1 => items.push(format!("{}..{}", name(number), name(end))),
            Some(end) => items.extend((number..=end).map(name)),
            None => {}
        }
        number = end.unwrap_or(number) + 1;
    }
    items.join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_systemd_writes_it() {
        for (cron, expected) in [
            ("30 2 * * *", &["*-*-* 02:30:00"][..]),
            ("* * * * *", &["*-*-* *:*:00"]),
            ("*/20 0-6,22,23 1,15 JAN-mar *", &["*-01..03-01,15 00..06,22,23:00,20,40:00"]),
            ("0 4 * * 0", &["Sun *-*-* 04:00:00"]),
            ("0 4 * * 5-7", &["Fri..Sun *-*-* 04:00:00"]),
            ("0 4 * * 0-1,sat", &["Mon,Sat,Sun *-*-* 04:00:00"]),
            ("0 4 * * 0-6", &["*-*-* 04:00:00"]),
            // Either.
            ("0 0 13 * FRI", &["*-*-13 00:00:00", "Fri *-*-* 00:00:00"]),
            ("0 0 1-31 * 5", &["*-*-* 00:00:00", "Fri *-*-* 00:00:00"]),
            // Both.
            ("0 0 */2 * FRI", &["Fri *-*-01,03,05,07,09,11,13,15,17,19,21,23,25,27,29,31 00:00:00"]),
            ("0 0 1-7 * */7", &["Sun *-*-01..07 00:00:00"]),
            ("@hourly", &["*-*-* *:00:00"]),
            ("@midnight", &["*-*-* 00:00:00"]),
            ("@weekly", &["Sun *-*-* 00:00:00"]),
            ("@annually", &["*-01-01 00:00:00"]),
        ] {
            let lines = cron.parse::<Schedule>().unwrap().on_calendar();
            assert_eq!(
                lines.as_deref(),
                Some(expected.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice()),
                "{cron}"
            );
        }
        assert_eq!("@reboot".parse::<Schedule>().unwrap().on_calendar(), None);
    }

    /// Reads one of cron's fields: numbers, `*`, ranges, steps; by crontab(5), not by what is tested.
    fn cron_matches(field: &str, first: u32, last: u32, value: u32) -> bool {
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

    /// Reads one part of an expression: numbers, `*` and ranges; by systemd.time(7).
    fn systemd_matches(part: &str, value: u32) -> bool {
        part == "*"
            || part.split(',').any(|item| {
                let (from, to) = item.split_once("..").unwrap_or((item, item));
                (from.parse::<u32>().unwrap()..=to.parse().unwrap()).contains(&value)
            })
    }

    /// Reads the days of the week, which systemd counts from Monday.
    fn systemd_on(days: &str, value: u32) -> bool {
        let number = |day: &str| {
            ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].iter().position(|it| *it == day).unwrap()
        };
        days.split(',').any(|item| {
            let (from, to) = item.split_once("..").unwrap_or((item, item));
            assert!(number(from) <= number(to), "{days} runs backwards");
            (number(from)..=number(to)).contains(&(value as usize))
        })
    }

    /// Day of month, month, and day of the week (0 is Monday) of each day in eight years from 2024, with two leap days.
    fn days() -> Vec<(u32, u32, u32)> {
        let mut all = Vec::new();
        for year in 2024..2032 {
            let february = if year % 4 == 0 { 29 } else { 28 };
            for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for day in 1..=length {
                    // 1 January 2024 was a Monday.
                    all.push((day, month, u32::try_from(all.len()).unwrap() % 7));
                }
            }
        }
        all
    }

    /// The minutes of a day.
    fn minutes(matches: impl Fn(u32, u32) -> bool) -> Vec<bool> {
        (0..24)
            .flat_map(|hour| (0..60).map(move |minute| (hour, minute)))
            .map(|(h, m)| matches(h, m))
            .collect()
    }

    fn field(first: u32, last: u32) -> impl Strategy<Value = String> {
        let pair = move || (first..=last, first..=last).prop_map(|(a, b)| (a.min(b), a.max(b)));
        let item = prop_oneof![
            (first..=last).prop_map(|it| it.to_string()),
            pair().prop_map(|(from, to)| format!("{from}-{to}")),
            (pair(), 1_u32..9).prop_map(|((from, to), step)| format!("{from}-{to}/{step}")),
            (1_u32..40).prop_map(|step| format!("*/{step}")),
        ];
        prop_oneof![
            2 => Just("*".to_owned()),
            5 => proptest::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
        /// R43: the same minutes, of every day in eight years.
        #[test]
        fn systemd_starts_it_when_cron_does(
            (minute, hour, day, month, weekday) in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)),
        ) {
            let schedule: Schedule = format!("{minute} {hour} {day} {month} {weekday}").parse().unwrap();
            let lines = schedule.on_calendar().unwrap();
            let by_cron = minutes(|h, m| cron_matches(&hour, 0, 23, h) && cron_matches(&minute, 0, 59, m));
            let nothing = vec![false; by_cron.len()];
            let by_systemd: Vec<_> = lines.iter().map(|line| {
                let mut words: Vec<&str> = line.split(' ').collect();
                let days = if words.len() == 3 { words.remove(0).to_owned() } else { "Mon..Sun".into() };
                let date: Vec<String> = words[0].split('-').map(ToOwned::to_owned).collect();
                let time: Vec<&str> = words[1].split(':').collect();
                assert_eq!((date[0].as_str(), time[2]), ("*", "00"));
                let at = minutes(|h, m| systemd_matches(time[0], h) && systemd_matches(time[1], m));
                (days, date, at)
            }).collect();
            for (dom, mon, dow) in days() {
                let on_dom = cron_matches(&day, 1, 31, dom);
                // cron's Sunday is 0, and 7.
                let on_dow = cron_matches(&weekday, 0, 7, (dow + 1) % 7) || (dow == 6 && cron_matches(&weekday, 0, 7, 7));
                let both = day.starts_with('*') || weekday.starts_with('*');
                let on = cron_matches(&month, 1, 12, mon) && if both { on_dom && on_dow } else { on_dom || on_dow };
                let on_its_day = by_systemd.iter().filter(|(days, date, _)| {
                    systemd_on(days, dow) && systemd_matches(&date[1], mon) && systemd_matches(&date[2], dom)
                });
                let got = on_its_day.map(|(_, _, at)| at).next();
                prop_assert_eq!(got.unwrap_or(&nothing), if on { &by_cron } else { &nothing }, "{}: {:?} on {}.{}.", schedule, lines, dom, mon);
            }
        }
    }
}
