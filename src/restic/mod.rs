//! restic as a tool: how rlvm calls it, and what its exit codes and messages mean. Pure.
//!
//! The exit codes 10 (absent), 11 (locked) and 12 (wrong password) came with 0.17; before, all are 1 and the text
//! decides. `tests/it/lab/table.rs` has the messages of 0.14.0, 0.18.0 and 0.19.1 about repositories in every state.
//! restic's manual says that a code that is not listed is a failure.

mod blobs;
mod call;
mod check;
mod choose;
mod doubt;
mod forget;
mod locks;
mod ls;
mod misplaced;
mod printed;
mod restore;
mod said;
mod snapshots;
mod version;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use blobs::{IndexFile, Named, NamedBlobs};
pub use call::{Access, Backup, Means, Older, Original, PASSWORD, plain};
pub use check::{Complaints, Verdict};
pub use choose::Wanted;
pub use doubt::forged_times;
pub use forget::{Ended, Foreseen, Group, Policy, Snapshot, ended, foreseen, foreseen_groups, is_full, tag};
pub use locks::{DeadProcess, LockInfo, LockJudge, Removable, SeenLock, lock_ids};
pub use ls::{Contents, Node, NodeSort, counted, is_no_snapshot};
pub use misplaced::{NAMED_BY_ID, is_id, is_misplaced};
pub use printed::Printed;
pub use restore::{Came, Heard as RestoreHeard, RAW_TARGETS, Restore, Restoring, SPARSE, Unrestored};
pub use said::{Heard, Progress, Retry, Summary};
pub use snapshots::{Counts, Listed, listed};
pub use version::{OLDEST, Version};

use crate::{
    effect::{NotReadOnly, Query},
    host::Output,
    model::HostPath,
};

/// How long a look at a repository may take, in seconds.
const LOOK: u64 = 10;
/// The same of one on this very machine, in seconds.
pub const LOOK_HERE: u64 = 30;
/// What a server of rlvm's says to a client that comes while its repository is pruned. It stands in a shell command without
/// quotes.
pub const CLOSED: &str = "the server prunes this repository now";
/// How it begins what is said of a place that takes longer.
pub const SILENT: &str = "no answer within";

/// Asks which restic it is.
///
/// # Errors
///
/// Never, as long as the call stands in the reviewed list.
pub fn ask_version(engine: Option<&HostPath>) -> Result<Query, NotReadOnly> {
    Query::new(call::program(engine).arg("version").timeout(LOOK))
}

/// Asks whether `restic backup` takes some flags, each as `--name=value`. It stores nothing.
///
/// # Errors
///
/// If a flag would have it do more than that.
pub fn ask_flags(engine: Option<&HostPath>, flags: &[String]) -> Result<Query, NotReadOnly> {
    Query::new(
        call::program(engine).args(["backup", "--help"]).args(flags.iter().map(String::as_str)).timeout(LOOK),
    )
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
    let complaint = output.stderr.trim();
    if output.timed_out {
        return late(output, LOOK);
    }
    match output.code {
        Some(0) => config_id(&output.stdout)
            .map_or_else(|| Found::Damaged("its configuration has no id".into()), |id| Found::Ready { id }),
        Some(1) => worded(complaint),
        Some(10) => Found::Absent,
        Some(11) => Found::Locked,
        Some(12) => Found::WrongPassword,
        // A Go panic: seen with 0.14.0, 0.18.0 and 0.19.1 of a configuration shorter than its nonce.
        Some(2) if complaint.starts_with("panic: ") => Found::Damaged(reason(complaint)),
        Some(code) => {
            Found::Unreachable(format!("restic ended with exit code {code}: {}", reason(complaint)))
        }
        None => Found::Unreachable("restic was ended by a signal".into()),
    }
}

/// Says of what took longer than so many seconds what it was trying.
pub fn late(output: &Output, limit: u64) -> Found {
    let late = format!("{SILENT} {limit} s");
    Found::Unreachable(match retried(output.stderr.trim()) {
        Some(why) => format!("{late}: {why}"),
        None => late,
    })
}

