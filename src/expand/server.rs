//! Expands the server side of SSH: directories, keys and sshd rules of the accounts through which clients store here.

use std::collections::BTreeMap;

use super::{Declared, Expanded, schedules::take};
use crate::{
    destination::{Kind as Place, Sftp},
    effect::Owner,
    model::{Address, BadText, GroupName, HostPath, Mode, Scope, UserName},
    resource::{
        Access, AuthorizedKeys, Directory, Finding, LeftoverAccess, Quota, Resource, Severity, SshUserSpec,
        SshdConfig,
    },
    state::State,
};

pub(super) fn add(state: &State, scope: &Scope, expanded: &mut Expanded) {
    let mut users: BTreeMap<&UserName, &SshUserSpec> = BTreeMap::new();
    for (user, spec) in &state.ssh.users {
        if let Some(wrong) = refused(state, user) {
            expanded.findings.push(wrong);
            continue;
        }
        // A path that sshd cannot be told is named, and the others have theirs.
        let nameable = SshdConfig::new(&BTreeMap::from([(user, spec)])).map(drop);
        match nameable.and_then(|()| account(user, spec, expanded)) {
            Ok(()) => drop(users.insert(user, spec)),
            Err(bad) => {
                let finding = error(user, bad.to_string());
                expanded.findings.push(match bad.remedy {
                    Some(remedy) => finding.remedy(remedy),
                    None => finding,
                });
            }
        }
    }
    if let (false, Ok(config)) = (users.is_empty(), SshdConfig::new(&users)) {
        let adopt = users.values().any(|spec| spec.adopt);
        let protect = users.values().any(|spec| spec.protect);
        expanded.add(Declared { adopt, protect, ..Declared::plain(config) });
    }
    if users.is_empty() && *scope == Scope::Host {
        take(expanded, "ssh.users", LeftoverAccess::new().map(Declared::plain));
    }
    for (name, destination) in &state.destinations {
        if let Place::Sftp(sftp) = &destination.kind {
            let place = format!("destinations.{name}.sftp.path");
            let outside = outside_of_chroot(state, sftp);
            expanded.findings.extend(
                outside.map(|(what, remedy)| Finding::new(Severity::Error, place, what).remedy(remedy)),
            );
        }
    }
}

fn error(user: &UserName, message: impl Into<String>) -> Finding {
    Finding::new(Severity::Error, format!("ssh.users.{user}"), message)
}

/// Says why a user cannot be a client's account: what it may do there, it could do to this host's own backups.
fn refused(state: &State, user: &UserName) -> Option<Finding> {
    let own = "give the client an account of its own, like `backup-web01`";
    let (job, _) = state.jobs.iter().find(|(_, job)| job.user == *user)?;
    let message = format!("the job `{job}` runs as {user}, whose secrets a client must not reach");
    Some(error(user, message).remedy(own))
}

/// Declares what one account has for itself.
fn account(user: &UserName, spec: &SshUserSpec, expanded: &mut Expanded) -> Result<(), BadText> {
    let group: GroupName = user.as_str().parse()?;
    let own = Owner { user: user.clone(), group };
    directory(user, spec, (&spec.directory, Owner::root(), 0o755), expanded);
    directory(user, spec, (&spec.repo()?, own, 0o700), expanded);
    let (adopt, protect) = (spec.adopt, spec.protect);
    let keys = AuthorizedKeys::new(user.clone(), spec)?;
    expanded.add(Declared { adopt, protect, ..Declared::plain(keys) });
    expanded.add(Declared::plain(Quota { user: user.clone(), directory: spec.directory.clone() }));
    Ok(())
}

