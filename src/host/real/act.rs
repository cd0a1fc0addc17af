//! Acting on a machine: one interpreter over the closed list of ops.
//!
//! Every name is resolved below a directory that is open, never from `/` anew; owners and modes are set on the
//! descriptor of what was made or looked at.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{BorrowedFd, OwnedFd},
    sync::PoisonError,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{FileStat, Mode as Bits, fchmod, fstat, fstatat, mkdirat},
    unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, unlinkat},
};
use tracing::debug;

use super::{
    Real, crontab, keys,
    leaf::{Existing, Leaf, NewFile, new_name, open_at},
    process,
    rename::rename_new,
    staging::names,
    trusted,
    walk::{Cursor, Guard, Way},
    xattr,
};
use crate::{
    effect::{Cmd, Content, Op, Owner, STAGING},
    host::{Act, Host as _, Output},
    model::{HostPath, Mode},
};

/// How much randomness a secret holds, in bytes: more than restic's key derivation can use.
const SECRET_BYTES: usize = 24;
/// How often a directory is tried to be made that another rlvm makes too.
const TRIES: u32 = 20;

impl Act for Real {
    fn act_telling(&self, op: &Op, told: &mut dyn FnMut(u64)) -> Result<()> {
        match op {
            Op::GiveTree { path, owner } => self.give_tree(path, owner, told),
            _ => self.act(op),
        }
    }

    fn act(&self, op: &Op) -> Result<()> {
        debug!(%op, "doing");
        // Nothing of the walk outlives the op: the next one may find another tree.
        let mut cursor = Cursor::default();
        match op {
            Op::MakeDir { path, owner, mode } => self.make_dir(&mut cursor, path, owner, *mode)?,
            Op::EnsureDir { path, owner, mode } => self.ensure_dir(path, owner, *mode)?,
            Op::SetOwner { path, owner } => {
                let (uid, gid) = self.ids(owner)?;
                let (file, stat) = self.open_to_change(path, Some(uid))?;
                let bits = stat.st_mode & 0o7777;
                fchown(&file, Some(uid), Some(gid))
                    .with_context(|| format!("cannot give {path} to {owner}"))?;
                // The kernel drops set-id bits on chown; what was declared is set by an op of its own.
                fchmod(&file, Bits::from_bits_truncate(bits))?;
                return Ok(());
            }
            Op::GiveTree { path, owner } => return self.give_tree(path, owner, &mut |_| {}),
            Op::SetMode { path, mode } => {
                let (file, _) = self.open_to_change(path, None)?;
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
                    let leaf = Leaf::of(&mut cursor, self, path)?;
                    leaf.unchanged(before)?;
                    leaf.remove()?;
                    self.touch(path);
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
            Op::RemoveFile { path } => self.leaf_if_there(&mut cursor, path, |leaf| {
                leaf.remove()?;
                self.touch(path);
                Ok(())
            })?,
            Op::RemoveTemporary { path } => {
                self.leaf_if_there(&mut cursor, path, |leaf| leaf.clear(&new_name(path)))?;
            }
            Op::RemoveDir { path } => self.leaf_if_there(&mut cursor, path, |leaf| {
                match unlinkat(leaf.dir, path.name(), UnlinkatFlags::RemoveDir) {
                    Ok(()) | Err(Errno::ENOENT) => Ok(()),
                    Err(errno) => Err(errno).with_context(|| format!("cannot remove the directory {path}")),
                }
            })?,
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

impl Real {
    /// Runs a program that must succeed, and returns what it printed, to be shown.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or ends with an exit code that is not listed.
    pub fn run(&self, cmd: &Cmd) -> Result<Output> {
        let ran = process::must_do(self, cmd);
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
        let (mut file, _) = Leaf::of(&mut cursor, self, path)?.open_file()?;
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
        // One of root's may lie below another of root's in a user's directory: nothing is given away.
        let mut lenient = Cursor::guarded(Guard::Lenient);
        let leaf = Leaf::of(if trusted(uid.as_raw()) { &mut lenient } else { cursor }, self, path)?;
        let dir = leaf.dir;
        // Made beside its place and put there when it is as it shall be: a crash leaves none with another owner.
        let new = new_name(path);
        leaf.clear(&new)?;
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

    /// Makes a directory unless something is there. Another rlvm may make the same one at the same time: then the one that
    /// comes too late looks again.
    fn ensure_dir(&self, path: &HostPath, owner: &Owner, mode: Mode) -> Result<()> {
        let mut tries = 0;
        loop {
            if !matches!(Cursor::guarded(Guard::Lenient).go(self, path)?, Way::Absent) {
                return Ok(());
            }
            match self.make_dir(&mut Cursor::default(), path, owner, mode) {
                Err(_) if tries < TRIES => tries += 1,
                made => return made,
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Opens a directory or a regular file to give it another owner or mode.
    fn open_to_change(&self, path: &HostPath, owner: Option<Uid>) -> Result<(OwnedFd, FileStat)> {
        let mut cursor = Cursor::default();
        let leaf = Leaf::of(&mut cursor, self, path)?;
        leaf.open_to_change(owner)
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
        let ids = self.ids(owner)?;
        let new = NewFile { bytes, ids, mode, existing, check: &|| Ok(()) };
        Leaf::of(cursor, self, path)?.put(&new)
    }

    /// Does something to a name whose directory may be gone: then there is nothing to do.
    fn leaf_if_there(
        &self,
        cursor: &mut Cursor,
        path: &HostPath,
        act: impl FnOnce(&Leaf<'_>) -> Result<()>,
    ) -> Result<()> {
        match Leaf::reach(cursor, self, path)? {
            Way::There(leaf) => act(&leaf),
            Way::Absent => Ok(()),
            Way::Blocked(why) => bail!("cannot get to {path}: {why}"),
        }
    }
}

/// Gives a new directory its owner and mode, and puts it in its place, where nothing may be.
fn place_dir(dir: BorrowedFd<'_>, new: &str, path: &HostPath, ids: (Uid, Gid), mode: Mode) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let made =
        open_at(dir, new.as_bytes(), flags, Bits::empty()).with_context(|| format!("cannot open {path}"))?;
    // In a user's directory the user may have put another directory of root's there since. An empty one is as good: the
    // user may remove it and make a new one.
    let stat = fstat(&made)?;
    let is_as_made = stat.st_uid == geteuid().as_raw() && (stat.st_mode & 0o777) | 0o700 == 0o700;
    ensure!(is_as_made && names(&made)?.is_empty(), "{path} was replaced while it was being made");
    if path.name().starts_with(STAGING) {
        // restic before 0.18 does not remove ACLs that restored files inherit from the parent directory.
        xattr::remove_acls(&made).with_context(|| format!("cannot remove the ACLs of {path}"))?;
    }
    fchown(&made, Some(ids.0), Some(ids.1)).with_context(|| format!("cannot set the owner of {path}"))?;
    fchmod(&made, Bits::from_bits_truncate(mode.bits()))
        .with_context(|| format!("cannot set the mode of {path}"))?;
    let (from, to) = ((dir, new.as_bytes()), (dir, path.name().as_bytes()));
    rename_new(from, to).with_context(|| format!("cannot put the directory {path} in place"))?;
    let placed = fstatat(dir, path.name(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    ensure!(placed.st_ino == stat.st_ino, "{path} was replaced while it was being made");
    Ok(())
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
