//! Files that are written new, replaced and removed, by the policy of [`Leaf`].

use std::{
    fs::File,
    io::{Read, Write},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{Mode as Bits, SFlag, fchmod, fstat, fstatat},
    unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat},
};

use super::{Leaf, new_name, only_name, open_at};
use crate::{
    host::real::{
        rename::rename_new,
        walk::{Way, kind},
    },
    model::Mode,
};

/// What to do about a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::host::real) enum Existing<'a> {
    /// Put the new one in its place.
    Replace,
    /// The same, if it holds this still.
    ReplaceIf(&'a str),
    /// Leave it, and fail.
    Refuse,
}

/// A file that is to be put in place.
pub(in crate::host::real) struct NewFile<'a> {
    pub(in crate::host::real) bytes: &'a [u8],
    pub(in crate::host::real) ids: (Uid, Gid),
    pub(in crate::host::real) mode: Mode,
    pub(in crate::host::real) existing: Existing<'a>,
    /// Is asked, when the new file is whole and before it is in place, whether it is right.
    pub(in crate::host::real) check: &'a dyn Fn() -> Result<()>,
}

impl Leaf<'_> {
    /// Writes a file new, makes it durable, and renames it into place.
    pub(in crate::host::real) fn put(&self, made: &NewFile<'_>) -> Result<()> {
        let path = self.path;
        self.may_take(made.existing)?;
        if let Some(why) = self.not_made(made.ids.0) {
            bail!("cannot write {path}: {why}");
        }
        let new = new_name(path);
        let file = self.create(&new).with_context(|| format!("cannot make {new} beside {path}"))?;
        let written = self.write_and_place(file, &new, made);
        if written.is_err() {
            // The error that matters is the first.
            let _ = unlinkat(self.dir, new.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written?;
        self.real.touch(path);
        self.real.relabel(path)
    }

    /// Makes sure that what is there may be written over.
    fn may_take(&self, existing: Existing<'_>) -> Result<()> {
        let path = self.path;
        match self.stat()? {
            Way::Absent => Ok(()),
            Way::There(_) if existing == Existing::Refuse => {
                bail!("{path} is there already; it is not written over")
            }
            Way::There(stat) => only_name(path, &stat),
            Way::Blocked(why) => bail!("{path} is not written over: {why}"),
        }
    }

    fn write_and_place(&self, mut file: File, new: &str, made: &NewFile<'_>) -> Result<()> {
        let path = self.path;
        let NewFile { bytes, ids: (uid, gid), mode, existing, check } = *made;
        let written = || format!("cannot write {path}");
        file.write_all(bytes).with_context(written)?;
        // Until it is known that this replaces what was shown, nobody else can read it under its temporary name.
        if let Existing::ReplaceIf(before) = existing {
            self.unchanged(before)?;
        }
        fchown(&file, Some(uid), Some(gid)).with_context(written)?;
        fchmod(&file, Bits::from_bits_truncate(mode.bits())).with_context(written)?;
        file.sync_all().with_context(written)?;
        let stat = fstat(&file)?;
        // What is open for writing does not run; this keeps its number from being given to another file.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let held = openat(self.dir, new, flags, Bits::empty()).with_context(written)?;
        drop(file);
        let replaced = || format!("{path} was replaced while it was being written");
        ensure!(fstat(&held)?.st_ino == stat.st_ino, replaced());
        check()?;
        if let Existing::ReplaceIf(before) = existing {
            self.unchanged(before)?;
        }
        let placed = match existing {
            Existing::Replace | Existing::ReplaceIf(_) => renameat(self.dir, new, self.dir, self.name()),
            // Somebody may have written one meanwhile: it may be the only copy.
            Existing::Refuse => rename_new((self.dir, new.as_bytes()), (self.dir, self.name().as_bytes())),
        };
        placed.with_context(|| format!("cannot put {path} in place"))?;
        let placed = fstatat(self.dir, self.name(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        ensure!(placed.st_ino == stat.st_ino, replaced());
        Ok(())
    }

    /// Makes sure that a file still holds what it held when it was looked at: somebody else may have written to it since.
    /// `before` has U+FFFD for each byte sequence that is no UTF-8, as the text that was shown.
    pub(in crate::host::real) fn unchanged(&self, before: &str) -> Result<()> {
        let path = self.path;
        let (file, _) = self.open_file()?;
        let mut now = Vec::with_capacity(before.len() + 1);
        let most = before.len() as u64 + 1;
        file.take(most).read_to_end(&mut now).with_context(|| format!("cannot read {path}"))?;
        ensure!(
            String::from_utf8_lossy(&now) == before,
            "{path} was changed since it was looked at: apply again"
        );
        Ok(())
    }

    /// Removes a file, and what an earlier write that was cut short left of it.
    pub(in crate::host::real) fn remove(&self) -> Result<()> {
        let path = self.path;
        for name in [new_name(path).as_str(), self.name()] {
            match fstatat(self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno).with_context(|| format!("cannot look at {path}")),
                Ok(stat) => {
                    ensure!(kind(&stat) == SFlag::S_IFREG, "{path} is no regular file; it is not removed");
                    if let Some(why) = self.planted(&stat) {
                        bail!("{path} is not removed: {why}");
                    }
                }
            }
            unlinkat(self.dir, name, UnlinkatFlags::NoRemoveDir)
                .with_context(|| format!("cannot remove {path}"))?;
        }
        Ok(())
    }

    /// Makes a new file; one that an earlier write left when it was cut short is removed first.
    fn create(&self, name: &str) -> Result<File> {
        self.clear(name)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        Ok(open_at(self.dir, name.as_bytes(), flags, Bits::S_IRUSR | Bits::S_IWUSR)?.into())
    }

    /// Removes what an earlier making that was cut short left; refuses what cannot be such a thing.
    pub(in crate::host::real) fn clear(&self, name: &str) -> Result<()> {
        let left = match fstatat(self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other.with_context(|| format!("cannot look at {name}"))?,
        };
        let flags = match kind(&left) {
            SFlag::S_IFDIR => UnlinkatFlags::RemoveDir,
            SFlag::S_IFREG if self.counted(left).st_nlink == 1 => UnlinkatFlags::NoRemoveDir,
            _ => bail!("{name} is there, and is nothing that rlvm left: look at it and remove it"),
        };
        unlinkat(self.dir, name, flags)
            .with_context(|| format!("cannot remove {name}, which seems left over"))
    }
}