/// Reads the words that came with exit code 1: before 0.17 with all that is not well, since then with what has no
/// code of its own.
fn worded(complaint: &str) -> Found {
    let says = |words: &str| complaint.contains(words);
    // No connection or no session. It comes first, since it ends in words that damage has too: `unexpected EOF`.
    if says("unable to open repository at ") {
        Found::Unreachable(reason(complaint))
    } else if says("wrong password or no key found") {
        Found::WrongPassword
    } else if complaint.lines().any(is_absence) {
        Found::Absent
    } else if DAMAGED.iter().any(|words| says(words)) {
        Found::Damaged(reason(complaint))
    } else if says("repository is already locked") || says("unable to create lock") {
        Found::Locked
    } else {
        Found::Unreachable(reason(complaint))
    }
}

/// Tells whether a line says for certain that there is no configuration.
///
/// Before 0.17 `Is there a repository at the following location?` follows any failure to read it: a refused
/// connection, a name that nobody knows, a 401. So only the answers that mean absence count, whole.
fn is_absence(line: &str) -> bool {
    let Some(why) = line.strip_prefix("Fatal: unable to open config file: ") else { return false };
    let local = why.starts_with("stat ") && why.ends_with("/config: no such file or directory");
    local || ABSENT.contains(&why)
}

/// How the other kinds say that there is no configuration, seen with 0.14.0: by SFTP, by REST (and by rclone, which
/// restic speaks to in the same way), in a bucket. A bucket that does not exist is not among them: restic would make
/// it, and its name may be a slip.
const ABSENT: &[&str] =
    &["Lstat: file does not exist", "<config/> does not exist", "Stat: The specified key does not exist."];

/// Says whether a complaint means that nobody answers at all: the machine is away, or the network is.
pub fn nobody_answers(complaint: &str) -> bool {
    // OpenSSH's and libc's words, and Go's.
    const AWAY: [&str; 10] = [
        "Connection refused",
        "Connection timed out",
        "Name or service not known",
        "Network is unreachable",
        "No route to host",
        "Temporary failure in name resolution",
        "connection refused",
        "i/o timeout",
        "network is unreachable",
        "no such host",
    ];
    AWAY.iter().any(|words| complaint.contains(words))
}

