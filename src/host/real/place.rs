//! Puts what was restored in place: by renaming it, name by name, below directories that are open.
//!
//! A file that is there stays whole until the new one takes its place. What the snapshot does not have is not touched, and a
//! directory is never replaced by something else. No link is followed below the directories that were asked for.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{readlinkat, renameat},
    sys::{
        stat::{FileStat, Mode as Bits, fchmod, fstat, futimens},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, UnlinkatFlags, fchown, syncfs, unlinkat},
};

use super::{
    Real,
    rename::{exchange, rename_new},
    staging::{look, names, open_dir, there},
    walk::{Cursor, Way, is_anothers},
};
use crate::{
    host::{Left, Sort, There},
    model::HostPath,
};

/// What is put in place, and what is not.
pub struct Placing<'a> {
    /// Whether what is there stays as it is.
    pub only_missing: bool,
    /// Says whether something, by its path, is not to be put in place: it was not restored in full.
    pub broken: &'a dyn Fn(&str) -> bool,
    /// Says whether a directory, by its path, is one that was asked for, or in one: then it gets its owner and mode back.
    pub asked: &'a dyn Fn(&str) -> bool,
    /// Is asked between two whether to stop.
    pub stop: &'a dyn Fn() -> bool,
    /// How many were put in place.
    pub placed: u64,
    /// How many were there already, and as they should be.
    pub same: u64,
    /// What could not be, and why.
    pub left: Vec<Left>,
}

impl Placing<'_> {
    /// Puts what is in the private directory of a restore in place below a directory.
    ///
    /// # Errors
    ///
    /// If either cannot be got at. What could not be put in place is in `left`.
    pub fn place(&mut self, real: &Real, staging: &HostPath, base: &HostPath) -> Result<()> {
        let (_, staged) = real.open_staging(staging)?.with_context(|| format!("{staging} is gone"))?;
        // What is renamed over something must outlive a power cut.
        syncfs(&staged).with_context(|| format!("cannot make durable what is in {staging}"))?;
        let mut cursor = Cursor::default();
        let live = match cursor.go(real, base)? {
            Way::There(fd) => open_dir(fd, b".").with_context(|| format!("cannot open {base}"))?,
            Way::Absent => bail!("{base} is gone"),
            Way::Blocked(why) => bail!("cannot restore into {base}: {why}"),
        };
        let at = if base.as_str() == "/" { "" } else { base.as_str() };
        self.merge(real, &staged, &live, "", at);
        syncfs(&live).with_context(|| format!("cannot make durable what was put below {base}"))
    }

    /// Goes through a restored directory and the one that is there. `path` is the snapshot's, `at` where that stands.
    fn merge(&mut self, real: &Real, staged: &OwnedFd, live: &OwnedFd, path: &str, base: &str) {
        let all = match names(staged) {
            Ok(all) => all,
            Err(errno) => return self.leave(path, format!("cannot list it: {}", errno.desc())),
        };
        for name in all {
            let path = format!("{path}/{}", String::from_utf8_lossy(&name));
            if (self.stop)() {
                return;
            }
            if (self.broken)(&path) {
                continue;
            }
            if let Err(why) = self.one(real, staged, live, &name, &path, base) {
                self.leave(&path, why);
            }
        }
    }

    fn leave(&mut self, path: &str, why: String) {
        self.left.push(Left { path: path.into(), why });
    }

    fn one(
        &mut self,
        real: &Real,
        staged: &OwnedFd,
        live: &OwnedFd,
        name: &[u8],
        path: &str,
        base: &str,
    ) -> Result<(), String> {
        let said = |errno: Errno| errno.desc().to_owned();
        let new = there(&look(staged, name).map_err(said)?);
        let old = match look(live, name) {
            Ok(stat) => Some(stat),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(said(errno)),
        };
        let Some(old) = old else {
            // A directory may hold what was not restored in full.
            if new.sort == Sort::Directory {
                self.weed(&open_dir(staged, name).map_err(said)?, path).map_err(said)?;
            }
            rename_new((staged.as_fd(), name), (live.as_fd(), name)).map_err(said)?;
            self.placed += 1;
            return Ok(());
        };
        let is = there(&old);
        if new.sort == Sort::Directory && (is.sort == Sort::Directory || is.sort == Sort::Link) {
            let below = enter(real, (live, name, &old), new.uid, (path, base))?;
            let inner = open_dir(staged, name).map_err(said)?;
            self.merge(real, &inner, &below, path, base);
            if !self.only_missing && (self.asked)(path) {
                dress(live, &below, &new)
                    .map_err(|errno| format!("its owner, mode and time cannot be set: {}", errno.desc()))?;
            }
            return Ok(());
        }
        if self.only_missing {
            self.same += 1;
            return Ok(());
        }
        if is.sort == Sort::Directory {
            return Err("a directory is there now, and is not replaced".into());
        }
        if new.sort != Sort::Directory && is_same(staged, live, name, &new, &is) {
            self.same += 1;
            return Ok(());
        }
        let done = if new.sort == Sort::Directory {
            self.weed(&open_dir(staged, name).map_err(said)?, path).map_err(said)?;
            // What was there goes with the private directory.
            exchange((staged.as_fd(), name), (live.as_fd(), name))
        } else {
            renameat(staged, name, live, name)
        };
        done.map_err(said)?;
        self.placed += 1;
        Ok(())
    }

    /// Takes what was not restored in full out of a directory that is put in place as a whole, and counts the rest.
    fn weed(&mut self, dir: &OwnedFd, path: &str) -> nix::Result<()> {
        for name in names(dir)? {
            let path = format!("{path}/{}", String::from_utf8_lossy(&name));
            let is_dir = there(&look(dir, &name)?).sort == Sort::Directory;
            if is_dir {
                self.weed(&open_dir(dir, &name)?, &path)?;
                self.placed += 1;
            } else if (self.broken)(&path) {
                unlinkat(dir, name.as_slice(), UnlinkatFlags::NoRemoveDir)?;
            } else {
                self.placed += 1;
            }
        }
        Ok(())
    }
}

