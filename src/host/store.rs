//! rlvm's own files on the host: read whole, replaced whole, or appended to.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg, OFlag};

use super::{
    lock::{Lock, holders},
    private::PrivateDir,
    real::Real,
};
use crate::model::HostPath;

/// How old a file is that is no longer being made.
const NEW: Duration = Duration::from_secs(60);

/// How the name of a file ends that is held, and does not have its own name yet.
pub const NOT_YET: &str = ".new";

/// Files in a private directory of rlvm's own.
pub struct Store<'a> {
    real: &'a Real,
    dir: HostPath,
}

impl<'a> Store<'a> {
    /// Names the directory, which need not be there yet.
    pub fn new(real: &'a Real, dir: &HostPath) -> Self {
        Self { real, dir: dir.clone() }
    }

    /// Returns where it is.
    pub fn dir(&self) -> &HostPath {
        &self.dir
    }

    /// Reads a file; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not a plain file that only root may write.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(dir) = PrivateDir::open(self.real, &self.dir)? else { return Ok(None) };
        let Some(mut file) = dir.file(name, OFlag::O_RDONLY)? else { return Ok(None) };
        let size = file.metadata().map_or(0, |meta| meta.len());
        let mut bytes = Vec::with_capacity(usize::try_from(size)? + 1);
        file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", dir.show(name)))?;
        Ok(Some(bytes))
    }

    /// Writes a file new, makes it durable, and puts it in place.
    ///
    /// # Errors
    ///
    /// If it cannot be written; what was there stays.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let dir = PrivateDir::make(self.real, &self.dir)?;
        let new = format!("{name}.new");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        let mut file = dir.file(&new, flags)?.with_context(|| format!("cannot make {}", dir.show(&new)))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}", dir.show(&new)))?;
        dir.rename(&new, name)
    }

    /// Opens a file to append to, cut to `length` bytes first.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn append(&self, name: &str, length: u64) -> Result<Appender> {
        let dir = PrivateDir::make(self.real, &self.dir)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND;
        let shown = dir.show(name);
        let file = dir.file(name, flags)?.with_context(|| format!("cannot make {shown}"))?;
        file.set_len(length).with_context(|| format!("cannot write {shown}"))?;
        Ok(Appender { file, shown })
    }

    /// Takes the lock in this directory. `who` is what others are told: the process, and since when.
    ///
    /// # Errors
    ///
    /// [`super::Busy`] if somebody holds it; else if the directory or the file cannot be made.
    pub fn lock(&self, who: &str) -> Result<Lock> {
        self.lock_named("lock", who)
    }

    /// Takes a lock of this directory by its name.
    ///
    /// # Errors
    ///
    /// As [`Store::lock`].
    pub fn lock_named(&self, name: &str, who: &str) -> Result<Lock> {
        Lock::take(self.lock_file(name)?, who)
    }

    /// Takes a lock of this directory by its name, beside others who do so.
    ///
    /// # Errors
    ///
    /// [`super::Busy`] if somebody has it alone; else as [`Store::lock`].
    pub fn share_named(&self, name: &str, who: &str) -> Result<Lock> {
        Lock::share(self.lock_file(name)?, who)
    }

    /// Says who holds a lock of this directory, in the holder's own words; nothing if nobody does. Looking makes no file.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn holder(&self, name: &str) -> Result<Option<String>> {
        let Some(dir) = PrivateDir::open(self.real, &self.dir)? else { return Ok(None) };
        let Some(file) = dir.file(name, OFlag::O_RDONLY)? else { return Ok(None) };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(None),
            Err((file, _)) => Ok(Some(holders(&file).into_iter().next().unwrap_or_default())),
        }
    }

    fn lock_file(&self, name: &str) -> Result<File> {
        let dir = PrivateDir::make(self.real, &self.dir)?;
        let file = dir.file(name, OFlag::O_RDWR | OFlag::O_CREAT)?;
        file.with_context(|| format!("cannot make {}", dir.show(name)))
    }

    /// Lists the files, sorted; none if the directory is not there.
    ///
    /// # Errors
    ///
    /// If it cannot be listed.
    pub fn names(&self) -> Result<Vec<String>> {
        PrivateDir::open(self.real, &self.dir)?.map_or_else(|| Ok(Vec::new()), |dir| dir.names())
    }

    /// Makes a file, or opens one that is there, and holds it as long as the process lives: a crash lets it go.
    ///
    /// # Errors
    ///
    /// [`super::Busy`] if another process holds it; else if it cannot be made.
    pub fn hold(&self, name: &str) -> Result<Held> {
        let dir = PrivateDir::make(self.real, &self.dir)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_APPEND;
        let shown = dir.show(name);
        let file = dir.file(name, flags)?.with_context(|| format!("cannot make {shown}"))?;
        Ok(Held { file: Lock::hold(file)?, shown })
    }

    /// Makes a file that gets its name only once this process holds it: nobody else can come between.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn hold_new(&self, name: &str) -> Result<Held> {
        let dir = PrivateDir::make(self.real, &self.dir)?;
        let new = format!("{name}{NOT_YET}");
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_APPEND;
        let file = dir.file(&new, flags)?.with_context(|| format!("cannot make {}", dir.show(&new)))?;
        let held = Held { file: Lock::hold(file)?, shown: dir.show(name) };
        dir.rename(&new, name)?;
        Ok(held)
    }

    /// Holds a file that is there, and makes none; nothing if it is not there, or was removed meanwhile.
    ///
    /// # Errors
    ///
    /// [`super::Busy`] if another process holds it; else if it cannot be opened.
    pub fn hold_existing(&self, name: &str) -> Result<Option<Held>> {
        let Some(dir) = PrivateDir::open(self.real, &self.dir)? else { return Ok(None) };
        let Some(file) = dir.file(name, OFlag::O_RDWR | OFlag::O_APPEND)? else { return Ok(None) };
        let held = Held { file: Lock::hold(file)?, shown: dir.show(name) };
        // Whoever held it may have removed it since it was opened.
        let is_there =
            held.file.metadata().with_context(|| format!("cannot look at {}", held.shown))?.nlink() > 0;
        Ok(is_there.then_some(held))
    }

    /// Says whether a file is there that nobody holds. One that was made or written to within the last minute is taken for
    /// held: whoever makes it holds it at once, and must not find it busy because somebody looks.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn is_idle(&self, name: &str, now: SystemTime) -> Result<bool> {
        let Some(dir) = PrivateDir::open(self.real, &self.dir)? else { return Ok(false) };
        let Some(file) = dir.file(name, OFlag::O_RDONLY)? else { return Ok(false) };
        let written = file.metadata().and_then(|meta| meta.modified());
        let written = written.with_context(|| format!("cannot look at {}", dir.show(name)))?;
        if now.duration_since(written).is_ok_and(|age| age >= NEW) {
            return Ok(Flock::lock(file, FlockArg::LockSharedNonblock).is_ok());
        }
        Ok(false)
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        PrivateDir::open(self.real, &self.dir)?.map_or(Ok(()), |dir| dir.remove(name))
    }
}

/// A file that only this process has; it is appended to.
pub struct Held {
    file: Flock<File>,
    shown: String,
}

impl Held {
    /// Reads what it holds.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file
            .rewind()
            .and_then(|()| self.file.read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {}", self.shown))?;
        Ok(bytes)
    }

    /// Adds bytes; they survive the end of this process.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.shown))
    }

    /// Returns when bytes were added last, by the clock of the machine as it was set then.
    ///
    /// # Errors
    ///
    /// If the file cannot be looked at.
    pub fn written(&self) -> Result<SystemTime> {
        let written = self.file.metadata().and_then(|meta| meta.modified());
        written.with_context(|| format!("cannot look at {}", self.shown))
    }

    /// Makes durable what was added: it survives a power cut.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().with_context(|| format!("cannot make {} durable", self.shown))
    }
}

/// A file that is appended to.
pub struct Appender {
    file: File,
    shown: String,
}

impl Appender {
    /// Adds bytes; they survive the end of this process.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.shown))
    }

    /// Makes durable what was added: it survives a power cut.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().with_context(|| format!("cannot make {} durable", self.shown))
    }
}
