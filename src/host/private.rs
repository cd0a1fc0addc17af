//! Creates and checks rlvm's own private directories.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::stat::{Mode as Bits, fchmod, fstat, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};

use super::{
    is_root,
    real::{Cursor, Real, Way, open_own, trusted},
};
use crate::model::HostPath;

/// A directory of rlvm's own, open: 0700, its owner root or the caller.
pub(super) struct PrivateDir {
    path: HostPath,
    fd: OwnedFd,
}

impl PrivateDir {
    /// Opens it; `None` if it is not there.
    pub(super) fn open(real: &Real, path: &HostPath) -> Result<Option<Self>> {
        let mut cursor = Cursor::default();
        let fd = match cursor.go(real, path)? {
            Way::There(fd) => fd,
            Way::Absent => return Ok(None),
            Way::Blocked(why) => bail!("cannot use {path} for rlvm's own files: {why}"),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = openat(fd, ".", flags, Bits::empty()).with_context(|| format!("cannot open {path}"))?;
        let stat = fstat(&fd)?;
        ensure!(
            trusted(stat.st_uid) && stat.st_mode & 0o022 == 0,
            "{path} is for rlvm's own files, but others may write it: {}chmod 0700 {path}",
            chown(path.as_str())
        );
        Ok(Some(Self { path: path.clone(), fd }))
    }

    /// Opens it, made if it is not there.
    pub(super) fn make(real: &Real, path: &HostPath) -> Result<Self> {
        let mut missing: Vec<HostPath> = std::iter::once(path.clone()).chain(path.ancestors()).collect();
        missing.reverse();
        for dir in &missing {
            let parent = dir.parent().context("/ is no place for rlvm's own files")?;
            let mut cursor = Cursor::default();
            let mode = if dir == path { Bits::S_IRWXU } else { Bits::from_bits_truncate(0o755) };
            match cursor.go(real, &parent)? {
                Way::There(fd) => match mkdirat(fd, dir.name(), mode) {
                    Ok(()) => {
                        // Whatever the caller's umask is.
                        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                        openat(fd, dir.name(), flags, Bits::empty())
                            .and_then(|made| fchmod(made, mode))
                            .with_context(|| format!("cannot set the mode of {dir}"))?;
                    }
                    Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno).with_context(|| format!("cannot make {dir}")),
                },
                Way::Absent => bail!("cannot make {dir}: {parent} is gone"),
                Way::Blocked(why) => bail!("cannot make {dir}: {why}"),
            }
        }
        Self::open(real, path)?.with_context(|| format!("cannot make {path}"))
    }

    /// Opens a file in it; `None` if it is not there (and the flags do not make it).
    pub(super) fn file(&self, name: &str, flags: OFlag) -> Result<Option<File>> {
        let path = &self.path;
        let opened = open_own(&self.fd, name, flags, Bits::S_IRUSR | Bits::S_IWUSR)
            .with_context(|| format!("cannot open {path}/{name}"))?;
        let Some((file, _, own)) = opened else { return Ok(None) };
        ensure!(
            own,
            "{path}/{name} is no plain file of {} that only {} may write\n\
             help: find out who altered it; if all is well: {}chmod 0600 {path}/{name}",
            if is_root() { "root's" } else { "yours" },
            if is_root() { "root" } else { "you" },
            chown(&format!("{path}/{name}"))
        );
        Ok(Some(file))
    }

    /// Puts a file that was written in place of another of this directory, durably.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<()> {
        renameat(&self.fd, from, &self.fd, to)
            .with_context(|| format!("cannot put {}/{to} in place", self.path))?;
        File::from(self.fd.try_clone()?)
            .sync_all()
            .with_context(|| format!("cannot make {} durable", self.path))
    }

    /// Lists the files in it, sorted.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(&self.fd, ".", flags, Bits::empty())
            .with_context(|| format!("cannot list {}", self.path))?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.with_context(|| format!("cannot list {}", self.path))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| name != "." && name != "..");
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a file of it, if it is there, durably.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("cannot remove {}", self.show(name))),
        }
    }

    /// Says where a file of it is, for a message.
    pub(super) fn show(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

/// Says what root does so that a file is root's.
fn chown(path: &str) -> String {
    if is_root() { format!("chown root {path}; ") } else { String::new() }
}

impl AsFd for PrivateDir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
