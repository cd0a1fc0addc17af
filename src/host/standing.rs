//! Describes what exists at a path, as far as a restore needs it, and what a restore may do there. Owners are
//! numbers, not names.

use super::Stamp;

/// What sort of thing it is, the thing itself: a symbolic link is one, wherever it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket, or what no other word is for.
    Socket,
}

impl Sort {
    /// Names it for a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Link => "a symbolic link",
            Self::Fifo => "a FIFO",
            Self::CharDevice | Self::BlockDevice => "a device",
            Self::Socket => "a socket",
        }
    }
}

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct There {
    /// What it is.
    pub sort: Sort,
    /// How many bytes it has.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// To whom it belongs.
    pub uid: u32,
    /// To which group.
    pub gid: u32,
    /// Last write, in nanoseconds since 1970.
    pub mtime: i64,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Absent,
    /// Something, and what tells this very thing from another one.
    There(There, Stamp),
    /// The way there is not safe or not possible: why.
    Blocked(String),
}

/// What a comparison of a restored file with the live one came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Equality {
    /// Content, target or device, and extended attributes are equal.
    Same,
    /// They differ.
    Differs,
    /// The live file is not the one that was seen before, or changed since.
    Moved,
    /// Nothing was restored under this name.
    Absent,
    /// They cannot be compared: why.
    Unknown(String),
}

/// What a restore does with one name. It is decided before it is shown, and nothing else is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing stood there: the restored one is put there if that is still so.
    Create,
    /// A file with this stamp stood there: the restored one takes its place if it is still that file.
    Replace(Stamp),
    /// A directory with this stamp stood there: what is in the restored one is put into it.
    Enter {
        /// The directory.
        stamp: Stamp,
        /// Whether it gets the owner, mode, time and extended attributes of the restored one.
        dress: bool,
    },
    /// It stays as it is, and that is right.
    Keep,
    /// It stays as it is, and that was said to be a failure.
    Refuse,
}

/// What stands in the private directory of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Its path below that directory, with a leading `/`, as [`lossy`] has it.
    pub path: String,
    /// What it is.
    pub sort: Sort,
    /// How many bytes it has.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// To whom it belongs.
    pub uid: u32,
    /// To which group.
    pub gid: u32,
    /// Whether it is a link whose target has a U+FFFD: restic before 0.16 makes that of bytes that are no UTF-8.
    pub altered: bool,
}

/// Something that was not put in place, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its path, as [`lossy`] has it.
    pub path: String,
    /// Why.
    pub why: String,
}

/// Reads bytes as UTF-8, with a U+FFFD for each byte that is none: as restic writes names in JSON (Go's encoding/json).
/// [`String::from_utf8_lossy`] has one for several such bytes.
pub fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_utf8_read_as_restic_has_them() {
        // Copied from what 0.14.0, 0.18.0 and 0.19.1 print of these names.
        for (name, expected) in [
            (&b"plain"[..], "plain"),
            (b"lat\xe9", "lat\u{fffd}"),
            (b"tr\xe2\x82", "tr\u{fffd}\u{fffd}"),
            (b"a\xed\xa0\x80b", "a\u{fffd}\u{fffd}\u{fffd}b"),
            ("w\u{f6}rld".as_bytes(), "w\u{f6}rld"),
        ] {
            assert_eq!(lossy(name), expected, "{name:?}");
        }
    }
}
