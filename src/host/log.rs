//! Logs: appended to, never followed elsewhere.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::{Mode as Bits, SFlag, fstat},
};

use super::real::{Cursor, Real, Way, kind, trusted};
use crate::model::{HostPath, mask_passwords};

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

    /// Reads the end of a log, whole lines of so many bytes at most; nothing if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or something else is in its place.
    pub fn tail(real: &Real, path: &HostPath, bytes: u64) -> Result<String> {
        let dir = path.parent().context("/ is no log")?;
        let mut cursor = Cursor::default();
        let Way::There(fd) = cursor.go(real, &dir)? else { return Ok(String::new()) };
        let flags =
            OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let mut file: File = match openat(fd, path.name(), flags, Bits::empty()) {
            Ok(fd) => fd.into(),
            Err(Errno::ENOENT) => return Ok(String::new()),
            Err(errno) => return Err(errno).with_context(|| format!("cannot read the log {path}")),
        };
        let stat = fstat(&file)?;
        ensure!(
            kind(&stat) == SFlag::S_IFREG && trusted(stat.st_uid),
            "the log {path} is no plain file of root's"
        );
        let from = u64::try_from(stat.st_size).unwrap_or_default().saturating_sub(bytes);
        let mut read = Vec::new();
        file.seek(SeekFrom::Start(from))
            .and_then(|_| file.take(bytes).read_to_end(&mut read))
            .with_context(|| format!("cannot read the log {path}"))?;
        let text = String::from_utf8_lossy(&read);
        let whole = if from == 0 { &text } else { text.split_once('\n').map_or("", |(_, rest)| rest) };
        Ok(whole.to_owned())
    }

    /// Adds a line, passwords in addresses masked.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn line(&mut self, line: &str) -> Result<()> {
        self.file
            .write_all(format!("{}\n", mask_passwords(line)).as_bytes())
            .with_context(|| format!("cannot write the log {}", self.shown))
    }
}
