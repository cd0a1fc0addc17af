//! Puts what was restored in place: by renaming it, name by name, below directories that are open.
//!
//! Each name has a [`Fate`], which was decided and shown before. Nothing else is done: a name that is not as it was then
//! stays as it is, and is in [`Placing::left`]. A file that is there stays whole until the new one takes its place; it is
//! exchanged, and if another file came out than was shown, that one is put back. What the snapshot does not have is not
//! touched, and a directory is never replaced. No link is followed in what was asked for.

mod replace;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files to put in place")]
mod tests;
mod whole;

use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::{
        stat::{FileStat, Mode as Bits, fchmod, fstat, futimens},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchown, syncfs},
};

use super::{
    Real,
    look::stamp,
    staging::{look, names, open_dir, there},
    walk::{Cursor, Way, is_anothers},
    xattr,
};
use crate::{
    host::{Fate, Left, Sort, Stamp, There, lossy},
    model::HostPath,
};

/// What is put in place, and what is not.
pub struct Placing<'a> {
    /// Says what was decided for a path of the snapshot; nothing if nothing was.
    pub fate: &'a dyn Fn(&[u8]) -> Option<Fate>,
    /// The paths that were asked for. Directories above them are gone through, and made if they are not there.
    asked: HashSet<&'a [u8]>,
    /// These.
    above: HashSet<&'a [u8]>,
    /// Says whether a file was not restored in full, by its path as [`lossy`] has it.
    broken: &'a dyn Fn(&str) -> bool,
    /// Whether such a file is put in place all the same.
    keep_broken: bool,
    /// Is asked between two whether to stop.
    pub stop: &'a dyn Fn() -> bool,
    /// How many files and directories were put in place.
    pub placed: u64,
    /// How many files were put in place in full.
    pub files_placed: u64,
    /// How many were to be replaced, and turned out to be as they should be.
    pub same: u64,
    /// What could not be, and why.
    pub left: Vec<Left>,
    /// Which of the paths that were asked for were restored.
    met: HashSet<Vec<u8>>,
    /// How other names that are no UTF-8 and were restored read.
    alike: HashSet<String>,
    /// The directory that holds the private one, by device and inode: rlvm itself moves its times.
    beside: Option<(u64, u64)>,
    /// Files of which a name was replaced, by device and inode: as they were shown, and as they are since.
    replaced: HashMap<(u64, u64), (Stamp, Stamp)>,
}

/// A name in the restored directory and in the live one.
struct At<'a> {
    staged: &'a OwnedFd,
    live: &'a OwnedFd,
    name: &'a [u8],
    /// The snapshot's path.
    path: &'a [u8],
    /// Below which directory that stands.
    base: &'a str,
}

/// restic's own reason is listed in its place if it named exactly this path.
const BROKEN: &str = "restic may not have restored it completely";
const CHANGED: &str = "it changed after the comparison, and rlvm left it as it is";
const DIRECTORY_CHANGED: &str =
    "it changed after the comparison, and rlvm left its owner, mode, time and attributes as they are";

