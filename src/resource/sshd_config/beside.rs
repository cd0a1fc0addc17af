//! Checks every sshd that runs with a configuration file of its own (`sshd -f`): it must restrict each account, or refuse it.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{
    super::{Finding, Severity},
    INCLUDE, SshdConfig,
    words::shut_out,
};
use crate::{
    effect::{Login, Query},
    host::Observe,
    model::UserName,
};

/// An account that another sshd accepts without the restrictions of rlvm's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreedElsewhere {
    /// The configuration that this sshd was started with (`sshd -f`).
    pub config: String,
    /// The account.
    pub user: UserName,
    /// The first setting that differs, or why the sshd could not be asked.
    pub why: String,
}

impl FreedElsewhere {
    pub(super) fn finding(&self) -> Finding {
        let Self { config, user, why } = self;
        let message = format!("`sshd -f {config}`, which runs here, might not restrict {user}: {why}");
        let remedy = format!(
            "add `{INCLUDE}` as the first line of {config}, or `DenyUsers {user}`; then run apply again"
        );
        Finding::new(Severity::Error, SshdConfig::address(), message).remedy(remedy)
    }
}

/// Asks each other configuration of a running sshd what it would do with each account.
pub(super) fn freed_elsewhere(host: &dyn Observe, logins: &[Login]) -> Result<Vec<FreedElsewhere>> {
    let mut found = Vec::new();
    for config in host.other_sshd_configurations()? {
        for login in logins {
            let user = login.user.clone();
            let asked = host.query(&Query::new(Login::ask(&user).args(["-f", &config]))?)?;
            let why = if asked.code == Some(0) {
                let groups = host.groups(&user)?;
                let differences = login.differences(&asked.stdout);
                // The word that says most is named.
                let mut named = ["chrootdirectory", "forcecommand"].iter();
                let named = named.find_map(|name| differences.iter().find(|(word, ..)| word == name));
                match named.or(differences.first()) {
                    Some((word, meant, now)) if shut_out(&user, &asked.stdout, &groups).is_none() => {
                        format!("`{word}` is `{now}` instead of `{meant}`")
                    }
                    _ => continue,
                }
            } else {
                format!("it cannot be asked, since it refuses its configuration: {}", asked.stderr.trim())
            };
            found.push(FreedElsewhere { config: config.clone(), user, why });
        }
    }
    Ok(found)
}
