//! The keys with which a client logs in to its account here, and the restrictions of each key.
//!
//! The keys are in a directory of root, because the account could add keys to its own home. rlvm leaves keys in the
//! home alone and reports them, since sshd no longer reads them.

mod home;
mod place;

use std::{borrow::Cow, collections::BTreeSet, fmt::Write};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use self::place::{Place, place, planted_entry, strange_entry};
pub use self::{home::HomeEntry, place::StrangeEntry};
use super::{
    Access, FileSeen, Finding, Identity, Kind, Look, ManagedFile, Overlap, Reachability, RemovalRule,
    Severity, SshUserSpec, managed_file::kind_is, ssh::RCLONE,
};
use crate::{
    effect::quote,
    host::{Entry, Observe},
    model::{Address, BadText, HostPath, UserName},
};

/// Where each account's keys lie, `%u` being its name. sshd reads them as that user.
pub(super) const KEYS_OF_ALL: &str = "/etc/ssh/rlvm/keys/%u";

/// The keys of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizedKeys {
    /// Whose.
    pub user: UserName,
    file: Box<ManagedFile>,
    /// The keys that may log in, without comments.
    keys: BTreeSet<String>,
    /// Where the account is, and what it may do there.
    directory: HostPath,
    access: Access,
}

/// What was seen of an account's keys, and of what else sshd asks for before it lets anybody in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizedKeysSeen {
    /// The file.
    pub file: FileSeen,
    /// What stands in the account's home, where it stands there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<HomeEntry>,
    /// Directories down to the account's own that users other than root can write to, with owner and mode.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsafe_way: Vec<String>,
    /// What the account's directory is on the host.
    #[serde(default, skip_serializing_if = "Place::is_unknown")]
    pub place: Box<Place>,
    /// An entry of its repository that belongs to somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strange_entry: Option<Box<StrangeEntry>>,
    /// A link or special file in the repository of an account that may only add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<HostPath>,
    /// Whether there is no such account yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_account: bool,
    /// Whether the program that its command names is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_rclone: bool,
}

impl AuthorizedKeys {
    /// Writes the keys of an account.
    ///
    /// # Errors
    ///
    /// If its directory's path would be too long.
    pub fn new(user: UserName, spec: &SshUserSpec) -> Result<Self, BadText> {
        let path: HostPath = KEYS_OF_ALL.replace("%u", user.as_str()).parse()?;
        // All that can be done with a connection is taken away first, what a newer sshd adds too.
        let may = match spec.forced_command()? {
            Some(command) => format!("restrict,command=\"{}\"", quoted(&command)),
            None => "restrict,pty".into(),
        };
        let mut text = format!("# {user}; made by rlvm, which puts back what is changed by hand.\n");
        for key in &*spec.authorized_keys {
            text.push_str(&may);
            if let Some(from) = &key.from {
                let _ = write!(text, ",from=\"{}\"", quoted(from.as_str()));
            }
            let _ = writeln!(text, " {}", key.key);
        }
        let keys = spec.authorized_keys.iter().map(|key| key.key.identity().to_owned()).collect();
        let (directory, access) = (spec.directory.clone(), spec.access);
        Ok(Self { user, file: Box::new(ManagedFile::of_root(path, text)), keys, directory, access })
    }

    fn address(&self) -> Address {
        Address::new(Self::NAME, self.user.as_str())
    }

    /// Reports an entry of the account's home. `is_held`: whether the account's keys are in their own place already.
    fn in_home(&self, entry: &HomeEntry, is_held: bool) -> Option<Finding> {
        let user = &self.user;
        let say = |severity, message: String| Finding::new(severity, self.address(), message);
        Some(match entry {
            HomeEntry::Unread(why) => say(Severity::Warning, why.clone()).remedy(
                "sshd no longer reads it for this account: declare the keys that must still be accepted",
            ),
            HomeEntry::Key(_, key) if self.keys.contains(key.identity()) => return None,
            HomeEntry::Key(place, key) => {
                let comment = key.as_str().strip_prefix(key.identity()).unwrap_or_default();
                let still = if is_held { "is not" } else { "would no longer be" };
                let message = format!("{}{comment} in {place} {still} accepted", key.fingerprint());
                say(Severity::Warning, message).remedy(format!(
                    "declare it in ssh.users.{user}.authorized_keys, or remove it from that file"
                ))
            }
            HomeEntry::Environment(path) => {
                let severity = if self.access == Access::Shell { Severity::Warning } else { Severity::Error };
                let message = format!(
                    "{path} can set variables such as LD_PRELOAD at a login of {user}: with them the client can run \
                     programs of its own instead of the one that is forced"
                );
                say(severity, message).remedy(format!("rm {}", quote(path.as_str())))
            }
            HomeEntry::Scheduled(_) if self.access == Access::Shell => return None,
            HomeEntry::Scheduled(path) => {
                let message = format!(
                    "{path} starts programs of {user} without a login: they can do what its access does not allow, such \
                     as delete backups"
                );
                say(Severity::Error, message).remedy(format!("rm {}", quote(path.as_str())))
            }
        })
    }