impl<'a> Placing<'a> {
    /// Makes one for the paths that were asked for.
    pub fn new(
        asked: impl Iterator<Item = &'a [u8]>,
        fate: &'a dyn Fn(&[u8]) -> Option<Fate>,
        (broken, keep_broken): (&'a dyn Fn(&str) -> bool, bool),
        stop: &'a dyn Fn() -> bool,
    ) -> Self {
        let asked: HashSet<&[u8]> = asked.collect();
        let above = asked.iter().flat_map(|path| upwards(path).skip(1)).collect();
        let (met, alike, left, replaced) = (HashSet::new(), HashSet::new(), Vec::new(), HashMap::new());
        let (placed, files_placed, same, beside) = (0, 0, 0, None);
        Self {
            fate,
            asked,
            above,
            broken,
            keep_broken,
            stop,
            placed,
            files_placed,
            same,
            left,
            met,
            alike,
            beside,
            replaced,
        }
    }

    /// Puts what is in the private directory of a restore in place below a directory.
    ///
    /// # Errors
    ///
    /// If either cannot be got at. What could not be put in place is in `left`.
    pub fn place(&mut self, real: &Real, staging: &HostPath, base: &HostPath) -> Result<()> {
        let (above, staged) = real.open_staging(staging)?.with_context(|| format!("{staging} is gone"))?;
        let above =
            fstat(&above).with_context(|| format!("cannot read the directory that contains {staging}"))?;
        self.beside = Some((above.st_dev, above.st_ino));
        // What is renamed over something must outlive a power cut.
        syncfs(&staged).with_context(|| format!("cannot make durable what is in {staging}"))?;
        let mut cursor = Cursor::default();
        let live = match cursor.go(real, base)? {
            Way::There(fd) => open_dir(fd, b".").with_context(|| format!("cannot open {base}"))?,
            Way::Absent => bail!("{base} is gone"),
            Way::Blocked(why) => bail!("cannot restore into {base}: {why}"),
        };
        let at = if base.as_str() == "/" { "" } else { base.as_str() };
        self.merge(real, &staged, &live, b"", at);
        self.without();
        syncfs(&live).with_context(|| format!("cannot make durable what was put below {base}"))
    }

    /// Goes through a restored directory and the one that is there. `path` is the snapshot's, `base` below what that stands.
    fn merge(&mut self, real: &Real, staged: &OwnedFd, live: &OwnedFd, path: &[u8], base: &str) {
        let all = match names(staged) {
            Ok(all) => all,
            Err(errno) => return self.leave(path, format!("cannot list it: {}", errno.desc())),
        };
        for name in all {
            let path = [path, b"/", &name].concat();
            if (self.stop)() {
                return;
            }
            if self.asked.contains(path.as_slice()) {
                self.met.insert(path.clone());
            } else if std::str::from_utf8(&path).is_err() {
                self.alike.insert(lossy(&path));
            }
            if let Err(why) = self.one(real, &At { staged, live, name: &name, path: &path, base }) {
                self.leave(&path, why);
            }
        }
    }

    /// Says what was asked for and did not come: of a name that is no UTF-8, the snapshot may have another one which reads
    /// the same.
    fn without(&mut self) {
        for path in &self.asked {
            let wanted = matches!((self.fate)(path), Some(Fate::Create | Fate::Replace(_)));
            // A directory, or a file that looks unchanged, may be another one than the snapshot's.
            let is_another = self.alike.contains(&lossy(path));
            if (wanted || is_another) && !self.met.contains(*path) {
                self.left.push(Left {
                    path: lossy(path),
                    why: "the backup has no file with exactly this name".into(),
                });
            }
        }
    }

    fn leave(&mut self, path: &[u8], why: String) {
        self.left.push(Left { path: lossy(path), why });
    }

    fn is_withheld(&self, path: &[u8]) -> bool {
        !self.keep_broken && (self.broken)(&lossy(path))
    }

    fn count(&mut self, path: &[u8], is_dir: bool) {
        self.placed += 1;
        self.files_placed += u64::from(!is_dir && !(self.broken)(&lossy(path)));
    }

    fn is_asked(&self, path: &[u8]) -> bool {
        upwards(path).any(|it| self.asked.contains(it))
    }

    fn is_above(&self, path: &[u8]) -> bool {
        self.above.contains(path)
    }

    fn one(&mut self, real: &Real, at: &At<'_>) -> Result<(), String> {
        let new = there(&look(at.staged, at.name).map_err(said)?);
        if !self.is_asked(at.path) {
            // A pattern of restic's may match more than was asked for.
            return if self.is_above(at.path) && new.sort == Sort::Directory {
                self.above(real, at)
            } else {
                Ok(())
            };
        }
        // A directory lacks only its owner, mode or attributes: what is in it is put in place.
        let (is_broken, is_dir) = (self.is_withheld(at.path), new.sort == Sort::Directory);
        match (self.fate)(at.path) {
            None => {
                Err("restic restored this path, but the file list of the backup does not contain it".into())
            }
            Some(Fate::Refuse | Fate::Keep) => Ok(()),
            Some(_) if is_broken && !is_dir => Err(BROKEN.into()),
            Some(Fate::Replace(_)) if is_broken => Err(self.leave_all(at, BROKEN.into())),
            Some(Fate::Create) => self.create(at, &new),
            Some(Fate::Replace(stamp)) => self.replace(at, &new, &stamp),
            Some(Fate::Enter { stamp, dress }) => self.enter(real, at, &new, (&stamp, dress && !is_broken)),
        }?;
        let kept = matches!((self.fate)(at.path), Some(Fate::Refuse | Fate::Keep));
        if is_broken && !kept { Err(BROKEN.into()) } else { Ok(()) }
    }

    /// Goes through a directory above what was asked for, or makes it.
    fn above(&mut self, real: &Real, at: &At<'_>) -> Result<(), String> {
        let old = match look(at.live, at.name) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return self.create(at, &there(&look(at.staged, at.name).map_err(said)?)),
            Err(errno) => return Err(said(errno)),
        };
        let was = there(&look(at.staged, at.name).map_err(said)?).uid;
        let below = match there(&old).sort {
            Sort::Link => through(real, at),
            Sort::Directory => own(real, at, was),
            other => Err(format!("{} stands where a directory was", other.noun())),
        };
        let below = below.map_err(|why| self.leave_all(at, why))?;
        self.merge(real, &open_dir(at.staged, at.name).map_err(said)?, &below, at.path, at.base);
        Ok(())
    }

