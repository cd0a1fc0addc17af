//! Finds the settings in sshd's configuration that change what clients' accounts may do, though rlvm does not write
//! them: those in a `Match` block that sshd reads before rlvm's file, and those that hand on a client's environment.
//!
//! A block counts whatever it matches: an address or a port is no property of the account. Only a `Match User` that
//! names none of the accounts and a `Match Group` that names none of their groups are told apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    reading::{Line, Read},
    words::{ACCEPTED, same_word},
};
use crate::{
    effect::{Login, is_harmless_variable},
    model::{Address, UserName, known_host::matches},
    resource::{Finding, Severity},
};

/// A setting of somebody else's that concerns clients' accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The file and the line number.
    pub place: String,
    /// The criteria of each `Match` block around the setting, outermost first; none outside all blocks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
    /// The keyword, in small letters and by the name that `sshd -T` uses.
    pub keyword: String,
    /// The value.
    pub value: String,
}

/// The groups of accounts by name.
pub(super) type Groups = BTreeMap<UserName, Vec<String>>;

/// What a client's environment comes through.
const ENVIRONMENT: [&str; 3] = ["acceptenv", "permituserenvironment", "setenv"];

/// Selects the settings that concern these accounts.
pub(super) fn select(read: &Read, logins: &[Login]) -> Vec<Setting> {
    let before = read.before.unwrap_or_default();
    let concerns = |(index, line): (usize, &Line)| {
        let keyword = same_word(&line.keyword);
        let is_environment = ENVIRONMENT.contains(&keyword.as_str());
        let is_meant = logins.iter().any(|login| login.meant.contains_key(&keyword));
        let is_earlier = index < before && !line.blocks.is_empty();
        (is_environment || (is_meant && is_earlier)).then(|| Setting::of(line, keyword))
    };
    read.lines.iter().enumerate().filter_map(concerns).collect()
}

/// Says whether a setting stands in a block that names groups.
pub(super) fn names_groups(settings: &[Setting]) -> bool {
    let of_block = |criteria: &String| criteria.to_ascii_lowercase().contains("group");
    settings.iter().any(|it| it.blocks.iter().any(of_block))
}

/// Reports what each setting does to the accounts. `part` is rlvm's file. An account whose groups are not known may be
/// in any group.
pub(super) fn findings(
    settings: &[Setting],
    logins: &[Login],
    groups: &Groups,
    part: &str,
    address: &Address,
) -> Vec<Finding> {
    let mut found = Vec::new();
    // The first value counts of those that hold for everybody; in another block the keyword is not allowed.
    let is_for_all = |it: &Setting| it.blocks.iter().all(|criteria| criteria.eq_ignore_ascii_case("all"));
    let mut user_environment = false;
    for it in settings {
        match it.keyword.as_str() {
            "permituserenvironment" => {
                if !user_environment && is_for_all(it) && !it.value.eq_ignore_ascii_case("no") {
                    let message = format!(
                        "{} sets `PermitUserEnvironment {}`: sshd takes variables such as LD_PRELOAD from \
                         ~/.ssh/environment, and they change what a forced command does",
                        it.place, it.value
                    );
                    let remedy = "set `PermitUserEnvironment no`";
                    found.push(Finding::new(Severity::Warning, address.clone(), message).remedy(remedy));
                }
                user_environment |= is_for_all(it);
            }
            "setenv" => found.extend(it.fixed_variables(logins, groups, address)),
            "acceptenv" => found.extend(it.environment(logins, groups, address)),
            _ => found.extend(it.earlier(logins, groups, part, address)),
        }
    }
    found
}

impl Setting {
    pub(super) fn of(line: &Line, keyword: String) -> Self {
        let Line { place, blocks, value, .. } = line.clone();
        Self { place, blocks, keyword, value }
    }

