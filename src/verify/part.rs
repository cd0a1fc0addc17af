//! Decides which part of a repository's data is read this time.

use std::cmp::Reverse;

use super::{Checked, Outcome, Read};
use crate::model::{Name, ReadData, Size};

/// As many parts as restic makes of it: by the first byte of a pack's id (restic's manual, "check").
const MOST_PARTS: u32 = 256;
/// All of it, in the unit of [`Size::Percent`].
const WHOLE: u32 = 100_000;

/// How much is read each time, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// Only the structure.
    Nothing,
    /// So many bytes, by chance.
    Share(u64),
    /// One of so many parts.
    Part(Reverse<u32>),
    /// All.
    All,
}

impl Amount {
    /// Says how much is read each time, if it is looked at once in `period`, in seconds; without a period all, where a time
    /// is wanted.
    pub fn of(wanted: ReadData, period: Option<u64>) -> Self {
        let parts = match wanted {
            ReadData::All => 1,
            ReadData::Share(Size::Bytes(bytes)) => return Self::Share(bytes),
            // No less than was asked for: of 30% three parts.
            ReadData::Share(Size::Percent(share)) => WHOLE / share.max(1),
            ReadData::Within(span) => {
                let times = period.map_or(1, |period| span.seconds() / period.max(1));
                u32::try_from(times).unwrap_or(MOST_PARTS)
            }
        };
        match parts.min(MOST_PARTS) {
            0 | 1 => Self::All,
            parts => Self::Part(Reverse(parts)),
        }
    }

    /// Says what is read of a destination now: of parts the one after the last that was well, so that each comes up.
    pub fn now<'a>(self, destination: &Name, records: impl DoubleEndedIterator<Item = &'a Checked>) -> Read {
        let of = match self {
            Self::Nothing => return Read::Nothing,
            Self::Share(bytes) => return Read::Share(Size::Bytes(bytes).to_string()),
            Self::All => return Read::All,
            Self::Part(Reverse(of)) => of,
        };
        let mut parts = records.rev().filter_map(|it| match it.read {
            Read::Part { number, of: theirs } if theirs == of && it.destination == *destination => {
                (it.outcome == Outcome::Well).then_some(number)
            }
            _ => None,
        });
        let last = parts.next().unwrap_or(0);
        Read::Part { number: last % of + 1, of }
    }
}

impl Read {
    /// Returns the flag that has restic read it, if any.
    pub fn flag(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Part { number, of } => Some(format!("--read-data-subset={number}/{of}")),
            Self::Share(size) => Some(format!("--read-data-subset={size}")),
            Self::All => Some("--read-data".into()),
        }
    }

    /// Says it for people.
    pub fn words(&self) -> String {
        match self {
            Self::Nothing => "no data read".into(),
            Self::Part { number, of } => format!("part {number} of {of} of its data read"),
            Self::Share(size) => format!("{size} of its data read"),
            Self::All => "all data read".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::verify::{Kind, VERSION};

    fn checked(destination: &str, read: Read, outcome: Outcome) -> Checked {
        Checked {
            format_version: VERSION,
            kind: Kind::Verify,
            rlvm_version: "0.1.0".into(),
            host: "web01".parse().unwrap(),
            destination: destination.parse().unwrap(),
            jobs: Vec::new(),
            started: "2026-11-21T06:00:00Z".into(),
            ended: "2026-11-21T06:00:00Z".into(),
            seconds: 0.0,
            outcome,
            read,
            error: None,
            drills: Vec::new(),
        }
    }

    #[test]
    fn how_much_is_read_each_time() {
        // R77
        const DAY: u64 = 86_400;
        let part = |of| Amount::Part(Reverse(of));
        for (wanted, period, expected) in [
            ("all", None, Amount::All),
            ("100%", None, Amount::All),
            ("60%", None, Amount::All),
            ("50%", None, part(2)),
            ("30%", None, part(3)),
            ("5%", Some(DAY), part(20)),
            ("0.1%", None, part(256)),
            ("2G", Some(DAY), Amount::Share(2 << 30)),
            ("all within 90d", Some(31 * DAY), part(2)),
            ("all within 90d", Some(7 * DAY), part(12)),
            ("all within 90d", Some(DAY), part(90)),
            ("all within 10w", Some(100 * DAY), Amount::All),
            ("all within 90d", None, Amount::All),
            ("all within 90d", Some(0), part(256)),
        ] {
            assert_eq!(Amount::of(wanted.parse().unwrap(), period), expected, "{wanted} {period:?}");
        }
        let all = [Amount::Nothing, Amount::Share(9), Amount::Share(10), part(20), part(2), Amount::All];
        assert!(all.is_sorted());
    }

    #[test]
    fn the_next_part_follows_the_last_good_one() {
        // R77
        let part = |number, of| Read::Part { number, of };
        let (well, damaged) = (Outcome::Well, Outcome::Damaged);
        let vault = "vault".parse().unwrap();
        for (records, expected) in [
            (vec![], 1),
            (vec![("vault", part(3, 20), well)], 4),
            (vec![("vault", part(20, 20), well)], 1),
            (vec![("vault", part(3, 20), well), ("vault", part(4, 20), damaged)], 4),
            (vec![("vault", part(3, 20), well), ("vault", part(9, 10), well)], 4),
            (vec![("vault", part(3, 20), well), ("offsite", part(7, 20), well)], 4),
            (
                vec![
                    ("vault", part(3, 20), well),
                    ("vault", Read::All, well),
                    ("vault", Read::Nothing, well),
                ],
                4,
            ),
        ] {
            let records: Vec<Checked> =
                records.into_iter().map(|(to, read, outcome)| checked(to, read, outcome)).collect();
            let read = Amount::Part(Reverse(20)).now(&vault, records.iter());
            assert_eq!(read, part(expected, 20), "{records:?}");
            assert_eq!(read.flag().unwrap(), format!("--read-data-subset={expected}/20"));
        }
        let flags = [Amount::Nothing, Amount::Share(1 << 30), Amount::All]
            .map(|it| it.now(&vault, std::iter::empty()).flag().unwrap_or_default());
        assert_eq!(flags, ["", "--read-data-subset=1G", "--read-data"]);
    }

    proptest! {
        #[test]
        fn all_parts_come_up_in_as_many_runs(of in 2_u32..257, before in 0_u32..300, fails in 0_usize..9) {
            // R77: wherever it begins, and whatever fails in between.
            let vault: Name = "vault".parse().unwrap();
            let (number, well) = (before % of + 1, Outcome::Well);
            let mut records = vec![checked("vault", Read::Part { number, of }, well)];
            let mut seen = BTreeSet::new();
            for run in 0..of as usize + fails {
                let read = Amount::Part(Reverse(of)).now(&vault, records.iter());
                let failed = run < fails;
                if let (Read::Part { number, .. }, false) = (&read, failed) {
                    seen.insert(*number);
                }
                let outcome = if failed { Outcome::Unreachable } else { well };
                records.push(checked("vault", read, outcome));
            }
            prop_assert_eq!(seen, (1..=of).collect::<BTreeSet<_>>());
        }
    }
}
