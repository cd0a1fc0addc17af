//! What an account's directory is on the host, whatever its path, and whose the entries of its repository are.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::AuthorizedKeys;
use crate::{
    effect::quote,
    host::{Entry, Mounts, Observe},
    model::{HostPath, UserName},
    resource::{Finding, Severity},
};

/// As many entries of a directory as are looked at: chown(1) changes a directory after all that it holds, so a tree that
/// was changed half-way shows at its top.
const MOST: usize = 300;

/// An entry of an account's repository that belongs to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrangeEntry {
    /// Where.
    pub path: HostPath,
    /// The name of its owner, or the number.
    pub owner: String,
    /// What is mounted in the repository: chown(1) would go on there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<HostPath>,
}

impl AuthorizedKeys {
    /// Reports that a repository holds what belongs to somebody else: the number of an account that was renamed, or
    /// deleted and made again. That is an error, since the next account with the number would own the data; what is
    /// root's is safe, and the client cannot use it.
    pub(super) fn not_its_own(&self, entry: &StrangeEntry, no_account: bool) -> Finding {
        let (user, path) = (&self.user, &entry.path);
        let owner = match entry.owner.as_str() {
            "root" => "root".to_owned(),
            owner => format!("another account ({owner})"),
        };
        let is_safe = no_account || owner == "root";
        let severity = if is_safe { Severity::Warning } else { Severity::Error };
        let message = format!("{path} belongs to {owner}: {user} cannot use its whole repository");
        let first = if no_account { "when the account exists: " } else { "" };
        let repository = self.directory.join("repo").unwrap_or_else(|_| self.directory.clone());
        Finding::new(severity, self.address(), message)
            .remedy(format!("{first}{}", give(user, &repository, entry.mount.as_ref())))
    }
}

/// What an account's directory is on the host, whatever its path. A directory has two marks: the number of its file, and
/// where it lies in its file system. The first follows links; the second also knows what is mounted a second time
/// elsewhere (a bind mount), and asks no mount whether it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The marks of the directory, and of each mount at or in its repository.
    pub things: Vec<String>,
    /// The marks of the directories that these lie in, and of those that the other mounts in the directory lie in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
    /// The marks of the other mounts in the directory: a client that is shut in there reaches them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
}

impl Place {
    pub(super) fn is_unknown(&self) -> bool {
        self.things.is_empty()
    }

    /// Adds the marks of a directory by where it lies in its file system.
    fn add_mounted(&mut self, mounts: &Mounts, path: &HostPath, is_own: bool) {
        let Some(mount) = mounts.of(path) else { return };
        let (major, minor) = mount.device;
        let rest = path.as_str().strip_prefix(mount.at.as_str()).unwrap_or_default();
        let whole = format!("{}/{rest}", mount.part);
        let mut way: Vec<&str> = whole.split('/').filter(|part| !part.is_empty()).collect();
        let mark = |way: &[&str]| format!("{major}:{minor}:/{}", way.join("/"));
        if is_own { &mut self.things } else { &mut self.holds }.push(mark(&way));
        while way.pop().is_some() {
            self.within.push(mark(&way));
        }
    }
}

/// Says what a directory is on the host. Where it is not there yet, the nearest directory above stands for it.
pub(super) fn place(host: &dyn Observe, directory: &HostPath) -> Result<Place> {
    let mut missing: Vec<String> = Vec::new();
    for near in std::iter::once(directory.clone()).chain(directory.ancestors()) {
        let Some(lies) = host.lies(&near)? else {
            missing.push(near.name().to_owned());
            continue;
        };
        let mut found = Vec::new();
        for dir in std::iter::once(lies.clone()).chain(lies.ancestors()) {
            if let Some(meta) = host.entry(&dir)?.directory() {
                found.push(format!("{}:{}", meta.stamp.dev, meta.stamp.ino));
            }
        }
        let (Some(mut inner), mut path) = (found.first().cloned(), lies) else { return Ok(Place::default()) };
        for name in missing.iter().rev() {
            inner = format!("{inner}/{name}");
            found.insert(0, inner.clone());
            path = path.join(name)?;
        }
        let mut place = Place { things: vec![found.remove(0)], within: found, holds: Vec::new() };
        // The kernel lists the mounts of the running system.
        if !host.is_tree() {
            let (mounts, repository) = (host.mounts()?, path.join("repo")?);
            place.add_mounted(&mounts, &path, true);
            for mount in mounts.below(&path) {
                place.add_mounted(&mounts, &mount.at, mount.at.is_within(&repository));
            }
        }
        return Ok(place);
    }
    Ok(Place::default())
}

