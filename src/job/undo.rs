//! Keeps the open steps of a run, and undoes them in reverse order.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::Journal;
use crate::effect::Op;

/// How often an undo is tried: udev may still have the device of a volume open (lvremove).
const TRIES: u32 = 20;
/// How long to wait between two tries.
pub(super) const NAP: Duration = Duration::from_millis(250);

/// Something that is open, by its number in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open(usize);

/// What is open. Each is in the journal before it is opened.
pub(super) struct Undo<'a> {
    journal: Option<&'a Mutex<Journal>>,
    /// Carries out an op.
    act: &'a (dyn Fn(&Op) -> Result<()> + Sync),
    open: Mutex<Vec<(usize, Op)>>,
    /// How long to wait between two tries.
    nap: Duration,
}

impl<'a> Undo<'a> {
    /// Nothing is open yet.
    pub(super) fn new(
        journal: Option<&'a Mutex<Journal>>,
        act: &'a (dyn Fn(&Op) -> Result<()> + Sync),
    ) -> Self {
        Self { journal, act, open: Mutex::default(), nap: NAP }
    }

    /// Takes down what undoes something that is about to be done.
    ///
    /// # Errors
    ///
    /// If it cannot be written down: then it must not be done.
    pub(super) fn will(&self, undo: &Op) -> Result<Open> {
        let mut open = lock(&self.open);
        let number = match self.journal {
            Some(journal) => lock(journal).will(undo)?,
            None => open.last().map_or(0, |(last, _)| last + 1),
        };
        open.push((number, undo.clone()));
        Ok(Open(number))
    }

    /// Makes durable what was taken down: what is done next survives a power cut.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub(super) fn sync(&self) -> Result<()> {
        self.journal.map_or(Ok(()), |journal| lock(journal).sync())
    }

    /// Undoes this one now, if it is still open.
    ///
    /// # Errors
    ///
    /// If it cannot be undone; it stays open.
    pub(super) fn one(&self, which: Open) -> Result<()> {
        let found = lock(&self.open).iter().find(|(number, _)| *number == which.0).cloned();
        let Some((number, op)) = found else { return Ok(()) };
        persist(self.nap, || (self.act)(&op))?;
        lock(&self.open).retain(|(other, _)| *other != number);
        self.journal.map_or(Ok(()), |journal| lock(journal).undone(number))
    }

    /// Undoes all that is open, the last first. Returns what could not be, and why.
    pub(super) fn all(&self) -> Vec<(Op, anyhow::Error)> {
        let open: Vec<(usize, Op)> = lock(&self.open).iter().rev().cloned().collect();
        let failed = open.into_iter().filter_map(|(number, op)| Some((op, self.one(Open(number)).err()?)));
        failed.collect()
    }
}

/// Carries out an undo, and tries again after a nap while it fails.
///
/// # Errors
///
/// If the last try fails.
pub(super) fn persist(nap: Duration, mut undo: impl FnMut() -> Result<()>) -> Result<()> {
    let mut tries = 1;
    while let Err(err) = undo() {
        if tries >= TRIES {
            return Err(err);
        }
        tries += 1;
        thread::sleep(nap);
    }
    Ok(())
}

/// Takes a lock. Whoever held it when it failed has left a value that is whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Cmd;

    fn op(name: &str) -> Op {
        Op::Run(Cmd::new(name))
    }

    #[test]
    fn in_reverse_and_each_once() {
        let done = Mutex::new(Vec::new());
        let act = |op: &Op| {
            lock(&done).push(op.to_string());
            Ok(())
        };
        let undo = Undo::new(None, &act);
        undo.will(&op("a")).unwrap();
        let b = undo.will(&op("b")).unwrap();
        undo.will(&op("c")).unwrap();
        undo.one(b).unwrap();
        undo.one(b).unwrap();
        assert!(undo.all().is_empty() && undo.all().is_empty());
        assert_eq!(*lock(&done), ["b", "c", "a"]);
    }

    #[test]
    fn what_cannot_be_undone_holds_nothing_up() {
        let done = Mutex::new(Vec::new());
        let act = |op: &Op| {
            lock(&done).push(op.to_string());
            anyhow::ensure!(op.to_string() != "b", "busy");
            Ok(())
        };
        let undo = Undo { nap: Duration::ZERO, ..Undo::new(None, &act) };
        for name in ["a", "b", "c"] {
            undo.will(&op(name)).unwrap();
        }
        let failed = undo.all();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].0.to_string(), failed[0].1.to_string()), ("b".into(), "busy".into()));
        let done = lock(&done);
        assert_eq!(
            (done.first().map(String::as_str), done.last().map(String::as_str)),
            (Some("c"), Some("a"))
        );
        assert_eq!(done.iter().filter(|it| *it == "b").count(), TRIES as usize);
    }
}
