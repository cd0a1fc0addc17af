//! What it takes to verify: programs that are heard and can be stopped, and private directories that go in any case.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Result};

use crate::{
    cli::free::Waiting,
    effect::{Arg, Cmd, Op, Owner, STAGING},
    host::{Act as _, Ended, RUN_VARIABLE, Real, Stream, Task, Work as _, interrupted},
    job::Journal,
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
    pub(super) run: &'a RunId,
    /// What is open: a sweep closes it if this process is killed.
    pub(super) journal: &'a Mutex<Journal>,
    pub(super) waiting: Waiting<'a>,
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
    /// Runs a program to its end, and hears what it prints. It ends with a signal to rlvm, and with rlvm.
    pub(super) fn program(&self, cmd: &Cmd, heard: &mut dyn FnMut(Stream, &str)) -> Result<Ended> {
        let cmd = cmd.clone().env(RUN_VARIABLE, Arg::Word(self.run.to_string()));
        let mut started = |process, at| {
            // Who is not in the journal dies with rlvm all the same.
            let _ = self.journal().child(process, at);
        };
        let stop = || interrupted().is_some();
        self.host.work(&cmd, &mut Task { started: &mut started, heard, stop: &stop })
    }

    /// Writes down that a repository is worked with: after a crash a sweep looks there for a lock.
    pub(super) fn works_with(&self, destination: &Name) -> Result<()> {
        self.journal().works_with(destination)
    }

    /// Makes a private directory for a user, does something in it, and removes it, whatever happened.
    pub(super) fn in_private<T>(
        &self,
        user: &UserName,
        work: impl FnOnce(&HostPath) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let path = self.private(self.count.fetch_add(1, Ordering::Relaxed))?;
        let undo = Op::RemoveStaging { path: path.clone() };
        let number = {
            let mut journal = self.journal();
            let number = journal.will(&undo)?;
            // It survives a power cut, as what is restored into it would.
            journal.sync()?;
            number
        };
        let made =
            self.above().iter().chain([&self.making(&path, user)]).try_for_each(|op| self.host.act(op));
        let done = made.map_err(Trouble::from).and_then(|()| work(&path));
        let removed = self.host.act(&undo);
        match &removed {
            Ok(()) => self.journal().undone(number)?,
            Err(_) => drop(self.left.fetch_add(1, Ordering::Relaxed)),
        }
        let done = done?;
        removed.with_context(|| format!("cannot remove {path}; rlvm sweep tries again"))?;
        Ok(done)
    }

    /// Names the private directory of this number.
    pub(super) fn private(&self, number: usize) -> Result<HostPath> {
        Ok(self.place.join(&format!("{STAGING}{}-{number}", self.run))?)
    }

    /// Says what makes a private directory.
    pub(super) fn making(&self, path: &HostPath, user: &UserName) -> Op {
        let owner = || Owner { user: user.clone(), group: GroupName::root() };
        let owner = self.own.clone().unwrap_or_else(owner);
        Op::MakeDir { path: path.clone(), owner, mode: Mode::new(0o700) }
    }

    /// Says what makes the directory where they are, if it is not there.
    pub(super) fn above(&self) -> Vec<Op> {
        let ensure =
            |path: HostPath, owner: Owner, mode| Op::EnsureDir { path, owner, mode: Mode::new(mode) };
        match &self.own {
            // As a run makes it, which has its users' caches there.
            None => vec![ensure(self.place.clone(), Owner::root(), 0o711)],
            Some(own) => {
                let above = self.place.parent().into_iter().chain([self.place.clone()]);
                above.map(|path| ensure(path, own.clone(), 0o700)).collect()
            }
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
