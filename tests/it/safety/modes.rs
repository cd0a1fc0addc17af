//! rlvm's own files are private, and what it makes has the declared mode, whatever the caller's umask is.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use super::VAULT;
use crate::support::Scratch;

const STATE: &str = "directories:\n  /srv/x: { mode: \"0750\" }\n  /srv/y: { mode: \"2777\" }\ncron:\n  night: { schedule: \"@daily\", command: \"true\" }\n";

/// Calls rlvm under a umask.
fn under(scratch: &Scratch, umask: &str, args: &[&str]) {
    let rlvm = scratch.command(args);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(rlvm.get_program());
    command.args(rlvm.get_args()).env_clear().env("PATH", scratch.search_path());
    let ran = scratch.ran(&mut command);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

fn mode(scratch: &Scratch, path: &str) -> u32 {
    let meta = fs::symlink_metadata(scratch.at(path)).unwrap_or_else(|err| panic!("{path}: {err}"));
    meta.permissions().mode() & 0o7777
}

#[test]
fn modes_are_what_they_shall_be_under_any_umask() {
    for umask in ["0", "022", "077", "0177"] {
        let scratch = Scratch::new();
        // Nothing is there yet, not even what every system has.
        for dir in ["var/lib", "var/log", "var", "run", "etc/cron.d", "etc/logrotate.d", "srv"] {
            fs::remove_dir(scratch.at(dir)).unwrap();
        }
        scratch.state(&format!("{VAULT}{STATE}"));
        let saved = scratch.beside("night.plan");
        under(&scratch, umask, &["plan", "--out", saved.to_str().unwrap()]);
        assert_eq!(fs::metadata(&saved).unwrap().permissions().mode() & 0o7777, 0o600, "umask {umask}");
        under(&scratch, umask, &["apply", saved.to_str().unwrap()]);
        for (path, expected) in [
            ("/var/lib/rlvm", 0o700),
            ("/var/lib/rlvm/ledger.json", 0o600),
            ("/var/lib/rlvm/ledger.log", 0o600),
            ("/var/lib/rlvm/state.json", 0o600),
            ("/run/rlvm", 0o700),
            ("/run/rlvm/lock", 0o600),
            ("/var", 0o755),
            ("/var/lib", 0o755),
            ("/run", 0o755),
            ("/srv", 0o755),
            ("/srv/x", 0o750),
            ("/srv/y", 0o2777),
            ("/srv/r", 0o700),
            ("/etc/cron.d", 0o755),
            ("/etc/cron.d/night", 0o644),
            ("/etc/logrotate.d/rlvm", 0o644),
            ("/etc/rlvm", 0o700),
            ("/etc/rlvm/v", 0o600),
            ("/var/log/rlvm", 0o750),
        ] {
            assert_eq!(
                format!("{:04o}", mode(&scratch, path)),
                format!("{expected:04o}"),
                "{path}, umask {umask}"
            );
        }
        scratch.plan_is_empty();
    }
}
