//! Acting on a machine: one interpreter over the closed list of ops.
//!
//! Every name is resolved below a directory that is open, never from `/` anew; owners and modes are set on the
//! descriptor of what was made or looked at.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::PoisonError,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2},
    sys::stat::{FileStat, Mode as Bits, SFlag, fchmod, fstat, fstatat, mkdirat},
    unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, unlinkat},
};
use tracing::debug;

use super::{
    Real, crontab, keys, process,
    walk::{Cursor, Way, kind},
};
use crate::{
    effect::{Cmd, Content, Op, Owner, temporary},
    host::{Act, Host as _, Output},
    model::{HostPath, Mode},
};

/// How much randomness a secret holds, in bytes: more than restic's key derivation can use.
const SECRET_BYTES: usize = 24;

/// Returns the last part of the temporary name.
pub(super) fn new_name(path: &HostPath) -> String {
    let whole = temporary(path);
    whole.rsplit_once('/').map_or(whole.as_str(), |(_, name)| name).to_owned()
}

impl Act for Real {
    fn act(&self, op: &Op) -> Result<()> {
        debug!(%op, "doing");
        // Nothing of the walk outlives the op: the next one may find another tree.
        let mut cursor = Cursor::default();
        match op {
            Op::MakeDir { path, owner, mode } => self.make_dir(&mut cursor, path, owner, *mode)?,
            Op::EnsureDir { path, owner, mode } => {
                // Asked by the same walk that made it safe to be there.
                if matches!(cursor.go(self, path)?, Way::Absent) {
                    self.make_dir(&mut cursor, path, owner, *mode)?;
                }
            }
            Op::SetOwner { path, owner } => {
                let (uid, gid) = self.ids(owner)?;
                let file = self.open_plain(&mut cursor, path)?;
                let bits = fstat(&file)?.st_mode & 0o7777;
                fchown(&file, Some(uid), Some(gid))
                    .with_context(|| format!("cannot give {path} to {owner}"))?;
                // The kernel drops set-id bits on chown; what was declared is set by an op of its own.
                fchmod(&file, Bits::from_bits_truncate(bits))?;
                return Ok(());
            }
            Op::SetMode { path, mode } => {
                let file = self.open_plain(&mut cursor, path)?;
                fchmod(&file, Bits::from_bits_truncate(mode.bits()))
                    .with_context(|| format!("cannot set the mode of {path}"))?;
                return Ok(());
            }
            Op::WriteFile { path, text, owner, mode } => {
                self.put(&mut cursor, path, text.as_bytes(), owner, *mode, Existing::Replace)?;
            }
            Op::EditFile { path, before, after } => match (before, after) {
                (Some(before), Some(Content { text, owner, mode })) => {
                    let existing = Existing::ReplaceIf(before);
                    self.put(&mut cursor, path, text.as_bytes(), owner, *mode, existing)?;
                }
                (None, Some(Content { text, owner, mode })) => {
                    self.put(&mut cursor, path, text.as_bytes(), owner, *mode, Existing::Refuse)?;
                }
                (Some(before), None) => {
                    unchanged(parent(&mut cursor, self, path)?, path, before)?;
                    self.remove_file(&mut cursor, path)?;
                }
                (None, None) => {}
            },
            Op::MakeSecret { path, owner, mode } => {
                let mut secret = draw()?;
                let put = self.put(&mut cursor, path, &secret, owner, *mode, Existing::Refuse);
                secret.fill(0);
                put?;
            }
            Op::MakeKey { path, owner, kind, comment } => {
                let mut pair = keys::make(self, *kind, comment)?;
                // The public half comes second: without it the private one is whole, and from that it is told again.
                let put = self
                    .put(&mut cursor, path, &pair.private, owner, Mode::new(0o600), Existing::Refuse)
                    .and_then(|()| {
                        let (path, mode) = (path.public_half(), Mode::new(0o644));
                        self.put(&mut cursor, &path, &pair.public, owner, mode, Existing::Refuse)
                    });
                pair.private.fill(0);
                put?;
            }
            Op::RemoveFile { path } => self.remove_file(&mut cursor, path)?,
            Op::RemoveTemporary { path } => {
                match cursor.go(self, &path.parent().context("/ is never made")?)? {
                    Way::There(dir) => clear(dir, &new_name(path))?,
                    Way::Absent => {}
                    Way::Blocked(why) => bail!("cannot get to {path}: {why}"),
                }
            }
            Op::RemoveDir { path } => {
                match cursor.go(self, &path.parent().context("/ is never removed")?)? {
                    Way::There(dir) => match unlinkat(dir, path.name(), UnlinkatFlags::RemoveDir) {
                        Ok(()) | Err(Errno::ENOENT) => {}
                        Err(errno) => {
                            return Err(errno).with_context(|| format!("cannot remove the directory {path}"));
                        }
                    },
                    Way::Absent => return Ok(()),
                    Way::Blocked(why) => bail!("cannot get to {path}: {why}"),
                }
            }
            Op::RemoveStaging { path } => self.remove_staging(path)?,
            Op::DeleteSubvolume { path } => {
                let there = self.looker().entry(path)?.directory().is_some();
                let cmd = Cmd::new("btrfs").args(["subvolume", "delete"]).path(path).timeout(120).whole();
                return if there { self.run(&cmd).map(drop) } else { Ok(()) };
            }
            Op::EditCrontab(edit) => return crontab::edit(self, edit),
            Op::Install(install) => self.install(&mut cursor, install)?,
            Op::ConfigureSshd(sshd) => self.configure_sshd(&mut cursor, sshd)?,
            Op::Run(cmd) => return self.run(cmd).map(drop),
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let mut cursor = Cursor::default();
        let touched = std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner));
        for dir in touched {
            if let Way::There(fd) = cursor.go(self, &dir)? {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let dir_fd: File = openat(fd, ".", flags, Bits::empty())
                    .with_context(|| format!("cannot open {dir}"))?
                    .into();
                dir_fd.sync_all().with_context(|| format!("cannot make {dir} durable"))?;
            }
        }
        Ok(())
    }
}