    /// Reports a setting that sshd reads before rlvm's.
    fn earlier(&self, logins: &[Login], groups: &Groups, part: &str, address: &Address) -> Option<Finding> {
        let Self { place, keyword, value, .. } = self;
        let differs: Vec<&Login> = logins.iter().filter(|login| self.differs(login)).collect();
        if differs.is_empty() {
            return None;
        }
        let (block, name) = (self.block(), part.rsplit('/').next().unwrap_or(part));
        let users: Vec<&str> =
            differs.iter().filter(|it| self.may_match(&it.user, groups)).map(|it| it.user.as_str()).collect();
        if users.is_empty() {
            let message = format!(
                "{place} sets `{keyword} {value}` in the block `{block}`, which sshd reads before rlvm's file; \
                 the block matches no account of a client"
            );
            return Some(Finding::new(Severity::Notice, address.clone(), message));
        }
        let message = format!(
            "{place} sets `{keyword} {value}` in the block `{block}`, which sshd reads before rlvm's file: \
             a connection that matches the block is not restricted as declared ({})",
            users.join(", ")
        );
        let remedy = format!("move the block into a file that sshd reads after {name}");
        Some(Finding::new(Severity::Error, address.clone(), message).remedy(remedy))
    }

    /// Reports a setting by which clients choose variables. What several blocks accept adds up, wherever they stand.
    fn environment(&self, logins: &[Login], groups: &Groups, address: &Address) -> Option<Finding> {
        let Self { place, value, .. } = self;
        let is_harmless = |word: &str| is_harmless_variable(word) || word == ACCEPTED;
        let confined: Vec<&Login> =
            logins.iter().filter(|login| login.meant.contains_key(&self.keyword)).collect();
        if value.split(' ').all(is_harmless) || confined.is_empty() {
            return None;
        }
        if self.blocks.is_empty() {
            let message = format!(
                "{place} sets `AcceptEnv {value}`: sshd takes such variables from clients; rlvm's file sets \
                 its own `AcceptEnv` for accounts with `sftp` or `append_only`"
            );
            return Some(Finding::new(Severity::Notice, address.clone(), message));
        }
        let users: Vec<&str> = confined
            .iter()
            .filter(|it| self.may_match(&it.user, groups))
            .map(|it| it.user.as_str())
            .collect();
        if users.is_empty() {
            return None;
        }
        let message = format!(
            "{place} sets `AcceptEnv {value}` in the block `{}`: a client can set variables such as LD_PRELOAD, and \
             with them change what its forced command does ({})",
            self.block(),
            users.join(", ")
        );
        let remedy = "take the line out, or limit the block to other users (`Match User`)";
        Some(Finding::new(Severity::Error, address.clone(), message).remedy(remedy))
    }

    /// Reports variables that sshd sets in sessions of confined accounts. rlvm's file sets none, so those that stand outside
    /// all blocks hold for these accounts too.
    fn fixed_variables(&self, logins: &[Login], groups: &Groups, address: &Address) -> Option<Finding> {
        let Self { place, value, .. } = self;
        let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
        if value.split(' ').all(|word| word.contains('=') && is_harmless_variable(&name(word))) {
            return None;
        }
        let confined = logins.iter().filter(|login| login.meant.contains_key("acceptenv"));
        let users: Vec<&str> =
            confined.filter(|it| self.may_match(&it.user, groups)).map(|it| it.user.as_str()).collect();
        if users.is_empty() {
            return None;
        }
        let (severity, block) = if self.blocks.is_empty() {
            (Severity::Warning, "outside all blocks".to_owned())
        } else {
            (Severity::Error, format!("in the block `{}`", self.block()))
        };
        // The value may be a secret.
        let names: Vec<String> = value.split(' ').map(name).collect();
        let message = format!(
            "{place} sets {} with `SetEnv` {block}: variables such as LD_PRELOAD change what a forced command does ({})",
            names.join(", "),
            users.join(", ")
        );
        let remedy = "take the line out, or limit the block to other users (`Match User`)";
        Some(Finding::new(severity, address.clone(), message).remedy(remedy))
    }