    fn enter(
        &mut self,
        real: &Real,
        at: &At<'_>,
        new: &There,
        (shown, dress): (&Stamp, bool),
    ) -> Result<(), String> {
        let (below, before) = entered(real, at, new, shown).map_err(|why| self.leave_all(at, why))?;
        let ours = self.beside == Some((before.st_dev, before.st_ino));
        let changed = !ours && stamp(&before) != *shown;
        let inner = open_dir(at.staged, at.name).map_err(said)?;
        let placed = self.placed;
        self.merge(real, &inner, &below, at.path, at.base);
        // The comparison names a directory whose owner or mode is set back, and announces the others in which files are put.
        if !dress || self.placed == placed && has_owner_and_mode_of(&before, new) {
            return Ok(());
        }
        // Nobody has agreed to lose what a user has set since.
        if changed || attributes_changed(&before, &fstat(&below).map_err(said)?) {
            let is_as_stored = has_owner_and_mode_of(&fstat(&below).map_err(said)?, new);
            let nothing_to_set = is_as_stored && xattr::same(&inner, &below) == Ok(true);
            return if nothing_to_set { Ok(()) } else { Err(DIRECTORY_CHANGED.into()) };
        }
        self::dress(at.live, &below, new)
            .map_err(|errno| format!("cannot set its owner, mode and time: {}", errno.desc()))?;
        let failed = xattr::copy(&inner, &below);
        // An ACL sets permission bits too.
        let done = timed(&below, new).map_err(said);
        match failed.as_slice() {
            [] => done,
            all => Err(format!("cannot set its extended attributes and ACLs: {}", all.join(", "))),
        }
    }
}

/// Opens a directory that is put into, if it is the one that was shown.
fn entered(real: &Real, at: &At<'_>, new: &There, shown: &Stamp) -> Result<(OwnedFd, FileStat), String> {
    let old = look(at.live, at.name).map_err(said)?;
    if there(&old).sort != Sort::Directory || new.sort != Sort::Directory || !is_it(&old, shown) {
        return Err(CHANGED.into());
    }
    let below = own(real, at, new.uid)?;
    let before = fstat(&below).map_err(said)?;
    if is_it(&before, shown) { Ok((below, before)) } else { Err(CHANGED.into()) }
}

