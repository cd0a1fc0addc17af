//! Checks every sshd that runs with a configuration file of its own (`sshd -f`): it must restrict each account, or refuse it.
//! An sshd that is another program than the system's own, and was started without `-f`, cannot be checked.
//!
//! `sshd -T` answers for one connection only. So the file is also read, and checked line by line like sshd's main file.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{
    super::{Finding, Severity},
    INCLUDE, PART, SshdConfig,
    foreign::{Groups, Setting, select},
    lists::{is_refused_outside_blocks, list_in_block},
    reading::{OfHost, Read, Unread, read},
};
use crate::{
    effect::{Login, Query},
    host::{Observe, SshdsWithOtherConfig},
    model::UserName,
};

/// The configuration of another sshd, with what concerns clients' accounts in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSshd {
    /// The configuration that this sshd was started with (`sshd -f`); empty if it was started without.
    pub config: String,
    /// The program, if it is not the system's own and was started without `-f`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Its settings that change what accounts may do although it includes rlvm's file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign: Vec<Setting>,
    /// The files that it reads and rlvm cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread_files: Vec<Unread>,
    /// A file that was changed after this sshd has read its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// The accounts that it does not restrict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freed: Vec<Freed>,
}

/// An account that another sshd accepts without the restrictions of rlvm's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// The account.
    pub user: UserName,
    /// The first setting that differs, or why the sshd could not be asked.
    pub why: String,
}

impl OtherSshd {
    /// Reports each account that this sshd does not restrict.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        let config = &self.config;
        self.freed.iter().map(move |Freed { user, why }| {
            let (sshd, remedy) = match &self.program {
                Some(program) => {
                    (program.clone(), format!("stop {program}, or start it with `-f FILE`, even if FILE is its default, and with its usual environment"))
                }
                None => (
                    format!("`sshd -f {config}`"),
                    format!(
                        "add `{INCLUDE}` as the first line of {config}, or `DenyUsers {user}` outside all `Match` blocks; \
                         then run apply again"
                    ),
                ),
            };
            let message = format!("{sshd}, which runs here, might not restrict {user}: {why}");
            Finding::new(Severity::Error, SshdConfig::address(), message).remedy(remedy)
        })
    }
}

/// Checks each other configuration of a running sshd.
pub(super) fn other_sshds(host: &dyn Observe, logins: &[Login]) -> Result<Vec<OtherSshd>> {
    let mut found = Vec::new();
    let SshdsWithOtherConfig { configurations, programs } = host.sshds_beside()?;
    for (config, program) in configurations {
        let text = read(&OfHost(host), &config, PART)?;
        let mut freed = Vec::new();
        for login in logins {
            let reads_elsewhere = program.as_ref().zip(text.relative.as_ref()).map(|(program, relative)| {
                format!(
                    "{program} resolves `Include {relative}` in its own configuration directory; write an absolute path"
                )
            });
            let why = match reads_elsewhere {
                None => why_freed(host, &config, &text, login)?,
                why => why,
            };
            if let Some(why) = why {
                freed.push(Freed { user: login.user.clone(), why });
            }
        }
        // Without rlvm's file no order matters: the account is refused, or an error.
        let foreign = if text.before.is_some() { select(&text, logins) } else { Vec::new() };
        let changed = host.changed_since_sshd_read(&config, &text.paths)?;
        found.push(OtherSshd { config, program: None, foreign, unread_files: text.unread, changed, freed });
    }
    let why = "rlvm cannot tell from its command line and its mounts which configuration it reads";
    found.extend(programs.into_iter().map(|program| OtherSshd {
        program: Some(program),
        freed: logins.iter().map(|it| Freed { user: it.user.clone(), why: why.to_owned() }).collect(),
        ..OtherSshd::default()
    }));
    Ok(found)
}

/// Says why another sshd might not restrict an account; nothing if it does so, or refuses the account.
fn why_freed(host: &dyn Observe, config: &str, text: &Read, login: &Login) -> Result<Option<String>> {
    let user = &login.user;
    let asked = host.query(&Query::new(Login::ask(user).args(["-f", config]))?)?;
    if asked.code != Some(0) {
        let said = asked.stderr.trim();
        return Ok(Some(format!("it cannot be asked, since it refuses its configuration: {said}")));
    }
    let groups = groups_of(host, user)?;
    let in_block = list_in_block(text, user, &Groups::from([(user.clone(), groups.clone())]));
    if in_block.is_none() && is_refused_outside_blocks(text, user, &asked.stdout, &groups) {
        return Ok(None);
    }
    let differences = login.differences(&asked.stdout);
    // The word that says most is named.
    let mut named = ["chrootdirectory", "forcecommand"].iter();
    let named = named.find_map(|name| differences.iter().find(|(word, ..)| word == name));
    let why = match named.or(differences.first()) {
        Some((word, meant, now)) => format!("`{word}` is `{now}` instead of `{meant}`"),
        None if text.before.is_some() => return Ok(None),
        // What is right for the connection that was asked about may be wrong for another one.
        None => format!("it does not include {PART}"),
    };
    Ok(Some(match in_block {
        Some(line) => format!("{why}, and {line}: sshd may accept other connections"),
        None => why,
    }))
}

/// Lists the groups of an account. The first group has, or will have, the account's name.
pub(super) fn groups_of(host: &dyn Observe, user: &UserName) -> Result<Vec<String>> {
    let mut groups = host.groups(user)?;
    groups.push(user.to_string());
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}