    /// Says whether a setting differs from what is declared for an account. sshd reads `yes` and `no` in any case.
    fn differs(&self, login: &Login) -> bool {
        login.meant.get(&self.keyword).is_some_and(|meant| {
            let any_case = ["yes", "no"].contains(&meant.as_str());
            *meant != self.value && !(any_case && meant.eq_ignore_ascii_case(&self.value))
        })
    }

    pub(super) fn block(&self) -> String {
        let blocks: Vec<String> = self.blocks.iter().map(|criteria| format!("Match {criteria}")).collect();
        blocks.join(", ")
    }

    /// Says whether some connection of a user can match all blocks. Only the user's name and groups rule a user out: a
    /// client may come from any address.
    pub(super) fn may_match(&self, user: &UserName, groups: &Groups) -> bool {
        self.blocks.iter().all(|criteria| {
            // What is not understood may match. sshd splits a pattern at a `=` too (OpenSSH 9.2).
            let is_half = |word: &str| {
                word.split_once('=').is_some_and(|(a, b)| a.is_empty() || b.is_empty() || b.contains('='))
            };
            if criteria.contains(['"', '\'', '\\', '#']) || criteria.split(' ').any(is_half) {
                return true;
            }
            let mut words = criteria.split(' ');
            while let Some(word) = words.next() {
                let (name, joined) = word.split_once('=').map_or((word, None), |(name, it)| (name, Some(it)));
                if name.eq_ignore_ascii_case("all") {
                    continue;
                }
                let patterns = joined.or_else(|| words.next()).unwrap_or_default();
                if patterns.contains('=') {
                    return true;
                }
                if name.eq_ignore_ascii_case("user") && verdict(patterns, user.as_str()) != Some(true) {
                    return false;
                }
                if name.eq_ignore_ascii_case("group")
                    && groups.get(user).is_some_and(|groups| !lists_one(patterns, groups))
                {
                    return false;
                }
            }
            true
        })
    }
}

/// Says whether a list of patterns with commas takes a name or leaves it out; nothing if no pattern matches it (match.c,
/// `match_pattern_list`).
fn verdict(patterns: &str, name: &str) -> Option<bool> {
    let mut found = None;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(not) if matches(not, name) => return Some(false),
            None if matches(pattern, name) => found = Some(true),
            _ => {}
        }
    }
    found
}

/// Says whether a list of patterns takes one of a user's groups and leaves none out (groupaccess.c,
/// `ga_match_pattern_list`).
fn lists_one(patterns: &str, groups: &[String]) -> bool {
    let verdicts = || groups.iter().map(|group| verdict(patterns, group));
    verdicts().all(|it| it != Some(false)) && verdicts().any(|it| it == Some(true))
}

#[cfg(test)]
mod tests {
    use super::{
        super::reading::{
            read,
            tests::{MAIN, PART, Table},
        },
        *,
    };

    const DROP_INS: &str = "Include /etc/ssh/sshd_config.d/*.conf\n";
    const EARLIER: &str = "/etc/ssh/sshd_config.d/00-earlier.conf";
    const LATER: &str = "/etc/ssh/sshd_config.d/50-later.conf";

    fn logins() -> Vec<Login> {
        let login = |user: &str, words: &[(&str, &str)]| {
            let meant = words.iter().map(|(word, value)| ((*word).to_owned(), (*value).to_owned()));
            Login { user: user.parse().unwrap(), meant: meant.collect() }
        };
        vec![
            login(
                "web01",
                &[
                    ("acceptenv", ACCEPTED),
                    ("allowtcpforwarding", "no"),
                    ("authorizedkeysfile", "/etc/ssh/rlvm/keys/%u"),
                    ("chrootdirectory", "/srv/web01"),
                    ("forcecommand", "internal-sftp"),
                    ("kbdinteractiveauthentication", "no"),
                    ("permittty", "no"),
                ],
            ),
            login(
                "shell",
                &[("allowtcpforwarding", "no"), ("chrootdirectory", "none"), ("permittty", "yes")],
            ),
        ]
    }

