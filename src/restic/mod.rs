//! restic as a tool: how it is called, and what its exit codes and words mean. Pure.
//!
//! Exit codes 10 (absent), 11 (locked) and 12 (wrong password) came with 0.17; before, all are 1 and the text
//! tells (tried with 0.14.0 and 0.18.0). A code that is not listed is a failure, says restic's manual.

mod call;
mod version;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use call::{Access, Means, Original};
pub use version::{OLDEST, Version};

use crate::{
    effect::{NotReadOnly, Query},
    host::Output,
    model::HostPath,
};

/// How long a look at a repository may take, in seconds.
const LOOK: u64 = 10;

/// Asks which restic it is.
///
/// # Errors
///
/// Never, as long as the call stands in the reviewed list.
pub fn ask_version(engine: Option<&HostPath>) -> Result<Query, NotReadOnly> {
    Query::new(call::program(engine).arg("version").timeout(LOOK))
}

/// What a look at a repository said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It opens; the id stays the same as long as it is the same repository.
    Ready {
        /// The repository's id.
        id: String,
    },
    /// There is no repository.
    Absent,
    /// It is there, and the password is not one of its keys'.
    WrongPassword,
    /// It is there, and something keeps a lock on it that forbids even reading.
    Locked,
    /// It is there, and what it holds makes no sense.
    Damaged(String),
    /// It cannot be got at: no answer in time, no permission, no such restic.
    Unreachable(String),
}

/// Reads what `restic cat config` said.
pub fn found(output: &Output) -> Found {
    if output.timed_out {
        return Found::Unreachable(format!("no answer within {LOOK} s"));
    }
    let complaint = output.stderr.trim();
    let says = |words: &str| complaint.contains(words);
    match output.code {
        Some(0) => config_id(&output.stdout)
            .map_or_else(|| Found::Damaged("its configuration has no id".into()), |id| Found::Ready { id }),
        Some(10) => Found::Absent,
        Some(11) => Found::Locked,
        Some(12) => Found::WrongPassword,
        Some(1) if says("wrong password or no key found") => Found::WrongPassword,
        Some(1) if DAMAGED.iter().any(|words| says(words)) => Found::Damaged(reason(complaint)),
        Some(1) if says("repository is already locked") || says("unable to create lock") => Found::Locked,
        Some(1) if says("permission denied") => Found::Unreachable(reason(complaint)),
        // Before 0.17; it says the same of a configuration that it may not read, so that comes first.
        Some(1) if says("Is there a repository at the following location?") => Found::Absent,
        Some(1) => Found::Unreachable(reason(complaint)),
        // A Go panic: seen with 0.14.0 of a configuration shorter than its nonce.
        Some(2) if complaint.starts_with("panic: ") => Found::Damaged(reason(complaint)),
        Some(code) => {
            Found::Unreachable(format!("restic ended with exit code {code}: {}", reason(complaint)))
        }
        None => Found::Unreachable("restic was ended by a signal".into()),
    }
}

/// What restic says of content that it cannot make sense of (internal/repository and internal/crypto).
const DAMAGED: &[&str] = &[
    "ciphertext verification failed",
    "config or key ",
    "invalid data returned",
    "invalid character",
    "unexpected end of JSON input",
    "unexpected EOF",
    "config invalid",
    "unsupported repository version",
    "config file has zero size",
    "only supported KDF is",
];

fn config_id(json: &str) -> Option<String> {
    let config: serde_json::Value = serde_json::from_str(json).ok()?;
    let id = config.get("id")?.as_str()?;
    (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// Picks the line that says why; a Go stack may follow it.
fn reason(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.clone().next().unwrap_or("no reason given");
    lines.find(|line| line.starts_with("Fatal:")).unwrap_or(first).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: i32, stderr: &str) -> Found {
        found(&Output { code: Some(code), stderr: stderr.into(), ..Output::default() })
    }

    #[test]
    fn states_are_never_mistaken_for_one_another() {
        // R22. The words are restic's own, copied from its output.
        let absent = "Fatal: unable to open config file: stat /r/config: no such file or directory\n\
            Is there a repository at the following location?\n/r\n";
        for (code, stderr, expected) in [
            (1, absent, Found::Absent),
            (10, "Fatal: repository does not exist: unable to open config file", Found::Absent),
            (1, "Fatal: wrong password or no key found", Found::WrongPassword),
            (12, "Fatal: wrong password or no key found", Found::WrongPassword),
            (11, "unable to create lock in backend: repository is already locked", Found::Locked),
            (1, "repository is already locked exclusively by PID 1", Found::Locked),
            (
                1,
                "Fatal: config or key 0 is damaged: bad",
                Found::Damaged("Fatal: config or key 0 is damaged: bad".into()),
            ),
            (1, "ciphertext verification failed", Found::Damaged("ciphertext verification failed".into())),
            (
                1,
                "Fatal: unable to open config file: open /r/config: permission denied\nIs there a repository at the following location?\n/r",
                Found::Unreachable(
                    "Fatal: unable to open config file: open /r/config: permission denied".into(),
                ),
            ),
            (
                1,
                "config file has zero size, invalid repository?\nmain.open\n\tglobal.go:760\n",
                Found::Damaged("config file has zero size, invalid repository?".into()),
            ),
            (
                2,
                "panic: runtime error: slice bounds out of range [16:7]\n\ngoroutine 1 [running]:\n",
                Found::Damaged("panic: runtime error: slice bounds out of range [16:7]".into()),
            ),
            (1, "", Found::Unreachable("no reason given".into())),
            (77, "strange", Found::Unreachable("restic ended with exit code 77: strange".into())),
            (0, "", Found::Damaged("its configuration has no id".into())),
        ] {
            assert_eq!(said(code, stderr), expected, "{code} {stderr}");
        }
        let late = Output { timed_out: true, ..Output::default() };
        assert_eq!(found(&late), Found::Unreachable("no answer within 10 s".into()));
        assert!(matches!(found(&Output::default()), Found::Unreachable(_)));
    }

    #[test]
    fn the_id_is_the_repositorys() {
        let id = "ab".repeat(32);
        let stdout = format!("{{\"version\":2,\"id\":\"{id}\",\"chunker_polynomial\":\"2b\"}}");
        assert_eq!(found(&Output { code: Some(0), stdout, ..Output::default() }), Found::Ready { id });
        let stdout = "{\"id\":\"short\"}".to_owned();
        assert!(matches!(found(&Output { code: Some(0), stdout, ..Output::default() }), Found::Damaged(_)));
    }
}
