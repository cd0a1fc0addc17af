//! The tools that rlvm works with, as they really are: restic, logrotate, cron, mount points.
//!
//! A tool that is missing fails the test and names the package: a test that is skipped looks like one that passed.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

mod cron;
mod logrotate;
mod mounts;
mod repositories;
mod restics;
mod ssh;
mod ssh_agent;

use std::process::{Command, Stdio};

use crate::support::{Ran, Scratch, require};

/// A local destination whose password rlvm makes.
const VAULT: &str = "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n";

/// Calls rlvm, which must end with this exit code and have said all this.
#[track_caller]
fn says(scratch: &Scratch, args: &[&str], code: i32, words: &[&str]) -> String {
    said(&scratch.rlvm(args), code, words)
}

/// A program must have ended with this exit code and have said all this.
#[track_caller]
fn said(ran: &Ran, code: i32, words: &[&str]) -> String {
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
    said
}

/// Makes the scratch tree the `/` of a private mount namespace, with this system's programs in it.
const ENTER: &str = r#"
root=$1 rlvm=$2 more=$3
shift 3
cd "$root"
for dir in bin sbin lib lib32 lib64 libx32 usr; do
    if [ -L "/$dir" ]; then
        ln -sfn "$(readlink "/$dir")" "$dir"
    elif [ -d "/$dir" ]; then
        mkdir -p "$dir"
        mount --bind "/$dir" "$dir"
    fi
done
mkdir -p proc dev
mount --rbind /proc proc
mount --rbind /dev dev
touch rlvm
mount --bind "$rlvm" rlvm
eval "$more"
exec chroot . "$@"
"#;

/// Runs a program with the scratch tree as `/`, after some more shell in the namespace, in the tree.
fn inside(scratch: &Scratch, more: &str, args: &[&str]) -> Ran {
    for (program, package) in [("unshare", "util-linux"), ("mount", "mount"), ("chroot", "coreutils")] {
        require(scratch.search_path(), program, package);
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", ENTER, "sh"]);
    command.arg(scratch.root()).arg(env!("CARGO_BIN_EXE_rlvm")).arg(more).args(args);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    scratch.ran(&mut command)
}
