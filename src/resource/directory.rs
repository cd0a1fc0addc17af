//! A directory with owner, group and mode. It can be declared as a mount point.

use std::borrow::Cow;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Account, Attribute, Diff, Edit, Finding, Kind, Look, OnRemove, Reachability, Removal, Resource, Severity,
    look::names_of,
};
use crate::{
    effect::{Op, Owner},
    host::Entry,
    model::{Address, GroupName, HostPath, Mode, UserName, field::is_default},
};

/// A directory that is to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DirectorySpec {
    /// The user that owns it. Default: root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserName>,
    /// The group that owns it. Default: root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Its permission bits in octal, in quotes. Default: "0700".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The directory is a mount point. If nothing is mounted there, rlvm creates and stores nothing below it. rlvm
    /// leaves owner, group and mode of the mounted file system as they are. If you set one of the three, the other two
    /// get their defaults. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub mounted: bool,
    /// Takes over an existing directory with another owner or mode. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would remove it, until an apply without `protect`. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub protect: bool,
    /// What happens when the block is taken out: `default` and `delete` delete it if rlvm made it and it is empty,
    /// `forget` leaves it. Default: default.
    #[serde(skip_serializing_if = "is_default")]
    pub on_remove: OnRemove,
}

impl DirectorySpec {
    /// Returns who owns it.
    pub fn owner(&self) -> Owner {
        let user = self.owner.clone().unwrap_or_else(UserName::root);
        Owner { user, group: self.group.clone().unwrap_or_else(GroupName::root) }
    }

    /// Returns its permission bits.
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or(Mode::new(0o700))
    }

    /// Returns whether its owner, group and mode are left as they are.
    pub fn is_left_as_it_is(&self) -> bool {
        self.mounted && self.owner.is_none() && self.group.is_none() && self.mode.is_none()
    }
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Where.
    pub path: HostPath,
    /// To whom it belongs.
    pub owner: Owner,
    /// Its permission bits.
    pub mode: Mode,
    /// Whether it must be a mount point. It is then never made: that would be on the disk below.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mounted: bool,
    /// Whether it is only needed by something else: made if there is none, and else left as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub implied: bool,
    /// Whether the directory may be unmounted, because only destinations with `may_be_absent` lie on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_absent: bool,
}

/// What was seen of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectorySeen {
    /// What is there.
    pub there: There,
    /// Whether it is a mount point; looked at only where that is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounted: Option<bool>,
    /// Whether it lies in a tree that is not the running system.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tree: bool,
    /// Why apply would leave its owner and mode as they are; looked at only where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// What is in it; looked at only when it is no longer declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
}

/// What is at a directory's path, less what moves by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum There {
    /// Nothing.
    Absent,
    /// A directory.
    Directory {
        /// The user's name, or number.
        owner: String,
        /// The group's name, or number.
        group: String,
        /// Permission bits.
        mode: Mode,
    },
    /// Something else, or nothing that can be got at: what.
    Other(String),
}

impl Kind for Directory {
    const NAME: &'static str = "directory";
    type Seen = DirectorySeen;

