//! Looking at a machine.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::PoisonError,
};

use anyhow::{Context, Result, bail};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, readlinkat},
    sys::stat::{FileStat, Mode as Bits, SFlag, fstat, fstatat},
    unistd::{AccessFlags, Uid, faccessat},
};
use sha2::Digest;

use super::{
    Real, answers, keys,
    leaf::{Found, Leaf, noun},
    process, programs, quota, sshd_age, sshd_processes, trusted,
    walk::{Cursor, Guard, Way, kind},
};
use crate::{
    effect::{Op, Owner, Query},
    host::{
        Entry, KeyHead, LONGEST_TEXT, Meta, Mounts, Observe, Output, Quota, SshdsWithOtherConfig, Stamp,
        UserEntry,
    },
    model::{GroupName, HostPath, Mode, Sha256, UserName},
};

/// Looks at a machine from one thread, keeping the last directory open.
pub(super) struct Look<'a> {
    real: &'a Real,
    cursor: RefCell<Cursor>,
    /// Where something is mounted, read once a look: a disk may go while rlvm waits or works.
    mount_points: OnceCell<BTreeSet<PathBuf>>,
}

impl<'a> Look<'a> {
    pub(super) fn new(real: &'a Real, guard: Guard) -> Self {
        Self { real, cursor: RefCell::new(Cursor::guarded(guard)), mount_points: OnceCell::new() }
    }

    fn is_lenient(&self) -> bool {
        self.cursor.borrow().guard() == Guard::Lenient
    }

    fn meta(&self, stat: &FileStat) -> Meta {
        let accounts = &self.real.accounts;
        Meta {
            owner: accounts.user_name(stat.st_uid),
            trusted: trusted(stat.st_uid),
            group: accounts.group_name(stat.st_gid),
            mode: Mode::new(stat.st_mode),
            links: stat.st_nlink,
            stamp: stamp(stat),
        }
    }

    /// Computes a digest once, however often it is asked for: each repository asks for its pinned program's.
    fn digest_at(&self, stamp: Stamp, file: File) -> Result<Sha256> {
        let known = || self.real.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known().get(&stamp) {
            return Ok(digest.clone());
        }
        let digest = digest_of(file)?;
        known().insert(stamp, digest.clone());
        Ok(digest)
    }

    fn of_stat(&self, stat: &FileStat) -> Entry {
        match kind(stat) {
            SFlag::S_IFDIR => Entry::Directory(self.meta(stat)),
            SFlag::S_IFREG => Entry::File(self.meta(stat)),
            _ => Entry::Other(noun(stat).into()),
        }
    }

    /// Follows a link that only root can have put there to the directory it names.
    fn of_directory(&self, path: &HostPath) -> Result<Entry> {
        match self.cursor.borrow_mut().go(self.real, path)? {
            Way::There(fd) => Ok(self.of_stat(&fstat(fd)?)),
            Way::Absent => Ok(Entry::Other("a symbolic link to nothing".into())),
            Way::Blocked(why) if why.starts_with(path.as_str()) => Ok(Entry::Blocked(why)),
            Way::Blocked(why) => Ok(Entry::Blocked(format!("{path} is a symbolic link, and {why}"))),
        }
    }

    /// Opens a regular file to be read; else says what is there.
    fn open(&self, path: &HostPath) -> Result<(Entry, Option<File>)> {
        if path.parent_str().is_none() {
            return Ok((self.entry(path)?, None));
        }
        let mut cursor = self.cursor.borrow_mut();
        let found = match Leaf::reach(&mut cursor, self.real, path)? {
            Way::There(leaf) => leaf.open()?,
            Way::Absent => Way::Absent,
            Way::Blocked(why) => Way::Blocked(why),
        };
        Ok(match found {
            Way::There(Found { stat, file }) => (self.of_stat(&stat), file),
            Way::Absent => (Entry::Absent, None),
            Way::Blocked(why) => (Entry::Blocked(why), None),
        })
    }

    fn stat(&self, path: &HostPath) -> Result<Way<FileStat>> {
        let mut cursor = self.cursor.borrow_mut();
        match Leaf::reach(&mut cursor, self.real, path)? {
            Way::There(leaf) => leaf.stat(),
            Way::Absent => Ok(Way::Absent),
            Way::Blocked(why) => Ok(Way::Blocked(why)),
        }
    }
}