fn said(errno: Errno) -> String {
    errno.desc().to_owned()
}

/// Lists a path and all above it, `/` last.
fn upwards(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| match path.iter().rposition(|byte| *byte == b'/')? {
        0 if path.len() > 1 => Some(&path[..1]),
        0 => None,
        slash => Some(&path[..slash]),
    })
}

/// Says whether a directory is the one that was looked at: its times move with what it holds.
fn is_it(stat: &FileStat, shown: &Stamp) -> bool {
    (stat.st_dev, stat.st_ino) == (shown.dev, shown.ino)
}

/// Says whether somebody has set another owner, mode or attribute of a directory while files were put in it. These move its
/// times too: then only owner and mode tell.
fn attributes_changed(before: &FileStat, now: &FileStat) -> bool {
    let (was, is) = (there(before), there(now));
    let set = (was.uid, was.gid, was.mode) != (is.uid, is.gid, is.mode);
    set || was.mtime == is.mtime && stamp(before).ctime != stamp(now).ctime
}

/// Says whether a directory has the owner and mode of the one that was restored.
fn has_owner_and_mode_of(stat: &FileStat, like: &There) -> bool {
    let is = there(stat);
    (is.uid, is.gid, is.mode) == (like.uid, like.gid, like.mode)
}

/// Opens the directory that a link above what was asked for leads to: the walk knows which links are root's own.
fn through(real: &Real, at: &At<'_>) -> Result<OwnedFd, String> {
    let path: HostPath = format!("{}{}", at.base, lossy(at.path))
        .parse()
        .map_err(|_| "a symbolic link stands where a directory was".to_owned())?;
    let mut cursor = Cursor::default();
    match cursor.go(real, &path) {
        Ok(Way::There(fd)) => open_dir(fd, b".").map_err(said),
        Ok(Way::Absent) => Err("a broken symbolic link stands where a directory was".into()),
        Ok(Way::Blocked(why)) => Err(why),
        Err(err) => Err(format!("{err:#}")),
    }
}

/// Opens a directory that is there, unless somebody could have put it there to lead elsewhere: one that lies in another
/// user's belongs to whom it did when it was stored. Nobody moves a directory that they cannot write (rename(2)).
fn own(real: &Real, at: &At<'_>, was: u32) -> Result<OwnedFd, String> {
    let above = fstat(at.live.as_fd()).map_err(said)?;
    let below = open_dir(at.live, at.name).map_err(said)?;
    let stat = fstat(&below).map_err(said)?;
    if is_anothers(&above, &stat) && stat.st_uid != was {
        let (owner, other) = (real.accounts.user_name(stat.st_uid), real.accounts.user_name(above.st_uid));
        return Err(format!(
            "it belongs to {owner}, but lies in a directory of {other}, who could have put it there"
        ));
    }
    Ok(below)
}

/// Gives a directory that is there the owner and mode of the one that was restored. One that the owner of `above` could have
/// put there is not opened to others: it may be another one than was stored.
fn dress(above: &OwnedFd, dir: &OwnedFd, like: &There) -> nix::Result<()> {
    let now = fstat(dir)?;
    if is_anothers(&fstat(above)?, &now) && like.mode & !now.st_mode & 0o077 != 0 {
        return Err(Errno::EPERM);
    }
    fchown(dir, Some(Uid::from_raw(like.uid)), Some(Gid::from_raw(like.gid)))
}

/// Gives a directory the mode and time of the one that was restored.
fn timed(dir: &OwnedFd, like: &There) -> nix::Result<()> {
    fchmod(dir, Bits::from_bits_truncate(like.mode))?;
    let mtime = TimeSpec::new(like.mtime.div_euclid(1_000_000_000), like.mtime.rem_euclid(1_000_000_000));
    futimens(dir, &TimeSpec::UTIME_OMIT, &mtime)
}
