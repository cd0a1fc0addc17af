//! Decides whether the times of snapshots are plausible enough to remove snapshots by age.
//!
//! restic counts ages from the newest backup. A backup of a wrong time makes all others old: because the clock was wrong,
//! or because a client that can only add stored it for this purpose.

use jiff::Timestamp;

use super::{Foreseen, Snapshot};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// How far ahead of the clock a snapshot may be: another machine's clock, a time zone's change.
const AHEAD: i64 = HOUR;
/// After a gap longer than this the clock may have jumped, unless the job runs less often.
const SILENCE: i64 = 30 * DAY;
/// A gap must also be longer than this many periods of the schedule.
const PERIODS: i64 = 10;
/// A gap that is followed by backups over this time counts as real: the host was off.
const BELIEVED: i64 = 7 * DAY;
/// How many characters of a name that a client chose a message shows.
const SHOWN: usize = 40;

impl Foreseen {
    /// Says why the clock cannot be trusted with what goes, if so.
    ///
    /// `period` is the longest time between two runs of the job, in seconds. A job without a schedule may be silent
    /// for as long as it likes. A silence with a week of backups behind it was real: the host was off.
    pub fn doubt(&self, now: Timestamp, period: Option<u64>) -> Option<String> {
        let mut times: Vec<(Timestamp, ())> = self.all().map(|it| (it.time, ())).collect();
        times.sort_unstable();
        let (newest, ()) = *times.last().filter(|_| !self.remove.is_empty())?;
        if is_ahead(newest, now) {
            return Some(format!("the newest backup is of {}, and now it is {}", day(newest), day(now)));
        }
        let period = i64::try_from(period?).ok()?;
        times.push((now.max(newest), ()));
        let [(from, ()), (to, ())] = gap(&times, newest, SILENCE.max(period.saturating_mul(PERIODS)))?;
        Some(format!("there is no backup between {} and {}", day(from), day(to)))
    }

    /// Says why a client's backups of one host and tags cannot be removed by age, if so. The client may have forged the time
    /// of a snapshot, but not `written`: when its file was written here.
    ///
    /// How often the client stores backups is not known here.
    fn forged(&self, now: Timestamp, written: &dyn Fn(&Snapshot) -> Option<Timestamp>) -> Option<String> {
        let newest = self.all().max_by_key(|it| it.time)?;
        if is_ahead(newest.time, now) {
            return Some(format!(
                "snapshot {} ({}) has the time {}, but now it is {}",
                id(newest),
                whose(newest),
                day(newest.time),
                day(now)
            ));
        }
        // restic keeps what is older than a snapshot of the future, but that time may come before it removes.
        if self.remove.is_empty() && newest.time <= now {
            return None;
        }
        let between = |what: &str, time: &dyn Fn(&Snapshot) -> Option<Timestamp>| {
            let mut times: Vec<(Timestamp, &Snapshot)> =
                self.all().filter_map(|it| Some((time(it)?, it))).collect();
            times.sort_by_key(|(time, _)| *time);
            let [(from, before), (to, after)] = gap(&times, times.last()?.0, SILENCE)?;
            Some(format!(
                "{}: no snapshot {what} between {} ({}) and {} ({})",
                whose(newest),
                id(before),
                day(from),
                id(after),
                day(to)
            ))
        };
        between("has a time", &|it| Some(it.time)).or_else(|| between("was stored on this server", written))
    }
}

/// Lists why a client's backups cannot be removed by age: of each host and its tags by itself, since the client can fill
/// another group with backups of any time.
pub fn forged_times(
    groups: &[Foreseen],
    now: Timestamp,
    written: &dyn Fn(&Snapshot) -> Option<Timestamp>,
) -> Vec<String> {
    groups.iter().filter_map(|group| group.forged(now, written)).collect()
}

fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.as_second() > now.as_second() + AHEAD
}

/// Finds the last gap that is longer than so many seconds and is not followed by a week of backups.
fn gap<T: Copy>(sorted: &[(Timestamp, T)], newest: Timestamp, longest: i64) -> Option<[(Timestamp, T); 2]> {
    let pairs = sorted.windows(2).rev();
    let mut recent = pairs.take_while(|pair| newest.as_second() - pair[1].0.as_second() < BELIEVED);
    let pair = recent.find(|pair| pair[1].0.as_second() - pair[0].0.as_second() > longest)?;
    Some([pair[0], pair[1]])
}

fn id(snapshot: &Snapshot) -> &str {
    snapshot.id.get(..8).unwrap_or(&snapshot.id)
}

/// Names the group of a snapshot. The client chose the words.
fn whose(snapshot: &Snapshot) -> String {
    let short = |text: &str| text.chars().take(SHOWN).collect::<String>().escape_debug().to_string();
    let host = format!("host {}", short(&snapshot.listed.hostname));
    match &snapshot.listed.tags[..] {
        [] => host,
        tags => format!("{host}, tags {}", short(&tags.join(","))),
    }
}