    fn key(&self) -> Cow<'_, str> {
        self.path.as_str().into()
    }

    fn path(&self) -> Option<&HostPath> {
        Some(&self.path)
    }

    fn needs(&self) -> Vec<Address> {
        Account::needs(&self.owner.user, &self.owner.group)
    }

    fn observe(&self, look: &Look<'_, DirectorySeen>) -> Result<DirectorySeen> {
        let lenient = look.host.lenient();
        // One of root's in a user's directory is made and left as it is; nothing in it is given away.
        let host = if self.owner.user == UserName::root() { &*lenient } else { look.host };
        // The disk of a mount point that is no longer declared may be dead. The directory stays in any case.
        let may_be_dead = look.leaving && self.mounted;
        let entry = match host.entry(&self.path) {
            Err(err) if may_be_dead => Entry::Blocked(format!("{err:#}")),
            entry => entry?,
        };
        // A link of root's may stand above a directory. In its place it would give away what it leads to.
        let link = match (!self.implied).then(|| host.link(&self.path)).transpose() {
            Err(_) if may_be_dead => None,
            link => link?.flatten(),
        };
        let mut there = match entry {
            Entry::Directory(_) | Entry::Other(_) if link.is_some() => {
                let target = link.unwrap_or_default();
                There::Other(format!("{} is a symbolic link to {target}, no directory", self.path))
            }
            Entry::Absent => There::Absent,
            Entry::Directory(meta) => {
                let (owner, group) = names_of(host, &meta, &self.owner)?;
                There::Directory { owner, group, mode: meta.mode }
            }
            Entry::Blocked(why) => There::Other(why),
            other => There::Other(format!("{} is {}, no directory", self.path, other.noun())),
        };
        let mounted = match self.mounted.then(|| look.host.mounted(&self.path)) {
            Some(Err(_)) if look.leaving => Some(false),
            mounted => mounted.transpose()?,
        };
        let mut names = None;
        if look.leaving && matches!(there, There::Directory { .. }) {
            match look.host.names(&self.path) {
                Ok(listed) => names = Some(listed),
                // It stays, and that is said; a plan for all else need not fail of it.
                Err(err) => there = There::Other(format!("{err:#}")),
            }
        }
        let tree = self.mounted && look.host.is_tree();
        let mut seen = DirectorySeen { there, mounted, tree, kept: None, names };
        if !look.leaving {
            seen.kept = self.diff(&seen).not_given(host)?;
        }
        Ok(seen)
    }

    fn exists(&self, seen: &DirectorySeen) -> bool {
        seen.there != There::Absent
    }

    fn diff(&self, seen: &DirectorySeen) -> Diff {
        let Self { path, owner, mode, .. } = self;
        if seen.mounted == Some(false) {
            return Diff::Same; // Said by `checks`; nothing is done to what lies below the mount point.
        }
        let (now_owner, now_group, now_mode) = match &seen.there {
            There::Directory { owner, group, mode } => (owner.as_str(), group.as_str(), *mode),
            There::Absent => return Diff::Create(self.creation()),
            There::Other(what) => return Diff::Refuse(what.clone()),
        };
        if self.implied {
            // What was there already and is only needed is nobody's business.
            return if self.mounted { Diff::Same } else { Diff::Unmanaged };
        }
        let mut edit = Edit::default();
        let (user, group) = (owner.user.as_str(), owner.group.as_str());
        if now_owner != user {
            edit.attributes.push(Attribute::new("owner", now_owner, user));
        }
        if now_group != group {
            edit.attributes.push(Attribute::new("group", now_group, group));
        }
        if !edit.attributes.is_empty() {
            if opens(now_mode, *mode) {
                edit.ops.push(Op::SetMode { path: path.clone(), mode: *mode });
            }
            edit.ops.push(Op::SetOwner { path: path.clone(), owner: owner.clone() });
        }
        if now_mode != *mode {
            edit.attributes.push(Attribute::new("mode", now_mode.to_string(), mode.to_string()));
            edit.ops.push(Op::SetMode { path: path.clone(), mode: *mode });
        }
        if edit.ops.is_empty() { Diff::Same } else { Diff::Update(edit) }
    }

    fn checks(&self, seen: &DirectorySeen, _: Option<&DirectorySeen>) -> Vec<Finding> {
        if seen.mounted != Some(false) {
            return Vec::new();
        }
        let path = &self.path;
        let address = Address::new(Self::NAME, path.as_str());
        if seen.tree {
            let why =
                "deferred: whether it is mounted is asked of the running host, and nothing is made below it";
            return vec![Finding::new(Severity::Notice, address, why)];
        }
        if self.may_be_absent {
            let message = format!("{path} is not mounted; resources on it are skipped");
            return vec![Finding::new(Severity::Notice, address, message)];
        }
        // R21
        let finding = Finding::new(Severity::Error, address, format!("{path} must be mounted and is not"));
        vec![finding.remedy(format!("`mount {path}`, then plan again; nothing is made on the disk below it"))]
    }

    fn way(&self, seen: &DirectorySeen) -> Reachability {
        let address = || Address::new(Self::NAME, self.path.as_str());
        let finding = |why: &String| {
            let message = format!("it keeps its owner and mode: {why}");
            let remedy = "check who created it; then set owner and mode by hand (chown, chmod), or first make the \
                          parent directory writable only by its owner";
            Finding::new(Severity::Error, address(), message).remedy(remedy)
        };
        let findings = seen.kept.iter().map(finding).collect();
        Reachability { findings, blocks: seen.mounted == Some(false), ..Reachability::default() }
    }

    fn removal(&self, seen: &DirectorySeen, gone: &dyn Fn(&HostPath) -> bool) -> Removal {
        let stays = |name: &&String| !self.path.join(name).is_ok_and(|path| gone(&path));
        let names = seen.names.as_deref().unwrap_or_default();
        let left: Vec<&String> = names.iter().filter(stays).collect();
        match (&seen.there, left.as_slice()) {
            (There::Absent, _) => Removal::Quiet,
            (There::Other(what), _) => Removal::Forget(what.clone()),
            (There::Directory { .. }, []) if self.mounted => Removal::Forget("it is a mount point".into()),
            (There::Directory { .. }, []) => {
                let ops = vec![Op::RemoveDir { path: self.path.clone() }];
                Removal::Delete(Edit { ops, ..Edit::default() })
            }
            (There::Directory { .. }, _) if self.implied => Removal::Quiet,
            (There::Directory { .. }, [one, ..]) => {
                Removal::Forget(format!("it is not empty: it holds `{}`", one.escape_debug()))
            }
        }
    }

    fn is_asked_for(&self) -> bool {
        !self.implied || self.mounted
    }
}

