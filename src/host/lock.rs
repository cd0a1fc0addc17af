//! Ensures that one apply runs at a time, with a kernel lock that a crash frees.

use std::{
    fmt,
    fs::File,
    io::{Read, Write},
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

    /// Takes the lock on a file beside others who do so; the file says who was the last.
    pub(super) fn share(file: File, who: &str) -> Result<Self> {
        Self::take_as(file, who, FlockArg::LockSharedNonblock)
    }

    fn take_as(file: File, who: &str, how: FlockArg) -> Result<Self> {
        match Flock::lock(file, how) {
            Ok(mut held) => {
                held.set_len(0)
                    .and_then(|()| held.write_all(who.as_bytes()))
                    .context("cannot write the lock file")?;
                Ok(Self { _held: held })
            }
            Err((file, Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                // Who holds it is a kindness; that it is held is certain.
                drop(file.take(400).read_to_string(&mut holder));
                Err(Busy { holder: holder.trim().to_owned() }.into())
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
