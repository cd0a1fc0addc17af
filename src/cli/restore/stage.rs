//! Manages the private directory in which restic restores. The journal records the directory before it is created, so
//! that a sweep removes it after a crash.

use std::cell::RefCell;

use anyhow::Result;

use super::world::World;
use crate::{
    effect::{Arg, Cmd, Op, Owner, STAGING},
    host::{Act as _, Ended, RUN_VARIABLE, Store, Stream, Task, Work as _, interrupted, random_id},
    job::Journal,
    model::{GroupName, HostPath, Mode, RunId, UserName},
};

/// What a restore has open.
pub(in crate::cli) struct Stage<'a> {
    world: &'a World<'a>,
    run: RunId,
    journal: RefCell<Journal>,
    open: RefCell<Vec<(usize, Op)>>,
    count: RefCell<u32>,
}

impl<'a> Stage<'a> {
    /// Begins: nothing is open yet.
    pub(in crate::cli) fn begin(world: &'a World<'a>) -> Result<Self> {
        let run: RunId = random_id()?[..RunId::LENGTH].parse()?;
        let store = Store::new(world.host, &world.context.home()?.join("journal")?);
        let journal = RefCell::new(Journal::begin(&store, &run, world.context.now()?)?);
        Ok(Self { world, run, journal, open: RefCell::default(), count: RefCell::default() })
    }

    /// Does something, and writes down first what undoes it.
    pub(in crate::cli) fn open(&self, act: Option<&Op>, undo: &Op) -> Result<()> {
        let number = self.journal.borrow_mut().will(undo)?;
        self.journal.borrow_mut().sync()?;
        self.open.borrow_mut().push((number, undo.clone()));
        act.map_or(Ok(()), |act| self.world.host.act(act))
    }

    /// Says that something shall stay; returns whether it was made.
    pub(in crate::cli) fn keep(&self, undo: &Op) -> Result<bool> {
        let number = self.open.borrow().iter().find(|(_, op)| op == undo).map(|(number, _)| *number);
        let Some(number) = number else { return Ok(false) };
        self.journal.borrow_mut().undone(number)?;
        self.open.borrow_mut().retain(|(other, _)| *other != number);
        Ok(true)
    }

    /// Undoes something now.
    pub(in crate::cli) fn close(&self, undo: &Op) -> Result<()> {
        self.world.host.act(undo)?;
        self.keep(undo).map(drop)
    }

    /// Makes a private directory in another one, for whom restic works as.
    pub(in crate::cli) fn make(
        &self,
        dir: &HostPath,
        user: &UserName,
        group: &GroupName,
    ) -> Result<HostPath> {
        self.count.replace_with(|count| *count + 1);
        let path = dir.join(&format!("{STAGING}{}-{}", self.run, self.count.borrow()))?;
        let owner = Owner { user: user.clone(), group: group.clone() };
        let made = Op::MakeDir { path: path.clone(), owner, mode: Mode::new(0o700) };
        self.open(None, &Op::RemoveTemporary { path: path.clone() })?;
        self.open(Some(&made), &Op::RemoveStaging { path: path.clone() })?;
        Ok(path)
    }

    /// Runs restic to its end, or until a signal asks to stop.
    pub(in crate::cli) fn run(&self, cmd: &Cmd, heard: &mut dyn FnMut(Stream, &str)) -> Result<Ended> {
        let cmd = cmd.clone().env(RUN_VARIABLE, Arg::Word(self.run.to_string()));
        let mut started = |process, since| drop(self.journal.borrow_mut().child(process, since));
        let stop = || interrupted().is_some();
        self.world.host.work(&cmd, &mut Task { started: &mut started, heard, stop: &stop })
    }

    /// Undoes all that is open, the last first, and forgets the journal if nothing is left.
    pub(in crate::cli) fn end(self) -> Result<()> {
        let open: Vec<Op> = self.open.borrow().iter().rev().map(|(_, op)| op.clone()).collect();
        let mut first = None;
        for op in open {
            if let Err(err) = self.close(&op) {
                first.get_or_insert(err.context(format!("`{op}` failed; `rlvm sweep` tries it again")));
            }
        }
        if let Some(err) = first {
            return Err(err);
        }
        Store::new(self.world.host, &self.world.context.home()?.join("journal")?).remove(self.run.as_str())
    }
}
