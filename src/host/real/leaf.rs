//! The last component of a path: when a file is read, written over, given away or removed.
//!
//! [`Cursor`] leads to a directory by its own rule. This module decides about a name in that directory. Every open,
//! replacement, removal and change of owner or mode of a file of the host goes through it. The policy:
//!
//! 1. Type. Only a regular file is opened, without following a link and without waiting for a writer.
//! 2. Owner. rename(2) lets a user move another user's file, unread, between two directories that the user may write.
//!    So a file's owner says who wrote it, and not who put it there. In a directory of an unprivileged user a file must
//!    belong to that user. In a directory of root's (or the caller's) that others may write, it must not be root's (or
//!    the caller's). In a directory that only root may write any file is as root left it.
//! 3. Names. A file that is read as a secret, shown, changed or written over has one name: link(2) plants like rename(2).
//! 4. Giving. A file or directory gets another owner, or another mode, only where nobody else can have put it there, or
//!    where it is that user's already. A new file in a user's directory is that user's.
//!    A directory of root's below one that others may write without the sticky bit could be another one, renamed: it
//!    keeps its owner and mode, and nothing below it is given away.
//! 5. Descriptor. What decides is fstat(2) of the file that was opened; owner and mode are set on that descriptor.
//!
//! A look that neither shows, writes back nor hands on what it reads may leave out rule 2 ([`Guard::Lenient`]).

mod write;

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{FileStat, Mode as Bits, SFlag, fstat, fstatat},
    unistd::Uid,
};

pub(super) use self::write::{Existing, NewFile};

use super::{
    Real, trusted,
    walk::{Cursor, Guard, Way, kind},
};
use crate::{effect::temporary, model::HostPath};

/// Who, beside root and the caller, can put something into a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planter {
    Nobody,
    /// The unprivileged user to whom the directory belongs.
    User(u32),
    /// Whoever its group or others are.
    Anybody,
}

impl Planter {
    pub(super) fn of(dir: &FileStat) -> Self {
        if !trusted(dir.st_uid) {
            return Self::User(dir.st_uid);
        }
        // The group of a caller's own directory is often the caller's alone (adduser's USERGROUPS, umask 002).
        let group = dir.st_uid == 0 && dir.st_gid != 0 && dir.st_mode & 0o020 != 0;
        if group || dir.st_mode & 0o002 != 0 { Self::Anybody } else { Self::Nobody }
    }

    /// Says whether what is there may have been put there by somebody to whom it does not belong.
    pub(super) fn may_have_moved(self, there: &FileStat) -> bool {
        match self {
            Self::Nobody => false,
            Self::User(user) => there.st_uid != user,
            // In a sticky directory nobody moves another's, and nobody moves a directory into it that is closed to them.
            Self::Anybody => kind(there) != SFlag::S_IFDIR && trusted(there.st_uid),
        }
    }
}

/// Returns whether another user could have renamed a root-owned (or caller-owned) directory into this place. rename(2)
/// within one directory needs no permission on the renamed directory, unless the parent is sticky.
pub(super) fn may_be_renamed(above: &FileStat, there: &FileStat) -> bool {
    Planter::of(above) == Planter::Anybody
        && above.st_mode & 0o1000 == 0
        && kind(there) == SFlag::S_IFDIR
        && trusted(there.st_uid)
}

/// Opens a name in a directory: never a link's target, never waiting, never as a terminal.
pub(in crate::host) fn open_at(
    dir: impl AsFd,
    name: &[u8],
    flags: OFlag,
    mode: Bits,
) -> nix::Result<OwnedFd> {
    let safe = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    openat(dir, name, flags | safe, mode)
}

/// Opens a file of rlvm's own in a directory that only root and the caller may write; `None` if it is not there.
pub(in crate::host) fn open_own(
    dir: impl AsFd,
    name: &str,
    flags: OFlag,
    mode: Bits,
) -> nix::Result<Option<(File, FileStat, bool)>> {
    let file = match open_at(dir, name.as_bytes(), flags, mode) {
        Ok(fd) => File::from(fd),
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&file)?;
    if stat.st_nlink == 0 {
        // It was removed after it had been opened.
        return Ok(None);
    }
    let own = kind(&stat) == SFlag::S_IFREG
        && stat.st_nlink == 1
        && trusted(stat.st_uid)
        && stat.st_mode & 0o022 == 0;
    Ok(Some((file, stat, own)))
}

/// What is at a name: what the kernel says of it, and a regular file open to be read.
pub(super) struct Found {
    pub(super) stat: FileStat,
    pub(super) file: Option<File>,
}

/// A name in an open directory.
pub(in crate::host) struct Leaf<'a> {
    real: &'a Real,
    pub(super) dir: BorrowedFd<'a>,
    above: FileStat,
    path: &'a HostPath,
    guard: Guard,
    /// Whether somebody could have renamed a directory of root's on the way.
    renamed: bool,
}

