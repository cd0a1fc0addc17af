//! Compares what was restored into a private directory with the live file: content, target, device number and extended
//! attributes.
//!
//! The live file is opened safely: each directory is opened with `O_NOFOLLOW`, a mount on a
//! network is asked first whether it answers, and only a regular file is opened, without waiting. Only the file that was seen
//! before counts: its stamp is compared before and after it is read.

use std::{
    ffi::OsStr,
    fs::File,
    io::{ErrorKind, Read},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{OFlag, readlinkat},
    sys::stat::{FileStat, Mode as Bits, SFlag, fstat},
};

use super::{
    Real, Standings, answers,
    leaf::open_at,
    look::stamp,
    staging::{look, there},
    walk::kind,
    xattr,
};
use crate::{
    host::{Equality, Sort, Stamp, lossy},
    model::HostPath,
};

/// How many bytes are read at once.
const PIECE: usize = 1 << 17;

/// A name in an open directory.
pub(super) type Name<'a> = (&'a OwnedFd, &'a [u8]);

/// Compares restored files with live ones, keeping the last directories open.
pub struct Copies<'a> {
    real: &'a Real,
    stored: Standings,
    live: Option<(HostPath, Standings)>,
}

impl Real {
    /// Returns what compares the files in the private directory of a restore with live ones.
    ///
    /// # Errors
    ///
    /// If the directory is not there.
    pub fn copies(&self, staging: &HostPath) -> Result<Copies<'_>> {
        let (_, dir) = self.open_staging(staging)?.with_context(|| format!("{staging} is gone"))?;
        Ok(Copies { real: self, stored: Standings::below(dir), live: None })
    }
}

impl Copies<'_> {
    /// Compares a restored file with the live one. `path` is the snapshot's; its first names lead to `way`, from where on no
    /// link is followed. `seen` is what stood there when it was looked at. Owner, mode and time are not compared.
    ///
    /// # Errors
    ///
    /// If the kernel does not say what is on the way.
    pub fn compare(
        &mut self,
        path: &[u8],
        way: &HostPath,
        seen: &Stamp,
        stop: &dyn Fn() -> bool,
    ) -> Result<Equality> {
        let names: Vec<Vec<u8>> =
            path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
        let below = names.get(way.parts().count()..).unwrap_or_default();
        let (Some((name, dirs)), Some((_, stored_dirs))) = (below.split_last(), names.split_last()) else {
            return Ok(Equality::Unknown("it is no file".into()));
        };
        answers::ask(
            &self.real.root.join(Path::new(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)))),
        )?;
        if self.live.as_ref().is_none_or(|(at, _)| at != way) {
            self.live = Some((way.clone(), self.real.standings(way)?));
        }
        let Some((_, live)) = &mut self.live else { return Ok(Equality::Moved) };
        let stored = match self.stored.dir(stored_dirs) {
            Ok(Some(dir)) => dir,
            Ok(None) => return Ok(Equality::Absent),
            Err(why) => return Ok(Equality::Unknown(why)),
        };
        let Ok(Some(live)) = live.dir(dirs) else { return Ok(Equality::Moved) };
        Ok(equality((stored, name), (live, name), seen, stop))
    }
}

fn equality(stored: Name<'_>, live: Name<'_>, seen: &Stamp, stop: &dyn Fn() -> bool) -> Equality {
    let is_it = |stat: &FileStat| stamp(stat) == *seen;
    let new = match look(stored.0, stored.1) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Equality::Absent,
        Err(errno) => return Equality::Unknown(errno.desc().into()),
    };
    if !look(live.0, live.1).is_ok_and(|stat| is_it(&stat)) {
        return Equality::Moved;
    }
    let found = same(stored, live, stop);
    // What was read may be half of an old content and half of a new one.
    if !look(live.0, live.1).is_ok_and(|stat| is_it(&stat)) {
        return Equality::Moved;
    }
    match found {
        Ok(true) => Equality::Same,
        // restic before 0.16 alters targets that are not UTF-8: then the target is not known.
        Ok(false) if kind(&new) == SFlag::S_IFLNK && reads_alike(stored, live) => {
            Equality::Unknown("its target is not UTF-8".into())
        }
        Ok(false) => Equality::Differs,
        Err(Errno::ECANCELED) => Equality::Unknown("stopped by a signal".into()),
        Err(errno) => Equality::Unknown(format!("cannot read it: {}", errno.desc())),
    }
}

