//! The keys by which a client gets into its account here, and what each may do.
//!
//! They lie in a place of root's and not in the account's home: there the account could add to them. What stands in its
//! home is left alone, and is told, since sshd no longer reads it.

mod place;

use std::{borrow::Cow, collections::BTreeSet, fmt::Write};

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use self::place::StrangeEntry;
use self::place::{Place, give, place, strange_entry};
use super::{
    Access, Diff, FileSeen, Finding, Identity, Kind, Look, ManagedFile, Overlap, Removal, Severity,
    SshUserSpec, ssh::RCLONE,
};
use crate::{
    host::{Entry, Observe},
    model::{Address, BadText, HostPath, PublicKey, UserName},
};

/// Where each account's keys lie, `%u` being its name. sshd reads them as that user.
pub(super) const KEYS_OF_ALL: &str = "/etc/ssh/rlvm/keys/%u";

/// Where sshd looks for keys if it is told nothing else, below a home.
const USUAL: [&str; 2] = ["authorized_keys", "authorized_keys2"];

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
    pub others: Vec<OtherKey>,
    /// What is wrong with the directories down to the chroot, in sshd's eyes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsafe_way: Vec<String>,
    /// What the account's directory is on the host.
    #[serde(default, skip_serializing_if = "Place::is_unknown")]
    pub place: Box<Place>,
    /// An entry of its repository that belongs to somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strange_entry: Option<Box<StrangeEntry>>,
    /// Whether there is no such account yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_account: bool,
    /// Whether the program that its command names is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_rclone: bool,
}

/// A line of a file of keys that rlvm does not manage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherKey {
    /// A key, and the file and line that it stands in.
    Key(String, PublicKey),
    /// What cannot be read, and why.
    Unread(String),
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

    /// Reports that a repository holds what belongs to somebody else: the number of an account that was renamed, or
    /// deleted and made again. That is an error, since the next account with the number would own the data; what is
    /// root's is safe, and the client cannot use it.
    fn not_its_own(&self, entry: &StrangeEntry, no_account: bool) -> Finding {
        let (user, path) = (&self.user, &entry.path);
        let owner = match entry.owner.as_str() {
            "root" => "root".to_owned(),
            owner => format!("another account ({owner})"),
        };
        let is_safe = no_account || owner == "root";
        let severity = if is_safe { Severity::Warning } else { Severity::Error };
        let message = format!("{path} belongs to {owner}: {user} cannot use all that its repository holds");
        let first = if no_account { "once the account is there: " } else { "" };
        let repository = self.directory.join("repo").unwrap_or_else(|_| self.directory.clone());
        Finding::new(severity, self.address(), message)
            .remedy(format!("{first}{}", give(user, &repository, entry.mount.as_ref())))
    }

    /// Reads what stands in the account's home.
    fn others(&self, host: &dyn Observe) -> Result<Vec<OtherKey>> {
        let mut found = Vec::new();
        let Some(home) = host.home(&self.user)? else { return Ok(found) };
        for name in USUAL {
            let path = home.join(".ssh")?.join(name)?;
            let unread = |why: &str| OtherKey::Unread(format!("{path} cannot be read: {why}"));
            match host.text(&path)? {
                (Entry::Absent, _) => {}
                (Entry::File(_), Some(text)) => match std::str::from_utf8(&text) {
                    Ok(text) => found.extend(of_lines(&path, text)),
                    Err(_) => found.push(unread("it is no UTF-8 text")),
                },
                (Entry::File(_), None) => found.push(unread("it is far too large")),
                (Entry::Blocked(why), _) => found.push(unread(&why)),
                (other, _) => found.push(unread(&format!("it is {}, no file", other.noun()))),
            }
        }
        Ok(found)
    }

    /// Looks at each directory down to the chroot as sshd does at each login (session.c, `safely_chroot`): root's, and
    /// nobody else's to write.
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

/// Takes the keys of a file's lines; before a key options may stand, in which blanks are quoted.
fn of_lines(path: &HostPath, text: &str) -> Vec<OtherKey> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let of_line = |(number, line): (usize, &str)| {
        let place = format!("{path}:{number}");
        let mut starts = std::iter::once(0).chain(line.match_indices([' ', '\t']).map(|(at, _)| at + 1));
        match starts.find_map(|at| line[at..].replace('\t', " ").parse().ok()) {
            Some(key) => OtherKey::Key(place, key),
            None => OtherKey::Unread(format!("{place} holds no key of a type that rlvm knows")),
        }
    };
    lines.map(of_line).collect()
}

impl Kind for AuthorizedKeys {
    const NAME: &'static str = "authorized_keys";
    type Seen = AuthorizedKeysSeen;

