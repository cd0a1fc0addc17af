//! The client, end to end: keys, known hosts and repositories elsewhere, against real servers.

#![expect(clippy::unwrap_used, reason = "tests look at the machine and change it themselves")]

mod credentials;
mod killed;
mod offline;
mod ssh;
mod states;
mod web01;

use crate::lab::Lab;

/// Passwords for all destinations.
const SECRETS: &[&str] = &["vault", "nas", "worm", "offsite", "rest"];

/// Puts password files on the machine, one a destination.
fn give_passwords(lab: &Lab) {
    for name in SECRETS {
        lab.file_of(&format!("/etc/rlvm/{name}.pass"), &format!("password of {name}\n"), 0, 0o600);
    }
}

/// Says whether a plan or an apply ended so, and said all of this.
#[track_caller]
fn says(lab: &Lab, args: &[&str], code: i32, words: &[&str]) -> String {
    let ran = lab.expect(code, args);
    let said = ran.stdout + &ran.stderr;
    for word in words {
        assert!(said.contains(word), "rlvm {} does not say `{word}`:\n{said}", args.join(" "));
    }
    said
}
