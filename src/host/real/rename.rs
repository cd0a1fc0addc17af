//! Renames that never lose a file, also where the file system knows no flags of renameat2(2).
//!
//! NFS and some FUSE file systems answer EINVAL to `RENAME_NOREPLACE` and `RENAME_EXCHANGE`. Everything in rlvm that
//! renames and must not replace, or must exchange, calls this module.

use std::os::fd::BorrowedFd;

use nix::{
    errno::Errno,
    fcntl::{AtFlags, RenameFlags, renameat, renameat2},
    sys::stat::{SFlag, fstatat},
    unistd::{UnlinkatFlags, linkat, unlinkat},
};

use super::walk::kind;

/// A name in an open directory.
pub(super) type Place<'a> = (BorrowedFd<'a>, &'a [u8]);

/// What is put behind a file's name while another one takes its place in two steps.
const ASIDE: &[u8] = b".rlvm-old";

/// Renames to a name that nothing has; EEXIST if something has it.
pub(super) fn rename_new(from: Place<'_>, to: Place<'_>) -> nix::Result<()> {
    match renameat2(from.0, from.1, to.0, to.1, RenameFlags::RENAME_NOREPLACE) {
        Err(errno) if knows_no_flags(errno) => rename_new_in_steps(from, to),
        done => done,
    }
}

/// Puts something in the place of something else, which gets its name.
///
/// The fallback puts the old one aside first, beside its place, as `NAME.rlvm-old`. A crash between its steps leaves
/// the old one there, whole. If the new one cannot be put in place, the old one is put back.
pub(super) fn exchange(new: Place<'_>, old: Place<'_>) -> nix::Result<()> {
    match renameat2(new.0, new.1, old.0, old.1, RenameFlags::RENAME_EXCHANGE) {
        Err(errno) if knows_no_flags(errno) => {}
        done => return done,
    }
    let aside_name = [old.1, ASIDE].concat();
    let aside = (old.0, aside_name.as_slice());
    rename_new(old, aside)?;
    if let Err(errno) = rename_new(new, old) {
        // Whatever took the name meanwhile stays there too.
        rename_new(aside, old)?;
        return Err(errno);
    }
    rename_new(aside, new)
}

fn knows_no_flags(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::ENOSYS)
}

/// Gives a file its new name before it takes the old one away: link(2) never replaces. A directory, and a file where there
/// are no hard links, is renamed once nothing has the name.
fn rename_new_in_steps(from: Place<'_>, to: Place<'_>) -> nix::Result<()> {
    let is_dir = kind(&fstatat(from.0, from.1, AtFlags::AT_SYMLINK_NOFOLLOW)?) == SFlag::S_IFDIR;
    if !is_dir {
        match linkat(from.0, from.1, to.0, to.1, AtFlags::empty()) {
            Ok(()) => return unlinkat(from.0, from.1, UnlinkatFlags::NoRemoveDir),
            Err(Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMLINK) => {}
            Err(errno) => return Err(errno),
        }
    }
    match fstatat(to.0, to.1, AtFlags::AT_SYMLINK_NOFOLLOW) {
        // Of a directory the kernel replaces only an empty one (rename(2)): there is nothing to lose.
        Err(Errno::ENOENT) => renameat(from.0, from.1, to.0, to.1),
        Ok(_) => Err(Errno::EEXIST),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a directory to rename in")]
mod tests {
    use std::{fs, os::fd::AsFd, path::Path};

    use super::*;

    fn in_a_directory(test: impl Fn(&Path, BorrowedFd<'_>)) {
        let dir = tempfile::tempdir().unwrap();
        let open = fs::File::open(dir.path()).unwrap();
        test(dir.path(), open.as_fd());
    }

    #[test]
    fn both_ways_to_a_new_name_replace_nothing() {
        type Rename = fn(Place<'_>, Place<'_>) -> nix::Result<()>;
        for rename in [rename_new as Rename, rename_new_in_steps] {
            in_a_directory(|at, fd| {
                fs::write(at.join("a"), "a").unwrap();
                fs::write(at.join("b"), "b").unwrap();
                fs::create_dir_all(at.join("d/full")).unwrap();
                fs::create_dir(at.join("e")).unwrap();
                std::os::unix::fs::symlink("/nowhere", at.join("l")).unwrap();
                let to = |from: &str, to: &str| rename((fd, from.as_bytes()), (fd, to.as_bytes()));
                for (from, there) in [("a", "b"), ("a", "d"), ("d", "a"), ("d", "e"), ("l", "a"), ("a", "l")]
                {
                    assert_eq!(to(from, there), Err(Errno::EEXIST), "{from} {there}");
                }
                for (from, new) in [("a", "a2"), ("d", "d2"), ("l", "l2")] {
                    assert_eq!(to(from, new), Ok(()), "{from}");
                }
                assert_eq!(to("none", "x"), Err(Errno::ENOENT));
                assert_eq!(fs::read(at.join("a2")).unwrap(), b"a");
                assert_eq!(fs::read(at.join("b")).unwrap(), b"b");
                assert!(at.join("d2/full").is_dir() && at.join("e").is_dir());
                assert_eq!(fs::read_link(at.join("l2")).unwrap(), Path::new("/nowhere"));
                assert_eq!(fs::read_dir(at).unwrap().count(), 5);
            });
        }
    }
}