    /// Looks at each directory down to the account's own as sshd does before a chroot (session.c, `safely_chroot`): root's,
    /// and nobody else's to write.
    fn unsafe_way(&self, host: &dyn Observe) -> Result<Vec<String>> {
        let mut way: Vec<HostPath> =
            std::iter::once(self.directory.clone()).chain(self.directory.ancestors()).collect();
        way.reverse();
        let mut found = Vec::new();
        for dir in way {
            match host.entry(&dir)? {
                Entry::Directory(meta) if meta.owner != "root" || meta.mode.bits() & 0o022 != 0 => {
                    found.push(format!("{dir} belongs to {} and has mode {}", meta.owner, meta.mode));
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Writes a value as sshd reads it between quotes: only `\"` means something else there (misc.c, `opt_dequote`).
fn quoted(text: &str) -> String {
    text.replace('"', "\\\"")
}

impl Kind for AuthorizedKeys {
    const NAME: &'static str = "authorized_keys";
    type Seen = AuthorizedKeysSeen;

    kind_is!(file, file);

    fn key(&self) -> Cow<'_, str> {
        self.user.as_str().into()
    }

    fn needs(&self) -> Vec<Address> {
        // Not the account: what it is shut in by comes before it.
        let above = std::iter::once(self.directory.clone()).chain(self.directory.ancestors());
        above.map(|dir| Address::new("directory", dir.as_str())).collect()
    }

    fn removal_rule(&self) -> RemovalRule {
        RemovalRule::Exclusive
    }

    fn lets_in(&self) -> bool {
        true
    }

    fn observe(&self, look: &Look<'_, AuthorizedKeysSeen>) -> Result<AuthorizedKeysSeen> {
        let (file, others, unsafe_way) = (self.file.observe(look.host)?, Vec::new(), Vec::new());
        let mut seen = AuthorizedKeysSeen {
            file,
            others,
            unsafe_way,
            place: Box::default(),
            strange_entry: None,
            planted: None,
            no_account: false,
            no_rclone: false,
        };
        if look.leaving {
            return Ok(seen);
        }
        seen.others = home::entries(look.host, &self.user, &self.directory)?;
        seen.place = Box::new(place(look.host, &self.directory)?);
        // What another root holds belongs to whoever makes it, and has its programs later.
        if look.host.is_tree() {
            return Ok(seen);
        }
        seen.no_account = !look.host.has_user(&self.user)?;
        seen.strange_entry =
            strange_entry(look.host, &self.directory.join("repo")?, &self.user)?.map(Box::new);
        seen.unsafe_way = self.unsafe_way(look.host)?;
        if self.access == Access::AppendOnly {
            seen.planted = planted_entry(look.host.lenient().as_ref(), &self.directory.join("repo")?);
            seen.no_rclone = matches!(look.host.entry(&HostPath::fixed(RCLONE))?, Entry::Absent);
        }
        Ok(seen)
    }

    fn checks(&self, seen: &AuthorizedKeysSeen, _: Option<&AuthorizedKeysSeen>) -> Vec<Finding> {
        let user = &self.user;
        let warn = |message: String| Finding::new(Severity::Warning, self.address(), message);
        let mut found = Vec::new();
        let is_held = seen.file != FileSeen::Absent;
        found.extend(seen.others.iter().filter_map(|other| self.in_home(other, is_held)));
        found.extend(seen.strange_entry.as_deref().map(|entry| self.not_its_own(entry, seen.no_account)));
        found.extend(seen.planted.as_ref().map(|path| {
            let message = format!(
                "{path} is a symbolic link or a special file: through it {user} could delete backups or reach files \
                 outside its repository"
            );
            Finding::new(Severity::Error, self.address(), message).remedy(format!("rm {}", quote(path.as_str())))
        }));
        if seen.no_rclone {
            // R31
            let message = format!("{user} needs {RCLONE}, which is not installed");
            found.push(warn(message).remedy("apt install rclone"));
        }
        found
    }

    fn way(&self, seen: &AuthorizedKeysSeen) -> Reachability {
        let user = &self.user;
        let say = |what: &String| {
            let (severity, message) = match self.access {
                Access::Sftp => (
                    Severity::Error,
                    format!(
                        "sshd refuses every login of {user}: {what}, and is part of the path of its chroot"
                    ),
                ),
                // sshd does not look at the way. Whoever can write there can put another repository in this one's place.
                Access::AppendOnly | Access::Shell => {
                    let message =
                        format!("{what}: users other than root can replace the repository of {user}");
                    (Severity::Warning, message)
                }
            };
            let remedy =
                "let only root own and write it (chown root, chmod go-w), or declare it so in the state";
            Finding::new(severity, self.address(), message).remedy(remedy)
        };
        Reachability { findings: seen.unsafe_way.iter().map(say).collect(), ..Reachability::default() }
    }

    fn identity(&self, seen: &AuthorizedKeysSeen) -> Option<Identity> {
        let Place { things, within, holds } = Place::clone(&seen.place);
        let overlap = Overlap {
            noun: "directory",
            consequence: "one client could reach the backups of the other",
            remedy: "give each account a directory of its own, beside the others",
        };
        let (at, shared) = (self.directory.to_string(), self.user.to_string());
        (!things.is_empty()).then_some(Identity { at, things, within, holds, shared, overlap })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Mode, OneOrMore, PublicKey},
        resource::{AuthorizedKey, OnRemove},
    };

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKlJ4yTzGq3x0m2bq5vT8yq7lq1m4E3v1xw0XcQ9mZpQ";

    fn declared(dir: &str, access: Access, from: Option<&str>) -> AuthorizedKeys {
        let from = from.map(|from| from.parse().unwrap());
        let key = AuthorizedKey { key: format!("{KEY} a b").parse().unwrap(), from };
        let spec = SshUserSpec {
            directory: dir.parse().unwrap(),
            access,
            authorized_keys: OneOrMore::of(key, []),
            prune: None,
            adopt: false,
            protect: false,
            on_remove: OnRemove::Default,
        };
        AuthorizedKeys::new("web01".parse().unwrap(), &spec).unwrap()
    }

    fn seen() -> AuthorizedKeysSeen {
        let file = FileSeen::Absent;
        AuthorizedKeysSeen {
            file,
            others: Vec::new(),
            unsafe_way: Vec::new(),
            place: Box::default(),
            strange_entry: None,
            planted: None,
            no_account: false,
            no_rclone: false,
        }
    }

    #[test]
    fn each_key_with_what_it_may_do() {
        // R42
        let adds = |repo: &str| {
            format!(
                "/usr/bin/flock --shared --no-fork --wait 20 --conflict-exit-code 75 {repo} /usr/bin/env -i HOME=/nonexistent /usr/bin/rclone serve restic --stdio --append-only --config /dev/null {repo} || {{ CODE=$?; [ $CODE != 75 ] || {{ echo the server prunes this repository now, try again later >&2; sleep 1; }}; exit $CODE; }}"
            )
        };
        let from = "10.0.0.12,*.lan";
        for (dir, access, from, options) in [
            ("/srv/a", Access::Sftp, None, "restrict,command=\"internal-sftp\"".to_owned()),
            (
                "/srv/a",
                Access::Sftp,
                Some(from),
                format!("restrict,command=\"internal-sftp\",from=\"{from}\""),
            ),
            ("/srv/a", Access::Shell, None, "restrict,pty".into()),
            ("/srv/a", Access::AppendOnly, None, format!("restrict,command=\"{}\"", adds("/srv/a/repo"))),
            (
                "/srv/a b'\"c\\",
                Access::AppendOnly,
                None,
                format!("restrict,command=\"{}\"", adds(r#"'/srv/a b'\''\"c\/repo'"#)),
            ),
        ] {
            let it = declared(dir, access, from);
            let line = it.file.text.lines().nth(1).unwrap();
            assert_eq!(line, format!("{options} {KEY} a b"));
            assert_eq!((it.file.path.as_str(), &*it.key()), ("/etc/ssh/rlvm/keys/web01", "web01"));
        }
    }

    #[test]
    fn keys_in_the_accounts_home_are_told() {
        let path: HostPath = "/home/a/.ssh/authorized_keys".parse().unwrap();
        let options = "from=\"a b\",command=\"echo \\\"x\\\"\"";
        let text = format!("# mine\n\n{KEY} declared\n  {options}\t{TWO}  her laptop\nssh-dss AAAA old\n");
        let it = declared("/srv/a", Access::Sftp, None);
        let others = home::of_lines(&path, &text);
        assert_eq!(others.len(), 3, "{others:?}");
        let now = AuthorizedKeysSeen { others, ..seen() };
        let said: Vec<String> = it.checks(&now, None).into_iter().map(|it| it.message).collect();
        let print = TWO.parse::<PublicKey>().unwrap().fingerprint();
        let expected = [
            format!("{print} her laptop in {path}:4 would no longer be accepted"),
            format!("{path}:5 has no key of a type that rlvm knows"),
        ];
        assert_eq!(said, expected);
        let (root, mode) = ("root".to_owned(), Mode::new(0o644));
        let file = FileSeen::File { owner: root.clone(), group: root, mode, text: it.file.text.clone() };
        let later = it.checks(&AuthorizedKeysSeen { file, ..now }, None);
        assert!(later[0].message.ends_with(" is not accepted"), "{later:?}");
    }

    #[test]
    fn files_that_set_variables_are_an_error() {
        for (access, severity) in [
            (Access::AppendOnly, Severity::Error),
            (Access::Sftp, Severity::Error),
            (Access::Shell, Severity::Warning),
        ] {
            let others = vec![HomeEntry::Environment("/home/a b/.pam_environment".parse().unwrap())];
            let found =
                declared("/srv/a", access, None).checks(&AuthorizedKeysSeen { others, ..seen() }, None);
            assert_eq!((found.len(), found[0].severity), (1, severity), "{found:?}");
            assert_eq!(found[0].remedy.as_deref(), Some("rm '/home/a b/.pam_environment'"));
        }
    }

    #[test]
    fn a_repository_of_another_account_is_an_error_with_the_command_that_gives_it() {
        let it = declared("/srv/a b", Access::Sftp, None);
        let give = "chown -R --no-dereference web01:web01 '/srv/a b/repo'";
        let mounted = format!("`umount '/srv/a b/repo/x'`, which is not the account's; then {give}");
        for (owner, mount, no_account, severity, remedy) in [
            ("999", None, false, Severity::Error, give.to_owned()),
            ("999", Some("/srv/a b/repo/x"), false, Severity::Error, mounted),
            ("root", None, false, Severity::Warning, give.to_owned()),
            ("web00", None, true, Severity::Warning, format!("when the account exists: {give}")),
        ] {
            let path = "/srv/a b/repo/data".parse().unwrap();
            let (owner, mount) = (owner.to_owned(), mount.map(|it: &str| it.parse().unwrap()));
            let strange_entry = Some(Box::new(StrangeEntry { path, owner, mount }));
            let found = it.checks(&AuthorizedKeysSeen { strange_entry, no_account, ..seen() }, None);
            assert_eq!((found.len(), found[0].severity), (1, severity), "{found:?}");
            assert_eq!(found[0].remedy.as_ref(), Some(&remedy));
        }
    }

    #[test]
    fn what_stands_in_sshds_way_is_told() {
        let it = declared("/srv/a", Access::AppendOnly, None);
        let missing = AuthorizedKeysSeen { no_rclone: true, ..seen() };
        assert_eq!(it.checks(&missing, None)[0].remedy.as_deref(), Some("apt install rclone")); // R31
        let it = declared("/srv/a", Access::Sftp, None);
        let way = vec!["/srv belongs to root and has mode 0775".to_owned()];
        let found = it.way(&AuthorizedKeysSeen { unsafe_way: way, ..seen() }).findings;
        assert!(found[0].severity == Severity::Error && found[0].message.contains("/srv belongs to root"));
        let it = declared("/srv/a", Access::AppendOnly, None);
        let way = vec!["/srv belongs to root and has mode 0775".to_owned()];
        let found = it.way(&AuthorizedKeysSeen { unsafe_way: way, ..seen() }).findings;
        let said = "/srv belongs to root and has mode 0775: users other than root can replace the repository of web01";
        assert!(found[0].severity == Severity::Warning && found[0].message == said, "{found:?}");
        let needs: Vec<String> = it.needs().iter().map(ToString::to_string).collect();
        let expected = ["directory:/srv/a", "directory:/srv"];
        assert_eq!(needs[..2], expected);
    }
}