/// What to do about a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing<'a> {
    /// Put the new one in its place.
    Replace,
    /// The same, if it holds this still.
    ReplaceIf(&'a str),
    /// Leave it, and fail.
    Refuse,
}

impl Real {
    /// Runs a program that must succeed, and returns what it printed.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or ends with an exit code that is not listed.
    pub fn run(&self, cmd: &Cmd) -> Result<Output> {
        let ran = process::must(self, cmd);
        // It may have been useradd.
        self.accounts.forget();
        ran
    }

    /// Writes a secret to a terminal. Nobody else sees it: no value of this program ever holds it longer.
    ///
    /// # Errors
    ///
    /// If it is no plain file, or cannot be read or written.
    pub fn reveal(&self, path: &HostPath, terminal: &mut dyn Write) -> Result<()> {
        let mut cursor = Cursor::default();
        let mut file = File::from(self.open_plain(&mut cursor, path)?);
        let mut bytes = Vec::new();
        let read = file.read_to_end(&mut bytes).with_context(|| format!("cannot read {path}"));
        let shown = read.and_then(|_| terminal.write_all(&bytes).context("cannot write to the terminal"));
        bytes.fill(0);
        shown
    }

    pub(super) fn ids(&self, owner: &Owner) -> Result<(Uid, Gid)> {
        let uid =
            self.accounts.user(&owner.user)?.with_context(|| format!("there is no user {}", owner.user))?;
        let gid = self
            .accounts
            .group(&owner.group)?
            .with_context(|| format!("there is no group {}", owner.group))?;
        Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    pub(super) fn touch(&self, path: &HostPath) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.extend(path.parent());
    }

    fn make_dir(&self, cursor: &mut Cursor, path: &HostPath, owner: &Owner, mode: Mode) -> Result<()> {
        let (uid, gid) = self.ids(owner)?;
        let dir = parent(cursor, self, path)?;
        // Made beside its place and put there when it is as it shall be: a crash leaves none with another owner.
        let new = new_name(path);
        clear(dir, &new)?;
        mkdirat(dir, new.as_str(), Bits::S_IRWXU)
            .with_context(|| format!("cannot make the directory {path}"))?;
        let placed = place_dir(dir, &new, path, (uid, gid), mode);
        if placed.is_err() {
            // The error that matters is the first.
            let _ = unlinkat(dir, new.as_str(), UnlinkatFlags::RemoveDir);
        }
        placed?;
        self.touch(path);
        self.relabel(path)
    }

