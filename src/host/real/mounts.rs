//! Reads the table of mounts.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::host::{Mount as Mounted, Mounts};

/// Reads the kernel's list of mount points.
pub(super) fn read() -> Result<BTreeSet<PathBuf>> {
    Ok(parse(&list()?))
}

/// A file system, where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    /// The device.
    pub(super) source: PathBuf,
    /// Of the mount and of the file system.
    pub(super) options: Vec<String>,
}

/// Finds the file system that a path lies on; the path's links are not followed.
pub(super) fn above(path: &Path) -> Result<Option<Mount>> {
    Ok(find(&list()?, path))
}

/// Returns what the kernel lists, as it is.
#[expect(clippy::disallowed_methods, reason = "host looks")]
pub(super) fn list() -> Result<Vec<u8>> {
    std::fs::read("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")
}

/// Takes the longest mount point that is the path or above it; of two at one place the later one covers the other.
/// Behind a `-` stand the type, the device and the file system's own options.
fn find(text: &[u8], path: &Path) -> Option<Mount> {
    let of_line = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let rest = fields.iter().position(|field| *field == b"-")?;
        let word = |field: &[u8]| PathBuf::from(OsString::from_vec(unescape(field)));
        let point = word(fields.get(4)?);
        let options = [fields.get(5)?, fields.get(rest + 3)?];
        let options = options.map(|options| String::from_utf8_lossy(options).into_owned());
        let options = options.iter().flat_map(|it| it.split(',')).map(ToOwned::to_owned).collect();
        path.starts_with(&point).then_some(Mount { point, source: word(fields.get(rest + 2)?), options })
    };
    let mounts = text.split(|byte| *byte == b'\n').filter_map(of_line);
    mounts.max_by_key(|mount| mount.point.components().count())
}

/// Reads all that is mounted. What stands at a place whose name is no path of ours (a newline in it) is left out.
pub(super) fn table() -> Result<Mounts> {
    let list = list()?;
    Ok(Mounts::new(list.split(|byte| *byte == b'\n').filter_map(row).collect()))
}

fn row(line: &[u8]) -> Option<Mounted> {
    let fields: Vec<String> = line
        .split(|byte| *byte == b' ')
        .map(|field| String::from_utf8(unescape(field)))
        .collect::<Result<_, _>>()
        .ok()?;
    let rest = fields.iter().position(|field| field == "-")?;
    let (major, minor) = fields.get(2)?.split_once(':')?;
    Some(Mounted {
        id: fields.first()?.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        device: (major.parse().ok()?, minor.parse().ok()?),
        part: fields.get(3)?.clone(),
        at: fields.get(4)?.parse().ok()?,
        kind: fields.get(rest + 1)?.clone(),
        source: fields.get(rest + 2)?.clone(),
    })
}

/// Takes the fifth field of each line (`proc_pid_mountinfo(5)`), in which blanks stand as octal escapes.
fn parse(text: &[u8]) -> BTreeSet<PathBuf> {
    let lines = text.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    points.map(|point| PathBuf::from(OsString::from_vec(unescape(point)))).collect()
}

pub(super) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = |digits: &[u8]| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        };
        match (first, tail.get(..3).and_then(octal)) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                rest = &tail[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_field_unescaped() {
        let text = b"21 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
            30 21 0:5 / /mnt/a\\040b\\134c rw - tmpfs none rw\n\nshort line\n";
        let expected = ["/", "/mnt/a b\\c"].map(PathBuf::from);
        assert_eq!(parse(text), BTreeSet::from(expected));
    }

    #[test]
    fn a_path_lies_on_what_is_mounted_next_above_it() {
        let text = b"21 1 254:0 / / rw shared:1 - ext4 /dev/vda rw,errors=remount-ro\n\
            30 21 254:1 / /srv rw,noatime - tmpfs none rw\n\
            31 21 254:2 / /srv rw,noatime shared:2 master:1 - xfs /dev/sd\\040b rw,usrquota\n";
        let at = |path: &str| find(text, Path::new(path)).unwrap();
        assert_eq!((at("/srvs").source, at("/srv/a/b").point), ("/dev/vda".into(), "/srv".into()));
        let mount = at("/srv");
        assert_eq!(mount.source, Path::new("/dev/sd b"));
        assert_eq!(mount.options, ["rw", "noatime", "rw", "usrquota"]);
        assert!(find(b"", Path::new("/")).is_none());
    }
}
