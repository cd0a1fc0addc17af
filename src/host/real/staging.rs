//! The private directory of a restore: where it may be, what stands in it, and that it goes again.
//!
//! restic names what it writes, as root, from `/` on. In a directory that another user could exchange for a link it would
//! write wherever that leads; so it never works where somebody else can write, and what it has restored is put in place by
//! [`super::Placing`], name by name below directories that are open.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, readlinkat},
    sys::{
        stat::{FchmodatFlags, FileStat, Mode as Bits, SFlag, fchmodat, fstat, fstatat},
        statvfs::fstatvfs,
    },
    unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat},
};

use super::{
    Real,
    leaf::open_at,
    trusted,
    walk::{Cursor, Way, kind},
};
use crate::{
    effect::STAGING,
    host::{Mounts, Sort, Staged, There, lossy},
    model::HostPath,
};

/// Opens a directory below another one, no link followed.
pub(super) fn open_dir(dir: impl AsFd, name: &[u8]) -> nix::Result<OwnedFd> {
    open_at(dir, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Bits::empty())
}

/// Lists the names in a directory, sorted.
pub(super) fn names(dir: &OwnedFd) -> nix::Result<Vec<Vec<u8>>> {
    let mut listed = Dir::from_fd(open_dir(dir, b".")?)?;
    let mut names = Vec::new();
    for entry in listed.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

pub(super) fn look(dir: impl AsFd, name: &[u8]) -> nix::Result<FileStat> {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

pub(super) fn there(stat: &FileStat) -> There {
    let sort = match kind(stat) {
        SFlag::S_IFREG => Sort::File,
        SFlag::S_IFDIR => Sort::Directory,
        SFlag::S_IFLNK => Sort::Link,
        SFlag::S_IFIFO => Sort::Fifo,
        SFlag::S_IFCHR => Sort::CharDevice,
        SFlag::S_IFBLK => Sort::BlockDevice,
        _ => Sort::Socket,
    };
    let size = if sort == Sort::File { u64::try_from(stat.st_size).unwrap_or_default() } else { 0 };
    let mtime = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec);
    There { sort, size, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime }
}

impl Real {
    /// Says why restic must not write below a directory, if so; else where it really is.
    ///
    /// # Errors
    ///
    /// If the kernel does not say.
    pub fn guarded(&self, dir: &HostPath) -> Result<std::result::Result<HostPath, String>> {
        let mut cursor = Cursor::default();
        let resolved: HostPath = match cursor.go(self, dir)? {
            Way::There(_) if dir.as_str() == "/" => dir.clone(),
            Way::There(_) => cursor.resolved().parse()?,
            Way::Absent => return Ok(Err(format!("{dir} is not there"))),
            Way::Blocked(why) => return Ok(Err(why)),
        };
        for part in std::iter::once(resolved.clone()).chain(resolved.ancestors()) {
            let Way::There(fd) = cursor.go(self, &part)? else { return Ok(Err(format!("{part} is gone"))) };
            let stat = fstat(fd)?;
            if !trusted(stat.st_uid) {
                let owner = self.accounts.user_name(stat.st_uid);
                return Ok(Err(format!("{part} belongs to {owner}, who could lead restic elsewhere")));
            }
            if stat.st_mode & 0o022 != 0 && stat.st_mode & 0o1000 == 0 {
                return Ok(Err(format!("others can write {part}, and could lead restic elsewhere")));
            }
        }
        Ok(Ok(resolved))
    }

    /// Finds the directory nearest to the root of the file system that a path is on, in which nobody else can write, and the
    /// caller can; none if there is none.
    ///
    /// # Errors
    ///
    /// If the kernel does not say.
    pub fn private_place(&self, path: &HostPath, mounts: &Mounts) -> Result<Option<HostPath>> {
        let Some(mount) = mounts.of(path) else { return Ok(None) };
        // It itself comes last: it may be where the file system is mounted, or one's own home.
        let mut above: Vec<HostPath> = std::iter::once(path.clone())
            .chain(path.ancestors())
            .filter(|it| it.is_within(&mount.at))
            .collect();
        if mount.at.as_str() == "/" && path.as_str() != "/" {
            above.push(mount.at.clone());
        }
        above.reverse();
        for dir in above {
            // A link of root's may lead to another file system.
            let Ok(real) = self.guarded(&dir)? else { continue };
            if mounts.of(&real).map(|it| it.id) != Some(mount.id) {
                continue;
            }
            let mut cursor = Cursor::default();
            if let Way::There(fd) = cursor.go(self, &real)? {
                let shared = fstat(fd)?.st_mode & 0o022 != 0;
                let writable = faccessat(fd, ".", AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok();
                if writable && !shared {
                    return Ok(Some(real));
                }
            }
        }
        Ok(None)
    }

    /// Says how many bytes the caller can still write where a directory is.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn room(&self, dir: &HostPath) -> Result<u64> {
        let mut cursor = Cursor::default();
        let Way::There(fd) = cursor.go(self, dir)? else { bail!("{dir} cannot be got at") };
        let fd = open_dir(fd, b".").with_context(|| format!("cannot open {dir}"))?;
        let of = fstatvfs(&fd).with_context(|| format!("cannot ask how much room {dir} has"))?;
        Ok(of.blocks_available().saturating_mul(of.fragment_size()))
    }

    /// Opens the private directory of a restore.
    pub(super) fn open_staging(&self, path: &HostPath) -> Result<Option<(OwnedFd, OwnedFd)>> {
        ensure!(path.name().starts_with(STAGING), "{path} is no private directory of a restore");
        let dir = path.parent().context("/ is no private directory")?;
        let mut cursor = Cursor::default();
        let above = match cursor.go(self, &dir)? {
            Way::There(fd) => open_dir(fd, b".").with_context(|| format!("cannot open {dir}"))?,
            Way::Absent => return Ok(None),
            Way::Blocked(why) => bail!("cannot get to {path}: {why}"),
        };
        match open_dir(&above, path.name().as_bytes()) {
            Ok(fd) => Ok(Some((above, fd))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("cannot open {path}")),
        }
    }

    /// Tells all that stands in the private directory of a restore.
    ///
    /// # Errors
    ///
    /// If it is not there, or a directory in it cannot be listed.
    pub fn staged(&self, path: &HostPath, each: &mut dyn FnMut(Staged)) -> Result<()> {
        let (_, dir) = self.open_staging(path)?.with_context(|| format!("{path} is gone"))?;
        tell(&dir, "", each).with_context(|| format!("cannot look at what was restored into {path}"))
    }

    pub(super) fn remove_staging(&self, path: &HostPath) -> Result<()> {
        let Some((above, dir)) = self.open_staging(path)? else { return Ok(()) };
        let device = fstat(&dir)?.st_dev;
        empty(&dir, device).with_context(|| format!("cannot remove what is in {path}"))?;
        drop(dir);
        match unlinkat(&above, path.name(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("cannot remove {path}")),
        }
    }
}

fn tell(dir: &OwnedFd, path: &str, each: &mut dyn FnMut(Staged)) -> nix::Result<()> {
    for name in names(dir)? {
        let There { sort, size, mode, uid, gid, .. } = there(&look(dir, &name)?);
        let path = format!("{path}/{}", lossy(&name));
        let altered = sort == Sort::Link
            && readlinkat(dir, name.as_slice())?
                .to_str()
                .is_some_and(|target| target.contains(char::REPLACEMENT_CHARACTER));
        each(Staged { path: path.clone(), sort, size, mode, uid, gid, altered });
        if sort == Sort::Directory {
            tell(&open_dir(dir, &name)?, &path, each)?;
        }
    }
    Ok(())
}

/// Removes what is in a directory, on this file system alone.
fn empty(dir: &OwnedFd, device: u64) -> nix::Result<()> {
    for name in names(dir)? {
        let stat = look(dir, &name)?;
        if kind(&stat) != SFlag::S_IFDIR {
            unlinkat(dir, name.as_slice(), UnlinkatFlags::NoRemoveDir)?;
            continue;
        }
        if stat.st_mode & 0o700 != 0o700 {
            // Whose it is may not even look into it.
            fchmodat(dir, name.as_slice(), Bits::S_IRWXU, FchmodatFlags::NoFollowSymlink)?;
        }
        let below = open_dir(dir, &name)?;
        if fstat(&below)?.st_dev != device {
            return Err(Errno::EXDEV);
        }
        empty(&below, device)?;
        unlinkat(dir, name.as_slice(), UnlinkatFlags::RemoveDir)?;
    }
    Ok(())
}