    /// Opens a directory, or a regular file that has no other name.
    fn open_plain(&self, cursor: &mut Cursor, path: &HostPath) -> Result<OwnedFd> {
        // A directory that a link of root's leads to is as good as the link.
        let asked = path.clone();
        if let Way::There(fd) = cursor.go(self, &asked)? {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            return openat(fd, ".", flags, Bits::empty()).with_context(|| format!("cannot open {path}"));
        }
        let dir = parent(cursor, self, path)?;
        let looked = fstatat(dir, path.name(), AtFlags::AT_SYMLINK_NOFOLLOW)
            .with_context(|| format!("cannot look at {path}"))?;
        only_name(path, &looked)?;
        let flags =
            OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let fd =
            openat(dir, path.name(), flags, Bits::empty()).with_context(|| format!("cannot open {path}"))?;
        only_name(path, &fstat(&fd)?)?;
        Ok(fd)
    }

    /// Writes a file new, makes it durable, and renames it into place.
    pub(super) fn put(
        &self,
        cursor: &mut Cursor,
        path: &HostPath,
        bytes: &[u8],
        owner: &Owner,
        mode: Mode,
        existing: Existing<'_>,
    ) -> Result<()> {
        let (uid, gid) = self.ids(owner)?;
        let dir = parent(cursor, self, path)?;
        match fstatat(dir, path.name(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => {}
            Ok(_) if existing == Existing::Refuse => bail!("{path} is there already; it is not written over"),
            Ok(stat) => only_name(path, &stat)?,
            Err(errno) => return Err(errno).with_context(|| format!("cannot look at {path}")),
        }
        let new = new_name(path);
        let mut file = create(dir, &new).with_context(|| format!("cannot make {new} beside {path}"))?;
        let written = fill(&mut file, bytes, uid, gid, mode)
            .with_context(|| format!("cannot write {path}"))
            .and_then(|()| {
                if let Existing::ReplaceIf(before) = existing {
                    unchanged(dir, path, before)?;
                }
                let placed = match existing {
                    Existing::Replace | Existing::ReplaceIf(_) => {
                        renameat(dir, new.as_str(), dir, path.name())
                    }
                    // Somebody may have written one meanwhile: it may be the only copy.
                    Existing::Refuse => rename_new(dir, new.as_str(), path.name()),
                };
                placed.with_context(|| format!("cannot put {path} in place"))
            });
        if let Err(err) = written {
            // The error that matters is the first.
            let _ = unlinkat(dir, new.as_str(), UnlinkatFlags::NoRemoveDir);
            return Err(err);
        }
        let placed = fstatat(dir, path.name(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        ensure!(placed.st_ino == fstat(&file)?.st_ino, "{path} was replaced while it was being written");
        self.touch(path);
        self.relabel(path)
    }

    fn remove_file(&self, cursor: &mut Cursor, path: &HostPath) -> Result<()> {
        let dir = match cursor.go(self, &path.parent().context("/ is no file")?)? {
            Way::There(dir) => dir,
            Way::Absent => return Ok(()),
            Way::Blocked(why) => bail!("cannot get to {path}: {why}"),
        };
        for name in [new_name(path).as_str(), path.name()] {
            match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno).with_context(|| format!("cannot look at {path}")),
                Ok(stat) => {
                    ensure!(kind(&stat) == SFlag::S_IFREG, "{path} is no regular file; it is not removed");
                }
            }
            unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)
                .with_context(|| format!("cannot remove {path}"))?;
        }
        self.touch(path);
        Ok(())
    }
}

