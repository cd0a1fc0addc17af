//! The only code that touches a machine.
//!
//! Looking ([`Observe`]) and acting ([`Act`]) are two traits: planning gets only the first, and can change nothing.
//! [`Real`] is the machine itself or a tree below a directory. There is no simulated machine, because a simulation
//! hides mistakes that occur on a real kernel. Tests use a tree in a temporary directory. Code that needs no machine
//! (`diff`) consists of functions of values.

mod entry;
mod lock;
mod log;
mod mount;
mod output_file;
mod private;
mod real;
mod standing;
mod store;
mod trust;
mod work;
mod zone;

use std::io::Read;

use anyhow::Result;

pub use entry::{Entry, KeyHead, Meta, Quota, SshdsWithOtherConfig, Stamp, UserEntry};
pub use lock::{Busy, Lock};
pub use log::Log;
pub use mount::{Mount, Mounts};
pub use real::{
    Agent, Copies, Placing, Real, Revision, Shut, ShutOut, Standings, Telling, Told, Tries, Web, interrupted,
    watch_signals,
};
pub use standing::{Equality, Fate, Left, Sort, Staged, Standing, There, lossy};
pub use store::{Appender, Held, NOT_YET, Store};
pub use trust::{Caller, CallersFiles, Untrusted, caller, host_name, is_denied, is_root, lexical, random_id};
pub use work::{Ended, RUN_VARIABLE, Stream, Task, WHOLE_VARIABLE, Work};
pub use zone::zone_of;

use crate::{
    effect::{Op, Owner, Query},
    model::{GroupName, HostPath, Sha256, UserName},
};

/// A host that can be looked at from several threads.
pub trait Host: Sync {
    /// Returns something to look with, for one thread.
    fn looker(&self) -> Box<dyn Observe + '_>;
    /// Asks the mounts of these paths side by side whether they answer. Whoever looks at the paths then waits no more.
    fn ask_ahead(&self, paths: &[&HostPath]);
}

