//! Observes all resources in parallel. Slow ones start first, so that no core waits at the end. Resources that only
//! wait for the network have threads of their own.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::survey::{Item, Survey};
use crate::{
    host::{Host, Observe},
    resource::{Cost, Looks, Seen},
};

/// How many quick looks one thread takes at a time: neighbours share their directory.
const CHUNK: usize = 256;

/// How many looks wait for the network at a time, a core. Each is a restic that derives a key when it has an answer,
/// and has ten seconds for both.
const WAITING: usize = 2;

/// What to look at, and who is told how far it is.
pub struct Looking<'a> {
    /// The host.
    pub host: &'a dyn Host,
    /// How.
    pub looks: Looks,
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

/// Looks at every item and returns what was seen at the item's index. A look that fails is [`Seen::Unknown`]: it ends
/// neither the other looks nor the plan.
pub fn observe(survey: &Survey<'_>, looking: &Looking<'_>) -> Vec<Seen> {
    let items = &survey.items;
    looking.host.ask_ahead(&items.iter().filter_map(|item| item.resource().path()).collect::<Vec<_>>());
    let of_cost = |cost| (0..items.len()).filter(move |index| items[*index].resource().cost() == cost);
    let (waits, works): (Vec<usize>, Vec<usize>) =
        (of_cost(Cost::Wait).collect(), of_cost(Cost::Work).collect());
    let quick: Vec<usize> = of_cost(Cost::Quick).collect();
    (looking.progress)(Progress::Slow(waits.len() + works.len()));
    let busy = Tasks::new(works.chunks(1).chain(quick.chunks(CHUNK)).collect());
    let idle = Tasks::new(waits.chunks(1).collect());
    let done: Mutex<Vec<(usize, Seen)>> = Mutex::new(Vec::with_capacity(items.len()));
    let work = |tasks: &Tasks<'_>| {
        let host = looking.host.looker();
        while let Some(task) = tasks.next() {
            let seen: Vec<_> = task
                .iter()
                .map(|index| (*index, look(&items[*index], host.as_ref(), looking.looks)))
                .collect();
            if let Some(first) = task.first().filter(|index| items[**index].resource().cost() != Cost::Quick)
            {
                (looking.progress)(Progress::Done(items[*first].address.as_str()));
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..(WAITING * cores).max(4).min(idle.all.len()) {
            scope.spawn(|| work(&idle));
        }
        for _ in 1..cores.min(busy.all.len()) {
            scope.spawn(|| work(&busy));
        }
        work(&busy);
    });
    let mut seen: Vec<Option<Seen>> = items.iter().map(|_| None).collect();
    for (index, look) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        seen[index] = Some(look);
    }
    let all =
        seen.into_iter().map(|look| look.unwrap_or_else(|| Seen::Unknown("the look was not done".into())));
    all.collect()
}

/// Tasks that threads take one after the other.
struct Tasks<'a> {
    all: Vec<&'a [usize]>,
    next: AtomicUsize,
}

impl<'a> Tasks<'a> {
    fn new(all: Vec<&'a [usize]>) -> Self {
        Self { all, next: AtomicUsize::new(0) }
    }

    fn next(&self) -> Option<&'a [usize]> {
        self.all.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }
}

/// Looks at one item.
pub fn look(item: &Item<'_>, host: &dyn Observe, looks: Looks) -> Seen {
    let last = item.entry.and_then(|entry| entry.seen.as_ref());
    let seen = item.resource().observe(host, last, item.declared.is_none(), looks);
    seen.unwrap_or_else(|err| Seen::Unknown(format!("{err:#}")))
}