/// Declares a directory, unless the state has a word of its own for it; that must be one that sshd and the account can
/// live with.
fn directory(
    user: &UserName,
    spec: &SshUserSpec,
    (path, owner, mode): (&HostPath, Owner, u32),
    expanded: &mut Expanded,
) {
    let address = Address::new("directory", path.as_str());
    let mode = Mode::new(mode);
    let declared = expanded.resources.get(&address).map(|it| &it.resource);
    // A mount point that says nothing of its owner gets what sshd asks for.
    let mounted = matches!(declared, Some(Resource::Directory(there)) if there.mounted);
    if let Some(Resource::Directory(there)) = declared
        && !there.implied
    {
        if there.owner.user != owner.user || there.mode.bits() & 0o022 != 0 {
            let message = format!(
                "{path} is declared with owner {} and mode {}, but only {} may own and write it",
                there.owner.user, there.mode, owner.user
            );
            let Owner { user: of, group } = &owner;
            let remedy = format!("directories.{path}: {{ owner: {of}, group: {group}, mode: \"{mode}\" }}");
            expanded.findings.push(error(user, message).remedy(remedy));
        }
        return;
    }
    let made = Directory { path: path.clone(), owner, mode, mounted, implied: false, may_be_absent: false };
    let declared = Declared { adopt: spec.adopt, protect: spec.protect, ..Declared::plain(made) };
    expanded.resources.insert(address, declared);
}

/// Says what is wrong with a repository that this very host keeps for an account shut into its directory, and what to
/// write (R32).
fn outside_of_chroot(state: &State, sftp: &Sftp) -> Option<(String, String)> {
    let spec = super::ssh::declared(state, &sftp.host);
    let address = spec.and_then(|spec| spec.address.as_ref()).unwrap_or(&sftp.host);
    if !is_this_host(state, address.as_str()) {
        return None;
    }
    let user = sftp.user.as_ref().or_else(|| spec.and_then(|spec| spec.user.as_ref()))?;
    let client = state.ssh.users.get(user).filter(|client| client.access == Access::Sftp)?;
    let parts = |path: &str| -> Vec<String> {
        path.split('/').filter(|part| !part.is_empty() && *part != ".").map(ToOwned::to_owned).collect()
    };
    let (path, dir) = (parts(sftp.path.as_str()), parts(client.directory.as_str()));
    let is_repo = |path: &[String]| path.first().is_some_and(|part| part == "repo");
    if sftp.path.as_str().starts_with('/') && is_repo(&path) && !path.iter().any(|part| part == "..") {
        return None;
    }
    let inside = path.strip_prefix(dir.as_slice()).unwrap_or_default();
    let inside = if is_repo(inside) { inside.join("/") } else { "repo".into() };
    let message = format!(
        "{user} is shut into {}, and sees that as /: it can write in /repo and nowhere else",
        client.directory
    );
    Some((message, format!("write `path: /{inside}`")))
}

