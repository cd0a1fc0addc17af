//! Ensures that one apply runs at a time, with a kernel lock that a crash frees.

use std::{
    fmt,
    fs::File,
    io::{Read, Seek, Write},
    path::Path,
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// A lock that is held until it is dropped. Its descriptor is close-on-exec: no child keeps it.
pub struct Lock {
    _held: Flock<File>,
}

/// Somebody else holds the lock.
#[derive(Debug)]
pub struct Busy {
    holder: String,
}

impl Lock {
    /// Takes the lock on a file, and writes into it who holds it.
    pub(super) fn take(file: File, who: &str) -> Result<Self> {
        Self::take_as(file, who, FlockArg::LockExclusiveNonblock)
    }

    /// Takes the lock on a file beside others who do so. The file says who they are, a line each.
    pub(super) fn share(file: File, who: &str) -> Result<Self> {
        Self::take_as(file, who, FlockArg::LockSharedNonblock)
    }

    fn take_as(file: File, who: &str, how: FlockArg) -> Result<Self> {
        match Flock::lock(file, how) {
            Ok(mut held) => {
                let others = if how == FlockArg::LockSharedNonblock { holders(&held) } else { Vec::new() };
                let text: String = others.into_iter().chain([who.to_owned()]).map(|it| it + "\n").collect();
                held.set_len(0)
                    .and_then(|()| held.rewind())
                    .and_then(|()| held.write_all(text.as_bytes()))
                    .context("cannot write the lock file")?;
                Ok(Self { _held: held })
            }
            Err((file, Errno::EWOULDBLOCK)) => {
                // Who holds it is a kindness; that it is held is certain.
                let holder = holders(&file).into_iter().next().unwrap_or_default();
                Err(Busy { holder }.into())
            }
            Err((_, errno)) => Err(errno).context("cannot take the lock"),
        }
    }

    /// Takes the lock on a file that says something itself.
    pub(super) fn hold(file: File) -> Result<Flock<File>> {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(held),
            Err((_, Errno::EWOULDBLOCK)) => Err(Busy { holder: String::new() }.into()),
            Err((_, errno)) => Err(errno).context("cannot take the lock"),
        }
    }
}

/// How much of a lock file is read, in bytes.
const MOST: u64 = 4096;

/// Reads who holds a lock, and leaves out processes that have ended: of several that share it, one may go on.
pub(super) fn holders(file: &File) -> Vec<String> {
    let mut text = String::new();
    drop(file.take(MOST).read_to_string(&mut text));
    text.lines().filter(|line| !line.is_empty() && lives(line)).map(ToOwned::to_owned).collect()
}

/// Says whether the process that a line names lives. One that names none may.
fn lives(line: &str) -> bool {
    let pid = line.split_once("(process ").and_then(|(_, rest)| rest.split([' ', ')']).next());
    pid.and_then(|pid| pid.parse::<u32>().ok()).is_none_or(|pid| Path::new(&format!("/proc/{pid}")).exists())
}

impl Busy {
    /// Returns who holds the lock, in the holder's own words; empty if that is not known.
    pub fn holder(&self) -> &str {
        &self.holder
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holder.as_str() {
            "" => f.write_str("another rlvm holds the lock"),
            holder => write!(f, "another rlvm holds the lock: {holder}"),
        }
    }
}

impl std::error::Error for Busy {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_holders_one_that_lives_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let open =
            || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let me = std::process::id();
        let run = Lock::share(open(), &format!("rlvm run (process {me} since x)")).unwrap();
        // No process has this number.
        drop(Lock::share(open(), "rlvm restore (process 4194305 since y)").unwrap());
        let busy = Lock::take(open(), "rlvm prune (process 1 since z)").err().unwrap();
        let busy = busy.downcast::<Busy>().unwrap();
        assert_eq!(busy.holder(), format!("rlvm run (process {me} since x)"));
        drop(run);
        let alone = Lock::take(open(), "rlvm prune (process 1 since z)").unwrap();
        let busy = Lock::share(open(), "rlvm run (process 2 since w)").err().unwrap();
        assert_eq!(busy.downcast::<Busy>().unwrap().holder(), "rlvm prune (process 1 since z)");
        drop(alone);
    }
}