fn reads_alike(stored: Name<'_>, live: Name<'_>) -> bool {
    let [ours, theirs] =
        [stored, live].map(|(dir, name)| readlinkat(dir, name).map(|it| lossy(it.as_bytes())));
    ours.is_ok_and(|ours| ours.contains(char::REPLACEMENT_CHARACTER) && Ok(ours) == theirs)
}

/// Says whether two names stand for the same, owner, mode and time apart: the same kind, and of a file the same content and
/// extended attributes, of a link the same target, of a FIFO and a device the same ACL, and of a device the same number.
/// Extended attributes of links are not compared: only root can set them, and restic 0.14 does not restore them.
///
/// # Errors
///
/// `ECANCELED` if `stop` asked for that; else what the kernel says, `ESTALE` if the file became something else meanwhile.
pub(super) fn same(stored: Name<'_>, live: Name<'_>, stop: &dyn Fn() -> bool) -> nix::Result<bool> {
    let (new, is) = (look(stored.0, stored.1)?, look(live.0, live.1)?);
    let (sort, other) = (there(&new).sort, there(&is).sort);
    if sort != other {
        return Ok(false);
    }
    match sort {
        Sort::File if new.st_size != is.st_size => Ok(false),
        Sort::File => {
            let (new, is) = (open(stored, &new)?, open(live, &is)?);
            Ok(xattr::same(&new, &is)? && same_content(&File::from(new), &File::from(is), stop)?)
        }
        Sort::Link => Ok(readlinkat(stored.0, stored.1)? == readlinkat(live.0, live.1)?),
        Sort::CharDevice | Sort::BlockDevice => {
            Ok(new.st_rdev == is.st_rdev && xattr::same_at(stored, live)?)
        }
        Sort::Fifo => xattr::same_at(stored, live),
        Sort::Socket => Ok(true),
        // What is in a directory is compared name by name.
        Sort::Directory => Ok(false),
    }
}

/// Opens a file that was looked at, to be read: no link is followed, and nothing is waited for.
fn open((dir, name): Name<'_>, seen: &FileStat) -> nix::Result<OwnedFd> {
    let file = open_at(dir.as_fd(), name, OFlag::O_RDONLY, Bits::empty())?;
    let is = fstat(&file)?;
    let is_it = kind(&is) == SFlag::S_IFREG && (is.st_dev, is.st_ino) == (seen.st_dev, seen.st_ino);
    if is_it { Ok(file) } else { Err(Errno::ESTALE) }
}

fn same_content(mut ours: &File, mut theirs: &File, stop: &dyn Fn() -> bool) -> nix::Result<bool> {
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        if stop() {
            return Err(Errno::ECANCELED);
        }
        let (got, has) = (fill(&mut ours, &mut one)?, fill(&mut theirs, &mut other)?);
        if one[..got] != other[..has] {
            return Ok(false);
        }
        if got == 0 {
            return Ok(true);
        }
    }
}