/// Gives a new directory its owner and mode, and puts it in its place, where nothing may be.
fn place_dir(dir: BorrowedFd<'_>, new: &str, path: &HostPath, ids: (Uid, Gid), mode: Mode) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = openat(dir, new, flags, Bits::empty()).with_context(|| format!("cannot open {path}"))?;
    // In a directory of somebody else's it may have been swapped since.
    let stat = fstat(&made)?;
    ensure!(stat.st_uid == geteuid().as_raw(), "{path} was replaced while it was being made");
    fchown(&made, Some(ids.0), Some(ids.1)).with_context(|| format!("cannot set the owner of {path}"))?;
    fchmod(&made, Bits::from_bits_truncate(mode.bits()))
        .with_context(|| format!("cannot set the mode of {path}"))?;
    rename_new(dir, new, path.name()).with_context(|| format!("cannot put the directory {path} in place"))?;
    let placed = fstatat(dir, path.name(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    ensure!(placed.st_ino == stat.st_ino, "{path} was replaced while it was being made");
    Ok(())
}

/// Puts something in its place, where nothing may be.
fn rename_new(dir: BorrowedFd<'_>, new: &str, name: &str) -> nix::Result<()> {
    match renameat2(dir, new, dir, name, RenameFlags::RENAME_NOREPLACE) {
        // Some file systems (NFS, FUSE) do not know the flag (rename(2)): then it is looked first.
        Err(Errno::EINVAL | Errno::ENOSYS) => match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => renameat(dir, new, dir, name),
            Ok(_) => Err(Errno::EEXIST),
            Err(errno) => Err(errno),
        },
        other => other,
    }
}

/// Removes what an earlier making that was cut short left; refuses what cannot be such a thing.
fn clear(dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    let left = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(()),
        other => other.with_context(|| format!("cannot look at {name}"))?,
    };
    let flags = match kind(&left) {
        SFlag::S_IFDIR => UnlinkatFlags::RemoveDir,
        SFlag::S_IFREG if left.st_nlink == 1 => UnlinkatFlags::NoRemoveDir,
        _ => bail!("{name} is there, and is nothing that rlvm left: look at it and remove it"),
    };
    unlinkat(dir, name, flags).with_context(|| format!("cannot remove {name}, which seems left over"))
}

pub(super) fn parent<'a>(cursor: &'a mut Cursor, real: &'a Real, path: &HostPath) -> Result<BorrowedFd<'a>> {
    let dir = path.parent().context("/ is never made, written or removed")?;
    match cursor.go(real, &dir)? {
        Way::There(fd) => Ok(fd),
        Way::Absent => bail!("cannot get to {path}: {dir} is not there"),
        Way::Blocked(why) => bail!("cannot get to {path}: {why}"),
    }
}

/// Makes a new file; one that an earlier write left when it was cut short is removed first.
pub(super) fn create(dir: BorrowedFd<'_>, name: &str) -> Result<File> {
    clear(dir, name)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(dir, name, flags, Bits::S_IRUSR | Bits::S_IWUSR)?.into())
}

pub(super) fn fill(file: &mut File, bytes: &[u8], uid: Uid, gid: Gid, mode: Mode) -> Result<()> {
    file.write_all(bytes)?;
    fchown(file.as_fd(), Some(uid), Some(gid))?;
    fchmod(file.as_fd(), Bits::from_bits_truncate(mode.bits()))?;
    file.sync_all()?;
    Ok(())
}

/// Makes sure that a file still holds what it held when it was looked at: somebody else may have written to it since.
fn unchanged(dir: BorrowedFd<'_>, path: &HostPath, before: &str) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = openat(dir, path.name(), flags, Bits::empty()).with_context(|| format!("cannot open {path}"))?;
    only_name(path, &fstat(&fd)?)?;
    let mut now = Vec::with_capacity(before.len() + 1);
    let most = before.len() as u64 + 1;
    File::from(fd).take(most).read_to_end(&mut now).with_context(|| format!("cannot read {path}"))?;
    ensure!(now == before.as_bytes(), "{path} was changed since it was looked at: apply again");
    Ok(())
}

/// Refuses what is neither a directory nor a regular file with one name: writing it could reach elsewhere.
pub(super) fn only_name(path: &HostPath, stat: &FileStat) -> Result<()> {
    match kind(stat) {
        SFlag::S_IFDIR => Ok(()),
        SFlag::S_IFREG if stat.st_nlink == 1 => Ok(()),
        SFlag::S_IFREG => bail!("{path} has {} names (hard links); it is left alone", stat.st_nlink),
        SFlag::S_IFLNK => bail!("{path} is a symbolic link; it is not followed"),
        _ => bail!("{path} is neither a file nor a directory; it is left alone"),
    }
}

/// Draws a secret from the system, in letters that any program can read from a line of text.
#[expect(clippy::disallowed_methods, reason = "host draws")]
fn draw() -> Result<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0; SECRET_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut it| it.read_exact(&mut random))
        .context("cannot read /dev/urandom")?;
    let mut secret = Vec::with_capacity(SECRET_BYTES / 3 * 4 + 1);
    for three in random.chunks_exact(3) {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        secret.extend([18, 12, 6, 0].map(|shift| LETTERS[(bits >> shift & 63) as usize]));
    }
    random.fill(0);
    secret.push(b'\n');
    Ok(secret)
}
