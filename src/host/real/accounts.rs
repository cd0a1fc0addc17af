//! Users and groups: of the running system by its own rules, of another tree by its passwd and group files.

use std::{
    collections::HashMap,
    ffi::CString,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use anyhow::{Context, Result};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::{
    host::UserEntry,
    model::{GroupName, HostPath, UserName},
};

/// A user's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// All groups, the first one too.
    pub(super) groups: Vec<u32>,
}

/// Looks users and groups up, each once.
pub(super) struct Accounts {
    /// The tree whose files are read; `None` is the running system, with all its name services.
    tree: Option<PathBuf>,
    files: Mutex<Option<Arc<Files>>>,
    names: RwLock<HashMap<(Of, u32), String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    User,
    Group,
}

/// The lines of passwd and group, split.
#[derive(Default)]
struct Files {
    passwd: Vec<Vec<String>>,
    group: Vec<Vec<String>>,
}

impl Accounts {
    pub(super) fn new(running: bool, root: &Path) -> Self {
        let tree = if running { None } else { Some(root.to_owned()) };
        Self { tree, files: Mutex::default(), names: RwLock::default() }
    }

    /// Forgets what was looked up: a program may have made users since.
    pub(super) fn forget(&self) {
        self.names.write().unwrap_or_else(PoisonError::into_inner).clear();
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns the user's number; `None` if there is no such user.
    pub(super) fn user(&self, user: &UserName) -> Result<Option<u32>> {
        match self.files() {
            None => Ok(User::from_name(user.as_str())
                .with_context(|| format!("cannot look up the user {user}"))?
                .map(|user| user.uid.as_raw())),
            Some(files) => Ok(files.find(&files.passwd, user.as_str())),
        }
    }

    /// Returns the group's number; `None` if there is no such group.
    pub(super) fn group(&self, group: &GroupName) -> Result<Option<u32>> {
        match self.files() {
            None => Ok(Group::from_name(group.as_str())
                .with_context(|| format!("cannot look up the group {group}"))?
                .map(|group| group.gid.as_raw())),
            Some(files) => Ok(files.find(&files.group, group.as_str())),
        }
    }

    /// Returns a user's numbers, all groups too; `None` if there is no such user.
    pub(super) fn ids(&self, user: &UserName) -> Result<Option<Ids>> {
        let Some(files) = self.files() else { return running_ids(user) };
        Ok(files.ids(user))
    }

    /// Returns where a user is at home; `None` if there is no such user, or no such place.
    pub(super) fn home(&self, user: &UserName) -> Result<Option<HostPath>> {
        let Some(files) = self.files() else {
            let looked =
                User::from_name(user.as_str()).with_context(|| format!("cannot look up the user {user}"))?;
            return Ok(looked.and_then(|user| home_path(user.dir.to_str()?)));
        };
        Ok(files.line(user).and_then(|line| home_path(line.get(5)?)))
    }

    /// Lists who is at home below a directory. Of the running system too only its own files are asked: a directory
    /// service need not list all that it has.
    pub(super) fn below(&self, dir: &HostPath) -> Vec<(String, String)> {
        let lies_in =
            |home: &String| home_path(home).is_some_and(|home| home.ancestors().any(|above| above == *dir));
        let of = |line: &Vec<String>| {
            Some((line.first()?.clone(), line.get(5).filter(|home| lies_in(home))?.clone()))
        };
        match self.files() {
            Some(files) => files.passwd.iter().filter_map(of).collect(),
            None => read(Path::new("/"), "passwd").iter().filter_map(of).collect(),
        }
    }

    /// Returns what is written of a user.
    pub(super) fn entry(&self, user: &UserName) -> Result<Option<UserEntry>> {
        let Some(ids) = self.ids(user)? else { return Ok(None) };
        let (home, shell) = match self.files() {
            None => {
                let looked = User::from_name(user.as_str())
                    .with_context(|| format!("cannot look up the user {user}"))?;
                let Some(found) = looked else { return Ok(None) };
                (found.dir.display().to_string(), found.shell.display().to_string())
            }
            Some(files) => {
                let field = |index: usize| files.line(user)?.get(index).cloned();
                (field(5).unwrap_or_default(), field(6).unwrap_or_default())
            }
        };
        let others = ids.groups.iter().filter(|gid| **gid != ids.gid);
        let mut groups: Vec<String> = others.map(|gid| self.group_name(*gid)).collect();
        groups.sort_unstable();
        let home = home_path(&home).map_or(home, |path| path.to_string());
        let Shadow { closed, password } = shadow(self.tree.as_deref().unwrap_or(Path::new("/")), user);
        let same_uid = self.same_uid(user, ids.uid);
        Ok(Some(UserEntry {
            uid: ids.uid,
            group: self.group_name(ids.gid),
            groups,
            home,
            shell,
            closed,
            password,
            same_uid,
        }))
    }

    /// Returns another account with the same number. Of the running system too only its own files are asked: a directory
    /// service need not list all that it has.
    fn same_uid(&self, user: &UserName, uid: u32) -> Option<String> {
        let is_it = |line: &&Vec<String>| {
            line.first().is_some_and(|name| name != user.as_str())
                && line.get(2).and_then(|it| it.parse().ok()) == Some(uid)
        };
        let name = |lines: &[Vec<String>]| lines.iter().find(is_it)?.first().cloned();
        match self.files() {
            Some(files) => name(&files.passwd),
            None => name(&read(Path::new("/"), "passwd")),
        }
    }

    /// Lists a user's groups by name. Of a user that is not there only the system's own files are asked.
    pub(super) fn groups(&self, user: &UserName) -> Result<Vec<String>> {
        if let Some(ids) = self.ids(user)? {
            return Ok(ids.groups.iter().map(|gid| self.group_name(*gid)).collect());
        }
        let of = |lines: &[Vec<String>]| {
            lines
                .iter()
                .filter(|line| has_member(line, user))
                .filter_map(|line| line.first().cloned())
                .collect()
        };
        Ok(match self.files() {
            Some(files) => of(&files.group),
            None => of(&read(Path::new("/"), "group")),
        })
    }

    pub(super) fn user_name(&self, uid: u32) -> String {
        self.name(Of::User, uid)
    }

    pub(super) fn group_name(&self, gid: u32) -> String {
        self.name(Of::Group, gid)
    }

    fn name(&self, of: Of, id: u32) -> String {
        let known = self.names.read().unwrap_or_else(PoisonError::into_inner).get(&(of, id)).cloned();
        known.unwrap_or_else(|| {
            let name = self.look_up(of, id).unwrap_or_else(|| id.to_string());
            self.names.write().unwrap_or_else(PoisonError::into_inner).insert((of, id), name.clone());
            name
        })
    }

    fn look_up(&self, of: Of, id: u32) -> Option<String> {
        match (self.files(), of) {
            (None, Of::User) => Some(User::from_uid(Uid::from_raw(id)).ok()??.name),
            (None, Of::Group) => Some(Group::from_gid(Gid::from_raw(id)).ok()??.name),
            (Some(files), Of::User) => files.name(&files.passwd, id),
            (Some(files), Of::Group) => files.name(&files.group, id),
        }
    }

    fn files(&self) -> Option<Arc<Files>> {
        let tree = self.tree.as_deref()?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || Arc::new(Files { passwd: read(tree, "passwd"), group: read(tree, "group") });
        Some(Arc::clone(files.get_or_insert_with(read)))
    }
}

/// Says whether a line of the group file names a user.
fn has_member(line: &[String], user: &UserName) -> bool {
    line.get(3).is_some_and(|all| all.split(',').any(|name| name == user.as_str()))
}

/// Asks the running system's name services.
fn running_ids(user: &UserName) -> Result<Option<Ids>> {
    let looked = User::from_name(user.as_str()).with_context(|| format!("cannot look up the user {user}"))?;
    let Some(found) = looked else { return Ok(None) };
    let name = CString::new(user.as_str())?;
    let groups =
        getgrouplist(&name, found.gid).with_context(|| format!("cannot look up the groups of {user}"))?;
    let groups = groups.into_iter().map(Gid::as_raw).collect();
    Ok(Some(Ids { uid: found.uid.as_raw(), gid: found.gid.as_raw(), groups }))
}

impl Files {
    fn line(&self, user: &UserName) -> Option<&Vec<String>> {
        self.passwd.iter().find(|line| line.first().is_some_and(|name| name == user.as_str()))
    }

