//! Logs: appended to, never followed elsewhere.

use std::{fs::File, io::Write};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    fcntl::{OFlag, openat},
    sys::stat::{Mode as Bits, SFlag, fstat},
};

use super::real::{Cursor, Real, Way, kind, trusted};
use crate::model::HostPath;

/// A log that is written to; it may be rotated away meanwhile.
pub struct Log {
    file: File,
    shown: HostPath,
}

impl Log {
    /// Opens a log, made if it is not there: 0640.
    ///
    /// # Errors
    ///
    /// If its directory is not there, or something else is in its place.
    pub fn open(real: &Real, path: &HostPath) -> Result<Self> {
        let dir = path.parent().context("/ is no log")?;
        let mut cursor = Cursor::default();
        let fd = match cursor.go(real, &dir)? {
            Way::There(fd) => fd,
            Way::Absent => bail!("cannot write the log {path}: {dir} is not there; rlvm apply makes it"),
            Way::Blocked(why) => bail!("cannot write the log {path}: {why}"),
        };
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW;
        let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let mode = Bits::S_IRUSR | Bits::S_IWUSR | Bits::S_IRGRP;
        let file: File = openat(fd, path.name(), flags, mode)
            .with_context(|| format!("cannot open the log {path}"))?
            .into();
        let stat = fstat(&file)?;
        ensure!(
            kind(&stat) == SFlag::S_IFREG && stat.st_nlink == 1 && trusted(stat.st_uid),
            "the log {path} is no plain file of root's with one name: find out who put it there"
        );
        Ok(Self { file, shown: path.clone() })
    }

    /// Adds a line.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn line(&mut self, line: &str) -> Result<()> {
        self.file
            .write_all(format!("{line}\n").as_bytes())
            .with_context(|| format!("cannot write the log {}", self.shown))
    }
}
