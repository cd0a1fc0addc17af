//! Life without root: a user's own set-up, in the laboratory, with this system's crontab, cron, logrotate and restic.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

mod cron;
mod killed;
mod logs;
mod places;
mod prune;
mod refused;
mod restore;
mod status;

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    process::{Command, Stdio},
};

use crate::{
    lab::Lab,
    support::{Ran, Tree, require},
};

/// The user and the user's first group: two numbers, so that one is not taken for the other.
const ME: (u32, u32) = (4100, 4200);

/// A backup of one's own.
const STATE: &str = "rlvm_path: /usr/local/bin/rlvm
destinations:
  vault: { local: { path: /home/me/backups/vault }, password_file: /home/me/.secrets/vault, generate_password: true }
jobs:
  docs: { sources: [{ path: /home/me/docs }], to: [vault], schedule: \"30 2 * * *\" }
cron:
  tick: { schedule: \"* * * * *\", command: \"date +%F > /home/me/ticked\" }
";

/// What a user has in a crontab: comments, a variable that must not hold for rlvm's lines, a tab, blank lines.
const FOREIGN: &str =
    "# mine\n\nPATH=/nonsense\nSHELL=/bin/false\n  5 4 * * *\t/home/me/bin/tidy 100\\%  \n\n# end\n\n";

/// Makes a machine with a user at home on it, and a spool as Debian's cron has it.
fn lab() -> Lab {
    let lab = Lab::new();
    for (program, package) in [("crontab", "cron"), ("cron", "cron"), ("logrotate", "logrotate")] {
        require("/usr/bin:/usr/sbin", program, package);
    }
    let (passwd, group) = (lab.read("/etc/passwd"), lab.read("/etc/group"));
    lab.file("/etc/passwd", &format!("{passwd}me:x:{}:{}::/home/me:/bin/sh\n", ME.0, ME.1));
    // cron asks PAM whether the account is good.
    let shadow = lab.read("/etc/shadow");
    lab.file_of("/etc/shadow", &format!("{shadow}me:*:20000:0:99999:7:::\n"), 0, 0o640);
    let spool = fs::metadata("/usr/bin/crontab").unwrap().gid();
    lab.file("/etc/group", &format!("{group}people:x:{}:\ncrontab:x:{spool}:\n", ME.1));
    lab.dir("/home/me", 0, 0o755);
    chown(lab.at("/home/me"), Some(ME.0), Some(ME.1)).unwrap();
    lab.dir("/var/spool/cron/crontabs", 0, 0o755);
    chown(lab.at("/var/spool/cron/crontabs"), Some(0), Some(spool)).unwrap();
    fs::set_permissions(lab.at("/var/spool/cron/crontabs"), fs::Permissions::from_mode(0o1730)).unwrap();
    lab
}

/// Writes the user's state where it is looked for.
fn state(lab: &Lab, yaml: &str) {
    mine(lab, "/home/me/.config/rlvm/state/hosts/web01.yaml", &format!("version: 1\nhost: web01\n{yaml}"));
}

/// Writes a file of the user's.
fn mine(lab: &Lab, path: &str, text: &str) {
    let mut command = as_me(lab, &["sh", "-c", "mkdir -p \"$(dirname \"$0\")\" && cat > \"$0\"", path]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Prepares a call of any program as the user, at home, with nothing of a session but `HOME`.
fn as_me(lab: &Lab, args: &[&str]) -> Command {
    let (uid, gid) = (format!("--reuid={}", ME.0), format!("--regid={}", ME.1));
    let become_me = ["setpriv", &uid, &gid, "--clear-groups", "env", "-i", "-C", "/home/me"];
    let home = ["HOME=/home/me", "PATH=/usr/local/bin:/usr/bin:/bin"];
    lab.program(&[&become_me[..], &home, args].concat())
}

/// Calls rlvm as the user.
fn rlvm(lab: &Lab, args: &[&str]) -> Ran {
    lab.ran(&mut as_me(lab, &[&["rlvm"], args].concat()))
}

/// Calls rlvm as the user, which must end so and have said all this.
#[track_caller]
fn says(lab: &Lab, args: &[&str], code: i32, words: &[&str]) -> String {
    let ran = rlvm(lab, args);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(code), "rlvm {}\n{said}", args.join(" "));
    for word in words {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
    said
}

#[track_caller]
fn apply(lab: &Lab) -> String {
    says(lab, &["apply", "--yes"], 0, &[])
}

#[track_caller]
fn nothing_to_do(lab: &Lab) {
    says(lab, &["plan", "--detailed-exitcode"], 0, &["No changes."]);
}

/// Returns the user's crontab, byte for byte; nothing if there is none.
fn crontab(lab: &Lab) -> Option<String> {
    let ran = lab.ran(&mut as_me(lab, &["crontab", "-l"]));
    (ran.code == Some(0)).then_some(ran.stdout)
}

/// Gives the user a crontab.
fn set_crontab(lab: &Lab, text: &str) {
    mine(lab, "/home/me/crontab", text);
    let ran = lab.ran(&mut as_me(lab, &["crontab", "/home/me/crontab"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// Describes all that is not the user's to change without crontab(1).
fn the_rest(lab: &Lab) -> Tree {
    let mut tree = lab.tree();
    tree.retain(|path, _| !path.starts_with("/home/me/") && !path.starts_with("/var/spool/cron/crontabs/"));
    tree
}
