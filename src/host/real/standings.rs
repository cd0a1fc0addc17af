//! Looks at what stands where a restore would put something, and follows no link there.
//!
//! The way to what was asked for is walked as everywhere ([`super::walk`]). From there on, each step opens one name with
//! `O_NOFOLLOW`: a link in what was asked for is a link, whatever it leads to.

use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::Result;
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::{FileStat, Mode as Bits, SFlag, fstat},
};

use super::{
    Real, answers,
    look::stamp,
    staging::{look, names, open_dir, there},
    walk::{Cursor, Way, kind},
};
use crate::{
    host::{Standing, lossy},
    model::HostPath,
};

/// Looks at many names below one directory, keeping the last one open.
pub struct Standings {
    way: Result<Option<OwnedFd>, String>,
    open: Vec<(Vec<u8>, OwnedFd)>,
}

fn is(stat: &FileStat) -> Standing {
    Standing::There(there(stat), stamp(stat))
}

/// Opens a directory to look below it, no link followed.
fn step(dir: &OwnedFd, name: &[u8]) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir.as_fd(), name, flags, Bits::empty())
}

impl Standings {
    /// Makes one for what is below a directory that is open.
    pub(super) fn below(dir: OwnedFd) -> Self {
        Self { way: Ok(Some(dir)), open: Vec::new() }
    }

    /// Says what stands at a path below the directory: its names, the last one looked at and not opened.
    ///
    /// # Errors
    ///
    /// None: what cannot be looked at is [`Standing::Blocked`].
    pub fn at(&mut self, path: &[Vec<u8>]) -> Standing {
        let Some((name, dirs)) = path.split_last() else {
            return match &self.way {
                Ok(Some(fd)) => fstat(fd).map_or_else(|errno| blocked(b"/", errno), |stat| is(&stat)),
                Ok(None) => Standing::Absent,
                Err(why) => Standing::Blocked(why.clone()),
            };
        };
        match self.dir(dirs) {
            Ok(None) => Standing::Absent,
            Ok(Some(dir)) => match look(dir, name) {
                Ok(stat) => is(&stat),
                Err(Errno::ENOENT) => Standing::Absent,
                Err(errno) => blocked(name, errno),
            },
            Err(why) => Standing::Blocked(why),
        }
    }

    /// Lists the names in a directory below; none if it is none.
    pub fn names(&mut self, path: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let dir = self.dir(path).ok().flatten();
        dir.and_then(|dir| names(dir).ok()).unwrap_or_default()
    }

    /// Opens a directory below, no link followed; nothing if it is not there.
    pub(super) fn dir(&mut self, path: &[Vec<u8>]) -> Result<Option<&OwnedFd>, String> {
        let way = match &self.way {
            Ok(Some(way)) => way,
            Ok(None) => return Ok(None),
            Err(why) => return Err(why.clone()),
        };
        let same = self.open.iter().zip(path).take_while(|((open, _), name)| open == *name).count();
        self.open.truncate(same);
        for name in &path[same..] {
            let above = self.open.last().map_or(way, |(_, fd)| fd);
            match step(above, name) {
                Ok(fd) => self.open.push((name.clone(), fd)),
                Err(Errno::ENOENT) => return Ok(None),
                Err(Errno::ENOTDIR | Errno::ELOOP) => {
                    return Err(format!("{} is no directory now", lossy(name)));
                }
                Err(errno) => return Err(format!("cannot open {}: {}", lossy(name), errno.desc())),
            }
        }
        Ok(Some(self.open.last().map_or(way, |(_, fd)| fd)))
    }
}

fn blocked(name: &[u8], errno: Errno) -> Standing {
    Standing::Blocked(format!("cannot look at {}: {}", lossy(name), errno.desc()))
}

impl Real {
    /// Returns what looks at many names below a directory. Links on the way to it are followed as everywhere.
    ///
    /// # Errors
    ///
    /// If the kernel does not say.
    pub fn standings(&self, way: &HostPath) -> Result<Standings> {
        let mut cursor = Cursor::default();
        let way = match cursor.go(self, way)? {
            Way::There(fd) => {
                reopened(fd).map(Some).map_err(|errno| format!("cannot open {way}: {}", errno.desc()))
            }
            Way::Absent => Ok(None),
            // Only looked at: whose directories lie in whose does not matter, as long as no link is on the way.
            Way::Blocked(why) => {
                answers::ask(&self.root.join(way.relative()))?;
                plain_way(self, way).map_err(|_| why)
            }
        };
        Ok(Standings { way, open: Vec::new() })
    }

    /// Returns where a directory really is, links followed as everywhere; what is missing of it is added as it is written. Nothing
    /// if the way is not safe or not possible.
    ///
    /// # Errors
    ///
    /// If the kernel does not say.
    pub fn resolved(&self, dir: &HostPath) -> Result<Option<HostPath>> {
        let mut cursor = Cursor::default();
        for at in std::iter::once(dir.clone()).chain(dir.ancestors()) {
            match cursor.go(self, &at)? {
                Way::There(_) => {
                    let missing = dir.as_str().strip_prefix(at.as_str()).unwrap_or_default();
                    let whole = format!("{}{missing}", cursor.resolved());
                    return Ok(Some(if whole.is_empty() { HostPath::fixed("/") } else { whole.parse()? }));
                }
                Way::Blocked(_) => return Ok(None),
                Way::Absent => {}
            }
        }
        Ok(Some(dir.clone()))
    }

    /// Says what stands at a path, links on the way followed as everywhere; a directory that a link of root's leads to is
    /// one.
    ///
    /// # Errors
    ///
    /// If the kernel does not say.
    pub fn standing(&self, path: &HostPath) -> Result<Standing> {
        let Some(parent) = path.parent() else { return Ok(self.standings(path)?.at(&[])) };
        let mut cursor = Cursor::default();
        let stat = match cursor.go(self, &parent)? {
            Way::There(fd) => match look(fd, path.name().as_bytes()) {
                Ok(stat) => stat,
                Err(Errno::ENOENT) => return Ok(Standing::Absent),
                Err(errno) => return Ok(blocked(path.name().as_bytes(), errno)),
            },
            Way::Absent => return Ok(Standing::Absent),
            Way::Blocked(why) => return Ok(Standing::Blocked(why)),
        };
        if kind(&stat) == SFlag::S_IFLNK
            && let Way::There(fd) = cursor.go(self, path)?
        {
            return Ok(is(&fstat(fd)?));
        }
        Ok(is(&stat))
    }
}

fn reopened(fd: std::os::fd::BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    openat(fd, ".", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Bits::empty())
}

/// Opens a directory, no link followed; nothing if it is not there.
fn plain_way(real: &Real, dir: &HostPath) -> nix::Result<Option<OwnedFd>> {
    let mut fd = open_dir(&real.root_fd, b".")?;
    for part in dir.parts() {
        fd = match step(&fd, part.as_bytes()) {
            Ok(below) => below,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
    }
    Ok(Some(fd))
}