/// Says whether a directory that gets another owner is opened before that too: else whoever it belonged to, and is to get
/// through it still, would be shut out for a moment. sshd reads an account's keys as that account. What others may
/// write is never opened so; and the mode is set again after, since its old owner could have changed it.
fn opens(now: Mode, mode: Mode) -> bool {
    mode.bits() & !now.bits() & 0o055 != 0 && mode.bits() & 0o7022 == 0
}

impl Resource {
    /// Returns the path of a directory that must be a mount point.
    pub fn mount_point(&self) -> Option<&HostPath> {
        match self {
            Self::Directory(directory) if directory.mounted => Some(&directory.path),
            _ => None,
        }
    }
}

impl Directory {
    fn creation(&self) -> Edit {
        let Self { path, owner, mode, .. } = self.clone();
        let attributes = vec![
            Attribute::new("owner", (), owner.user.as_str()),
            Attribute::new("group", (), owner.group.as_str()),
            Attribute::new("mode", (), mode.to_string()),
        ];
        let op = if self.implied {
            Op::EnsureDir { path, owner, mode }
        } else {
            Op::MakeDir { path, owner, mode }
        };
        Edit { attributes, text: None, ops: vec![op] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Directory {
        let path = "/srv/a".parse().unwrap();
        Directory {
            path,
            owner: Owner::root(),
            mode: Mode::new(0o700),
            mounted: false,
            implied: false,
            may_be_absent: false,
        }
    }

    fn seen(there: There) -> DirectorySeen {
        DirectorySeen { there, mounted: None, tree: false, kept: None, names: None }
    }

    fn directory(owner: &str, group: &str, mode: u32) -> DirectorySeen {
        seen(There::Directory { owner: owner.into(), group: group.into(), mode: Mode::new(mode) })
    }

    #[track_caller]
    fn case(declared: &Directory, seen: &DirectorySeen, expected: &str) {
        let got = match declared.diff(seen) {
            Diff::Same | Diff::Unmanaged => "same".to_owned(),
            Diff::Refuse(why) => format!("refuse: {why}"),
            Diff::Create(edit) | Diff::Update(edit) => {
                edit.ops.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn every_difference_has_its_ops() {
        let it = declared();
        case(&it, &directory("root", "root", 0o700), "same");
        case(&it, &seen(There::Absent), "install -d -o root -g root -m 0700 /srv/a");
        case(&it, &directory("root", "root", 0o755), "chmod 0700 /srv/a");
        case(&it, &directory("www-data", "root", 0o700), "chown -h root:root /srv/a");
        case(&it, &directory("root", "4000", 0o777), "chown -h root:root /srv/a; chmod 0700 /srv/a");
        // Who it belonged to gets through it at each moment.
        let open = Directory { mode: Mode::new(0o755), ..declared() };
        let opened = "chmod 0755 /srv/a; chown -h root:root /srv/a; chmod 0755 /srv/a";
        case(&open, &directory("web01", "web01", 0o700), opened);
        case(&open, &directory("web01", "web01", 0o777), "chown -h root:root /srv/a; chmod 0755 /srv/a");
        let writable = Directory { mode: Mode::new(0o775), ..declared() };
        case(&writable, &directory("a", "a", 0o700), "chown -h root:root /srv/a; chmod 0775 /srv/a");
        case(&it, &seen(There::Other("/srv/a is a file".into())), "refuse: /srv/a is a file");
    }

    #[test]
    fn whatever_is_there_is_there_and_its_owner_is_needed() {
        assert!(!declared().exists(&seen(There::Absent)));
        assert!(declared().exists(&seen(There::Other("a FIFO".into()))));
        assert!(declared().exists(&directory("root", "root", 0o700)));
        let owner = Owner { user: "backup".parse().unwrap(), group: "adm".parse().unwrap() };
        let needs = Directory { owner, ..declared() }.needs();
        let needs: Vec<&str> = needs.iter().map(Address::as_str).collect();
        assert_eq!(needs, ["account:user/backup", "account:group/adm"]);
        assert!(declared().is_asked_for() && !Directory { implied: true, ..declared() }.is_asked_for());
    }

    #[test]
    fn an_implied_one_is_made_and_else_left_alone() {
        let it = Directory { implied: true, ..declared() };
        case(&it, &directory("www-data", "www-data", 0o777), "same");
        case(&it, &seen(There::Absent), "test -d /srv/a || install -d -o root -g root -m 0700 /srv/a");
        assert_eq!(it.diff(&directory("root", "root", 0o700)), Diff::Unmanaged);
    }

    #[test]
    fn nothing_is_made_below_a_mount_that_is_missing() {
        let it = Directory { mounted: true, ..declared() };
        let missing = DirectorySeen { mounted: Some(false), ..seen(There::Absent) };
        case(&it, &missing, "same"); // R21
        assert_eq!(it.checks(&missing, None)[0].severity, Severity::Error);
        let disk = Directory { may_be_absent: true, ..it.clone() };
        assert!(disk.checks(&missing, None)[0].severity == Severity::Notice && disk.way(&missing).blocks);
        let tree = DirectorySeen { tree: true, ..missing };
        assert_eq!(it.checks(&tree, None)[0].severity, Severity::Notice);
        let mounted = DirectorySeen { mounted: Some(true), ..directory("root", "root", 0o755) };
        case(&it, &mounted, "chmod 0700 /srv/a");
        assert!(it.checks(&mounted, None).is_empty());
    }

    #[test]
    fn it_goes_only_when_it_will_be_empty() {
        let it = declared();
        let holding = |names: &[&str]| DirectorySeen {
            names: Some(names.iter().map(ToString::to_string).collect()),
            ..directory("root", "root", 0o700)
        };
        let gone = |path: &HostPath| path.as_str() == "/srv/a/x";
        let ops = vec![Op::RemoveDir { path: it.path.clone() }];
        let removed = Removal::Delete(Edit { ops, ..Edit::default() });
        assert_eq!(it.removal(&holding(&[]), &gone), removed);
        assert_eq!(it.removal(&holding(&["x"]), &gone), removed);
        assert!(
            matches!(it.removal(&holding(&["x", "y"]), &gone), Removal::Forget(why) if why.contains("`y`"))
        );
        let mount = Directory { mounted: true, ..it.clone() };
        assert!(matches!(mount.removal(&holding(&[]), &gone), Removal::Forget(_)));
        assert_eq!(it.removal(&seen(There::Absent), &gone), Removal::Quiet);
        let implied = Directory { implied: true, ..it.clone() };
        assert_eq!(implied.removal(&holding(&["y"]), &gone), Removal::Quiet);
        assert!(matches!(it.removal(&seen(There::Other("x".into())), &gone), Removal::Forget(_)));
    }
}