/// Opens a directory that is there, unless somebody could have put it there to lead elsewhere: one that lies in another
/// user's belongs to whom it did when it was stored. Nobody moves a directory that they cannot write (rename(2)).
fn enter(
    real: &Real,
    (live, name, old): (&OwnedFd, &[u8], &FileStat),
    was: u32,
    (path, base): (&str, &str),
) -> Result<OwnedFd, String> {
    let said = |errno: Errno| errno.desc().to_owned();
    if there(old).sort == Sort::Link {
        // The walk knows which links are root's own.
        let path: HostPath = format!("{base}{path}").parse().map_err(|_| "a link is there now".to_owned())?;
        let mut cursor = Cursor::default();
        return match cursor.go(real, &path) {
            Ok(Way::There(fd)) => open_dir(fd, b".").map_err(said),
            Ok(Way::Absent) => Err("a symbolic link to nothing is there now".into()),
            Ok(Way::Blocked(why)) => Err(why),
            Err(err) => Err(format!("{err:#}")),
        };
    }
    let above = fstat(live.as_fd()).map_err(said)?;
    let below = open_dir(live, name).map_err(said)?;
    let stat = fstat(&below).map_err(said)?;
    if is_anothers(&above, &stat) && stat.st_uid != was {
        let (owner, other) = (real.accounts.user_name(stat.st_uid), real.accounts.user_name(above.st_uid));
        return Err(format!(
            "it belongs to {owner}, but lies in a directory of {other}, who could have put it there"
        ));
    }
    Ok(below)
}

/// Says whether what is there is what was restored, as far as can be told without reading it.
fn is_same(staged: &OwnedFd, live: &OwnedFd, name: &[u8], new: &There, is: &There) -> bool {
    if new.sort == Sort::Link {
        let (ours, theirs) = (readlinkat(staged, name), readlinkat(live, name));
        return is.sort == Sort::Link
            && ours.is_ok()
            && ours == theirs
            && (new.uid, new.gid) == (is.uid, is.gid);
    }
    // What a device stands for is not compared.
    new.sort == Sort::File && new == is
}

/// Gives a directory that is there the owner, mode and time of the one that was restored. One that the owner of `above`
/// could have put there is not opened to others: it may be another one than was stored.
fn dress(above: &OwnedFd, dir: &OwnedFd, like: &There) -> nix::Result<()> {
    let now = fstat(dir)?;
    if is_anothers(&fstat(above)?, &now) && like.mode & !now.st_mode & 0o077 != 0 {
        return Err(Errno::EPERM);
    }
    fchown(dir, Some(Uid::from_raw(like.uid)), Some(Gid::from_raw(like.gid)))?;
    fchmod(dir, Bits::from_bits_truncate(like.mode))?;
    let mtime = TimeSpec::new(like.mtime.div_euclid(1_000_000_000), like.mtime.rem_euclid(1_000_000_000));
    futimens(dir, &TimeSpec::UTIME_OMIT, &mtime)
}
