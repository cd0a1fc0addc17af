//! Computes what a retention keeps, by restic's rules (restic's manual, "Removing snapshots according to a policy"),
//! to notice that nobody prunes. Only restic decides what is removed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, tz::TimeZone};

use crate::{model::Retention, restic::Listed};

/// The tag that keeps a snapshot whatever the policy says.
const PROTECTED: &str = "protected";

/// Counts the snapshots that are not kept, of each host by itself.
pub(super) fn not_kept(all: &[(&Listed, Timestamp)], retention: &Retention, zone: &TimeZone) -> usize {
    let mut hosts: BTreeMap<&str, Vec<(&Listed, Timestamp)>> = BTreeMap::new();
    for (it, time) in all {
        hosts.entry(&it.hostname).or_default().push((it, *time));
    }
    hosts
        .into_values()
        .map(|mut of_host| {
            of_host.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
            of_host.len() - kept(&of_host, retention, zone).len()
        })
        .sum()
}

/// Lists the places of those that are kept; the newest is the first.
fn kept(all: &[(&Listed, Timestamp)], retention: &Retention, zone: &TimeZone) -> BTreeSet<usize> {
    let mut kept = BTreeSet::new();
    let places = all.iter().enumerate();
    kept.extend(
        places.clone().filter(|(_, (it, _))| it.tags.iter().any(|tag| tag == PROTECTED)).map(|it| it.0),
    );
    if let (Some(within), Some((_, newest))) = (retention.keep_within, all.first()) {
        let within = i64::try_from(within.seconds()).unwrap_or(i64::MAX);
        let young = |time: &Timestamp| newest.as_second() - time.as_second() <= within;
        kept.extend(places.clone().filter(|(_, (_, time))| young(time)).map(|it| it.0));
    }
    for (name, count) in retention.counts() {
        let mut left = count.unwrap_or(0);
        let mut last = None;
        for (place, (_, time)) in places.clone() {
            let bucket = bucket(name, *time, place, zone);
            // A bucket that is left over keeps the oldest.
            if left > 0 && (last.as_ref() != Some(&bucket) || place + 1 == all.len()) {
                kept.insert(place);
                last = Some(bucket);
                left -= 1;
            }
        }
    }
    kept
}

/// Names the hour, day, week, month or year that a snapshot is of.
fn bucket(name: &str, time: Timestamp, place: usize, zone: &TimeZone) -> String {
    let zoned = time.to_zoned(zone.clone());
    let format = match name {
        "hourly" => "%Y-%m-%d %H",
        "daily" => "%Y-%m-%d",
        "weekly" => "%G-%V",
        "monthly" => "%Y-%m",
        "yearly" => "%Y",
        _ => return place.to_string(),
    };
    zoned.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    #[test]
    fn as_restic_counts() {
        let newest: Timestamp = "2026-11-21T02:30:00Z".parse().unwrap();
        let days = |count: i64| (0..count).map(move |day| newest - (24 * day).hours());
        let of = |host: &str, tags: &[&str]| Listed {
            hostname: host.into(),
            tags: tags.iter().map(|it| (*it).to_owned()).collect(),
            ..Listed::default()
        };
        let (plain, other, safe) = (of("a", &[]), of("b", &[]), of("a", &["protected"]));
        let retention = |text: &str| serde_json::from_str::<Retention>(text).unwrap();
        for (json, expected) in [
            (r#"{"last": 3}"#, 27),
            (r#"{"daily": 7}"#, 23),
            (r#"{"daily": 7, "weekly": 3}"#, 22),
            (r#"{"daily": 99}"#, 0),
            (r#"{"keep_within": "48h"}"#, 27),
            // The oldest fills what is left over.
            (r#"{"yearly": 9}"#, 28),
        ] {
            let all: Vec<_> = days(30).map(|time| (&plain, time)).collect();
            assert_eq!(not_kept(&all, &retention(json), &TimeZone::UTC), expected, "{json}");
        }
        let mut all: Vec<_> = days(5).map(|time| (&plain, time)).collect();
        all.extend(days(5).map(|time| (&other, time)));
        all.push((&safe, newest - 9999.hours()));
        assert_eq!(not_kept(&all, &retention(r#"{"last": 1}"#), &TimeZone::UTC), 8, "each host by itself");
    }
}
