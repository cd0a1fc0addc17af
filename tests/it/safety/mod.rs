//! Attacks: what others may have planted, altered or broken. Each is refused by name, with nothing touched.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

mod hostile;
mod ledger;
mod links;
mod lock;
mod modes;
mod owners;
mod planted;
mod racing;
mod saved_plans;
mod state_files;
mod temporaries;

use std::{
    os::unix::fs::{lchown, symlink},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Ran, Scratch};

/// Another unprivileged user of the scratch tree: www-data.
const OTHER: u32 = 33;

/// A local destination whose password rlvm makes.
const VAULT: &str = "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n";

/// Runs to the end, which must come soon: what somebody planted must not hold rlvm up.
#[track_caller]
fn soon(scratch: &Scratch, command: &mut Command) -> Ran {
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it hangs: {command:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| scratch.plain(&String::from_utf8_lossy(bytes));
    Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Calls rlvm, which must soon end with this exit code and have said this.
#[track_caller]
fn says(scratch: &Scratch, args: &[&str], code: i32, words: &[&str]) -> String {
    let Ran { code: got, stdout, stderr } = soon(scratch, &mut scratch.command(args));
    let said = stdout + &stderr;
    assert_eq!(got, Some(code), "rlvm {}\n{said}", args.join(" "));
    for word in words {
        assert!(said.contains(word), "`{word}` is not in what rlvm {} said:\n{said}", args.join(" "));
    }
    said
}

/// Plan and apply both end with this exit code and say this, and nothing in the tree has moved. After an error (1 for plan,
/// 7 for apply) the rest is applied: nothing that was there before has moved, and nothing new is among the victim's files.
#[track_caller]
fn refused(scratch: &Scratch, code: i32, words: &[&str]) {
    let (before, contents) = (scratch.tree_hash(), scratch.contents());
    says(scratch, &["plan"], code, words);
    assert_eq!(scratch.tree_hash(), before, "plan changed something");
    says(scratch, &["apply", "--yes"], if code == 1 { 7 } else { code }, words);
    let mut after = scratch.contents();
    let is_new = |path: &String| !contents.contains_key(path) && !path.starts_with("/victim");
    after.retain(|path, _| code != 1 || !is_new(path));
    assert_eq!(after, contents, "apply changed something");
}

/// Plants a symbolic link that belongs to a user.
fn link(scratch: &Scratch, at: &str, target: &str, owner: u32) {
    symlink(target, scratch.at(at)).unwrap();
    lchown(scratch.at(at), Some(owner), Some(owner)).unwrap();
}

/// Numbers that look random and are the same each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}
