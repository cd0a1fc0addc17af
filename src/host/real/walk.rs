//! The way to a path, one directory at a time, so that nobody can lead root astray.
//!
//! Each step opens one name with `O_PATH | O_NOFOLLOW` below the last. A symbolic link is followed only if root
//! (or the caller) owns it and nobody else could have put it there (`/var/run` is one). A step out of a
//! directory of an unprivileged user into somebody else's is refused, as systemd-tmpfiles(8) does: that user
//! could have moved it there. `openat2` could do the first half in one call, and says nothing of the second;
//! one way for both is simpler, and a cursor that keeps its directories open makes neighbours cheap.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, readlinkat},
    sys::stat::{FileStat, Mode as Bits, SFlag, fstat},
};

use super::{Real, answers, leaf::may_be_renamed, trusted};
use crate::model::HostPath;

/// As many links as the kernel follows before it gives up.
const MOST_LINKS: usize = 40;

/// A directory on the way, open.
struct Step {
    name: String,
    fd: OwnedFd,
    stat: FileStat,
}

/// Where a way ended.
pub(in crate::host) enum Way<T> {
    /// There.
    There(T),
    /// It, or a directory on the way, is missing.
    Absent,
    /// The way is not safe or not possible: why.
    Blocked(String),
}

/// How careful a look is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::host) enum Guard {
    /// Takes nothing that an unprivileged user could have put there.
    #[default]
    Strict,
    /// Takes root's files and directories in a directory of an unprivileged user too. For a look that neither shows,
    /// writes back nor hands on what it finds.
    Lenient,
}

/// The way to the last directory asked for, kept open.
#[derive(Default)]
pub(in crate::host) struct Cursor {
    steps: Vec<Step>,
    /// The directory that was asked for, which a link may have led elsewhere.
    asked: Option<String>,
    guard: Guard,
}

impl Cursor {
    /// Makes one that is as careful as said.
    pub(in crate::host) fn guarded(guard: Guard) -> Self {
        Self { guard, ..Self::default() }
    }

    pub(super) fn guard(&self) -> Guard {
        self.guard
    }

    /// Names the unprivileged user in whose directory one of root's lies on the last way, and that directory.
    pub(super) fn lent(&self) -> Option<(String, u32)> {
        let at = self.steps.windows(2).position(|pair| {
            let [above, below] = pair else { return false };
            !trusted(above.stat.st_uid) && trusted(below.stat.st_uid)
        })?;
        let path = self.steps[..=at].iter().map(|step| format!("/{}", step.name)).collect();
        Some((path, self.steps[at].stat.st_uid))
    }

    /// Says whether somebody could have renamed a directory of root's on the last way.
    pub(super) fn may_be_renamed(&self) -> bool {
        self.steps.windows(2).any(|pair| {
            let [above, below] = pair else { return false };
            may_be_renamed(&above.stat, &below.stat)
        })
    }

