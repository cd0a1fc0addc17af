//! Takes turns between tests, which are processes of their own: by locks on files below target/.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests use the file system themselves")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};

use crate::support::RLVM;

/// The right to use something; the next test's turn comes when this is dropped.
pub(crate) struct Turn(#[expect(dead_code, reason = "held, never read")] Flock<File>);

/// Returns the directory for files that tests share and make again when they are missing.
pub(crate) fn target() -> &'static Path {
    Path::new(RLVM).ancestors().nth(2).unwrap()
}

/// Waits until no other test has the thing of this name.
pub(crate) fn take(name: &str) -> Turn {
    Turn(Flock::lock(open(name), FlockArg::LockExclusive).unwrap())
}

/// Waits until fewer than `limit` tests have the things of this name.
pub(crate) fn take_one_of(name: &str, limit: usize) -> Turn {
    loop {
        for number in 0..limit {
            let file = open(&format!("{name}-{number}"));
            if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                return Turn(lock);
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn open(name: &str) -> File {
    let dir: PathBuf = target().join("turns");
    fs::create_dir_all(&dir).unwrap();
    File::options().create(true).append(true).open(dir.join(name)).unwrap()
}
