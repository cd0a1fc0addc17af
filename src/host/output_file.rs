//! Files that the caller names for what rlvm writes: a saved plan, a page, a rescue kit, a JSON stream.
//!
//! A regular file is replaced as a whole, a link to one too. A device or FIFO, such as `/dev/null`, `/dev/stdout` or a shell's `>(…)`, is
//! written into: a rename would put a file in the place of the device.

use std::{
    ffi::OsString,
    fs::{File, Metadata, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;

use super::{random_id, real::ask, trust::CallersFiles};

/// Where output goes.
enum OutputFile {
    /// A file beside the place, until it is renamed there.
    Whole { file: File, temporary: PathBuf, place: PathBuf },
    /// Something that is no regular file, written into as it is.
    Into(File),
}

impl CallersFiles {
    /// Writes a file of the caller's as a whole, or writes into a device or FIFO. A new file is the caller's alone to
    /// read.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; then a regular file is as it was.
    pub fn write(&self, path: &Path, text: &str) -> Result<()> {
        let write = || -> Result<()> {
            let mut output = self.open_output(path)?;
            match output.file().write_all(text.as_bytes()) {
                Ok(()) => output.put_in_place().map(drop),
                Err(err) => {
                    output.discard();
                    Err(err.into())
                }
            }
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Opens a file of the caller's for a stream. A regular file is replaced by an empty one at once, so that a reader
    /// sees each line as soon as it is written.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened for writing.
    pub fn create(&self, path: &Path) -> Result<Box<dyn Write>> {
        let open = || self.open_output(path)?.put_in_place();
        Ok(Box::new(open().with_context(|| format!("cannot write {}", path.display()))?))
    }

    fn open_output(&self, path: &Path) -> Result<OutputFile> {
        ask(path)?;
        match look_at(path)? {
            None => OutputFile::beside(path.to_owned()),
            Some(there) if there.is_symlink() => self.open_linked(path),
            Some(there) if there.is_file() => OutputFile::beside(path.to_owned()),
            Some(there) => OutputFile::into_special(path, &there),
        }
    }

    /// Opens what a link stands for: a device, a FIFO, or a file that is open already (`/dev/stdout`). A link to another
    /// file is replaced, never followed: somebody else's link could lead anywhere.
    #[expect(clippy::disallowed_methods, reason = "host looks")]
    fn open_linked(&self, path: &Path) -> Result<OutputFile> {
        match std::fs::metadata(path) {
            Ok(there) if there.is_file() && names_open_file(path) => {
                Ok(OutputFile::Into(OpenOptions::new().append(true).open(path)?))
            }
            Ok(there) if !there.is_file() => {
                self.check_link(path)?;
                OutputFile::into_special(path, &there)
            }
            Err(err) if err.kind() != ErrorKind::NotFound => Err(err.into()),
            _ => OutputFile::beside(path.to_owned()),
        }
    }
}

/// Says whether a link stands for a file that a process has open, as those in `/dev` and `/proc` do.
fn names_open_file(link: &Path) -> bool {
    let dir = link.parent().and_then(|dir| dir.canonicalize().ok());
    dir.is_some_and(|dir| dir.starts_with("/dev") || dir.starts_with("/proc"))
}

impl OutputFile {
    fn beside(place: PathBuf) -> Result<Self> {
        let Some(name) = place.file_name() else { bail!("the path names no file") };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", random_id()?));
        let temporary = place.with_file_name(hidden);
        let file = options().create_new(true).mode(0o600).open(&temporary)?;
        Ok(Self::Whole { file, temporary, place })
    }

    fn into_special(path: &Path, there: &Metadata) -> Result<Self> {
        let kind = there.file_type();
        if kind.is_dir() {
            bail!("it is a directory");
        }
        if kind.is_socket() {
            bail!("it is a socket");
        }
        let file = options().custom_flags(OFlag::O_NOCTTY.bits()).open(path)?;
        // Another file may have taken the place meanwhile; it would be written over.
        if file.metadata()?.is_file() {
            bail!("another file took its place meanwhile");
        }
        Ok(Self::Into(file))
    }

    fn file(&mut self) -> &mut File {
        match self {
            Self::Whole { file, .. } | Self::Into(file) => file,
        }
    }

    /// Puts the file into its place, durably.
    fn put_in_place(self) -> Result<File> {
        match self {
            Self::Into(file) => Ok(file),
            Self::Whole { file, temporary, place } => {
                let placed = file.sync_all().and_then(|()| rename(&temporary, &place));
                if let Err(err) = placed {
                    remove(&temporary);
                    return Err(err.into());
                }
                Ok(file)
            }
        }
    }

    /// Removes what was written so far, if it has a name of its own.
    fn discard(self) {
        if let Self::Whole { temporary, .. } = self {
            remove(&temporary);
        }
    }
}

/// Looks at what is at a path, without following a link there.
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn look_at(path: &Path) -> Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(Some(there)),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err.into()),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    options
}

#[expect(clippy::disallowed_methods, reason = "host writes")]
fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(from, to)
}

/// Removes a temporary file. The error that led here is the one that is reported.
#[expect(clippy::disallowed_methods, reason = "host writes")]
fn remove(temporary: &Path) {
    drop(std::fs::remove_file(temporary));
}
