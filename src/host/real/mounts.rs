//! What is mounted where.

use std::{collections::BTreeSet, ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use anyhow::{Context, Result};

/// Reads the kernel's list of mount points.
#[expect(clippy::disallowed_methods, reason = "host looks")]
pub(super) fn read() -> Result<BTreeSet<PathBuf>> {
    let text = std::fs::read("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    Ok(parse(&text))
}

/// Takes the fifth field of each line (`proc_pid_mountinfo(5)`), in which blanks stand as octal escapes.
fn parse(text: &[u8]) -> BTreeSet<PathBuf> {
    let lines = text.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    points.map(|point| PathBuf::from(OsString::from_vec(unescape(point)))).collect()
}

fn unescape(field: &[u8]) -> Vec<u8> {
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
}
