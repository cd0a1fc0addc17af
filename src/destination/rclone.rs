//! A remote of rclone, here or on another machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Reach, clean,
    reach::{SSH, ssh},
};
use crate::{
    effect::Arg,
    model::{Line, SecretFile, Server, UserName},
};

/// Whatever rclone reaches: one of this host's own remotes, or rclone on another machine, over SSH.
///
/// The second is how a client writes to an account that can add and not delete: the server's forced command is
/// `rclone serve restic --stdio --append-only`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["remote"] }, { "required": ["ssh"] }]))]
pub struct Rclone {
    /// The remote's name in rclone's configuration on this host. Default: none, `ssh` is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Line>,
    /// rclone's configuration on this host, with its remotes: an absolute path, 0600, of the job's user.
    /// Default: `.config/rclone/rclone.conf` in the home of the job's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_file: Option<SecretFile>,
    /// The other machine where rclone runs. Default: none, rclone runs here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<RcloneSsh>,
    /// The repository's path at the remote; over SSH the server's forced command decides, and this is only its name.
    pub path: Line,
}

/// Where rclone runs, if not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RcloneSsh {
    /// The user on the other machine. Default: ssh's own, from its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// The other machine: its name, its address, or an alias in `ssh: hosts:`.
    pub host: Server,
    /// The port of its SSH server. Default: ssh's own, 22.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl RcloneSsh {
    /// Returns what restic is to start in rclone's place, `ssh -p 2222 -l user host`.
    ///
    /// restic splits it at white space, and none of these words can hold any.
    pub fn program(&self) -> String {
        let port = self.port.map(|port| port.to_string());
        let mut words: Vec<&str> = port.iter().flat_map(|port| ["-p", port.as_str()]).collect();
        words.extend(self.user.iter().flat_map(|user| ["-l", user.as_str()]));
        words.push(self.host.as_str());
        ssh(&words)
    }
}

impl Rclone {
    pub(super) fn repository(&self) -> String {
        match &self.remote {
            Some(remote) => format!("rclone:{remote}:{}", self.path),
            None => format!("rclone:{}", self.path),
        }
    }

    pub(super) fn reach(&self) -> Reach {
        let mut reach = Reach::default();
        match &self.ssh {
            Some(there) => {
                reach.tools.push(SSH);
                reach.option("rclone.program", &there.program());
            }
            None => reach.tools.push(("rclone", "rclone")),
        }
        if let Some(file) = &self.config_file {
            reach.variables.push(("RCLONE_CONFIG", Arg::Path(file.0.clone())));
        }
        reach
    }

    pub(super) fn identity(&self) -> String {
        let at = match (&self.remote, &self.ssh) {
            (Some(remote), _) => remote.to_string(),
            (None, ssh) => ssh.as_ref().map(RcloneSsh::program).unwrap_or_default(),
        };
        format!("rclone:{at}:{}", clean(self.path.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn here_and_elsewhere() {
        let ssh = RcloneSsh { user: "me".parse().ok(), host: "nas".parse().unwrap(), port: Some(2222) };
        let program = ssh.program();
        assert!(
            program.starts_with("ssh -o BatchMode=yes ") && program.ends_with(" -p 2222 -l me nas"),
            "{program}"
        );
        let there = Rclone { remote: None, config_file: None, ssh: Some(ssh), path: "repo".parse().unwrap() };
        assert_eq!(there.repository(), "rclone:repo");
        let here = Rclone {
            remote: "drive".parse().ok(),
            config_file: None,
            ssh: None,
            path: "repo/".parse().unwrap(),
        };
        assert_eq!(here.repository(), "rclone:drive:repo/");
        assert_ne!(here.identity(), there.identity());
    }
}
