//! The words of sshd's configuration: those that are written for an account, and those of others that matter to it.

use super::{
    super::{Access, SshUserSpec, authorized_keys::KEYS_OF_ALL, ssh_config::word},
    Says,
};
use crate::model::{BadText, UserName, known_host::matches};

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

/// Lists the words for one account and their values, as they stand in the file.
pub(super) fn words(spec: &SshUserSpec) -> Result<Vec<(&'static str, String)>, BadText> {
    let mut words: Vec<(&str, String)> = ALWAYS.map(|(name, value)| (name, value.to_owned())).into();
    let (tty, chroot) = match spec.access {
        Access::Sftp => ("no", word(&spec.directory)?),
        Access::AppendOnly => ("no", "none".into()),
        Access::Shell => ("yes", "none".into()),
    };
    words.push(("PermitTTY", tty.into()));
    words.push(("ChrootDirectory", chroot));
    // The rest of the line as it stands: no quotes are taken off (tried with OpenSSH 9.2).
    words.push(("ForceCommand", spec.forced_command()?.unwrap_or_else(|| "none".into())));
    Ok(words)
}

/// Says by which of sshd's lists a user is shut out, if so. From where is not asked.
pub(super) fn shut_out(user: &UserName, says: &Says) -> Option<String> {
    let listed = |word: &str| -> Vec<&str> {
        let pairs = says.lines.lines().filter_map(|line| line.split_once(' '));
        pairs.filter(|(name, _)| *name == word).map(|(_, pattern)| pattern).collect()
    };
    let is_user = |pattern: &str| matches(pattern.split('@').next().unwrap_or_default(), user.as_str());
    let in_group = |pattern: &str| says.groups.iter().any(|group| matches(pattern, group));
    if let Some(pattern) = listed("denyusers").iter().find(|it| !it.contains('@') && is_user(it)) {
        return Some(format!("DenyUsers {pattern}"));
    }
    let allowed = listed("allowusers");
    let not = |pattern: &&str| pattern.strip_prefix('!').is_some_and(is_user);
    if !allowed.is_empty() && (allowed.iter().any(not) || !allowed.iter().any(|it| is_user(it))) {
        return Some(format!("AllowUsers {} leaves it out", allowed.join(" ")));
    }
    if let Some(pattern) = listed("denygroups").iter().find(|it| in_group(it)) {
        return Some(format!("DenyGroups {pattern}"));
    }
    let groups = listed("allowgroups");
    let none = !groups.is_empty() && !groups.iter().any(|it| in_group(it));
    none.then(|| format!("AllowGroups {} leaves it out", groups.join(" ")))
}

/// Says whether sshd's own configuration includes a file for everybody: before each `Match`.
pub(super) fn is_included(main: &str, file: &str) -> bool {
    for line in main.lines() {
        let words = line.split([' ', '\t', '=']).map(|it| it.trim_matches('"'));
        let mut words = words.filter(|it| !it.is_empty());
        let first = words.next().unwrap_or_default();
        if first.eq_ignore_ascii_case("match") {
            return false;
        }
        let is = |pattern: &str| {
            let dir = if pattern.starts_with('/') { "" } else { "/etc/ssh/" };
            matches(&format!("{dir}{pattern}"), file)
        };
        if first.eq_ignore_ascii_case("include") && words.any(is) {
            return true;
        }
    }
    false
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
            ("allowusers root\nallowusers me\n", Some("AllowUsers root me leaves it out")),
            ("allowusers !web01\nallowusers *\n", Some("AllowUsers !web01 * leaves it out")),
            ("denyusers web0?\n", Some("DenyUsers web0?")),
            ("denyusers web01@10.0.0.1\n", None),
            ("allowgroups clients\n", None),
            ("allowgroups ssh\nallowgroups adm\n", Some("AllowGroups ssh adm leaves it out")),
            ("denygroups clients\n", Some("DenyGroups clients")),
        ] {
            let says = Says { lines: lines.into(), groups: vec!["web01".into(), "clients".into()] };
            assert_eq!(shut_out(&user, &says).as_deref(), why, "{lines}");
        }
    }

    #[test]
    fn sshd_has_to_include_it_for_everybody() {
        for (main, included) in [
            ("# x\nInclude /etc/ssh/sshd_config.d/*.conf\nPort 22\n", true),
            ("include=\"/etc/ssh/sshd_config.d/*\"\n", true),
            ("Port 22\n\tInclude /a sshd_config.d/*.conf\n", true),
            ("Match User a\nInclude /etc/ssh/sshd_config.d/*.conf\n", false),
            ("#Include /etc/ssh/sshd_config.d/*.conf\n", false),
            ("Include /etc/ssh/other.d/*.conf\n", false),
            ("", false),
        ] {
            assert_eq!(is_included(main, "/etc/ssh/sshd_config.d/00-rlvm.conf"), included, "{main}");
        }
    }
}
