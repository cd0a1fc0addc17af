//! The options of sshd's configuration that rlvm writes for an account, and the foreign options that affect an
//! account.

use std::collections::BTreeSet;

use super::super::{Access, Severity, SshUserSpec, authorized_keys::KEYS_OF_ALL, ssh_config::word};
use crate::model::{BadText, UserName, known_host::matches};

/// The lines of `sshd -T` that say who gets in, beside those that rlvm writes. The last two are one word: OpenSSH 8.5
/// renamed it.
pub(super) const WHO: [&str; 10] = [
    "allowusers",
    "denyusers",
    "allowgroups",
    "denygroups",
    "maxsessions",
    "refuseconnection",
    "revokedkeys",
    "usedns",
    "pubkeyacceptedalgorithms",
    "pubkeyacceptedkeytypes",
];

/// What holds for every account: the declared keys let in and nothing else does, and nothing is reached through it.
/// `DisableForwarding` left out X11 and agents before OpenSSH 10, so these are named too.
const ALWAYS: [(&str, &str); 21] = [
    ("AuthorizedKeysFile", KEYS_OF_ALL),
    ("AuthorizedKeysCommand", "none"),
    ("AuthorizedPrincipalsFile", "none"),
    ("AuthorizedPrincipalsCommand", "none"),
    ("TrustedUserCAKeys", "none"),
    ("AuthenticationMethods", "publickey"),
    ("PubkeyAuthentication", "yes"),
    ("PasswordAuthentication", "no"),
    ("PermitEmptyPasswords", "no"),
    ("KbdInteractiveAuthentication", "no"),
    ("HostbasedAuthentication", "no"),
    ("GSSAPIAuthentication", "no"),
    ("KerberosAuthentication", "no"),
    ("DisableForwarding", "yes"),
    ("AllowTcpForwarding", "no"),
    ("AllowStreamLocalForwarding", "no"),
    ("AllowAgentForwarding", "no"),
    ("X11Forwarding", "no"),
    ("GatewayPorts", "no"),
    ("PermitTunnel", "no"),
    ("PermitUserRC", "no"),
];

/// The one variable that an account that is shut in may set: sshd has no word for none, and what stands in a block takes
/// the place of what is accepted of everybody. No program reads it.
pub(super) const ACCEPTED: &str = "RLVM_NONE";

/// Other names of keywords (servconf.c, `keywords`), each with the name that `sshd -T` uses.
const ALIASES: [(&str, &str); 4] = [
    ("challengeresponseauthentication", "kbdinteractiveauthentication"),
    ("skeyauthentication", "kbdinteractiveauthentication"),
    ("dsaauthentication", "pubkeyauthentication"),
    ("authorizedkeysfile2", "authorizedkeysfile"),
];

/// Returns a keyword in small letters, by the name that `sshd -T` uses.
pub(super) fn same_word(keyword: &str) -> String {
    let keyword = keyword.to_ascii_lowercase();
    let other = ALIASES.iter().find(|(alias, _)| *alias == keyword);
    other.map_or(keyword, |(_, name)| (*name).to_owned())
}

/// Lists the words for one account and their values, as they stand in the file.
pub(super) fn words(spec: &SshUserSpec) -> Result<Vec<(&'static str, String)>, BadText> {
    let mut words: Vec<(&str, String)> = ALWAYS.map(|(name, value)| (name, value.to_owned())).into();
    let (tty, chroot) = match spec.access {
        Access::Sftp => ("no", word(&spec.directory)?),
        Access::AppendOnly => ("no", "none".into()),
        Access::Shell => ("yes", "none".into()),
    };
    if spec.access != Access::Shell {
        words.push(("AcceptEnv", ACCEPTED.into()));
    }
    words.push(("PermitTTY", tty.into()));
    words.push(("ChrootDirectory", chroot));
    // The rest of the line as it stands: no quotes are taken off (tried with OpenSSH 9.2).
    words.push(("ForceCommand", spec.forced_command()?.unwrap_or_else(|| "none".into())));
    Ok(words)
}

/// Says by which of sshd's lists a user is shut out, if so. From where is not asked.
pub(super) fn shut_out(user: &UserName, lines: &str, groups: &[String]) -> Option<String> {
    let listed = |word: &str| -> Vec<&str> {
        let pairs = lines.lines().filter_map(|line| line.split_once(' '));
        pairs.filter(|(name, _)| *name == word).map(|(_, pattern)| pattern).collect()
    };
    let is_user = |pattern: &str| matches(pattern.split('@').next().unwrap_or_default(), user.as_str());
    let in_group = |pattern: &str| groups.iter().any(|group| matches(pattern, group));
    if let Some(pattern) = listed("denyusers").iter().find(|it| !it.contains('@') && is_user(it)) {
        return Some(format!("`DenyUsers {pattern}` includes the account"));
    }
    // sshd takes a `!` here for a letter of the name (match.c, `match_user`; tried with OpenSSH 9.2).
    let allowed = listed("allowusers");
    if !allowed.is_empty() && !allowed.iter().any(|it| is_user(it)) {
        return Some(format!("`AllowUsers {}` does not include the account", allowed.join(" ")));
    }
    if let Some(pattern) = listed("denygroups").iter().find(|it| in_group(it)) {
        return Some(format!("`DenyGroups {pattern}` includes the account"));
    }
    let allowed = listed("allowgroups");
    let none = !allowed.is_empty() && !allowed.iter().any(|it| in_group(it));
    none.then(|| format!("`AllowGroups {}` does not include the account", allowed.join(" ")))
}

