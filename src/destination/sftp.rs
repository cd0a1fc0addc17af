//! A directory on another machine, over SFTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Reach, clean,
    reach::{SSH, ssh},
};
use crate::model::{Line, Server, UserName};

/// A directory of another machine, over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sftp {
    /// The user on the other machine. Default: ssh's own, from its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// The other machine: its name, its address, or an alias in `ssh: hosts:`.
    pub host: Server,
    /// The port of its SSH server. Default: ssh's own, 22.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The repository's directory as the other machine shows it: inside a chroot `/repo`; without a leading `/` it
    /// lies below the user's home.
    pub path: Line,
}

impl Sftp {
    pub(super) fn repository(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let host = bracketed(&self.host);
        match self.port {
            // In the URL form the first `/` divides, and a second one makes the path absolute.
            Some(port) => format!("sftp://{user}{host}:{port}/{}", self.path),
            None => format!("sftp:{user}{host}:{}", self.path),
        }
    }

    pub(super) fn reach(&self) -> Reach {
        let port = self.port.map(|port| port.to_string());
        let mut words: Vec<&str> = port.iter().flat_map(|port| ["-p", port.as_str()]).collect();
        words.extend(self.user.iter().flat_map(|user| ["-l", user.as_str()]));
        words.extend([self.host.as_str(), "-s", "sftp"]);
        let mut reach = Reach { tools: vec![SSH], ..Reach::default() };
        reach.option("sftp.command", &ssh(&words));
        reach
    }

    pub(super) fn identity(&self) -> String {
        let user = self.user.as_ref().map(UserName::as_str).unwrap_or_default();
        let host = self.host.as_str().to_ascii_lowercase();
        format!("sftp:{user}@{host}:{}:{}", self.port.unwrap_or(22), clean(self.path.as_str()))
    }
}

/// Writes a host as it stands where a colon may follow.
pub(super) fn bracketed(host: &Server) -> String {
    if host.is_ipv6() { format!("[{host}]") } else { host.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Arg;

    fn sftp(host: &str, port: Option<u16>, path: &str) -> Sftp {
        let user = "me".parse().ok();
        Sftp { user, host: host.parse().unwrap(), port, path: path.parse().unwrap() }
    }

    #[test]
    fn as_restic_writes_it() {
        assert_eq!(sftp("nas", None, "/repo//").repository(), "sftp:me@nas:/repo//");
        assert_eq!(sftp("nas", Some(2222), "/repo").repository(), "sftp://me@nas:2222//repo");
        assert_eq!(sftp("nas", Some(2222), "repo").repository(), "sftp://me@nas:2222/repo");
        assert_eq!(sftp("::1", None, "/repo").repository(), "sftp:me@[::1]:/repo");
    }

    #[test]
    fn ssh_asks_nobody() {
        // R29
        let flags = sftp("nas", Some(2222), "/repo").reach().flags;
        let expected = "sftp.command=ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o UpdateHostKeys=no \
            -o ControlPath=none -o ConnectTimeout=10 -p 2222 -l me nas -s sftp";
        assert_eq!(flags, ["-o", expected].map(|word| Arg::Word(word.into())));
    }

    #[test]
    fn one_repository_written_in_two_ways() {
        // R07
        assert_eq!(sftp("nas", None, "/repo").identity(), sftp("NAS", Some(22), "//repo/./").identity());
        assert_ne!(sftp("nas", None, "/repo").identity(), sftp("nas", None, "repo").identity());
    }
}
