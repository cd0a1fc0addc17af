//! Looking at all items, side by side: slow ones first, so that no core waits for the last of them.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};

use super::survey::{Item, Survey};
use crate::{
    host::{Host, Observe},
    resource::Seen,
};

/// How many quick looks one thread takes at a time: neighbours share their directory.
const CHUNK: usize = 256;

/// What to look at, and who is told how far it is.
pub struct Looking<'a> {
    /// The host.
    pub host: &'a dyn Host,
    /// Whether to open again what did not move since it was verified.
    pub refresh: bool,
    /// Is told the address of each slow look as it begins and as it ends.
    pub progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

/// How far looking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// So many slow looks are to be done.
    Slow(usize),
    /// One is done.
    Done(&'a str),
}

/// Looks at every item; what was seen stands at the item's index.
///
/// # Errors
///
/// If the host cannot be looked at.
pub fn observe(survey: &Survey<'_>, looking: &Looking<'_>) -> Result<Vec<Seen>> {
    let items = &survey.items;
    let (slow, quick): (Vec<usize>, Vec<usize>) =
        (0..items.len()).partition(|index| items[*index].resource().is_slow());
    (looking.progress)(Progress::Slow(slow.len()));
    let tasks: Vec<&[usize]> = slow.chunks(1).chain(quick.chunks(CHUNK)).collect();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Seen>)>> = Mutex::new(Vec::with_capacity(items.len()));
    let work = || {
        let host = looking.host.looker();
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let seen: Vec<_> = task
                .iter()
                .map(|index| (*index, look(&items[*index], host.as_ref(), looking.refresh)))
                .collect();
            if let Some(first) = task.first().filter(|index| items[**index].resource().is_slow()) {
                (looking.progress)(Progress::Done(items[*first].address.as_str()));
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 1..cores.min(tasks.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(index, seen)| seen.with_context(|| format!("{}", items[index].address))).collect()
}

/// Looks at one item.
///
/// # Errors
///
/// If the host cannot be looked at.
pub fn look(item: &Item<'_>, host: &dyn Observe, refresh: bool) -> Result<Seen> {
    let last = item.entry.and_then(|entry| entry.seen.as_ref());
    item.resource().observe(host, last, item.declared.is_none(), refresh)
}
