//! Says whether the file that `RevokedKeys` names refuses an account's keys. The file is a list with a key in each line,
//! or a KRL as `ssh-keygen -k` makes it, which only OpenSSH's own programs read.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{
    SshdConfig,
    reading::{Files, OfHost},
};
use crate::{
    effect::{Cmd, Query},
    host::Observe,
    model::{HostPath, UserName},
    resource::{Finding, Severity},
};

/// How a KRL begins (PROTOCOL.krl).
const MAGIC: &str = "SSHKRL\n";

/// What a file of revoked keys says of an account's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// sshd refuses a key: why.
    Refused(String),
    /// That cannot be told: which file, and why.
    Unknown(String),
}

impl Revocation {
    pub(super) fn finding(&self, user: &UserName) -> Finding {
        let (message, remedy) = match self {
            Self::Refused(why) => (
                format!("sshd refuses {user}: {why}"),
                "to let the client in, remove the key from that file; to keep the client out, remove the key from the state",
            ),
            Self::Unknown(why) => (
                format!("cannot tell whether sshd refuses a key of {user}: {why}"),
                "ask about each key: ssh-keygen -Q -f FILE KEY.pub",
            ),
        };
        Finding::new(Severity::Warning, SshdConfig::address(), message).remedy(remedy)
    }
}

/// Looks for an account's keys in a file of revoked keys; nothing if none is in it.
pub(super) fn revocation(host: &dyn Observe, file: &str, keys: &[String]) -> Result<Option<Revocation>> {
    let text = match OfHost(host).text(file)? {
        Ok(None) => {
            let why = format!("sshd cannot read `RevokedKeys {file}`, and then refuses every key");
            return Ok(Some(Revocation::Refused(why)));
        }
        Ok(Some(text)) if !text.starts_with(MAGIC) => Ok(text),
        Ok(Some(_)) => Err("ssh-keygen does not say".to_owned()),
        Err(why) => Err(why),
    };
    for key in keys {
        let is_revoked = match &text {
            Ok(text) => text.lines().any(|line| line.contains(key.as_str())),
            Err(why) => match ask(host, file, key) {
                Ok(is_revoked) => is_revoked,
                Err(said) => {
                    let said = if said.is_empty() { why } else { &said };
                    return Ok(Some(Revocation::Unknown(format!("`RevokedKeys {file}`: {said}"))));
                }
            },
        };
        if is_revoked {
            let kind = key.split(' ').next().unwrap_or_default();
            let why = format!("`RevokedKeys {file}` lists its key of type {kind}");
            return Ok(Some(Revocation::Refused(why)));
        }
    }
    Ok(None)
}

/// Asks ssh-keygen whether a KRL lists a key.
///
/// # Errors
///
/// If it does not say: what it says instead.
fn ask(host: &dyn Observe, file: &str, key: &str) -> Result<bool, String> {
    let file: HostPath = file.parse().map_err(|_| String::new())?;
    let asked = Cmd::new("ssh-keygen").args(["-Q", "-f"]).path(&file).arg("/dev/stdin");
    let query = Query::new(asked.input(&format!("{key}\n"))).map_err(|err| err.to_string())?;
    let output = host.query(&query).map_err(|err| format!("{err:#}"))?;
    // Its exit code is the same for a key that is revoked and for a file that it cannot read.
    match (output.code, output.stdout.trim_end()) {
        (Some(0), said) if said.ends_with(": ok") => Ok(false),
        (Some(1), said) if said.ends_with(": REVOKED") => Ok(true),
        _ => Err(output.stderr.trim().to_owned()),
    }
}
