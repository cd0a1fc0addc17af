//! Computes the times of a schedule as moments. Schedules use the host's own clock, which is put forward and back.

use jiff::{
    Timestamp, ToSpan,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use crate::model::Schedule;

/// How far a clock is put forward or back at most, in hours.
const JUMP: i64 = 3;

/// A schedule by a host's clock.
#[derive(Clone, Copy)]
pub(super) struct Times<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) zone: &'a TimeZone,
}

impl Times<'_> {
    /// Returns the first time after a moment.
    pub(super) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let from = self.civil(moment).checked_sub(JUMP.hours()).ok()?;
        let times = std::iter::successors(self.schedule.next(from), |last| self.schedule.next(*last));
        times.filter_map(|civil| self.moment(civil)).find(|time| *time > moment)
    }

    /// Returns the last time up to a moment.
    pub(super) fn until(&self, moment: Timestamp) -> Option<Timestamp> {
        let from = self.civil(moment).checked_add(JUMP.hours()).ok()?;
        let before = |last: &DateTime| self.schedule.last(last.checked_sub(1.minute()).ok()?);
        let times = std::iter::successors(self.schedule.last(from), before);
        times.filter_map(|civil| self.moment(civil)).find(|time| *time <= moment)
    }

    fn civil(&self, moment: Timestamp) -> DateTime {
        moment.to_zoned(self.zone.clone()).datetime()
    }

    /// Says when that is. Of what comes twice it is the first. What is skipped is started when the clock has been put
    /// forward, by cron (cron(8), Debian's 3.0pl1) and by systemd.
    fn moment(&self, civil: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        let skipped = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
        let moment = ambiguous.compatible().ok()?;
        if skipped { Some(self.zone.preceding(moment).next()?.timestamp()) } else { Some(moment) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_put_forward_and_back() {
        // At 2:00 on 29 March 2026, and at 3:00 on 25 October: POSIX's words, no file needed.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (schedule, now, until, after) in [
            ("30 2 * * *", "2026-01-02T01:30:00Z", "2026-01-02T01:30:00Z", "2026-01-03T01:30:00Z"),
            ("30 2 * * *", "2026-01-02T01:29:59Z", "2026-01-01T01:30:00Z", "2026-01-02T01:30:00Z"),
            ("30 2 * * *", "2026-07-02T12:00:00Z", "2026-07-02T00:30:00Z", "2026-07-03T00:30:00Z"),
            // Skipped: it comes when the clock is put forward.
            ("30 2 * * *", "2026-03-29T00:59:59Z", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"),
            ("30 2 * * *", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"),
            // Twice: it is the first.
            ("30 2 * * *", "2026-10-25T00:29:00Z", "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"),
            ("30 2 * * *", "2026-10-25T01:10:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            ("30 2 * * *", "2026-10-25T01:40:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            ("@hourly", "2026-03-29T01:20:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"),
        ] {
            let parsed: Schedule = schedule.parse().unwrap();
            let times = Times { schedule: &parsed, zone: &zone };
            let of = |text: &str| text.parse::<Timestamp>().ok();
            let now = of(now).unwrap();
            assert_eq!((times.until(now), times.after(now)), (of(until), of(after)), "{schedule} at {now}");
        }
        let boot: Schedule = "@reboot".parse().unwrap();
        let times = Times { schedule: &boot, zone: &zone };
        assert_eq!((times.until(Timestamp::UNIX_EPOCH), times.after(Timestamp::UNIX_EPOCH)), (None, None));
    }
}