    fn key(&self) -> Cow<'_, str> {
        self.user.as_str().into()
    }

    fn path(&self) -> Option<&HostPath> {
        Some(&self.file.path)
    }

    fn needs(&self) -> Vec<Address> {
        // Not the account: what it is shut in by comes before it.
        let above = std::iter::once(self.directory.clone()).chain(self.directory.ancestors());
        above.map(|dir| Address::new("directory", dir.as_str())).collect()
    }

    fn is_rlvms(&self) -> bool {
        true
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
            no_account: false,
            no_rclone: false,
        };
        if look.leaving {
            return Ok(seen);
        }
        seen.others = self.others(look.host)?;
        seen.place = Box::new(place(look.host, &self.directory)?);
        // What another root holds belongs to whoever makes it, and has its programs later.
        if look.host.is_tree() {
            return Ok(seen);
        }
        seen.no_account = !look.host.has_user(&self.user)?;
        seen.strange_entry =
            strange_entry(look.host, &self.directory.join("repo")?, &self.user)?.map(Box::new);
        match self.access {
            Access::Sftp => seen.unsafe_way = self.unsafe_way(look.host)?,
            Access::AppendOnly => {
                seen.no_rclone = matches!(look.host.entry(&HostPath::fixed(RCLONE))?, Entry::Absent);
            }
            Access::Shell => {}
        }
        Ok(seen)
    }

    fn exists(&self, seen: &AuthorizedKeysSeen) -> bool {
        seen.file != FileSeen::Absent
    }

    fn diff(&self, seen: &AuthorizedKeysSeen) -> Diff {
        self.file.diff(&seen.file)
    }

    fn checks(&self, seen: &AuthorizedKeysSeen, _: Option<&AuthorizedKeysSeen>) -> Vec<Finding> {
        let user = &self.user;
        let warn = |message: String| Finding::new(Severity::Warning, self.address(), message);
        let mut found = Vec::new();
        for other in &seen.others {
            found.extend(match other {
                OtherKey::Unread(why) => Some(warn(why.clone()).remedy(
                    "sshd does not read it for this account any more: declare what is to go on getting in",
                )),
                OtherKey::Key(_, key) if self.keys.contains(key.identity()) => None,
                OtherKey::Key(place, key) => {
                    let comment = key.as_str().strip_prefix(key.identity()).unwrap_or_default();
                    let still = if seen.file == FileSeen::Absent { "would no longer be" } else { "is not" };
                    let message = format!("{}{comment} in {place} {still} let in", key.fingerprint());
                    Some(warn(message).remedy(format!(
                        "declare it in ssh.users.{user}.authorized_keys, or take it out there"
                    )))
                }
            });
        }
        found.extend(seen.strange_entry.as_deref().map(|entry| self.not_its_own(entry, seen.no_account)));
        if seen.no_rclone {
            // R31
            let message = format!("{user} is served by {RCLONE}, and no such program is there");
            found.push(warn(message).remedy("apt install rclone"));
        }
        found
    }

    fn reach(&self, seen: &AuthorizedKeysSeen) -> Vec<Finding> {
        let say = |what: &String| {
            let message = format!("sshd lets nobody in: {what}, on the way to {}'s chroot", self.user);
            let remedy =
                "make it root's and nobody else's to write (chown root, chmod go-w), or declare it so";
            Finding::new(Severity::Error, self.address(), message).remedy(remedy)
        };
        seen.unsafe_way.iter().map(say).collect()
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

    fn removal(&self, seen: &AuthorizedKeysSeen, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        self.file.removal(&seen.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Mode, OneOrMore},
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
            no_account: false,
            no_rclone: false,
        }
    }

    #[test]
    fn each_key_with_what_it_may_do() {
        // R42
        let rclone = "/usr/bin/env -i HOME=/nonexistent /usr/bin/rclone serve restic --stdio --append-only --config /dev/null";
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
            ("/srv/a", Access::AppendOnly, None, format!("restrict,command=\"{rclone} /srv/a/repo\"")),
            (
                "/srv/a b'\"c\\",
                Access::AppendOnly,
                None,
                format!(r#"restrict,command="{rclone} '/srv/a b'\''\"c\/repo'""#),
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
        let others = of_lines(&path, &text);
        assert_eq!(others.len(), 3, "{others:?}");
        let now = AuthorizedKeysSeen { others, ..seen() };
        let said: Vec<String> = it.checks(&now, None).into_iter().map(|it| it.message).collect();
        let print = TWO.parse::<PublicKey>().unwrap().fingerprint();
        let expected = [
            format!("{print} her laptop in {path}:4 would no longer be let in"),
            format!("{path}:5 holds no key of a type that rlvm knows"),
        ];
        assert_eq!(said, expected);
        let (root, mode) = ("root".to_owned(), Mode::new(0o644));
        let file = FileSeen::File { owner: root.clone(), group: root, mode, text: it.file.text.clone() };
        let later = it.checks(&AuthorizedKeysSeen { file, ..now }, None);
        assert!(later[0].message.ends_with(" is not let in"), "{later:?}");
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
            ("web00", None, true, Severity::Warning, format!("once the account is there: {give}")),
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
        let found = it.reach(&AuthorizedKeysSeen { unsafe_way: way, ..seen() });
        assert!(found[0].severity == Severity::Error && found[0].message.contains("/srv belongs to root"));
        let needs: Vec<String> = it.needs().iter().map(ToString::to_string).collect();
        let expected = ["directory:/srv/a", "directory:/srv"];
        assert_eq!(needs[..2], expected);
    }
}