/// Says whether what restic complains of may pass by itself: the network, mostly.
pub fn passes(complaint: &str) -> bool {
    const PASSING: [&str; 17] = [
        "Broken pipe",
        "Connection closed",
        "Connection refused",
        "Connection reset",
        "Connection timed out",
        "No route to host",
        "Temporary failure in name resolution",
        "TLS handshake",
        "broken pipe",
        "connection lost",
        "connection refused",
        "connection reset",
        "i/o timeout",
        "network is unreachable",
        "no such host",
        CLOSED,
        "unexpected EOF",
    ];
    let busy =
        ["(500)", "(502)", "(503)", "(504)", "429 Too Many"].iter().any(|code| complaint.contains(code));
    busy || PASSING.iter().any(|words| complaint.contains(words))
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
pub fn reason(text: &str) -> String {
    steady(&picked(text))
}

/// Leaves out what differs from one look to the next: rclone's time of day, this side's port of a connection. Two plans
/// of one host are the same bytes.
fn steady(line: &str) -> String {
    let is_date = |word: &str| word.len() == 10 && word.split('/').count() == 3;
    let is_time = |word: &str| word.len() == 8 && word.split(':').count() == 3;
    let words: Vec<&str> = line.split(' ').collect();
    let from = match words.as_slice() {
        [date, time, ..] if is_date(date) && is_time(time) => 2,
        _ => 0,
    };
    let far = |word: &&str| word.split_once("->").map_or(*word, |(_, far)| far).to_owned();
    words[from..].iter().map(far).collect::<Vec<_>>().join(" ")
}

fn picked(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    // Of a connection that failed restic only knows that it ended; ssh's last word says why.
    let mut session = lines.clone().filter_map(|line| {
        let ssh = line.strip_prefix("subprocess ").and_then(|line| line.split_once(": "));
        let rclone = line.strip_prefix("rclone: ").filter(|said| !said.contains(" NOTICE: "));
        ssh.map(|(_, said)| said).or(rclone)
    });
    if let Some(said) = session.next_back().filter(|_| text.contains("unable to open repository at ")) {
        return said.to_owned();
    }
    let first = lines.clone().next().unwrap_or("no reason given");
    lines.find(|line| line.starts_with("Fatal:")).unwrap_or(first).to_owned()
}

/// Picks what restic last said of what it is trying again, which it does for minutes.
fn retried(text: &str) -> Option<&str> {
    text.lines().rev().find_map(|line| match Retry::read(line) {
        Some(Retry::Again(why)) => Some(why),
        _ => None,
    })
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
            (
                1,
                "Fatal: unable to open config file: Lstat: file does not exist\nIs there a repository at the following location?\nsftp:u@nas:/r",
                Found::Absent,
            ),
            (
                1,
                "Fatal: unable to open config file: <config/> does not exist\nIs there a repository at the following location?\nrest:http://rest/r/",
                Found::Absent,
            ),
            (
                1,
                "Fatal: unable to open config file: Stat: The specified key does not exist.\nIs there a repository at the following location?\ns3:http://s3/b/r",
                Found::Absent,
            ),
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
    fn what_cannot_be_reached_is_neither_absent_nor_damaged() {
        // R22. The words are restic's own: 0.14's of refusals, 0.18's of sessions.
        let asks = "\nIs there a repository at the following location?\nr\n";
        for why in [
            "client.Head: Head \"http://rest.lan:8001/r/config\": dial tcp 127.0.0.1:8001: connect: connection refused",
            "unexpected HTTP response (401): 401 Unauthorized",
            "client.Head: Head \"https://rest.lan:8000/r/config\": http: server gave HTTP response to HTTPS client",
            "Stat: Get \"http://nowhere.lan:3900/b/?location=\": dial tcp: address nowhere.lan: no suitable address found",
            "Stat: The specified bucket does not exist",
            "Stat: Access Denied.",
            "Lstat: connection lost",
        ] {
            let line = format!("Fatal: unable to open config file: {why}");
            assert_eq!(said(1, &(line.clone() + asks)), Found::Unreachable(line));
        }
        let eof = "Fatal: unable to open repository at sftp:u@nas:/r: unable to start the sftp session, error: error receiving version packet from server: server unexpectedly closed connection: unexpected EOF";
        for (before, why) in [
            ("", eof),
            ("subprocess ssh: Host key verification failed.\n", "Host key verification failed."),
            (
                "subprocess ssh: a banner\nsubprocess ssh: u@nas: Permission denied (publickey).\n",
                "u@nas: Permission denied (publickey).",
            ),
            (
                "rclone: ssh: connect to host nas port 22: Connection refused\n",
                "ssh: connect to host nas port 22: Connection refused",
            ),
            ("rclone: 2026/11/21 07:10:11 NOTICE: Config file not found - using defaults\n", eof),
        ] {
            assert_eq!(said(1, &format!("{before}{eof}")), Found::Unreachable(why.into()));
        }
    }

    #[test]
    fn what_is_tried_again_until_the_time_is_up_says_why() {
        let stderr = "Stat(<config/>) returned error, retrying after 1.3s: Stat: no such host\n\
            Stat(<config/>) returned error, retrying after 2.8s: Stat: The specified bucket does not exist\n\
            signal terminated received, cleaning up\nFatal: unable to open config file: context canceled\n";
        let late = Output { timed_out: true, stderr: stderr.into(), ..Output::default() };
        let why = "no answer within 10 s: Stat: The specified bucket does not exist";
        assert_eq!(found(&late), Found::Unreachable(why.into()));
    }

    #[test]
    fn two_looks_say_the_same() {
        // R23
        for (line, expected) in [
            ("2026/11/21 08:24:43 Failed to create file system", "Failed to create file system"),
            ("read tcp 10.0.0.1:51234->10.0.0.2:443: i/o timeout", "read tcp 10.0.0.2:443: i/o timeout"),
            ("Fatal: a b", "Fatal: a b"),
            ("", ""),
        ] {
            assert_eq!(steady(line), expected);
        }
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
