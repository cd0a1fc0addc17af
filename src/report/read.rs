//! Reads the output of `rlvm status --json`, of this or another host, and of this or a newer rlvm.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::status::{Level, Remark, Status, Verdict};

/// The major version of the format that is read here; within it versions only add.
const MAJOR: &str = "1";

/// Why a text is not a status that can be read: what is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoStatus(String);

impl fmt::Display for NoStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoStatus {}

/// Reads a status. What a newer minor version adds is passed over; a verdict that is not known here becomes a remark, so
/// that nothing bad goes unsaid.
///
/// # Errors
///
/// If it is none, or of another major version.
pub fn read(text: &str) -> Result<Status, NoStatus> {
    let first: Value = serde_json::from_str(text).map_err(|err| NoStatus(format!("no JSON: {err}")))?;
    let Some(version) = first.get("format_version").and_then(Value::as_str) else {
        return Err(NoStatus(
            "no status: it has no `format_version`; write one with rlvm status --json".into(),
        ));
    };
    if version.split('.').next() != Some(MAJOR) {
        let written = first.get("rlvm_version").and_then(Value::as_str).unwrap_or("a newer one");
        let version = version.escape_debug();
        return Err(NoStatus(format!(
            "a status of version {version}, and this rlvm reads {MAJOR}.x: it is of rlvm {}",
            written.escape_debug()
        )));
    }
    // By the text, whose errors have a place, as long as there is nothing to be put aside.
    let (status, unknown) = match serde_json::from_str::<Status>(text) {
        Ok(status) => (status, Vec::new()),
        Err(err) => {
            let mut value = first;
            let unknown = put_aside(&mut value);
            let place = || NoStatus(format!("no status: {err}"));
            if unknown.is_empty() {
                return Err(place());
            }
            (Status::deserialize(value).map_err(|_| place())?, unknown)
        }
    };
    let mut status = status;
    status.remarks.extend(unknown);
    Ok(status)
}

/// Takes the verdicts out that are not known here, and returns them as remarks.
fn put_aside(status: &mut Value) -> Vec<Remark> {
    let mut aside = Vec::new();
    for line in status.get_mut("lines").and_then(Value::as_array_mut).into_iter().flatten() {
        let text = |line: &Value, key: &str| line.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
        let about = format!("{} at {}", text(line, "job"), text(line, "destination"));
        let Some(judged) = line.get_mut("judged").and_then(Value::as_array_mut) else { continue };
        judged.retain(|it| {
            let verdict = it.get("verdict").unwrap_or(&Value::Null);
            if Verdict::deserialize(verdict).is_ok() {
                return true;
            }
            let Some(level) = it.get("level").and_then(|it| Level::deserialize(it).ok()) else { return true };
            let message = format!("{}: {}", text(it, "verdict"), text(it, "message"));
            aside.push(Remark { about: about.clone(), level, message });
            false
        });
    }
    aside
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"format_version":"1.0","rlvm_version":"0.1.0","host":"web01","time":"2026-11-21T18:00:00Z",
"level":"critical","lines":[{"job":"system","destination":"vault","level":"critical","judged":[
{"verdict":"overdue","level":"critical","message":"a day late"}],"sizes":[]}]}"#;

    #[test]
    fn newer_minor_versions_are_read() {
        let status = read(ONE).unwrap();
        assert_eq!((status.host.as_str(), status.lines.len(), status.remarks.len()), ("web01", 1, 0));
        let newer = ONE.replace("\"1.0\"", "\"1.7\"").replace("\"lines\"", "\"more\":{\"a\":[1]},\"lines\"");
        assert_eq!(read(&newer).unwrap().lines, status.lines);
        let other = newer.replace("\"overdue\"", "\"quarantined\"");
        let status = read(&other).unwrap();
        assert!(status.lines[0].judged.is_empty());
        let expected = Remark {
            about: "system at vault".into(),
            level: Level::Critical,
            message: "quarantined: a day late".into(),
        };
        assert_eq!(status.remarks, [expected]);
    }

    #[test]
    fn what_is_none_is_refused_with_its_place() {
        for (text, expected) in [
            ("", "no JSON: EOF while parsing a value at line 1 column 0"),
            ("{\n  \"a\":\n}", "no JSON: expected value at line 3 column 1"),
            ("{}", "it has no `format_version`"),
            ("[]", "it has no `format_version`"),
            (
                &ONE.replace("\"1.0\"", "\"2.0\""),
                "a status of version 2.0, and this rlvm reads 1.x: it is of rlvm 0.1.0",
            ),
            (&ONE.replace("\"1.0\"", "\"10.0\""), "version 10.0"),
            (&ONE.replace("\"web01\"", "\"<b>\""), "line 1 column"),
            (&ONE.replace("\"vault\"", "\"../x\""), "line 2 column"),
            (&ONE.replace("\"critical\"", "\"dire\""), "unknown variant `dire`"),
            (&ONE.replace("\"level\":\"critical\",\"message\"", "\"message\""), "missing field `level`"),
        ] {
            let said = read(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{text}\n{said}");
        }
    }
}
