//! Extended attributes and ACLs: gives a directory those of another one, and compares those of two files.
//!
//! Names that only the live directory has stay, but for ACLs: an ACL that was not stored would let somebody in.
//! Those of `security.` are left alone: they are the kernel's own, and the restored directory may have its label from where
//! restic worked.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    os::fd::{AsRawFd as _, OwnedFd},
};

use rustix::{
    fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, lgetxattr, llistxattr},
    io::Errno,
};

use super::equal::Name;

/// The ACLs of a directory (acl(5)).
const ACLS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];
/// How the kernel's own begin: labels of SELinux, for example.
const KERNELS: &[u8] = b"security.";
/// How long a value, and a list of names, may be, in bytes (xattr(7)).
const LONGEST: usize = 64 << 10;

/// The capabilities of a program (capabilities(7)), which restic stores: the only `security.` attribute that an administrator sets.
const CAPABILITY: &[u8] = b"security.capability";

/// Says whether two files have the same extended attributes and ACLs, those of the kernel's own apart.
pub(super) fn same(one: &OwnedFd, other: &OwnedFd) -> nix::Result<bool> {
    let all = |fd: &OwnedFd| all(list(fd), &|name| value(fd, name));
    Ok(all(one).map_err(plain)? == all(other).map_err(plain)?)
}

/// Says the same of two names in open directories, no link followed: of what must not be opened, such as a FIFO or a device.
pub(super) fn same_at(one: Name<'_>, other: Name<'_>) -> nix::Result<bool> {
    let all = |(dir, name): Name<'_>| {
        // The kernel takes no directory and name for attributes.
        let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
        let names = whole(|buffer| llistxattr(path.as_slice(), buffer)).map(|bytes| split(&bytes));
        all(names, &|name| whole(|buffer| lgetxattr(path.as_slice(), name, buffer)))
    };
    Ok(all(one).map_err(plain)? == all(other).map_err(plain)?)
}

/// Reads all that count.
fn all(
    names: Result<Vec<CString>, Errno>,
    value: &dyn Fn(&CStr) -> Result<Vec<u8>, Errno>,
) -> Result<BTreeMap<CString, Vec<u8>>, Errno> {
    let names = match names {
        // The file system knows none.
        Err(Errno::OPNOTSUPP) => Vec::new(),
        names => names?,
    };
    let counts = |name: &&CString| {
        let name = name.to_bytes();
        !name.starts_with(KERNELS) || name == CAPABILITY
    };
    names.iter().filter(counts).map(|name| Ok((name.clone(), value(name)?))).collect()
}

/// Sets what `from` has and `to` has not, or has otherwise. Returns what could not be set or removed, and why.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd) -> Vec<String> {
    let (stored, live) = match (list(from), list(to)) {
        (Ok(stored), Ok(live)) => (stored, live),
        // The file system knows none: then something is lost only if there was something.
        (Ok(stored), Err(Errno::OPNOTSUPP)) => (stored, Vec::new()),
        (Err(Errno::OPNOTSUPP), _) => return Vec::new(),
        (Err(errno), _) | (_, Err(errno)) => return vec![format!("cannot list them: {errno}")],
    };
    let mut failed = Vec::new();
    for name in stored.iter().filter(|name| !name.to_bytes().starts_with(KERNELS)) {
        let done = value(from, name).and_then(|new| match value(to, name) {
            Ok(old) if old == new => Ok(()),
            _ => fsetxattr(to, name.as_c_str(), &new, XattrFlags::empty()),
        });
        if let Err(errno) = done {
            failed.push(format!("{}: {errno}", name.to_string_lossy()));
        }
    }
    for name in live.iter().filter(|name| ACLS.contains(&name.as_c_str()) && !stored.contains(name)) {
        match fremovexattr(to, name.as_c_str()) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => failed.push(format!("{} stays: {errno}", name.to_string_lossy())),
        }
    }
    failed
}

/// Removes the ACLs that a directory inherited from its parent.
pub(super) fn remove_acls(dir: &OwnedFd) -> nix::Result<()> {
    for name in ACLS {
        match fremovexattr(dir, name) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(plain(errno)),
        }
    }
    Ok(())
}

fn plain(errno: Errno) -> nix::Error {
    nix::Error::from_raw(errno.raw_os_error())
}

fn list(fd: &OwnedFd) -> Result<Vec<CString>, Errno> {
    Ok(split(&whole(|buffer| flistxattr(fd, buffer))?))
}

fn split(bytes: &[u8]) -> Vec<CString> {
    let names = bytes.split_inclusive(|byte| *byte == 0);
    names.filter_map(|name| Some(CStr::from_bytes_with_nul(name).ok()?.to_owned())).collect()
}

fn value(fd: &OwnedFd, name: &CStr) -> Result<Vec<u8>, Errno> {
    whole(|buffer| fgetxattr(fd, name, buffer))
}

/// Reads all that there is: no value and no list of names is longer (xattr(7)).
fn whole(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; LONGEST];
    let length = read(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "directories to look at")]
    fn open(path: &std::path::Path) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (open(from.path()), open(to.path()));
        fsetxattr(&from, c"user.note", b"a\0b", XattrFlags::empty()).unwrap();
        fsetxattr(&to, c"user.mine", b"c", XattrFlags::empty()).unwrap();
        assert_eq!(copy(&from, &to), Vec::<String>::new());
        assert_eq!(value(&to, c"user.note").unwrap(), b"a\0b");
        assert_eq!(value(&to, c"user.mine").unwrap(), b"c");
        // A file system that knows none.
        let proc = open("/proc/self".as_ref());
        let failed = copy(&from, &proc);
        assert!(failed.len() == 1 && failed[0].starts_with("user.note: "), "{failed:?}");
        assert_eq!(copy(&proc, &to), Vec::<String>::new());
    }

    #[test]
    fn attributes_are_compared_in_any_order_and_none_equal_none() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, other) = (open(one.path()), open(other.path()));
        let set = |fd: &OwnedFd, name: &CStr, value: &[u8]| {
            fsetxattr(fd, name, value, XattrFlags::empty()).unwrap();
        };
        assert_eq!(same(&one, &other), Ok(true));
        assert_eq!(same(&one, &open("/proc/self".as_ref())), Ok(true));
        set(&one, c"user.a", b"1");
        assert_eq!((same(&one, &other), same(&other, &one)), (Ok(false), Ok(false)));
        assert_eq!(same(&one, &open("/proc/self".as_ref())), Ok(false));
        set(&one, c"user.b", b"2");
        set(&other, c"user.b", b"2");
        set(&other, c"user.a", b"1");
        assert_eq!(same(&one, &other), Ok(true));
        set(&other, c"user.a", b"3");
        assert_eq!(same(&one, &other), Ok(false));
    }
}