/// Reads until a buffer is full or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> nix::Result<usize> {
    let mut far = 0;
    while far < buffer.len() {
        match file.read(&mut buffer[far..]) {
            Ok(0) => break,
            Ok(got) => far += got,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return Err(err.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
        }
    }
    Ok(far)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files to compare")]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use nix::{
        sys::stat::{Mode, mknod},
        unistd::mkfifo,
    };

    use super::*;

    fn never() -> bool {
        false
    }

    fn open_dir(path: &Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    fn pair() -> (tempfile::TempDir, tempfile::TempDir) {
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
    }

    #[test]
    fn what_is_compared_of_each_kind() {
        let (stored, live) = pair();
        let write = |dir: &Path, name: &str, text: &[u8]| fs::write(dir.join(name), text).unwrap();
        let (ours, theirs) = (stored.path(), live.path());
        let long = vec![b'x'; PIECE * 2 + 3];
        let mut other = long.clone();
        other[PIECE + 1] = b'y';
        for (name, one, two) in [
            ("equal", &long, &long),
            ("late", &long, &other),
            ("shorter", &long, &long[..9].to_vec()),
            ("empty", &Vec::new(), &Vec::new()),
        ] {
            write(ours, name, one);
            write(theirs, name, two);
        }
        symlink("/a", ours.join("link")).unwrap();
        symlink("/a", theirs.join("link")).unwrap();
        symlink("/a", ours.join("moved")).unwrap();
        symlink("/b", theirs.join("moved")).unwrap();
        write(ours, "kind", b"");
        symlink("equal", theirs.join("kind")).unwrap();
        for dir in [ours, theirs] {
            mkfifo(&dir.join("fifo"), Mode::S_IRWXU).unwrap();
        }
        let (a, b) = (open_dir(ours), open_dir(theirs));
        for (name, expected) in [
            ("equal", true),
            ("late", false),
            ("shorter", false),
            ("empty", true),
            ("link", true),
            ("moved", false),
            ("kind", false),
            ("fifo", true),
        ] {
            let name_ = name.as_bytes();
            assert_eq!(same((&a, name_), (&b, name_), &never), Ok(expected), "{name}");
        }
        if crate::host::is_root() {
            for (dir, minor) in [(ours, 3), (theirs, 5)] {
                mknod(&dir.join("null"), SFlag::S_IFCHR, Mode::S_IRWXU, nix::sys::stat::makedev(1, minor))
                    .unwrap();
            }
            assert_eq!(same((&a, b"null"), (&b, b"null"), &never), Ok(false));
        }
        assert_eq!(same((&a, b"equal"), (&b, b"equal"), &|| true), Err(Errno::ECANCELED));
        let seen = look(&b, b"equal").unwrap();
        assert!(open((&b, b"equal"), &seen).is_ok());
        for (name, errno) in [("late", Errno::ESTALE), ("fifo", Errno::ESTALE), ("link", Errno::ELOOP)] {
            assert_eq!(open((&b, name.as_bytes()), &seen).err(), Some(errno), "{name}");
        }
    }

    #[test]
    fn only_the_file_that_was_seen_counts() {
        let (stored, live) = pair();
        for dir in [&stored, &live] {
            fs::write(dir.path().join("f"), "same").unwrap();
        }
        let (a, b) = (open_dir(stored.path()), open_dir(live.path()));
        let (ours, theirs) = ((&a, b"f".as_slice()), (&b, b"f".as_slice()));
        let seen = stamp(&look(&b, b"f").unwrap());
        assert_eq!(equality(ours, theirs, &seen, &never), Equality::Same);
        // It changes while it is read.
        let touch = || {
            fs::write(live.path().join("f"), "othr").unwrap();
            false
        };
        assert_eq!(equality(ours, theirs, &seen, &touch), Equality::Moved);
        let seen = stamp(&look(&b, b"f").unwrap());
        assert_eq!(equality(ours, theirs, &seen, &never), Equality::Differs);
        fs::remove_file(live.path().join("f")).unwrap();
        assert_eq!(equality(ours, theirs, &seen, &never), Equality::Moved);
        mkfifo(&live.path().join("f"), Mode::S_IRWXU).unwrap();
        assert_eq!(equality(ours, theirs, &seen, &never), Equality::Moved);
        fs::remove_file(stored.path().join("f")).unwrap();
        assert_eq!(equality(ours, theirs, &seen, &never), Equality::Absent);
    }
}
