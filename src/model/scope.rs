//! Whether rlvm manages the host as root, or one user's own set-up.

use serde::{Deserialize, Serialize};

use super::{GroupName, HostPath, UserName};

/// Whose set-up it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The host's: root keeps it.
    #[default]
    Host,
    /// A user's own, kept without root.
    User(Box<Personal>),
}

/// Who a user is, and where that user's own things stand (XDG Base Directory Specification 0.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personal {
    /// The user.
    pub user: UserName,
    /// The user's first group.
    pub group: GroupName,
    /// Where the user is at home.
    pub home: HostPath,
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub config: HostPath,
    /// `$XDG_STATE_HOME`, else `~/.local/state`.
    pub state: HostPath,
    /// `$XDG_DATA_HOME`, else `~/.local/share`.
    pub data: HostPath,
    /// `$XDG_CACHE_HOME`, else `~/.cache`.
    pub cache: HostPath,
    /// `$XDG_RUNTIME_DIR`, else `/run/user/UID`: where the user's systemd is reached.
    pub runtime: HostPath,
}

impl Scope {
    /// Returns the user, if it is one's own.
    pub fn personal(&self) -> Option<&Personal> {
        match self {
            Self::Host => None,
            Self::User(personal) => Some(personal),
        }
    }
}

#[cfg(test)]
impl Personal {
    /// Returns a user, for tests.
    pub(crate) fn ann() -> Self {
        let path = |path: &str| path.parse::<HostPath>().unwrap();
        Self {
            user: "ann".parse().unwrap(),
            group: "users".parse().unwrap(),
            home: path("/home/ann"),
            config: path("/home/ann/.config"),
            state: path("/home/ann/.local/state"),
            data: path("/home/ann/.local/share"),
            cache: path("/home/ann/.cache"),
            runtime: path("/run/user/1000"),
        }
    }
}
