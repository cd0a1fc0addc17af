//! What stands at a path, as far as a restore asks: of any kind, with numbers in place of names.

/// What sort of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO, a device, a socket.
    Special,
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
    /// Something.
    There(There),
    /// The way there is not safe or not possible: why.
    Blocked(String),
}

/// What stands in the private directory of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Its path below that directory, with a leading `/`; bytes that are no UTF-8 are lost.
    pub path: String,
    /// What it is.
    pub sort: Sort,
    /// How many bytes it has.
    pub size: u64,
}

/// Something that was not put in place, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its path; bytes that are no UTF-8 are lost.
    pub path: String,
    /// Why.
    pub why: String,
}
