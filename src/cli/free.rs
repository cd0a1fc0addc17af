//! Work that needs a repository for itself: locks that died with a process of this host go, others are waited for (R69).

use std::{thread, time::Duration};

use anyhow::Result;

use crate::{
    host::{Host as _, Real, interrupted},
    resource::Repository,
};

/// The longest pause between two tries where somebody else has a lock, in seconds.
const PAUSE: u64 = 5;

/// What came of a try.
pub(super) enum Tried<T> {
    /// It was done, however it went.
    Done(T),
    /// Somebody has a lock: who.
    Locked(String),
}

/// Who waits, and for how long.
pub(super) struct Waiting<'a> {
    /// The host.
    pub(super) host: &'a Real,
    /// The machine's own name, as restic writes it into locks.
    pub(super) here: &'a str,
    /// How long, in seconds.
    pub(super) patience: u64,
}

impl Waiting<'_> {
    /// Tries until nobody else's lock is in the way; else says whose it is.
    pub(super) fn alone<T>(
        &self,
        repository: &Repository,
        mut work: impl FnMut() -> Result<Tried<T>>,
    ) -> Result<Result<T, String>> {
        let (mut pauses, mut unlocked) = (pauses(self.patience), false);
        loop {
            let by = match work()? {
                Tried::Done(done) => return Ok(Ok(done)),
                Tried::Locked(by) => by,
            };
            if !unlocked && repository.has_only_left_locks(self.host.looker().as_ref(), self.here)? {
                self.host.run(&repository.access().unlock())?;
                unlocked = true;
                continue;
            }
            let Some(pause) = pauses.next().filter(|_| interrupted().is_none()) else {
                let help = "wait for it, longer with --wait; if that process is no more: restic unlock";
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
