//! Decides how long a store keeps trying if a destination does not answer. Pure: the time is an argument.
//!
//! restic has no option for this. If a connection is refused, 0.18 and 0.19 try for 15 minutes, and 0.14 for 45 s or
//! not at all (tried). So rlvm ends a restic that transfers nothing, and starts restic again if it gave up early.

use std::time::Duration;

use crate::restic::{Progress, Retry};

/// How many times a destination may stop answering while one backup is stored there.
const OUTAGES: u32 = 3;

/// How long to wait before each further try. Tests pass their own, and wait for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Before the second try where a destination does not answer; twice as long before each further one.
    pub first: Duration,
    /// The longest of these.
    pub longest: Duration,
    /// Where another host has a lock.
    pub locked: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        let [first, longest, locked] = [5, 60, 30].map(Duration::from_secs);
        Self { first, longest, locked }
    }
}

/// How long a store goes on trying at a destination.
pub(super) struct Patience {
    /// How long the destination may give no answer.
    limit: Duration,
    waits: Waits,
    /// Since when it has given none.
    since: Option<Duration>,
    tries: u32,
    outages: u32,
}

impl Patience {
    /// Starts with nothing tried yet.
    pub(super) fn new(limit: Duration, waits: Waits) -> Self {
        Self { limit, waits, since: None, tries: 0, outages: 0 }
    }

    /// Watches a try that begins now. The last one gets a moment too.
    pub(super) fn watch(&self, now: Duration) -> Stall {
        let left =
            self.since.map_or(self.limit, |since| self.limit.saturating_sub(now.saturating_sub(since)));
        let limit = left.max(self.waits.first.min(self.limit));
        Stall { alive: now, complaint: None, moved: false, done: (0, 0), limit }
    }

    /// Returns how long to wait before the next try, after one that has failed; nothing if the patience is over.
    pub(super) fn wait(&mut self, stall: &Stall, now: Duration) -> Option<Duration> {
        if stall.moved || self.since.is_none() {
            (self.since, self.tries) = (Some(stall.alive), 0);
            self.outages += 1;
        }
        let gone = now.saturating_sub(self.since.unwrap_or(now));
        let left = self.limit.saturating_sub(gone);
        let wait = self.waits.first.saturating_mul(1 << self.tries.min(16)).min(self.waits.longest);
        self.tries += 1;
        Some(wait.min(left)).filter(|wait| !wait.is_zero() && self.outages <= OUTAGES)
    }
}

/// Whether a restic that runs gets anything done.
pub(super) struct Stall {
    /// When it last got something done, or began.
    alive: Duration,
    /// What it complains of, and tries again, since then.
    complaint: Option<String>,
    /// Whether it has got anything done.
    moved: bool,
    /// How many bytes and files it had done.
    done: (u64, u64),
    limit: Duration,
}

impl Stall {
    /// Hears how far it is.
    pub(super) fn progress(&mut self, now: Duration, progress: &Progress) {
        let done = (progress.bytes_done, progress.files_done);
        if done > self.done {
            self.done = done;
            self.moves(now);
        }
    }

    /// Hears what it says to people.
    pub(super) fn words(&mut self, now: Duration, line: &str) {
        match Retry::read(line) {
            Some(Retry::Again(why)) => self.complaint = Some(why.to_owned()),
            Some(Retry::Went) => self.moves(now),
            None => {}
        }
    }

    fn moves(&mut self, now: Duration) {
        (self.alive, self.moved, self.complaint) = (now, true, None);
    }

    /// Says why it is ended: it has tried the same again for as long as the patience lasts, and got nothing done.
    pub(super) fn is_over(&self, now: Duration) -> Option<&str> {
        self.complaint.as_deref().filter(|_| now.saturating_sub(self.alive) >= self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: &str =
        "Stat(<config/>) returned error, retrying after 2.3s: Head \"http://r/config\": connection refused";

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn patience(limit: u64) -> Patience {
        Patience::new(at(limit), Waits::default())
    }

    /// Tries that fail at once, from the start on: lists the waits.
    fn waits(limit: u64) -> Vec<u64> {
        let (mut patience, mut now) = (patience(limit), at(100));
        let wait = |_| {
            let wait = patience.wait(&patience.watch(now), now)?;
            now += wait;
            Some(wait.as_secs())
        };
        (0..).map_while(wait).collect()
    }

    #[test]
    fn waits_grow_and_end_with_the_patience() {
        assert_eq!(waits(300), [5, 10, 20, 40, 60, 60, 60, 45]);
        assert_eq!(waits(1), [1]);
        assert_eq!(waits(12), [5, 7]);
        for limit in [1, 5, 60, 299, 300, 3600] {
            assert_eq!(waits(limit).iter().sum::<u64>(), limit, "{limit}");
        }
    }

    #[test]
    fn one_try_does_not_outlive_the_patience() {
        let mut first = patience(300).watch(at(100));
        assert_eq!(first.is_over(at(4000)), None, "it says nothing of trouble");
        first.words(at(101), AGAIN);
        assert_eq!(first.is_over(at(399)), None);
        assert_eq!(first.is_over(at(400)), Some("Head \"http://r/config\": connection refused"));
        // A second one has what is left, the last one a moment.
        let mut patience = patience(300);
        assert_eq!(patience.wait(&first, at(350)), Some(at(5)));
        let mut second = patience.watch(at(355));
        second.words(at(356), AGAIN);
        assert!(second.is_over(at(399)).is_none() && second.is_over(at(400)).is_some());
        assert_eq!(patience.wait(&second, at(400)), None);
        let mut last = patience.watch(at(400));
        last.words(at(400), AGAIN);
        assert!(last.is_over(at(404)).is_none() && last.is_over(at(405)).is_some());
    }

    #[test]
    fn what_gets_something_done_goes_on() {
        let mut stall = patience(300).watch(at(0));
        let progress = |bytes_done| Progress { bytes_done, ..Progress::default() };
        stall.words(at(10), AGAIN);
        stall.progress(at(200), &progress(5));
        assert_eq!(stall.is_over(at(450)), None, "it moved, and complains no more");
        stall.words(at(451), AGAIN);
        stall.progress(at(460), &progress(5));
        assert!(stall.is_over(at(499)).is_none() && stall.is_over(at(500)).is_some(), "it stands still");
        stall.words(at(501), "Stat(<config/>) operation successful after 3 retries");
        assert_eq!(stall.is_over(at(900)), None);
    }

    #[test]
    fn a_destination_that_comes_and_goes_is_given_up() {
        let (mut patience, mut now, mut tries) = (patience(300), at(0), 0);
        loop {
            tries += 1;
            let mut stall = patience.watch(now);
            now += at(3600);
            stall.progress(now, &Progress { bytes_done: 1, ..Progress::default() });
            let Some(wait) = patience.wait(&stall, now) else { break };
            assert_eq!(wait, at(5), "each is new");
            now += wait;
        }
        assert_eq!(tries, OUTAGES + 1);
    }
}