    fn ids(&self, user: &UserName) -> Option<Ids> {
        let line = self.line(user)?;
        let uid = line.get(2)?.parse().ok()?;
        let gid = line.get(3)?.parse().ok()?;
        let others = self
            .group
            .iter()
            .filter(|line| has_member(line, user))
            .filter_map(|line| line.get(2)?.parse().ok());
        let mut groups: Vec<u32> = std::iter::once(gid).chain(others).collect();
        groups.sort_unstable();
        groups.dedup();
        Some(Ids { uid, gid, groups })
    }

    fn find(&self, lines: &[Vec<String>], name: &str) -> Option<u32> {
        let line = lines.iter().find(|line| line.first().is_some_and(|it| it == name));
        match line {
            Some(line) => line.get(2)?.parse().ok(),
            // A tree without its own files yet still has root.
            None if self.is_empty() && name == "root" => Some(0),
            None => None,
        }
    }

    fn name(&self, lines: &[Vec<String>], id: u32) -> Option<String> {
        let id = id.to_string();
        let line = lines.iter().find(|line| line.get(2) == Some(&id));
        match line {
            Some(line) => line.first().cloned(),
            None if self.is_empty() && id == "0" => Some("root".into()),
            None => None,
        }
    }

    fn is_empty(&self) -> bool {
        self.passwd.is_empty() && self.group.is_empty()
    }
}

/// Reads a home as passwd has it. The kernel takes `/srv//bob/` and `/srv/bob` for one path; so does this.
pub(in crate::host) fn home_path(text: &str) -> Option<HostPath> {
    if !text.starts_with('/') {
        return None;
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/")).parse().ok()
}

/// What is read of an account's line in shadow(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shadow {
    /// Whether it ran out on day 1.
    closed: bool,
    /// Whether a password opens it: none does where the field begins with `*` or `!`.
    password: bool,
}

/// Reads an account's line in shadow(5). Nothing else of that file is held.
#[expect(clippy::disallowed_methods, reason = "host reads")]
fn shadow(root: &Path, user: &UserName) -> Shadow {
    let mut all = std::fs::read(root.join("etc/shadow")).unwrap_or_default();
    let mut lines = all.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':'));
    let read = lines.find_map(|mut line| {
        if line.next() != Some(user.as_str().as_bytes()) {
            return None;
        }
        let password = line.next().is_some_and(|it| !it.starts_with(b"*") && !it.starts_with(b"!"));
        Some(Shadow { closed: line.nth(5) == Some(b"1"), password })
    });
    all.fill(0);
    read.unwrap_or_default()
}

