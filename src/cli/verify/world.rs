//! Provides what a verification needs: programs whose output is read and that can be stopped, and private directories
//! that are always removed.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};

use crate::{
    cli::{
        free::Waiting,
        journaled::Journaled,
        queue::{Queue, Turn, Use, no_place},
    },
    effect::{Op, Owner, STAGING},
    host::{Act as _, Real},
    job::Record,
    model::{GroupName, HostPath, Mode, Name, RunId, UserName},
    verify::Outcome,
};

/// What a destination or a drill came to, if not well, and why.
#[derive(Debug)]
pub(super) struct Trouble(pub(super) Outcome, pub(super) String);

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self(Outcome::Failed, format!("{error:#}"))
    }
}

/// What it takes to verify.
pub(super) struct World<'a> {
    pub(super) host: &'a Real,
    /// What runs have recorded.
    pub(super) runs: &'a [Record],
    pub(super) programs: Journaled<'a>,
    pub(super) waiting: Waiting<'a>,
    pub(super) queue: Queue<'a>,
    /// Is told for whom it waits.
    pub(super) waits: &'a (dyn Fn(&Name, &str) + Sync),
    /// Where the private directories are.
    pub(super) place: HostPath,
    /// Whose they are, if it is the caller's own set-up.
    pub(super) own: Option<Owner>,
    pub(super) start: SystemTime,
    pub(super) since: Instant,
    /// How many private directories there were.
    pub(super) count: AtomicUsize,
    /// How many of them are still there.
    pub(super) left: AtomicUsize,
}

impl World<'_> {
    /// Takes a place in the queue of a destination.
    pub(super) fn turn(&self, destination: &Name, how: Use) -> Result<Turn, Trouble> {
        let patience = Duration::from_secs(self.waiting.patience);
        let turn = self.queue.take(destination, how, patience, &|by| (self.waits)(destination, by))?;
        turn.map_err(|by| Trouble(Outcome::Failed, no_place(&by)))
    }

    /// Makes a private directory for a user, does something in it, and removes it, whatever happened.
    pub(super) fn in_private<T>(
        &self,
        user: &UserName,
        work: impl FnOnce(&HostPath) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let path = private(&self.place, self.programs.run, self.count.fetch_add(1, Ordering::Relaxed))?;
        let undo = Op::RemoveStaging { path: path.clone() };
        let number = {
            let mut journal = self.programs.journal();
            let number = journal.will(&undo)?;
            // It survives a power cut, as what is restored into it would.
            journal.sync()?;
            number
        };
        let ops = making(&self.place, &path, user, self.own.as_ref());
        let made = ops.iter().try_for_each(|op| self.host.act(op));
        let done = made.map_err(Trouble::from).and_then(|()| work(&path));
        let removed = self.host.act(&undo);
        match &removed {
            Ok(()) => self.programs.journal().undone(number)?,
            Err(_) => drop(self.left.fetch_add(1, Ordering::Relaxed)),
        }
        let done = done?;
        removed.with_context(|| format!("cannot remove {path}; rlvm sweep tries again"))?;
        Ok(done)
    }
}

/// Names the private directory of this number.
pub(super) fn private(place: &HostPath, run: &RunId, number: usize) -> Result<HostPath> {
    Ok(place.join(&format!("{STAGING}{run}-{number}"))?)
}

/// Says what makes a private directory, and what it is in, as a run makes that for its caches.
pub(super) fn making(place: &HostPath, path: &HostPath, user: &UserName, own: Option<&Owner>) -> Vec<Op> {
    let ensure = |path: HostPath, owner: &Owner, mode| Op::EnsureDir {
        path,
        owner: owner.clone(),
        mode: Mode::new(mode),
    };
    let mut ops = match own {
        None => vec![ensure(place.clone(), &Owner::root(), 0o711)],
        Some(own) => {
            let above = place.parent().into_iter().chain([place.clone()]);
            above.map(|path| ensure(path, own, 0o700)).collect()
        }
    };
    let theirs = || Owner { user: user.clone(), group: GroupName::root() };
    let owner = own.cloned().unwrap_or_else(theirs);
    ops.push(Op::MakeDir { path: path.clone(), owner, mode: Mode::new(0o700) });
    ops
}
