//! Decides whether rlvm manages the host or one user's own set-up, and where its files are. A user's files follow the
//! XDG Base Directory Specification 0.8.

use anyhow::Result;

use super::exit::{Exit, Failure};
use crate::{
    host::Caller,
    model::{HostPath, Personal, Scope},
    state::Defaults,
};

/// The variables that say where a user's own things are, as they are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xdg {
    /// `HOME`.
    pub home: Option<String>,
    /// `XDG_CONFIG_HOME`.
    pub config: Option<String>,
    /// `XDG_STATE_HOME`.
    pub state: Option<String>,
    /// `XDG_DATA_HOME`.
    pub data: Option<String>,
    /// `XDG_CACHE_HOME`.
    pub cache: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime: Option<String>,
}

/// Reads a variable; one that is no absolute path is ignored, as the specification says.
fn absolute(value: Option<&String>) -> Option<HostPath> {
    let value = value?.as_str();
    let trimmed = value.trim_end_matches('/');
    if trimmed.is_empty() { None } else { trimmed.parse().ok() }
}

impl Xdg {
    /// Says where a caller's own things are.
    ///
    /// # Errors
    ///
    /// If the caller has no home.
    pub(super) fn of(&self, caller: Caller) -> Result<Personal> {
        let Caller { user, uid, group, home } = caller;
        let nowhere = |home: &HostPath| home.as_str() == "/";
        let Some(home) = absolute(self.home.as_ref()).or(home).filter(|home| !nowhere(home)) else {
            let message = format!("{user} has no home, where rlvm keeps a user's own things");
            return Err(Failure::new(Exit::Failed, message).help("set HOME, or call rlvm as root").into());
        };
        let place = |set: &Option<String>, usual: &str| match absolute(set.as_ref()) {
            Some(place) => Ok(place),
            None => format!("{home}/{usual}").parse(),
        };
        let config = place(&self.config, ".config")?;
        let state = place(&self.state, ".local/state")?;
        let data = place(&self.data, ".local/share")?;
        let cache = place(&self.cache, ".cache")?;
        // Where pam_systemd puts it, also for cron, which has no such variable.
        let runtime = self.runtime().map_or_else(|| format!("/run/user/{uid}").parse(), Ok)?;
        Ok(Personal { user, group, home, config, state, data, cache, runtime })
    }

    /// Returns the directory that ends with the caller's last session.
    pub(super) fn runtime(&self) -> Option<HostPath> {
        absolute(self.runtime.as_ref())
    }
}

/// Says what counts where a state says nothing.
pub(super) fn defaults(scope: &Scope) -> Result<Defaults> {
    let Some(Personal { user, group, state, .. }) = scope.personal() else { return Ok(Defaults::default()) };
    let logs = format!("{state}/rlvm/log").parse()?;
    Ok(Defaults { owner: Some((user.clone(), group.clone())), logs: Some(logs) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(home: Option<&str>, state: Option<&str>) -> Result<Personal> {
        let xdg = Xdg { home: home.map(Into::into), state: state.map(Into::into), ..Xdg::default() };
        let home = Some("/home/me".parse()?);
        xdg.of(Caller { user: "me".parse()?, uid: 1000, group: "users".parse()?, home })
    }

    #[test]
    fn places_are_those_of_the_specification() {
        for (home, state, expected) in [
            (None, None, "/home/me/.local/state"),
            (Some("/data/me"), None, "/data/me/.local/state"),
            (Some("/data/me/"), None, "/data/me/.local/state"),
            // What is no absolute path is ignored.
            (Some("data"), None, "/home/me/.local/state"),
            (None, Some(".state"), "/home/me/.local/state"),
            (None, Some("/s/../t"), "/home/me/.local/state"),
            (None, Some("/srv/state/"), "/srv/state"),
        ] {
            assert_eq!(of(home, state).unwrap().state.as_str(), expected, "{home:?} {state:?}");
        }
        assert_eq!(of(None, None).unwrap().data.as_str(), "/home/me/.local/share");
        assert_eq!(of(None, None).unwrap().config.as_str(), "/home/me/.config");
        assert_eq!(of(None, None).unwrap().cache.as_str(), "/home/me/.cache");
    }

    #[test]
    fn who_has_no_home_is_told() {
        let nobody =
            Caller { user: "x".parse().unwrap(), uid: 1000, group: "x".parse().unwrap(), home: None };
        let said = Xdg::default().of(nobody.clone()).unwrap_err().to_string();
        assert!(said.contains("x has no home") && said.contains("help: set HOME"), "{said}");
        assert!(Xdg::default().of(Caller { home: Some("/".parse().unwrap()), ..nobody }).is_err());
    }
}