    /// Lists what is reported of some files: the severity, the place and the accounts.
    fn reported(files: &[(&str, &str)]) -> Vec<String> {
        let (files, logins) = (Table::of(files), logins());
        let read = read(&files, MAIN, PART).unwrap();
        let address = Address::new("sshd_config", PART);
        let groups = ["web01", "clients"].map(ToOwned::to_owned).to_vec();
        let groups = BTreeMap::from([("web01".parse().unwrap(), groups)]);
        let found = findings(&select(&read, &logins), &logins, &groups, PART, &address).into_iter();
        found
            .map(|it| {
                let place = it.message.split(' ').next().unwrap_or_default().to_owned();
                let place = place.rsplit('/').next().unwrap_or_default().to_owned();
                let users = it.message.rsplit_once(" (").map(|(_, users)| users.trim_end_matches(')'));
                format!("{:?} {place} {}", it.severity, users.unwrap_or_default()).trim_end().to_owned()
            })
            .collect()
    }

    #[test]
    fn a_block_that_sshd_reads_earlier_is_reported_whatever_it_matches() {
        let both = "Error 00-earlier.conf:2 web01, shell";
        let one = "Error 00-earlier.conf:2 web01";
        for (block, setting, expected) in [
            // Whom and what a block matches.
            ("all", "AllowTcpForwarding yes", Some(both)),
            ("Address 127.0.0.2", "ChrootDirectory none", Some(one)),
            ("LocalPort 2222", "ChrootDirectory none", Some(one)),
            ("LocalAddress 10.0.0.1", "ChrootDirectory none", Some(one)),
            ("Host *.lan", "ChrootDirectory none", Some(one)),
            ("RDomain blue", "ChrootDirectory none", Some(one)),
            // Of web01 the groups are known, of shell they are not.
            ("Group staff", "ChrootDirectory none", Some("Notice 00-earlier.conf:2")),
            ("Group staff", "AllowTcpForwarding yes", Some("Error 00-earlier.conf:2 shell")),
            ("Group cl*", "ChrootDirectory none", Some(one)),
            ("Group=staff,web01", "ChrootDirectory none", Some(one)),
            ("Group web01,!clients", "ChrootDirectory none", Some("Notice 00-earlier.conf:2")),
            ("Group !staff", "ChrootDirectory none", Some("Notice 00-earlier.conf:2")),
            ("Group !staff,*", "ChrootDirectory none", Some(one)),
            ("Group \"staff x\"", "ChrootDirectory none", Some(one)),
            ("Address 10.0.0.1 Group clients", "ChrootDirectory none", Some(one)),
            ("User=web*", "ChrootDirectory none", Some(one)),
            ("User !web01,*", "AllowTcpForwarding yes", Some("Error 00-earlier.conf:2 shell")),
            ("User git", "ChrootDirectory none", Some("Notice 00-earlier.conf:2")),
            ("User=git", "ChrootDirectory none", Some("Notice 00-earlier.conf:2")),
            // sshd takes the blanks around `=` as part of it.
            ("User = web01", "ChrootDirectory none", Some(one)),
            ("Address 127.0.0.2 User =web01", "ChrootDirectory none", Some(one)),
            ("User web*=Address 127.0.0.2", "ChrootDirectory none", Some(one)),
            ("User=web*=Address 127.0.0.2", "ChrootDirectory none", Some(one)),
            ("User git#,web01", "ChrootDirectory none", Some(one)),
            ("User git # web01", "ChrootDirectory none", Some("Notice 00-earlier.conf:2")),
            ("User= web01 Address 127.0.0.2", "ChrootDirectory none", Some(one)),
            ("Address 127.0.0.2 Host \"*,x User git\"", "ChrootDirectory none", Some(one)),
            ("Address 10.0.0.1 User git", "ChrootDirectory none", Some("Notice 00-earlier.conf:2")),
            // What it sets.
            ("all", "authorizedkeysfile .ssh/authorized_keys", Some(one)),
            ("all", "ForceCommand=\"/bin/sh\"", Some(one)),
            ("all", "ChallengeResponseAuthentication yes", Some(one)),
            ("all", "PermitTTY yes", Some(one)),
            ("all", "PermitTTY NO", Some("Error 00-earlier.conf:2 shell")),
            ("all", "AllowTcpForwarding no", None),
            ("all", "Banner /etc/issue", None),
        ] {
            let text = format!("Match {block}\n\t{setting}\n");
            let found = reported(&[(MAIN, DROP_INS), (EARLIER, &text)]);
            assert_eq!(found.first().map(String::as_str), expected, "{text}");
            assert!(found.len() <= 1, "{found:?}");
            // The very same text is harmless where sshd reads it later.
            assert_eq!(reported(&[(MAIN, DROP_INS), (LATER, &text)]), [""; 0], "{text}");
        }
    }

