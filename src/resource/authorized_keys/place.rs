//! What an account's directory is on the host, whatever its path, and whose the entries of its repository are.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    effect::quote,
    host::{Entry, Observe},
    model::{HostPath, UserName},
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
}

/// Says what a directory is on the host, and then what each directory is that it lies in: links on the way are followed,
/// and one that is mounted twice has one number. Where it is not there yet, the nearest directory above stands for it.
pub(super) fn place(host: &dyn Observe, directory: &HostPath) -> Result<Vec<String>> {
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
        let Some(base) = found.first().cloned() else { return Ok(found) };
        let mut inner = base;
        for name in missing.iter().rev() {
            inner = format!("{inner}/{name}");
            found.insert(0, inner.clone());
        }
        return Ok(found);
    }
    Ok(Vec::new())
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
            let entry = StrangeEntry { path, owner };
            if !is_roots {
                return Ok(Some(entry));
            }
            of_root.get_or_insert(entry);
        }
    }
    Ok(of_root)
}

/// Writes the command that gives a repository to its account.
pub(super) fn give(user: &UserName, repository: &HostPath) -> String {
    format!("chown -R --no-dereference {user}:{user} {}", quote(repository.as_str()))
}
