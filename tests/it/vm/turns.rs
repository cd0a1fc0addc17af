//! How many machines run at a time: as many as the emulators have cores for.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
};

/// An emulated machine keeps one core busy, and more of them run into each other's time limits.
const AT_MOST: usize = 2;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// The right to run a machine; the next one's turn comes when it is dropped.
pub(super) struct Turn(());

/// Waits for a turn.
pub(super) fn take() -> Turn {
    let cores = available_parallelism().map_or(1, Into::into);
    let mut running = ENDED
        .wait_while(running(), |running| *running >= cores.min(AT_MOST))
        .unwrap_or_else(PoisonError::into_inner);
    *running += 1;
    Turn(())
}

impl Drop for Turn {
    fn drop(&mut self) {
        *running() -= 1;
        ENDED.notify_one();
    }
}

fn running() -> MutexGuard<'static, usize> {
    // A test that failed has broken nothing: its machine is gone.
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