/// Says whether a name or address is this host's, as far as words can tell.
fn is_this_host(state: &State, name: &str) -> bool {
    let host = state.host.as_str();
    let short = host.split('.').next().unwrap_or(host);
    [host, short, "localhost", "127.0.0.1", "::1"].iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";

    fn expanded(yaml: &str) -> Expanded {
        let keys = format!("authorized_keys: [{{ key: {KEY} }}]");
        let text = format!("version: 1\nhost: nas.lan\n{}", yaml.replace("KEYS", &keys));
        let loaded = crate::state::load("state", &mut |_| Ok(text.clone()));
        let state = loaded.unwrap_or_else(|_| panic!("{text}")).state;
        let mut expanded = Expanded::default();
        super::super::directories(&state, &mut expanded);
        add(&state, &Scope::Host, &mut expanded);
        expanded
    }

    /// Says what is found: each one's place, and a part of it or of its remedy.
    #[track_caller]
    fn case(yaml: &str, expected: &[(&str, &str)]) {
        let found = expanded(yaml).findings;
        assert_eq!(found.len(), expected.len(), "{yaml}: {found:#?}");
        for (place, word) in expected {
            let is = |it: &Finding| {
                let said = format!("{} {}", it.message, it.remedy.as_deref().unwrap_or_default());
                it.address == *place && said.contains(word)
            };
            assert!(found.iter().any(is), "{yaml}: {word}: {found:#?}");
        }
    }

    #[test]
    fn each_account_has_what_it_needs() {
        // R42
        let users = "{ a: { directory: /srv/a, KEYS }, b: { directory: /srv/b, access: shell, KEYS } }";
        let it = expanded(&format!("ssh: {{ users: {users} }}"));
        let addresses: Vec<&str> = it.resources.keys().map(Address::as_str).collect();
        let expected = [
            "authorized_keys:a",
            "authorized_keys:b",
            "directory:/srv/a",
            "directory:/srv/a/repo",
            "directory:/srv/b",
            "directory:/srv/b/repo",
            "quota:a",
            "quota:b",
            "sshd_config:/etc/ssh/sshd_config.d/00-rlvm.conf",
        ];
        assert_eq!(addresses, expected);
        let owners = |path: &str| match &it.resources[&Address::new("directory", path)].resource {
            Resource::Directory(it) => format!("{} {}", it.owner, it.mode),
            other => panic!("{other:?}"),
        };
        assert_eq!((owners("/srv/a"), owners("/srv/a/repo")), ("root:root 0755".into(), "a:a 0700".into()));
        // Without accounts, what may be left of some is looked for.
        let none = expanded("ssh: {}");
        let addresses: Vec<&str> = none.resources.keys().map(Address::as_str).collect();
        assert_eq!(addresses, ["leftover_access:/etc/ssh/sshd_config.d/00-rlvm.conf"]);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let job = "destinations: { v: { local: { path: /r }, password_file: /p } }\n\
            jobs: { j: { sources: [{ path: /etc }], to: [v], user: a } }\n";
        let user = "ssh: { users: { a: { directory: /srv/a, KEYS } } }\n";
        case(&format!("{user}{job}"), &[("ssh.users.a", "the job `j` runs as a")]);
        let bad = &[("ssh.users.a", "cannot name")];
        case("ssh: { users: { a: { directory: '/srv/a\"b', KEYS } } }", bad);
    }

    #[test]
    fn a_word_of_ones_own_for_a_directory_comes_first() {
        for (directories, word) in [
            ("/srv/a: { mode: \"0711\" }, /srv/a/repo: { owner: a, group: a }", None),
            ("/srv/a: { mode: \"0775\" }", Some("mode: \"0755\" }")),
            ("/srv/a: { owner: a }", Some("only root may own and write it")),
            ("/srv/a/repo: { mode: \"0700\" }", Some("only a may own and write it")),
        ] {
            let user = "ssh: { users: { a: { directory: /srv/a, KEYS } } }";
            let expected: Vec<(&str, &str)> = word.map(|word| ("ssh.users.a", word)).into_iter().collect();
            case(&format!("{user}\ndirectories: {{ {directories} }}"), &expected);
        }
    }

    #[test]
    fn a_path_on_this_host_is_held_against_the_chroot() {
        // R32
        for (place, remedy) in [
            ("user: a, host: nas.lan, path: /repo", None),
            ("user: a, host: NAS, path: //repo/x", None),
            ("user: a, host: other.lan, path: /srv/a/repo", None),
            ("user: b, host: nas, path: /srv/b/repo", None),
            ("user: me, host: nas, path: /srv/a/repo", None),
            ("user: a, host: 127.0.0.1, path: /srv/a/repo", Some("`path: /repo`")),
            ("user: a, host: localhost, path: /srv/a/repo/x", Some("`path: /repo/x`")),
            ("user: a, host: nas, path: /other", Some("`path: /repo`")),
            ("user: a, host: nas, path: repo/x", Some("`path: /repo`")),
            ("user: a, host: nas, path: /repo/../x", Some("`path: /repo`")),
            ("host: alias, path: /srv/a/repo/x", Some("`path: /repo/x`")),
        ] {
            let yaml = format!(
                "ssh:\n  users: {{ a: {{ directory: /srv/a, KEYS }}, b: {{ directory: /srv/b, access: shell, KEYS }} }}\n  \
                 hosts: {{ alias: {{ address: nas.lan, user: a, host_keys: [{KEY}] }} }}\n\
                 destinations: {{ v: {{ sftp: {{ {place} }}, password_file: /p }} }}\n"
            );
            let expected = remedy.map(|remedy| ("destinations.v.sftp.path", remedy));
            case(&yaml, expected.as_slice());
        }
    }
}