impl Observe for Look<'_> {
    fn entry(&self, path: &HostPath) -> Result<Entry> {
        if path.parent_str().is_none() {
            return Ok(self.of_stat(&fstat(&self.real.root_fd)?));
        }
        Ok(match self.stat(path)? {
            Way::There(stat) if kind(&stat) == SFlag::S_IFLNK => return self.of_directory(path),
            Way::There(stat) => self.of_stat(&stat),
            Way::Absent => Entry::Absent,
            Way::Blocked(why) => Entry::Blocked(why),
        })
    }

    fn lenient(&self) -> Box<dyn Observe + '_> {
        Box::new(Self::new(self.real, Guard::Lenient))
    }

    fn lent(&self, path: &HostPath) -> Result<Option<String>> {
        let mut cursor = Cursor::guarded(Guard::Lenient);
        let Way::There(_) = cursor.go(self.real, path)? else { return Ok(None) };
        let Some((dir, uid)) = cursor.lent() else { return Ok(None) };
        Ok(Some(format!("{path} lies in {dir}, which belongs to {}", self.real.accounts.user_name(uid))))
    }

    fn not_made(&self, path: &HostPath, owner: &Owner) -> Result<Option<String>> {
        let mut cursor = self.cursor.borrow_mut();
        let (Some(uid), Way::There(leaf)) =
            (self.real.accounts.user(&owner.user)?, Leaf::reach(&mut cursor, self.real, path)?)
        else {
            return Ok(None);
        };
        Ok(leaf.not_made(Uid::from_raw(uid)).map(|why| format!("{path} is not made: {why}")))
    }

    fn not_given(&self, ops: &[Op]) -> Result<Option<String>> {
        let mut given: BTreeMap<&HostPath, u32> = BTreeMap::new();
        for op in ops {
            let (path, owner) = match op {
                Op::SetOwner { path, owner } => (path, Some(owner)),
                Op::SetMode { path, .. } => (path, None),
                _ => continue,
            };
            let uid = owner.map(|owner| self.real.accounts.user(&owner.user)).transpose()?.flatten();
            let mut cursor = self.cursor.borrow_mut();
            let Way::There(leaf) = Leaf::reach(&mut cursor, self.real, path)? else { return Ok(None) };
            let Way::There(mut stat) = leaf.stat()? else { return Ok(None) };
            stat.st_uid = given.get(path).copied().unwrap_or(stat.st_uid);
            if let Some(why) = leaf.not_given(&stat, uid.map(Uid::from_raw)) {
                return Ok(Some(why));
            }
            given.extend(uid.map(|uid| (path, uid)));
        }
        Ok(None)
    }

    fn text(&self, path: &HostPath) -> Result<(Entry, Option<Vec<u8>>)> {
        let (entry, file) = self.open(path)?;
        let text = match (&entry, file) {
            // A file with a second name may be anything of anybody's. What a lenient look reads is not shown.
            (Entry::File(meta), Some(file))
                if meta.stamp.size <= LONGEST_TEXT && (meta.links == 1 || self.is_lenient()) =>
            {
                Some(content(&file, meta.stamp.size).with_context(|| format!("cannot read {path}"))?)
            }
            _ => None,
        };
        Ok((entry, text))
    }

    fn private_key(&self, path: &HostPath) -> Result<(Entry, Option<KeyHead>)> {
        let (entry, file) = self.open(path)?;
        let head = match (&entry, file) {
            // A file with a second name may be anything of anybody's.
            (Entry::File(meta), Some(file)) if meta.links == 1 => {
                keys::head(&file).with_context(|| format!("cannot read {path}"))?
            }
            _ => None,
        };
        Ok((entry, head))
    }

    fn link(&self, path: &HostPath) -> Result<Option<String>> {
        let Some(parent) = path.parent() else { return Ok(None) };
        let mut cursor = self.cursor.borrow_mut();
        let Way::There(dir) = cursor.go(self.real, &parent)? else { return Ok(None) };
        match readlinkat(dir, path.name()) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            // EINVAL: something else is there.
            Err(Errno::ENOENT | Errno::EINVAL | Errno::EACCES) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("cannot look at {path}")),
        }
    }

    fn socket(&self, path: &HostPath) -> Result<Option<Meta>> {
        let Some(parent) = path.parent() else { return Ok(None) };
        let mut cursor = self.cursor.borrow_mut();
        let Way::There(dir) = cursor.go(self.real, &parent)? else { return Ok(None) };
        match fstatat(dir, path.name(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) if kind(&stat) == SFlag::S_IFSOCK => Ok(Some(self.meta(&stat))),
            Ok(_) | Err(Errno::ENOENT | Errno::EACCES) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("cannot look at {path}")),
        }
    }

    fn digest(&self, path: &HostPath) -> Result<(Entry, Option<Sha256>)> {
        let (entry, file) = self.open(path)?;
        let digest = match (&entry, file) {
            (Entry::File(meta), Some(file)) => {
                Some(self.digest_at(meta.stamp, file).with_context(|| format!("cannot read {path}"))?)
            }
            _ => None,
        };
        Ok((entry, digest))
    }

    fn names(&self, path: &HostPath) -> Result<Vec<String>> {
        let mut cursor = self.cursor.borrow_mut();
        let fd = match cursor.go(self.real, path)? {
            Way::There(fd) => fd,
            Way::Absent => return Ok(Vec::new()),
            // What cannot be looked at is not empty.
            Way::Blocked(why) => bail!("cannot list {path}: {why}"),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir =
            Dir::openat(fd, ".", flags, Bits::empty()).with_context(|| format!("cannot list {path}"))?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let name = entry
                .with_context(|| format!("cannot list {path}"))?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn mounted(&self, path: &HostPath) -> Result<bool> {
        let mounts = match self.mount_points.get() {
            Some(mounts) => mounts,
            None => {
                let read = super::mounts::read()?;
                self.mount_points.get_or_init(|| read)
            }
        };
        // Where root's own links lead is where the kernel mounted it.
        let mut cursor = self.cursor.borrow_mut();
        let there = matches!(cursor.go(self.real, path)?, Way::There(_));
        let resolved = cursor.resolved();
        Ok(there && mounts.contains(&self.real.root.join(resolved.trim_start_matches('/'))))
    }

    fn mounts(&self) -> Result<Mounts> {
        super::mounts::table()
    }

    fn answers(&self, path: &HostPath) -> Result<()> {
        answers::ask(&self.real.root.join(path.relative()))
    }

    #[expect(clippy::disallowed_methods, reason = "host looks")]
    fn lies(&self, path: &HostPath) -> Result<Option<HostPath>> {
        let Some(parent) = path.parent() else { return Ok(Some(path.clone())) };
        let root = &self.real.root;
        self.answers(path)?;
        let dir = match root.join(parent.relative()).canonicalize() {
            Ok(dir) => dir,
            Err(err) if is_absence(&err) => return Ok(None),
            Err(err) => return Err(err).with_context(|| format!("cannot look at {path}")),
        };
        match std::fs::symlink_metadata(dir.join(path.name())) {
            Ok(_) => {}
            Err(err) if is_absence(&err) => return Ok(None),
            Err(err) => return Err(err).with_context(|| format!("cannot look at {path}")),
        }
        let inner = dir.strip_prefix(root).ok().and_then(|dir| dir.to_str());
        let inner =
            inner.with_context(|| format!("{path} leads to {}, which is no path here", dir.display()))?;
        let dir: HostPath = format!("/{inner}").parse()?;
        Ok(Some(dir.join(path.name())?))
    }

    fn leads(&self, path: &HostPath) -> Option<HostPath> {
        let root = &self.real.root;
        let (mut at, mut rest) = (path.clone(), Vec::new());
        loop {
            self.answers(&at).ok()?;
            if let Ok(dir) = root.join(at.relative()).canonicalize() {
                let inner = dir.strip_prefix(root).ok()?.to_str()?;
                let whole =
                    rest.iter().rev().fold(format!("/{inner}"), |whole, part| format!("{whole}/{part}"));
                return whole.replace("//", "/").parse().ok();
            }
            rest.push(at.name().to_owned());
            at = at.parent()?;
        }
    }

    fn is_user(&self, user: &UserName, called: &str) -> Result<bool> {
        let accounts = &self.real.accounts;
        Ok(accounts.user(user)?.is_some_and(|uid| accounts.user_name(uid) == called))
    }

    fn is_group(&self, group: &GroupName, called: &str) -> Result<bool> {
        let accounts = &self.real.accounts;
        Ok(accounts.group(group)?.is_some_and(|gid| accounts.group_name(gid) == called))
    }

    fn has_user(&self, user: &UserName) -> Result<bool> {
        Ok(self.real.accounts.user(user)?.is_some())
    }

    fn has_group(&self, group: &GroupName) -> Result<bool> {
        Ok(self.real.accounts.group(group)?.is_some())
    }

    fn user(&self, user: &UserName) -> Result<Option<UserEntry>> {
        self.real.accounts.entry(user)
    }

    fn groups(&self, user: &UserName) -> Result<Vec<String>> {
        self.real.accounts.groups(user)
    }

    fn users_below(&self, dir: &HostPath) -> Result<Vec<(String, String)>> {
        Ok(self.real.accounts.below(dir))
    }

    fn home(&self, user: &UserName) -> Result<Option<HostPath>> {
        self.real.accounts.home(user)
    }

    fn quota(&self, user: &UserName, dir: &HostPath) -> Result<Option<Quota>> {
        quota::of(self.real, user, dir)
    }

    fn sshds_beside(&self) -> Result<SshdsWithOtherConfig> {
        sshd_processes::beside()
    }

    fn changed_since_sshd_read(&self, config: &str, files: &[String]) -> Result<Option<String>> {
        sshd_age::changed_since_read(config, files)
    }

    fn program(&self, name: &str) -> Result<Option<Stamp>> {
        Ok(programs::find(&self.real.path, name).map(|(_, stamp)| stamp))
    }

    fn program_path(&self, name: &str) -> Option<String> {
        programs::find(&self.real.path, name).map(|(path, _)| path.display().to_string())
    }

    fn writable(&self, path: &HostPath) -> Result<bool> {
        let mut cursor = self.cursor.borrow_mut();
        let Way::There(fd) = cursor.go(self.real, path)? else {
            return Ok(false);
        };
        let flags = AccessFlags::W_OK | AccessFlags::X_OK;
        Ok(faccessat(fd, ".", flags, AtFlags::AT_EACCESS).is_ok())
    }

    fn query(&self, query: &Query) -> Result<Output> {
        process::run(self.real, query.cmd())
    }

    fn read(&self, query: &Query, take: &mut (dyn FnMut(&mut dyn Read) + Send)) -> Result<Output> {
        process::run_taking(self.real, query.cmd(), take)
    }

    #[expect(clippy::disallowed_methods, reason = "host looks")]
    fn kernel(&self) -> (u32, u32) {
        let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = text.split(['.', '-']).map_while(|part| part.parse().ok());
        (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
    }

    fn is_tree(&self) -> bool {
        !self.real.is_running_system()
    }
}

/// Says whether nothing is there: nothing can lie below a file either.
fn is_absence(err: &std::io::Error) -> bool {
    matches!(err.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

pub(super) fn stamp(stat: &FileStat) -> Stamp {
    Stamp {
        dev: stat.st_dev,
        ino: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mtime: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec),
        ctime: stat.st_ctime.saturating_mul(1_000_000_000).saturating_add(stat.st_ctime_nsec),
    }
}

/// Computes the digest of a file, piece by piece.
pub(super) fn digest_of(mut file: File) -> Result<Sha256> {
    let mut hash = sha2::Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Sha256::of_digest(&hash.finalize())),
            got => hash.update(&piece[..got]),
        }
    }
}

/// Reads a file of a known size in one call; what grew meanwhile is read too, up to the limit.
fn content(file: &File, size: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(size)?;
    let mut bytes = vec![0; size + 1];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    if got > size {
        let mut rest = Vec::new();
        let mut file = file;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(got as u64))?;
        file.take(LONGEST_TEXT).read_to_end(&mut rest)?;
        bytes.extend(rest);
    }
    Ok(bytes)
}