/// Shows a time to the minute.
fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restic::forget::tests::list;

    #[test]
    fn a_clock_that_jumped() {
        // R63
        const DAILY: Option<u64> = Some(86_400);
        const MONTHLY: Option<u64> = Some(31 * 86_400);
        let week = ["2026-11-14", "2026-11-17", "2026-11-20"];
        for (keep, remove, period, why) in [
            (&week[..], &["2026-11-01"][..], DAILY, ""),
            (&["2026-11-20"], &["2026-11-19"], None, ""),
            // Of the future; without a schedule too.
            (&["2026-11-22"], &["2026-11-20"], DAILY, "the newest backup is of 2026-11-22 02:30 UTC"),
            (&["2099-01-01"], &["2026-11-20"], None, "and now it is 2026-11-21 03:00 UTC"),
            // Nothing goes, nothing is lost.
            (&["2099-01-01"], &[], DAILY, ""),
            (&[], &[], DAILY, ""),
            // The clock is years ahead, and nothing was stored since.
            (
                &["2020-11-20"],
                &["2020-11-19"],
                DAILY,
                "no backup between 2020-11-20 02:30 UTC and 2026-11-21",
            ),
            // It is, and the job has run.
            (
                &["2026-11-20"],
                &["2020-11-19", "2020-11-18"],
                DAILY,
                "between 2020-11-19 02:30 UTC and 2026-11-20",
            ),
            (
                &["2026-11-20", "2026-11-19"],
                &["2020-11-19"],
                DAILY,
                "between 2020-11-19 02:30 UTC and 2026-11-19",
            ),
            // The host was off for a time.
            (&["2026-11-12", "2026-11-20"], &["2026-08-01"], DAILY, ""),
            (&["2026-11-20"], &["2026-11-01"], DAILY, ""),
            // A job that runs seldom, or by hand.
            (&["2026-11-01"], &["2026-07-01"], MONTHLY, ""),
            (&["2026-11-01"], &["2025-07-01"], MONTHLY, "between 2025-07-01"),
            (&["2026-11-01"], &["2016-07-01"], None, ""),
        ] {
            let said = list(keep, remove).doubt("2026-11-21T03:00:00Z".parse().unwrap(), period);
            let said = said.unwrap_or_default();
            assert!(said.contains(why) && said.is_empty() == why.is_empty(), "{keep:?} {remove:?}: {said}");
        }
    }

    #[test]
    fn a_client_that_forged_times() {
        let now = "2026-11-21T02:00:00Z".parse().unwrap();
        let honest = ["2026-08-16", "2026-08-17"];
        // Each snapshot was written on its own day, or all on this day.
        let by_name = |it: &Snapshot| Some(it.time);
        let today = |it: &Snapshot| if it.id.as_str() < "2026-08-18" { Some(it.time) } else { Some(now) };
        for (keep, remove, is_written_today, why) in [
            (
                &["2026-11-20"][..],
                &honest[..],
                false,
                "has a time between 2026-08- (2026-08-17 02:30 UTC) and 2026-11-",
            ),
            // The gap is filled, or a week follows it: forged times, whose files are all of today.
            (&["2026-11-20", "2026-11-10"], &honest, false, ""),
            (
                &["2026-11-20", "2026-11-10"],
                &honest,
                true,
                "was stored on this server between 2026-08- (2026-08-17 02:30 UTC) and",
            ),
            (
                &["2026-11-20", "2026-10-25", "2026-09-30", "2026-09-10"],
                &honest,
                true,
                "was stored on this server between",
            ),
            // Nothing goes.
            (&["2026-11-20", "2026-08-17"], &[], false, ""),
            // Nothing goes yet, but in half an hour.
            (&["2026-11-21", "2026-08-17"], &[], false, "has a time between"),
            // Nothing goes until a time comes.
            (
                &["2027-03-01", "2026-08-17"],
                &[],
                false,
                "snapshot 2027-03- (host web01) has the time 2027-03-01 02:30 UTC, but now",
            ),
        ] {
            let written: &dyn Fn(&Snapshot) -> Option<Timestamp> =
                if is_written_today { &today } else { &by_name };
            let fine = list(&["2026-11-20", "2026-11-19"], &["2026-11-18"]);
            let said = forged_times(&[fine, list(keep, remove)], now, written).join("; ");
            assert!(said.contains(why) && said.is_empty() == why.is_empty(), "{keep:?} {remove:?}: {said}");
        }
    }

    #[test]
    fn a_clients_words_stay_on_one_line() {
        let mut group = list(&["2027-03-01"], &[]);
        group.keep[0].listed.hostname = "a\nerror: x".into();
        group.keep[0].listed.tags = vec!["t".repeat(1000)];
        let said = forged_times(&[group], "2026-11-21T02:00:00Z".parse().unwrap(), &|_| None).join("");
        assert!(said.contains("host a\\nerror: x, tags tttt") && said.len() < 200, "{said}");
    }
}
