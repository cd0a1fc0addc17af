//! Judges whether a backup is much smaller or larger than the backups before. Then files may have been lost or added
//! by mistake.

use jiff::Timestamp;

use super::{Case, stamp};
use crate::{
    report::{
        status::{Level, Line, Size, Verdict},
        words,
    },
    restic::Listed,
};

/// How many snapshots before the newest one it is compared with.
const BEFORE: usize = 10;
/// How many of them it takes to tell what is usual.
const ENOUGH: usize = 3;
/// Less than one of so many parts of the median is a loss; more than so many times is suspicious.
const FACTOR: u64 = 2;
/// What is lost at least to be told, in bytes.
const LOST: u64 = 1 << 20;
/// What has come at least to be told, in bytes.
const GROWN: u64 = 100 << 20;

impl Case<'_> {
    /// Lists the sizes that are known, and judges the newest by the median of those before it.
    pub(super) fn sizes(&mut self, own: &[(&Listed, Timestamp)], line: &mut Line) {
        let known = own.iter().map(|(it, time)| (*time, self.bytes(it)));
        let sizes: Vec<(Timestamp, Option<u64>)> = known.collect();
        line.bytes = sizes.last().and_then(|(_, bytes)| *bytes);
        let of =
            |(time, bytes): &(Timestamp, Option<u64>)| Some(Size { time: stamp(*time), bytes: (*bytes)? });
        line.sizes = sizes.iter().filter_map(of).collect();
        let Some(bytes) = line.bytes else { return };
        let before = line.sizes.iter().rev().skip(1).take(BEFORE).map(|it| it.bytes);
        let Some(median) = median(before.collect()) else { return };
        let (shown, usual) = (words::size(bytes), words::size(median));
        match judged(bytes, median) {
            Some(Verdict::Shrinking) => {
                let message = format!("shrinking: {shown}, and {usual} is usual");
                self.say(Verdict::Shrinking, Level::Warning, message);
            }
            Some(verdict) => {
                self.say(verdict, Level::Warning, format!("growing: {shown}, and {usual} is usual"));
            }
            None => {}
        }
    }

    /// Says how large a snapshot's files are: as it keeps it itself since restic 0.17, else as its run's record has it.
    fn bytes(&self, it: &Listed) -> Option<u64> {
        let own = it.summary.map(|counts| counts.total_bytes_processed);
        let summaries = || self.history.runs.iter().rev().filter_map(|went| went.summary);
        own.or_else(|| {
            Some(summaries().find(|summary| it.is_called(&summary.snapshot_id))?.counts.total_bytes_processed)
        })
    }
}

fn median(mut all: Vec<u64>) -> Option<u64> {
    all.sort_unstable();
    (all.len() >= ENOUGH).then(|| all[all.len() / 2])
}

fn judged(bytes: u64, median: u64) -> Option<Verdict> {
    if bytes < median / FACTOR && median - bytes >= LOST {
        Some(Verdict::Shrinking)
    } else if bytes / FACTOR > median && bytes - median >= GROWN {
        Some(Verdict::Growing)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told() {
        const MIB: u64 = 1 << 20;
        for (bytes, median, expected) in [
            (10 * MIB, 10 * MIB, None),
            (5 * MIB, 10 * MIB, None),
            (4 * MIB, 10 * MIB, Some(Verdict::Shrinking)),
            (0, 10 * MIB, Some(Verdict::Shrinking)),
            // Too little to say anything.
            (1000, 4000, None),
            (30 * MIB, 10 * MIB, None),
            (200 * MIB, 100 * MIB, None),
            (202 * MIB, 100 * MIB, Some(Verdict::Growing)),
            (u64::MAX, 0, Some(Verdict::Growing)),
        ] {
            assert_eq!(judged(bytes, median), expected, "{bytes} {median}");
        }
        assert_eq!(median(vec![1, 2]), None);
        assert_eq!(median(vec![9, 1, 2]), Some(2));
    }
}