    /// Goes to a directory.
    pub(in crate::host) fn go<'a>(
        &'a mut self,
        real: &'a Real,
        dir: &HostPath,
    ) -> Result<Way<BorrowedFd<'a>>> {
        self.go_to(real, dir.as_str())
    }

    /// Goes to the directory that holds a path; `/` lies in itself.
    pub(in crate::host) fn go_above<'a>(
        &'a mut self,
        real: &'a Real,
        path: &HostPath,
    ) -> Result<Way<BorrowedFd<'a>>> {
        self.go_to(real, path.parent_str().unwrap_or("/"))
    }

    fn go_to<'a>(&'a mut self, real: &'a Real, dir: &str) -> Result<Way<BorrowedFd<'a>>> {
        if self.asked.as_deref() != Some(dir) {
            self.asked = None;
            match self.walk(real, dir)? {
                Way::There(()) => {}
                Way::Absent => return Ok(Way::Absent),
                Way::Blocked(why) => return Ok(Way::Blocked(why)),
            }
            self.asked = Some(dir.to_owned());
        }
        Ok(Way::There(self.here(real)))
    }

    fn here<'a>(&'a self, real: &'a Real) -> BorrowedFd<'a> {
        self.steps.last().map_or(real.root_fd.as_fd(), |step| step.fd.as_fd())
    }

    /// Returns the path that the links led to.
    pub(in crate::host) fn resolved(&self) -> String {
        self.steps.iter().map(|step| format!("/{}", step.name)).collect()
    }

    /// Returns the directory that was gone to, once the mount answers that may stand at the path in it.
    ///
    /// # Errors
    ///
    /// If there is such a mount, and it does not answer.
    pub(in crate::host) fn before<'a>(&'a self, real: &'a Real, path: &HostPath) -> Result<BorrowedFd<'a>> {
        self.ask(real, path.name(), path.as_str())?;
        Ok(self.here(real))
    }

    fn ask(&self, real: &Real, name: &str, asked: &str) -> Result<()> {
        let steps = self.steps.iter().map(|step| step.name.as_str());
        answers::ask_plain(
            || steps.chain([name]).fold(real.root.clone(), |path, part| path.join(part)),
            asked,
        )
    }

    fn walk(&mut self, real: &Real, dir: &str) -> Result<Way<()>> {
        let parts = || dir.split('/').filter(|part| !part.is_empty());
        let same = self.steps.iter().zip(parts()).take_while(|(step, part)| step.name == **part).count();
        self.steps.truncate(same);
        // Nearest last, so that a link's target can be put on top.
        let mut left: Vec<String> = parts().skip(same).map(Into::into).collect();
        left.reverse();
        let mut links = 0;
        while let Some(part) = left.pop() {
            // Only a link's target has this; at the root it stays there, as in the kernel.
            if part == ".." {
                self.steps.pop();
                continue;
            }
            let at = || format!("{}/{part}", self.resolved());
            self.ask(real, &part, dir)?;
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let fd = match openat(self.here(real), part.as_str(), flags, Bits::empty()) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => return Ok(Way::Absent),
                Err(Errno::EACCES) => {
                    return Ok(Way::Blocked(format!("no permission to look at {}", at())));
                }
                // A link's target may have any name.
                Err(Errno::ENAMETOOLONG) => {
                    return Ok(Way::Blocked(format!("{} is a name that is too long", at())));
                }
                Err(errno) => return Err(errno).with_context(|| format!("cannot open {}", at())),
            };
            let stat = fstat(&fd).with_context(|| format!("cannot look at {}", at()))?;
            let above = match self.steps.last() {
                Some(step) => step.stat,
                None => fstat(&real.root_fd).context("cannot look at the root")?,
            };
            match kind(&stat) {
                SFlag::S_IFDIR => {
                    let lent = self.guard == Guard::Lenient && trusted(stat.st_uid);
                    if is_anothers(&above, &stat) && !lent {
                        let why = format!(
                            "{} belongs to {}, but lies in a directory of {}, who could have put it there",
                            at(),
                            real.accounts.user_name(stat.st_uid),
                            real.accounts.user_name(above.st_uid),
                        );
                        return Ok(Way::Blocked(why));
                    }
                    self.steps.push(Step { name: part, fd, stat });
                }
                SFlag::S_IFLNK => {
                    links += 1;
                    if !safe_link(&stat, &above) {
                        let why =
                            format!("{} is a symbolic link that others than root could have put there", at());
                        return Ok(Way::Blocked(why));
                    }
                    if links > MOST_LINKS {
                        return Ok(Way::Blocked(format!("{} is one of too many symbolic links", at())));
                    }
                    let target =
                        readlinkat(&fd, "").with_context(|| format!("cannot read the link {}", at()))?;
                    let target = target.to_string_lossy().into_owned();
                    self.follow(&target, &mut left);
                }
                _ => return Ok(Way::Blocked(format!("{} is no directory", at()))),
            }
        }
        Ok(Way::There(()))
    }

    /// Puts a link's target on what is left of the way. An absolute one starts at this root, not the machine's.
    fn follow(&mut self, target: &str, left: &mut Vec<String>) {
        if target.starts_with('/') {
            self.steps.clear();
        }
        left.extend(target.split('/').rev().filter(|part| !matches!(*part, "" | ".")).map(Into::into));
    }
}

/// Says whether a directory lies in one of an unprivileged user, and is not that user's.
pub(super) fn is_anothers(above: &FileStat, below: &FileStat) -> bool {
    !trusted(above.st_uid) && below.st_uid != above.st_uid
}

/// Returns the type bits.
pub(in crate::host) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Says whether nobody but root or the caller can have put a link there.
fn safe_link(link: &FileStat, dir: &FileStat) -> bool {
    trusted(link.st_uid) && trusted(dir.st_uid) && dir.st_mode & 0o022 == 0
}
