//! Does the same work on many items in parallel, up to a limit.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Does the same with each, so many side by side; what comes of them stands in their order.
pub fn side_by_side<T: Sync, R: Send>(all: &[T], limit: usize, each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(all.len()));
    thread::scope(|scope| {
        for _ in 0..limit.clamp(1, all.len().max(1)) {
            scope.spawn(|| {
                while let Some((place, one)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|place| Some((place, all.get(place)?)))
                {
                    let result = each(one);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn at_once_and_in_order() {
        // None gets on unless three are there at the same time.
        let meet = Barrier::new(3);
        let all: Vec<u32> = (0..9).collect();
        let twice = side_by_side(&all, 3, |one| {
            meet.wait();
            one * 2
        });
        assert_eq!(twice, (0..9).map(|one| one * 2).collect::<Vec<_>>());
        assert!(side_by_side(&[] as &[u32], 4, |one| *one).is_empty());
    }
}
