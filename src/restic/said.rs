//! Reads the output of `restic backup --json`: one JSON object per line (restic's manual, "Scripting").

use serde::{Deserialize, Serialize};

use super::Counts;

/// What a backup came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The snapshot's full id.
    pub snapshot_id: String,
    /// What it counted.
    #[serde(flatten)]
    pub counts: Counts,
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// How many bytes are done.
    pub bytes_done: u64,
    /// How many bytes there are, as far as is known yet.
    pub total_bytes: u64,
    /// How many files are done.
    pub files_done: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// How far it is.
    Progress(Progress),
    /// A file that cannot be read, and why.
    Unreadable(String, String),
    /// What it came to.
    Summary(Summary),
    /// Something for the log.
    Words(String),
    /// Nothing that anybody wants to know.
    Nothing,
}

/// What restic says of something that it tries again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry<'a> {
    /// It has failed, and is tried again after a moment: why.
    Again(&'a str),
    /// It went well at last; 0.14 does not say so.
    Went,
}

impl<'a> Retry<'a> {
    /// Reads a line: `Save(<data/0a>) returned error, retrying after 1.5s: connection refused`.
    pub fn read(line: &'a str) -> Option<Self> {
        if let Some((_, said)) = line.split_once(" returned error, retrying after ") {
            return Some(Self::Again(said.split_once(": ").map_or(said, |(_, why)| why.trim())));
        }
        let (_, said) = line.split_once(" operation successful after ")?;
        said.trim_end().ends_with(" retries").then_some(Self::Went)
    }
}

/// A line as it may look; what is not there is empty.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Line {
    message_type: String,
    item: String,
    error: Error,
    message: String,
}

/// 0.14 says `{}` of some errors, later ones have the message.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Error {
    message: String,
    #[serde(rename = "Op")]
    op: String,
    #[serde(rename = "Err")]
    number: Option<i32>,
}

impl Heard {
    /// Reads a line. What is no JSON is what restic says to people.
    pub fn read(line: &str) -> Self {
        let words = || if line.trim().is_empty() { Self::Nothing } else { Self::Words(line.into()) };
        if !line.starts_with('{') {
            return words();
        }
        let Ok(said) = serde_json::from_str::<Line>(line) else { return words() };
        match said.message_type.as_str() {
            "status" => serde_json::from_str(line).map_or(Self::Nothing, Self::Progress),
            "verbose_status" => Self::Nothing,
            "error" => {
                let Error { message, op, number } = said.error;
                let why = match number {
                    _ if !message.is_empty() => message,
                    Some(number) => format!("{op}: {}", std::io::Error::from_raw_os_error(number)),
                    None => "restic does not say why".into(),
                };
                Self::Unreadable(said.item, why)
            }
            "summary" => serde_json::from_str(line).map_or_else(|_| words(), Self::Summary),
            "exit_error" => Self::Words(said.message),
            _ => words(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_restic_tries_again_by_itself() {
        // Copied from 0.14.0, 0.18.0 and 0.19.1.
        for (line, expected) in [
            (
                "Stat(<config/>) returned error, retrying after 1.99s: Head \"http://r/config\": connection refused",
                Some(Retry::Again("Head \"http://r/config\": connection refused")),
            ),
            ("Save(<data/0a>) returned error, retrying after 552.330144ms: EOF", Some(Retry::Again("EOF"))),
            ("Save(<data/0a>) operation successful after 2 retries", Some(Retry::Went)),
            ("Fatal: unable to open config file: context canceled", None),
            ("/srv/operation successful after all", None),
        ] {
            assert_eq!(Retry::read(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_of_all_versions() {
        // Copied from 0.14.0, 0.18.0 and 0.19.1.
        let summary = r#"{"message_type":"summary","files_new":3,"files_changed":0,"files_unmodified":1,"dirs_new":1,"data_added":704,"total_files_processed":4,"total_bytes_processed":12,"total_duration":0.2,"snapshot_id":"7a8f"}"#;
        let Heard::Summary(summary) = Heard::read(summary) else { panic!() };
        assert_eq!(
            (summary.snapshot_id.as_str(), summary.counts.files_new, summary.counts.data_added),
            ("7a8f", 3, 704)
        );
        let status = r#"{"message_type":"status","percent_done":0.5,"total_files":2,"files_done":1,"total_bytes":8,"bytes_done":4}"#;
        assert_eq!(
            Heard::read(status),
            Heard::Progress(Progress { bytes_done: 4, total_bytes: 8, files_done: 1 })
        );
        for (line, item, why) in [
            (
                r#"{"message_type":"error","error":{"message":"open /x: permission denied"},"during":"archival","item":"/x"}"#,
                "/x",
                "open /x: permission denied",
            ),
            (
                r#"{"message_type":"error","error":{"Op":"lstat","Path":"/y","Err":2},"during":"archival","item":"/y"}"#,
                "/y",
                "lstat: No such file or directory (os error 2)",
            ),
            (
                r#"{"message_type":"error","error":{},"during":"archival","item":"/z"}"#,
                "/z",
                "restic does not say why",
            ),
        ] {
            assert_eq!(Heard::read(line), Heard::Unreadable(item.into(), why.into()));
        }
        let exit =
            r#"{"message_type":"exit_error","code":12,"message":"Fatal: wrong password or no key found"}"#;
        assert_eq!(Heard::read(exit), Heard::Words("Fatal: wrong password or no key found".into()));
        assert_eq!(Heard::read("Fatal: x"), Heard::Words("Fatal: x".into()));
        assert_eq!(Heard::read("{nonsense"), Heard::Words("{nonsense".into()));
        assert_eq!(Heard::read(""), Heard::Nothing);
    }
}