/// Reads a tree's file; a tree that is just being made may have none.
#[expect(clippy::disallowed_methods, reason = "host reads")]
fn read(tree: &Path, name: &str) -> Vec<Vec<String>> {
    let text = std::fs::read(tree.join("etc").join(name)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(|line| line.split(':').map(Into::into).collect()).collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a tree to look at")]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_read_as_the_kernel_reads_a_path() {
        for (text, path) in [
            ("/home/bob", Some("/home/bob")),
            ("/home/bob/", Some("/home/bob")),
            ("//home/./bob//", Some("/home/bob")),
            ("/", Some("/")),
            ("", None),
            ("home/bob", None),
            ("/home/../bob", None),
        ] {
            assert_eq!(home_path(text).as_ref().map(HostPath::as_str), path, "{text}");
        }
    }

    #[test]
    fn a_tree_has_users_of_its_own() {
        let tree = tempfile::tempdir().unwrap();
        let accounts = Accounts::new(false, tree.path());
        assert_eq!(accounts.user(&UserName::root()).unwrap(), Some(0), "before it has any file");
        assert_eq!(accounts.user_name(0), "root");

        std::fs::create_dir(tree.path().join("etc")).unwrap();
        std::fs::write(
            tree.path().join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nbackup:x:4000:4001::/:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(tree.path().join("etc/group"), "root:x:0:\nbackup:x:4001:\nadm:x:4:a,backup\n")
            .unwrap();
        let accounts = Accounts::new(false, tree.path());
        let backup: UserName = "backup".parse().unwrap();
        assert_eq!(accounts.user(&backup).unwrap(), Some(4000));
        assert_eq!(
            accounts.ids(&backup).unwrap().unwrap(),
            Ids { uid: 4000, gid: 4001, groups: vec![4, 4001] }
        );
        assert_eq!(accounts.groups(&backup).unwrap(), ["adm", "backup"]);
        assert_eq!(accounts.groups(&"a".parse().unwrap()).unwrap(), ["adm"], "it is not there yet");
        assert_eq!(accounts.home(&backup).unwrap(), Some("/".parse().unwrap()));
        assert_eq!(accounts.user_name(4000), "backup");
        assert_eq!(accounts.group_name(4001), "backup");
        assert_eq!(accounts.group_name(77), "77");
        assert_eq!(accounts.user(&"daemon".parse().unwrap()).unwrap(), None, "not the running system's");
    }
}
