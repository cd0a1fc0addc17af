//! Finds programs by name in `PATH`, and names the programs without which no other can be started.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{Real, answers};
use crate::host::Stamp;

/// Finds a program in a `PATH`.
pub(super) fn find(path: &str, name: &str) -> Option<(PathBuf, Stamp)> {
    for dir in path.split(':').map(Path::new).filter(|dir| answers::ask(dir).is_ok()) {
        let place = dir.join(name);
        #[expect(clippy::disallowed_methods, reason = "host looks")]
        let Ok(meta) = std::fs::metadata(&place) else { continue };
        if meta.is_file() && meta.mode() & 0o111 != 0 {
            let nanos =
                |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
            let stamp = Stamp {
                dev: meta.dev(),
                ino: meta.ino(),
                size: meta.size(),
                mtime: nanos(meta.mtime(), meta.mtime_nsec()),
                ctime: nanos(meta.ctime(), meta.ctime_nsec()),
            };
            return Some((place, stamp));
        }
    }
    None
}

/// Programs that start others, each with the package that brings it.
pub(super) const STARTERS: [(&str, &str); 5] = [
    ("setsid", "util-linux"),
    ("setpriv", "util-linux"),
    ("ionice", "util-linux"),
    ("nice", "coreutils"),
    ("chroot", "coreutils"),
];

pub(super) fn is_starter(name: &str) -> bool {
    STARTERS.iter().any(|(starter, _)| *starter == name)
}

/// A program that starts others is not in `PATH`. Without it no other program can be started, whichever that is.
#[derive(Debug)]
pub(super) struct MissingProgram {
    name: String,
    path: String,
}

impl MissingProgram {
    pub(super) fn new(name: &str, real: &Real) -> Self {
        Self { name: name.into(), path: real.path.clone() }
    }
}

impl std::fmt::Display for MissingProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, path } = self;
        let package = STARTERS.iter().find(|(starter, _)| starter == name).map_or("", |(_, package)| package);
        write!(f, "there is no program {name} in PATH ({path})\nhelp: apt-get install {package}")
    }
}

impl std::error::Error for MissingProgram {}

/// Checks that the programs are there with which every other program is started.
///
/// # Errors
///
/// If one is missing.
pub(super) fn check_starters(real: &Real) -> Result<()> {
    let missing = ["setsid", "setpriv"].into_iter().find(|name| find(&real.path, name).is_none());
    missing.map_or(Ok(()), |name| Err(MissingProgram::new(name, real).into()))
}