/// Finds the first entry of a repository, two levels deep, that does not belong to its account: first one of another
/// account, else one of root's.
pub(super) fn strange_entry(
    host: &dyn Observe,
    repository: &HostPath,
    user: &UserName,
) -> Result<Option<StrangeEntry>> {
    let host = host.lenient();
    let mut of_root = None;
    let mut left = vec![(repository.clone(), 0)];
    while let Some((dir, depth)) = left.pop() {
        // What cannot be listed or looked at moves under a client's hands: the next plan looks again.
        let is_directory = host.entry(&dir).is_ok_and(|it| it.directory().is_some());
        let names = if is_directory { host.names(&dir).unwrap_or_default() } else { Vec::new() };
        for name in names.iter().take(MOST) {
            let Ok(path) = dir.join(name) else { continue };
            let Ok(entry) = host.entry(&path) else { continue };
            let owner = match entry {
                Entry::Directory(meta) | Entry::File(meta) => {
                    if meta.owner == user.as_str() || host.is_user(user, &meta.owner)? {
                        if depth == 0 {
                            left.push((path, 1));
                        }
                        continue;
                    }
                    meta.owner
                }
                // A link or a file with two names is anything that a client may plant: it must not stop an apply. The
                // directories that each repository has tell whose it is, and no client can give one away.
                Entry::Absent | Entry::Other(_) | Entry::Blocked(_) => continue,
            };
            let is_roots = owner == "root";
            let lies = host.lies(repository)?.filter(|_| !host.is_tree());
            let mounts = lies.as_ref().map(|_| host.mounts()).transpose()?.unwrap_or_default();
            let mount = lies.and_then(|lies| mounts.below(&lies).next().map(|mount| mount.at.clone()));
            let entry = StrangeEntry { path, owner, mount };
            if !is_roots {
                return Ok(Some(entry));
            }
            of_root.get_or_insert(entry);
        }
    }
    Ok(of_root)
}

/// Finds the first entry of a repository that is neither a regular file nor a directory.
///
/// rclone follows a link: through `snapshots/locks`, a link to `.`, an append-only client deletes snapshots, and a link to `/`
/// shows it the host. It makes no links itself, but the account may have been allowed more before.
pub(super) fn planted_entry(host: &dyn Observe, repository: &HostPath) -> Option<HostPath> {
    let mut left = vec![repository.clone()];
    while let Some(dir) = left.pop() {
        // What cannot be listed or looked at moves under a client's hands: the next plan looks again.
        for name in host.names(&dir).unwrap_or_default() {
            let Ok(path) = dir.join(&name) else { continue };
            let Ok(entry) = host.entry(&path) else { continue };
            match entry {
                Entry::File(_) | Entry::Absent => {}
                Entry::Directory(_) if host.link(&path).is_ok_and(|link| link.is_none()) => left.push(path),
                _ => return Some(path),
            }
        }
    }
    None
}

/// Writes what gives a repository to its account.
pub(super) fn give(user: &UserName, repository: &HostPath, mount: Option<&HostPath>) -> String {
    let first = mount.map(|at| format!("`umount {}`, which is not the account's; then ", quote(at.as_str())));
    let first = first.unwrap_or_default();
    format!("{first}chown -R --no-dereference {user}:{user} {}", quote(repository.as_str()))
}