    #[test]
    fn only_blocks_before_rlvms_file_count() {
        let open = "Match all\nChrootDirectory none\n";
        let first = format!("{open}Match all\n{DROP_INS}");
        let second = format!("{open}Match User me\n{DROP_INS}");
        for (files, expected) in [
            // Outside all blocks a value is for those alone whom no block names.
            (vec![(MAIN, DROP_INS), (EARLIER, "ChrootDirectory none\n")], None),
            (vec![(MAIN, "Include /etc/ssh/sshd_config.d/*.conf\nMatch all\nChrootDirectory none\n")], None),
            (
                vec![(MAIN, "Include /etc/a\nInclude sshd_config.d/*\n"), ("/etc/a", open)],
                Some("Error a:2 web01"),
            ),
            (vec![(MAIN, "Include sshd_config.d/*\nInclude /etc/a\n"), ("/etc/a", open)], None),
            (vec![(MAIN, first.as_str())], Some("Error sshd_config:2 web01")),
            // Not read for everybody: another finding says so.
            (vec![(MAIN, second.as_str())], None),
        ] {
            assert_eq!(reported(&files).first().map(String::as_str), expected, "{files:?}");
        }
    }

    #[test]
    fn what_hands_on_a_clients_environment_is_reported() {
        for (file, text, expected) in [
            (EARLIER, "AcceptEnv LANG LC_*\n", None),
            (EARLIER, "AcceptEnv *\n", Some("Notice 00-earlier.conf:1")),
            (LATER, "Match Address 10.0.0.1\nAcceptEnv LANG RCLONE_*\n", Some("Error 50-later.conf:2 web01")),
            (LATER, "Match User git\nAcceptEnv *\n", None),
            (LATER, "Match all\nSetEnv LD_PRELOAD=/x.so\n", Some("Error 50-later.conf:2 web01")),
            (LATER, "SetEnv LANG=C LD_PRELOAD=/x.so\n", Some("Warning 50-later.conf:1 web01")),
            (LATER, "SetEnv LANG=C LC_ALL=C\n", None),
            (LATER, "Match User git\nSetEnv LD_PRELOAD=/x.so\n", None),
            (LATER, "PermitUserEnvironment no\nPermitUserEnvironment yes\n", None),
            (LATER, "PermitUserEnvironment LANG,LD_*\n", Some("Warning 50-later.conf:1")),
            (LATER, "Match all\nPermitUserEnvironment yes\n", Some("Warning 50-later.conf:2")),
            (
                LATER,
                "Match User git\nMatch all\nPermitUserEnvironment yes\n",
                Some("Warning 50-later.conf:3"),
            ),
        ] {
            let found = reported(&[(MAIN, DROP_INS), (file, text)]);
            assert_eq!(found.first().map(String::as_str), expected, "{text}");
        }
    }
}
