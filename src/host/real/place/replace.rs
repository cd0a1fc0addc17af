//! Puts a restored file in the place of the file that was shown, and of no other one.

use std::os::fd::AsFd as _;

use nix::{errno::Errno, sys::stat::FileStat};

use super::{
    super::{
        equal,
        look::stamp,
        rename::{Place, exchange, rename_new},
        staging::{look, there},
    },
    At, CHANGED, Placing, said,
};
use crate::host::{Sort, Stamp, There, lossy};

/// How many names are tried for a file that must be kept.
const KEPT: u32 = 100;

impl Placing<'_> {
    pub(super) fn replace(&mut self, at: &At<'_>, new: &There, shown: &Stamp) -> Result<(), String> {
        match look(at.live, at.name) {
            Ok(old) => self.whole(at, new, |this| this.replace_it(at, new, shown, &old)),
            Err(Errno::ENOENT) => self.create(at, new),
            Err(errno) => Err(said(errno)),
        }
    }

    fn replace_it(&mut self, at: &At<'_>, new: &There, shown: &Stamp, old: &FileStat) -> Result<(), String> {
        let (is, before) = (there(old), stamp(old));
        if !self.is_shown(&before, shown) || is.sort == Sort::Directory {
            return Err(CHANGED.into());
        }
        if is_same(at, new, &is, self.stop) {
            self.same += 1;
            return Ok(());
        }
        // The comparison reads all of a file. What was written meanwhile with the old size and time set back shows in its ctime
        // only, and the exchange itself moves that.
        if look(at.live, at.name).map(|it| stamp(&it)) != Ok(before) {
            return Err(CHANGED.into());
        }
        let restored = stamp(&look(at.staged, at.name).map_err(said)?);
        // What was there goes with the private directory.
        let (ours, theirs) = ((at.staged.as_fd(), at.name), (at.live.as_fd(), at.name));
        exchange(ours, theirs).map_err(said)?;
        let out = look(at.staged, at.name).map_err(said)?;
        let after = stamp(&out);
        // A rename alone moves the time of its last change.
        if (Stamp { ctime: 0, ..after }) == (Stamp { ctime: 0, ..before }) && there(&out) == is {
            self.replaced.insert((after.dev, after.ino), (*shown, after));
            self.count(at.path, new.sort == Sort::Directory);
            return Ok(());
        }
        self.put_back(at, (ours, theirs), (new, &restored))
    }

    /// Says whether a file is the one that was shown. A file with several names is replaced name by name, and each replacement
    /// moves the ctime that the other names show too.
    fn is_shown(&self, now: &Stamp, shown: &Stamp) -> bool {
        now == shown || self.replaced.get(&(now.dev, now.ino)) == Some(&(*shown, *now))
    }

    /// Puts back a file that took the place of the one that was shown, just before it was replaced.
    fn put_back(
        &mut self,
        at: &At<'_>,
        (ours, theirs): (Place<'_>, Place<'_>),
        (new, restored): (&There, &Stamp),
    ) -> Result<(), String> {
        let back = exchange(ours, theirs);
        if back.is_ok() {
            let out = stamp(&look(at.staged, at.name).map_err(said)?);
            if (out.dev, out.ino) == (restored.dev, restored.ino) {
                return Err(CHANGED.into());
            }
        }
        // It could not be put back, or yet another file was there by then: what is in the private directory is somebody's.
        let aside = keep(ours, at)?;
        if back.is_err() {
            self.count(at.path, new.sort == Sort::Directory);
        }
        Err(format!("another file appeared there after the comparison: rlvm kept it as {}", lossy(&aside)))
    }
}

/// Gives a file that is not rlvm's to remove a name beside its place. Returns the name.
fn keep(file: Place<'_>, at: &At<'_>) -> Result<Vec<u8>, String> {
    // The first name may be taken, or too long.
    let others = (1..=KEPT).map(|number| format!("rlvm-kept-{number}").into_bytes());
    let mut why = Errno::EEXIST;
    for name in std::iter::once([at.name, b".rlvm-kept"].concat()).chain(others) {
        match rename_new(file, (at.live.as_fd(), &name)) {
            Ok(()) => return Ok(name),
            Err(errno) => why = errno,
        }
    }
    Err(format!("another file appeared there after the comparison, and rlvm cannot keep it: {}", why.desc()))
}

/// Says whether what is there is what was restored: then there is nothing to replace. The time of a link does not count.
fn is_same(at: &At<'_>, new: &There, is: &There, stop: &dyn Fn() -> bool) -> bool {
    let looks = if new.sort == Sort::Link { (new.uid, new.gid) == (is.uid, is.gid) } else { new == is };
    looks && equal::same((at.staged, at.name), (at.live, at.name), stop) == Ok(true)
}
