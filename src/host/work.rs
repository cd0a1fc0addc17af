//! Runs a program that takes long: its output is read while it runs, and it can be stopped.

use anyhow::Result;

use crate::{
    effect::Cmd,
    model::{HostPath, RunId},
};

/// The variable that tells programs which run they are of, and a sweep too.
pub const RUN_VARIABLE: &str = "RLVM_RUN";
/// The variable that tells a sweep of which run a program is that goes on to its end when rlvm is killed.
pub const WHOLE_VARIABLE: &str = "RLVM_WHOLE";

/// Carries out what a run does, from several threads if need be.
pub trait Work: Sync {
    /// Runs a program to its end, whatever its exit code. Stopped, or when its time is up, its whole process group is
    /// asked to end, and killed if it does not.
    ///
    /// # Errors
    ///
    /// If it cannot be started or waited for. If it can be stopped, as restic can, also if it ended by itself while a process
    /// that it had started held its output open: then nobody knows whether that was all.
    fn work(&self, cmd: &Cmd, task: &mut Task<'_>) -> Result<Ended>;

    /// Does something on a thread with mounts of its own: what it mounts, and what programs that it starts mount, nobody
    /// else sees, and is gone when it ends.
    ///
    /// # Errors
    ///
    /// If the kernel refuses; needs root.
    fn apart(&self, work: &mut (dyn FnMut() + Send)) -> Result<()>;

    /// Does something while nobody can write to some file systems, this process neither; for a minute at the most, and
    /// not after rlvm has died.
    ///
    /// # Errors
    ///
    /// If they cannot be held; then it is not done. If they cannot be let go.
    fn held(&self, at: &[HostPath], work: &mut dyn FnMut()) -> Result<()>;

    /// Ends what is left of the programs of a dead run: the processes of these sessions, each named by its leader, that
    /// were started for that run and by no other.
    ///
    /// # Errors
    ///
    /// If processes cannot be looked at.
    fn end(&self, run: &RunId, sessions: &[(u32, u64)]) -> Result<()>;

    /// Waits for the programs of a dead run that go on to their end: what undoes their work would else come before it.
    ///
    /// # Errors
    ///
    /// If processes cannot be looked at, or one takes too long.
    fn outlast(&self, run: &RunId) -> Result<()>;
}

/// Who is told of a program, and asked about it, while it runs.
pub struct Task<'a> {
    /// Is told its process, which leads a group and a session of its own, and when that was started, in clock ticks
    /// since the boot (`proc_pid_stat(5)`).
    pub started: &'a mut dyn FnMut(u32, u64),
    /// Is told each line that it prints.
    pub heard: &'a mut dyn FnMut(Stream, &str),
    /// Is asked, some times a second, whether it is to stop.
    pub stop: &'a dyn Fn() -> bool,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Whether it was ended because it took too long.
    pub timed_out: bool,
    /// Whether it was ended because it was to stop.
    pub stopped: bool,
    /// What of its session went on when it had ended by itself, each as `NAME (process NUMBER)`.
    pub left: Vec<String>,
}

impl Ended {
    /// Says whether it ended by itself: no signal, limit or wish to stop cut it short, so its exit code says how it went.
    pub fn is_by_itself(&self) -> bool {
        self.code.is_some() && !self.stopped && !self.timed_out
    }
}
