//! Prepares work that needs a repository for itself: removes stale locks and waits for the others.

use std::{thread, time::Duration};

use anyhow::Result;

use super::locks::Locks;
use crate::{host::interrupted, model::Name, resource::Repository};

/// The longest pause between two tries where somebody else has a lock, in seconds.
const PAUSE: u64 = 5;

/// How often locks are removed, at most: a store may keep them all the same.
const MOST_FREED: u32 = 3;

/// What came of a try.
pub(super) enum Tried<T> {
    /// It was done, however it went.
    Done(T),
    /// Somebody has a lock: who.
    Locked(String),
}

/// Who waits, and for how long.
pub(super) struct Waiting<'a> {
    /// Removes locks that were left behind.
    pub(super) locks: &'a Locks<'a>,
    /// How long, in seconds.
    pub(super) patience: u64,
}

impl Waiting<'_> {
    /// Tries until nobody else's lock is in the way; else says whose it is.
    pub(super) fn alone<T>(
        &self,
        destination: &Name,
        repository: &Repository,
        mut work: impl FnMut() -> Result<Tried<T>>,
    ) -> Result<Result<T, String>> {
        let (mut pauses, mut freed) = (pauses(self.patience), 0);
        loop {
            let by = match work()? {
                Tried::Done(done) => return Ok(Ok(done)),
                Tried::Locked(by) => by,
            };
            if freed < MOST_FREED && self.locks.free(destination, repository)? > 0 {
                freed += 1;
                continue;
            }
            let Some(pause) = pauses.next().filter(|_| interrupted().is_none()) else {
                let help = "wait until that process ends, or pass a longer --wait TIME; rlvm removes a lock that it has seen unchanged for 30 minutes";
                return Ok(Err(format!("the repository is locked {by}\nhelp: {help}")));
            };
            for _ in 0..pause {
                if interrupted().is_none() {
                    thread::sleep(Duration::from_secs(1));
                }
            }
        }
    }
}

/// Returns the pauses between tries, in seconds. Together they last as long as somebody is willing to wait.
fn pauses(patience: u64) -> impl Iterator<Item = u64> {
    let rest = Some(patience % PAUSE).filter(|rest| *rest > 0);
    (0..patience / PAUSE).map(|_| PAUSE).chain(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_last_exactly_as_long_as_asked() {
        for patience in [0, 1, 4, 5, 6, 600, 3601] {
            assert_eq!(pauses(patience).sum::<u64>(), patience);
            assert!(pauses(patience).all(|pause| (1..=PAUSE).contains(&pause)), "{patience}");
        }
    }
}