impl<'a> Leaf<'a> {
    /// Goes to the directory of a path.
    pub(in crate::host) fn reach(
        cursor: &'a mut Cursor,
        real: &'a Real,
        path: &'a HostPath,
    ) -> Result<Way<Leaf<'a>>> {
        let parent = path.parent_str().context("/ is no file")?;
        let guard = cursor.guard();
        match cursor.go_above(real, path)? {
            Way::There(_) => {}
            Way::Absent => return Ok(Way::Absent),
            Way::Blocked(why) => return Ok(Way::Blocked(why)),
        }
        let renamed = cursor.may_be_renamed();
        let dir = cursor.before(real, path)?;
        let above = fstat(dir).with_context(|| format!("cannot look at {parent}"))?;
        Ok(Way::There(Leaf { real, dir, above, path, guard, renamed }))
    }

    /// The same, where the directory must be there.
    pub(in crate::host) fn of(
        cursor: &'a mut Cursor,
        real: &'a Real,
        path: &'a HostPath,
    ) -> Result<Leaf<'a>> {
        match Self::reach(cursor, real, path)? {
            Way::There(leaf) => Ok(leaf),
            Way::Absent => bail!("cannot get to {path}: its directory is not there"),
            Way::Blocked(why) => bail!("cannot get to {path}: {why}"),
        }
    }

    fn name(&self) -> &'a str {
        self.path.name()
    }

    fn planter(&self) -> Planter {
        Planter::of(&self.above)
    }

    /// Says what is there, without opening it.
    pub(super) fn stat(&self) -> Result<Way<FileStat>> {
        let path = self.path;
        let stat = match fstatat(self.dir, self.name(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(Way::Absent),
            Err(Errno::EACCES) => return Ok(Way::Blocked(format!("no permission to look at {path}"))),
            Err(errno) => return Err(errno).with_context(|| format!("cannot look at {path}")),
        };
        let why = if kind(&stat) == SFlag::S_IFREG { self.planted(&stat) } else { None };
        Ok(why.map_or(Way::There(self.counted(stat)), Way::Blocked))
    }

    /// Opens what is there to be read, if it is a regular file.
    pub(super) fn open(&self) -> Result<Way<Found>> {
        let path = self.path;
        let stat = match self.stat()? {
            Way::There(stat) if kind(&stat) == SFlag::S_IFREG => stat,
            Way::There(stat) => return Ok(Way::There(Found { stat, file: None })),
            Way::Absent => return Ok(Way::Absent),
            Way::Blocked(why) => return Ok(Way::Blocked(why)),
        };
        let file = match open_at(self.dir, self.name().as_bytes(), OFlag::O_RDONLY, Bits::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::EACCES) => return Ok(Way::Blocked(format!("no permission to read {path}"))),
            // It went, or became a link (ELOOP) or a socket (ENXIO), since it was looked at.
            Err(Errno::ENOENT) => return Ok(Way::Absent),
            Err(Errno::ELOOP | Errno::ENXIO) => return Ok(Way::There(Found { stat, file: None })),
            Err(errno) => return Err(errno).with_context(|| format!("cannot open {path}")),
        };
        let stat = fstat(&file).with_context(|| format!("cannot look at {path}"))?;
        if let Some(why) = self.planted(&stat) {
            return Ok(Way::Blocked(why));
        }
        let file = (kind(&stat) == SFlag::S_IFREG).then_some(file);
        Ok(Way::There(Found { stat: self.counted(stat), file }))
    }

    /// Opens a regular file with one name, or says why not.
    pub(super) fn open_file(&self) -> Result<(File, FileStat)> {
        let (file, stat) = self.open_any()?;
        only_name(self.path, &stat)?;
        Ok((file, stat))
    }

    /// Opens a regular file with any number of names, or says why not. For what is held against a digest.
    pub(super) fn open_any(&self) -> Result<(File, FileStat)> {
        let path = self.path;
        match self.open()? {
            Way::There(Found { stat, file: Some(file) }) => Ok((file, stat)),
            Way::There(Found { stat, file: None }) => {
                bail!("cannot read {path}: it is {}, no plain file", noun(&stat))
            }
            Way::Absent => bail!("cannot read {path}: it is not there"),
            Way::Blocked(why) => bail!("cannot read {path}: {why}"),
        }
    }

    /// Opens a log of root's or the caller's to append to it, made if it is not there: 0640.
    pub(in crate::host) fn open_log(&self) -> Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT;
        let (file, stat, own) = open_own(self.dir, self.name(), flags, Bits::from_bits_truncate(0o640))?
            .context("it was removed just now")?;
        ensure!(
            own,
            "it is no plain file of root's with one name that only root may write: find out who put it there"
        );
        self.planted(&stat).map_or(Ok(file), |why| bail!(why))
    }

    /// Opens a log of root's or the caller's to be read; `None` if it is not there.
    pub(in crate::host) fn read_log(&self) -> Result<Option<(File, FileStat)>> {
        let Some((file, stat, own)) = open_own(self.dir, self.name(), OFlag::O_RDONLY, Bits::empty())? else {
            return Ok(None);
        };
        ensure!(own, "it is no plain file of root's with one name that only root may write");
        match self.planted(&stat) {
            Some(why) => bail!(why),
            None => Ok(Some((file, stat))),
        }
    }

    /// Opens a directory, or a regular file with one name, to give it another owner or mode.
    pub(super) fn open_to_change(&self, owner: Option<Uid>) -> Result<(OwnedFd, FileStat)> {
        let path = self.path;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let (fd, stat) = match open_at(self.dir, self.name().as_bytes(), flags, Bits::empty()) {
            Ok(fd) => {
                let stat = fstat(&fd).with_context(|| format!("cannot look at {path}"))?;
                (fd, stat)
            }
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let (file, stat) = self.open_file()?;
                (file.into(), stat)
            }
            Err(errno) => return Err(errno).with_context(|| format!("cannot open {path}")),
        };
        if let Some(why) = self.not_given(&stat, owner) {
            bail!(
                "{path} is left as it is: {why}\n  help: check who created it; then set owner and mode by hand (chown, chmod), or first make the \
                          parent directory writable only by its owner"
            );
        }
        Ok((fd, stat))
    }

    /// Says why something that is there must not get another mode or owner, if so.
    pub(super) fn not_given(&self, stat: &FileStat, owner: Option<Uid>) -> Option<String> {
        let planter = self.planter();
        let is_file = kind(stat) == SFlag::S_IFREG;
        // Taken from a user who put it there: root's or one's own from now on.
        let goes_to_another = owner.is_some_and(|uid| uid.as_raw() != stat.st_uid && !trusted(uid.as_raw()));
        let refused = planter.may_have_moved(stat)
            || may_be_renamed(&self.above, stat)
            || self.renamed && goes_to_another
            || planter != Planter::Nobody && goes_to_another && (is_file || self.above.st_mode & 0o1000 == 0);
        refused.then(|| self.suspicion(stat))
    }

    /// Counts a file's names without the temporary one, which stays if rlvm is killed while it gives the file its name in
    /// two steps ([`super::rename::rename_new`]).
    fn counted(&self, mut stat: FileStat) -> FileStat {
        if kind(&stat) != SFlag::S_IFREG || stat.st_nlink != 2 {
            return stat;
        }
        let is_here = |name: &str| {
            fstatat(self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                .is_ok_and(|it| (it.st_dev, it.st_ino) == (stat.st_dev, stat.st_ino))
        };
        if is_here(self.name()) && is_here(&new_name(self.path)) {
            stat.st_nlink = 1;
        }
        stat
    }

    /// Says why a file that is there must not be used, if somebody to whom it does not belong could have put it there.
    fn planted(&self, stat: &FileStat) -> Option<String> {
        let suspect = self.guard == Guard::Strict && self.planter().may_have_moved(stat);
        suspect.then(|| self.suspicion(stat))
    }

    fn suspicion(&self, stat: &FileStat) -> String {
        let owner = self.real.accounts.user_name(stat.st_uid);
        let path = self.path;
        match self.planter() {
            Planter::User(user) => {
                let user = self.real.accounts.user_name(user);
                format!(
                    "{path} belongs to {owner}, but lies in a directory of {user}, who could have put it there"
                )
            }
            Planter::Anybody | Planter::Nobody => format!(
                "{path} belongs to {owner}, but others can write the directory, and could have put it there"
            ),
        }
    }

    /// Says why a file of this owner must not be made there, if so.
    pub(super) fn not_made(&self, uid: Uid) -> Option<String> {
        let owner = self.real.accounts.user_name(uid.as_raw());
        match self.planter() {
            Planter::User(user) if user != uid.as_raw() => {
                let user = self.real.accounts.user_name(user);
                Some(format!("a file of {owner} in a directory of {user} could be replaced by {user}"))
            }
            Planter::Anybody if trusted(uid.as_raw()) => Some(format!(
                "a file of {owner} in a directory that others can write could be replaced by others"
            )),
            _ => None,
        }
    }
}

/// Returns the last part of the temporary name.
pub(super) fn new_name(path: &HostPath) -> String {
    let whole = temporary(path);
    whole.rsplit_once('/').map_or(whole.as_str(), |(_, name)| name).to_owned()
}

/// Names what is there for a sentence.
pub(super) fn noun(stat: &FileStat) -> &'static str {
    match kind(stat) {
        SFlag::S_IFREG => "a file",
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFLNK => "a symbolic link",
        SFlag::S_IFIFO => "a FIFO",
        SFlag::S_IFSOCK => "a socket",
        _ => "a device",
    }
}

/// Refuses what is neither a directory nor a regular file with one name: writing it could reach elsewhere.
fn only_name(path: &HostPath, stat: &FileStat) -> Result<()> {
    match kind(stat) {
        SFlag::S_IFDIR => Ok(()),
        SFlag::S_IFREG if stat.st_nlink == 1 => Ok(()),
        SFlag::S_IFREG => bail!("{path} has {} names (hard links); it is left alone", stat.st_nlink),
        SFlag::S_IFLNK => bail!("{path} is a symbolic link; it is not followed"),
        _ => bail!("{path} is neither a file nor a directory; it is left alone"),
    }
}