/// Looks. Whoever has only this can change nothing.
pub trait Observe {
    /// Says what is at a path, without opening it.
    fn entry(&self, path: &HostPath) -> Result<Entry>;
    /// Returns something to look with that also sees what root has in a directory of an unprivileged user, who could have
    /// put it there. Only for a look that neither shows, writes back nor hands on what it finds.
    fn lenient(&self) -> Box<dyn Observe + '_>;
    /// Says in which unprivileged user's directory a directory of root's lies; nothing if in none.
    fn lent(&self, path: &HostPath) -> Result<Option<String>>;
    /// Says why a file of this owner is not made at a path, if so.
    fn not_made(&self, path: &HostPath, owner: &Owner) -> Result<Option<String>>;
    /// Says why one of these changes of owner and mode, made in this order, would be refused, if so. Other operations are
    /// ignored.
    fn not_given(&self, ops: &[Op]) -> Result<Option<String>>;
    /// Says what is at a path, and what a regular file holds, up to [`LONGEST_TEXT`] bytes.
    fn text(&self, path: &HostPath) -> Result<(Entry, Option<Vec<u8>>)>;
    /// Says what is at a path, and what a private SSH key shows of itself; nothing if it is none. No private part of
    /// it is held longer than it takes to pass over it.
    fn private_key(&self, path: &HostPath) -> Result<(Entry, Option<KeyHead>)>;
    /// Says where a symbolic link leads, as it is written; nothing if there is no link.
    fn link(&self, path: &HostPath) -> Result<Option<String>>;
    /// Says to whom the socket at a path belongs; nothing if there is no socket.
    fn socket(&self, path: &HostPath) -> Result<Option<Meta>>;
    /// Says what is at a path, and the digest of what a regular file holds.
    fn digest(&self, path: &HostPath) -> Result<(Entry, Option<Sha256>)>;
    /// Lists a directory's entries by name, sorted; nothing if nothing is there. What cannot be listed is an error.
    fn names(&self, path: &HostPath) -> Result<Vec<String>>;
    /// Says whether a path is a mount point.
    fn mounted(&self, path: &HostPath) -> Result<bool>;
    /// Says why a directory that must be a mount point cannot be used as one; nothing if something is mounted there.
    fn not_mounted(&self, path: &HostPath) -> Option<String> {
        match self.mounted(path) {
            Ok(true) => None,
            Ok(false) => Some(format!("{path} must be mounted and is not")),
            Err(err) => Some(format!("{err:#}")),
        }
    }
    /// Says which of these mount points a path lies below, as it is written or where its links lead, and why that mount
    /// point cannot be used; nothing if none is missing.
    fn missing_mount(&self, path: &HostPath, mount_points: &[HostPath]) -> Option<String> {
        if mount_points.is_empty() {
            return None;
        }
        let real = self.leads(path);
        let is_above =
            |at: &&HostPath| path.is_within(at) || real.as_ref().is_some_and(|it| it.is_within(at));
        mount_points.iter().filter(is_above).find_map(|at| self.not_mounted(at))
    }
    /// Lists what is mounted, as far as a path can reach it.
    fn mounts(&self) -> Result<Mounts>;
    /// Makes sure that the mounts answer on the way to a path. Looking at the path asks them anyway; programs that go
    /// below it do not.
    fn answers(&self, path: &HostPath) -> Result<()>;
    /// Says where a path really lies: the links on its way followed, not one that it is itself. Nothing if nothing is
    /// there. For what is only read: nobody is kept from leading it elsewhere.
    fn lies(&self, path: &HostPath) -> Result<Option<HostPath>>;
    /// Says where a path leads, all links followed, whether or not anything is there. Nothing if that cannot be told.
    fn leads(&self, path: &HostPath) -> Option<HostPath>;
    /// Says whether a user's number is that of an account that the host calls so.
    fn is_user(&self, user: &UserName, called: &str) -> Result<bool>;
    /// Says whether a group's number is that of a group that the host calls so.
    fn is_group(&self, group: &GroupName, called: &str) -> Result<bool>;
    /// Says whether there is such a user.
    fn has_user(&self, user: &UserName) -> Result<bool>;
    /// Says whether there is such a group.
    fn has_group(&self, group: &GroupName) -> Result<bool>;
    /// Says what the system's accounts say of a user; nothing if there is no such user.
    fn user(&self, user: &UserName) -> Result<Option<UserEntry>>;
    /// Lists the groups of a user by name. A group may name a user that is not there yet.
    fn groups(&self, user: &UserName) -> Result<Vec<String>>;
    /// Lists the accounts that are at home below a directory, as the system's own files have them, each with its home.
    fn users_below(&self, dir: &HostPath) -> Result<Vec<(String, String)>>;
    /// Says where a user is at home; nothing if there is no such user.
    fn home(&self, user: &UserName) -> Result<Option<HostPath>>;
    /// Says how much of the file system where a directory lies a user may fill; nothing where there are no quotas.
    fn quota(&self, user: &UserName, dir: &HostPath) -> Result<Option<Quota>>;
    /// Says what those sshds read that listen and do not read the usual file.
    fn sshds_beside(&self) -> Result<SshdsWithOtherConfig>;
    /// Names the first of these files and directories that was changed after an sshd that listens with this configuration has
    /// read it, as far as can be told.
    fn changed_since_sshd_read(&self, config: &str, files: &[String]) -> Result<Option<String>>;
    /// Finds a program in the host's `PATH`.
    fn program(&self, name: &str) -> Result<Option<Stamp>>;
    /// Says where in the host's `PATH` a program is.
    fn program_path(&self, name: &str) -> Option<String>;
    /// Says whether the caller itself could write a path, as far as the kernel is concerned.
    fn writable(&self, path: &HostPath) -> Result<bool>;
    /// Runs a command that only reads, whatever its exit code.
    fn query(&self, query: &Query) -> Result<Output>;
    /// Runs a command that only reads, whatever its exit code, and hands over what it prints while it prints it, however much
    /// that is. What is returned has no `stdout`.
    fn read(&self, query: &Query, take: &mut (dyn FnMut(&mut dyn Read) + Send)) -> Result<Output>;
    /// Returns the kernel's version: its first two numbers.
    fn kernel(&self) -> (u32, u32);
    /// Says whether this is a tree below a directory, not the running system.
    fn is_tree(&self) -> bool;
}

/// Acts, from several threads if need be. Only `apply` gets this.
pub trait Act: Sync {
    /// Carries out one op.
    fn act(&self, op: &Op) -> Result<()>;
    /// Carries out one op. One that takes long tells meanwhile how many files and directories it has changed.
    fn act_telling(&self, op: &Op, _told: &mut dyn FnMut(u64)) -> Result<()> {
        self.act(op)
    }
    /// Makes durable what was done so far.
    fn settle(&self) -> Result<()>;
}

/// What a program printed, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; `None` if a signal or the time limit ended it.
    pub code: Option<i32>,
    /// Whether it was ended because it took too long.
    pub timed_out: bool,
    /// What it printed.
    pub stdout: String,
    /// The tail of what it complained about.
    pub stderr: String,
}

/// How much of a file is looked at, in bytes: nothing that rlvm writes comes near it.
pub const LONGEST_TEXT: u64 = 1 << 20;