/// Says what becomes of host names in the `from` of a user's keys, and how bad that is, if sshd compares no names: it does so
/// only with `UseDNS yes`, which is not its default (`sshd_config(5)`).
pub(super) fn unresolved(names: &[String], lines: &str) -> Option<(Severity, String)> {
    if names.is_empty() || !lines.lines().any(|line| line == "usedns no") {
        return None;
    }
    let excluded: Vec<&str> = names.iter().map(String::as_str).filter(|it| it.starts_with('!')).collect();
    let said = |what: String| format!("with `UseDNS no`, sshd looks up no host names: {what}");
    Some(if excluded.is_empty() {
        (Severity::Warning, said(format!("{} in `from` matches no client", names.join(", "))))
    } else {
        (Severity::Error, said(format!("`{}` in `from` excludes nobody", excluded.join("`, `"))))
    })
}

/// Lists why sshd refuses a user whom its lists of users let in, each with what to do.
pub(super) fn refusals(keys: &[String], lines: &str) -> Vec<(String, &'static str)> {
    let value = |word: &str| {
        let pairs = lines.lines().filter_map(|line| line.split_once(' '));
        pairs.filter(|(name, _)| *name == word).map(|(_, value)| value).next()
    };
    let mut found = Vec::new();
    if value("maxsessions") == Some("0") {
        found.push((
            "`MaxSessions 0` allows no session on a connection".to_owned(),
            "set `MaxSessions` to 1 or more for this account",
        ));
    }
    if value("refuseconnection") == Some("yes") {
        found.push((
            "`RefuseConnection yes` ends each connection".to_owned(),
            "limit that block to other users (`Match User`)",
        ));
    }
    let types: BTreeSet<&str> = keys.iter().filter_map(|key| key.split(' ').next()).collect();
    if let Some(accepted) = value("pubkeyacceptedalgorithms").or(value("pubkeyacceptedkeytypes")) {
        let is_accepted = |kind: &&str| {
            let rsa = ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"];
            let algorithms = if *kind == "ssh-rsa" { rsa.as_slice() } else { std::slice::from_ref(kind) };
            algorithms.iter().any(|it| accepted.split(',').any(|pattern| matches(pattern, it)))
        };
        for kind in types.into_iter().filter(|kind| !is_accepted(kind)) {
            found.push((
                format!("`PubkeyAcceptedAlgorithms` names no algorithm for a key of type {kind}"),
                "add the algorithm there, or give the client a key of another type",
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_shut_out_is_told() {
        let user: UserName = "web01".parse().unwrap();
        for (lines, why) in [
            ("", None),
            ("allowusers root\nallowusers web*\n", None),
            ("allowusers web01@10.0.0.*\n", None),
            ("allowusers root\nallowusers me\n", Some("`AllowUsers root me` does not include the account")),
            // An exception for a person, and a letter for sshd.
            ("allowusers !web01\nallowusers *\n", None),
            ("allowusers *,!web01\n", Some("`AllowUsers *,!web01` does not include the account")),
            ("denyusers !web01\n", None),
            ("denyusers web0?\n", Some("`DenyUsers web0?` includes the account")),
            ("denyusers web01@10.0.0.1\n", None),
            ("allowgroups clients\n", None),
            (
                "allowgroups ssh\nallowgroups adm\n",
                Some("`AllowGroups ssh adm` does not include the account"),
            ),
            ("denygroups clients\n", Some("`DenyGroups clients` includes the account")),
        ] {
            let groups = ["web01".to_owned(), "clients".to_owned()];
            assert_eq!(shut_out(&user, lines, &groups).as_deref(), why, "{lines}");
        }
    }

    #[test]
    fn what_refuses_a_key_is_told() {
        let (ed25519, rsa) = ("ssh-ed25519 AAAA".to_owned(), "ssh-rsa BBBB".to_owned());
        let keys = [ed25519, rsa];
        for (lines, whys) in [
            ("maxsessions 10\npubkeyacceptedalgorithms ssh-ed25519,rsa-sha2-256\n", &[][..]),
            ("maxsessions 0\n", &["MaxSessions 0"]),
            ("refuseconnection no\n", &[]),
            ("refuseconnection yes\n", &["RefuseConnection yes"]),
            ("pubkeyacceptedalgorithms rsa-sha2-512\n", &["key of type ssh-ed25519"]),
            ("pubkeyacceptedkeytypes ssh-ed*\n", &["key of type ssh-rsa"]),
        ] {
            let found = refusals(&keys, lines);
            assert_eq!(found.len(), whys.len(), "{found:?}");
            assert!(found.iter().zip(whys).all(|((said, _), why)| said.contains(why)), "{found:?}");
        }
    }
}
