//! Puts a directory in place as a whole, and lists all that is in a directory that cannot be put in place.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::{
    errno::Errno,
    sys::stat::{Mode as Bits, fchmod},
    unistd::{UnlinkatFlags, unlinkat},
};

use super::{
    super::{
        rename::rename_new,
        staging::{look, names, open_dir, there},
    },
    At, BROKEN, Placing, said,
};
use crate::host::{Fate, Sort, There, lossy};

impl Placing<'_> {
    pub(super) fn create(&mut self, at: &At<'_>, new: &There) -> Result<(), String> {
        self.whole(at, new, |this| {
            match rename_new((at.staged.as_fd(), at.name), (at.live.as_fd(), at.name)) {
                Ok(()) => {}
                Err(Errno::EEXIST) => {
                    return Err("it appeared after the comparison, and rlvm left it as it is".into());
                }
                Err(errno) => return Err(said(errno)),
            }
            this.count(at.path, new.sort == Sort::Directory);
            Ok(())
        })
    }

    /// Renames a file, or a directory after what must not go with it is out. If a directory is not renamed, nothing in it counts
    /// as put in place, and all of it is listed.
    pub(super) fn whole(
        &mut self,
        at: &At<'_>,
        new: &There,
        rename: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        if new.sort != Sort::Directory {
            return rename(self);
        }
        let before = (self.placed, self.files_placed);
        let dir = open_dir(at.staged, at.name).map_err(said)?;
        let done = self.weed(&dir, at.path).map_err(said).and_then(|()| rename(self));
        let is_staged = look(at.staged, at.name).is_ok_and(|it| there(&it).sort == Sort::Directory);
        if done.is_err() && is_staged {
            (self.placed, self.files_placed) = before;
        }
        done.map_err(|why| if is_staged { self.leave_all(at, why) } else { why })
    }

    /// Lists all that was to be put in place in a directory that cannot be put in place. Returns why.
    pub(super) fn leave_all(&mut self, at: &At<'_>, why: String) -> String {
        if let Ok(dir) = open_dir(at.staged, at.name) {
            // What cannot be listed is in what is said of the directory.
            let _ = self.leave_below(&dir, at.path, &format!("{}: {why}", lossy(at.path)));
        }
        why
    }

    fn leave_below(&mut self, dir: &OwnedFd, path: &[u8], why: &str) -> nix::Result<()> {
        for name in names(dir)? {
            let path = [path, b"/", &name].concat();
            if self.asked.contains(path.as_slice()) {
                self.met.insert(path.clone());
            }
            let stays = matches!((self.fate)(&path), Some(Fate::Keep | Fate::Refuse | Fate::Enter { .. }));
            if self.is_asked(&path) && !stays {
                self.leave(&path, why.to_owned());
            }
            if there(&look(dir, &name)?).sort == Sort::Directory {
                self.leave_below(&open_dir(dir, &name)?, &path, why)?;
            }
        }
        Ok(())
    }

    /// Takes out of a directory that is put in place as a whole what was not restored in full, and what was not asked for,
    /// and counts the rest.
    pub(super) fn weed(&mut self, dir: &OwnedFd, path: &[u8]) -> nix::Result<()> {
        if self.is_withheld(path) {
            // Without its owner or ACL its mode may let in others than the stored one did.
            fchmod(dir, Bits::S_IRWXU)?;
        }
        for name in names(dir)? {
            let path = [path, b"/", &name].concat();
            if self.asked.contains(path.as_slice()) {
                self.met.insert(path.clone());
            }
            let is_dir = there(&look(dir, &name)?).sort == Sort::Directory;
            if self.is_withheld(&path) && self.is_asked(&path) {
                self.leave(&path, BROKEN.into());
            }
            let wanted = self.is_asked(&path) || (is_dir && self.is_above(&path));
            if is_dir {
                self.weed(&open_dir(dir, &name)?, &path)?;
                if wanted {
                    self.count(&path, true);
                } else {
                    unlinkat(dir, name.as_slice(), UnlinkatFlags::RemoveDir)?;
                }
            } else if !wanted || self.is_withheld(&path) {
                unlinkat(dir, name.as_slice(), UnlinkatFlags::NoRemoveDir)?;
            } else {
                self.count(&path, false);
            }
        }
        Ok(())
    }
}
