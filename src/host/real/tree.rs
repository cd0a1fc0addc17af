//! Gives a whole directory tree to another owner.
//!
//! chown(1) does it. It follows no links, also none that appear meanwhile, and rlvm can leave it behind if the file
//! system hangs. rlvm refuses if something is mounted in the directory: chown(1) would continue there, and the
//! mounted files do not belong to the account.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::stat::fstat;

use super::{
    Real, interrupted, mounts,
    walk::{Cursor, Way},
};
use crate::{
    effect::{Cmd, Owner},
    host::{Mount, Mounts, Stream, Task, Work as _},
    model::HostPath,
};

/// How long it may take, in seconds: half a day.
const LONGEST: u64 = 12 * 3600;
/// How often it tells how far it is.
const TELL: Duration = Duration::from_secs(1);
/// The number of the file that is the top of a btrfs subvolume.
const SUBVOLUME: u64 = 256;

impl Real {
    /// Carries out [`Op::GiveTree`](crate::effect::Op::GiveTree), and tells how many files and directories were changed.
    pub(super) fn give_tree(&self, path: &HostPath, owner: &Owner, told: &mut dyn FnMut(u64)) -> Result<()> {
        let (uid, gid) = self.ids(owner)?;
        let mut cursor = Cursor::default();
        let inode = match cursor.go(self, path)? {
            Way::There(dir) => fstat(dir).with_context(|| format!("cannot look at {path}"))?.st_ino,
            Way::Absent => return Ok(()),
            Way::Blocked(why) => bail!("cannot get to {path}: {why}"),
        };
        let place = self.root.join(cursor.resolved().trim_start_matches('/'));
        let place: HostPath =
            place.to_str().with_context(|| format!("{path} is not valid UTF-8"))?.parse()?;
        let mounts = mounts::table()?;
        if let Some(at) = foreign_mount(&mounts, &place, inode) {
            bail!(
                "cannot give {path} to {owner}: {at} is mounted in it, and the files there may belong to other users\n\
                 help: run `umount {at}`, then `rlvm apply` again"
            );
        }
        // By numbers: the names are those of the tree.
        let cmd =
            Cmd::new("chown").args(["-R", "-h", "-c", &format!("{uid}:{gid}")]).path(path).timeout(LONGEST);
        let (mut changed, mut complaint, mut last) = (0, String::new(), Instant::now());
        let mut heard = |stream: Stream, line: &str| match stream {
            Stream::Out => {
                changed += 1;
                if last.elapsed() >= TELL {
                    told(changed);
                    last = Instant::now();
                }
            }
            Stream::Err => line.clone_into(&mut complaint),
        };
        let mut task = Task { started: &mut |_, _| {}, heard: &mut heard, stop: &|| interrupted().is_some() };
        let ended = self.work(&cmd, &mut task)?;
        ensure!(
            !ended.stopped,
            "stopped by a signal, after {changed} files and directories were given to {owner}"
        );
        ensure!(!ended.timed_out, "`{cmd}` took longer than {LONGEST} s and was ended");
        ensure!(ended.code == Some(0), "`{cmd}` failed: {complaint}");
        told(changed);
        Ok(())
    }
}

/// Finds a mount in a directory, or one at the directory itself whose files can be reached elsewhere too (a bind mount). A
/// file system or a subvolume of its own may be mounted there.
fn foreign_mount<'a>(mounts: &'a Mounts, dir: &HostPath, inode: u64) -> Option<&'a HostPath> {
    let own = mounts.of(dir).filter(|mount| mount.at == *dir);
    let is_subvolume = own.is_some_and(|own| own.kind == "btrfs" && inode == SUBVOLUME);
    let shared = own.filter(|own| !is_subvolume && mounts.iter().any(|other| shows(other, own)));
    mounts.below(dir).next().or(shared).map(|mount| &mount.at)
}

/// Says whether a mount shows files of another one.
fn shows(other: &Mount, own: &Mount) -> bool {
    let is_in = |part: &str, whole: &str| {
        whole == "/" || part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    other.at != own.at
        && other.device == own.device
        && (is_in(&own.part, &other.part) || is_in(&other.part, &own.part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_may_be_somebody_elses_is_found() {
        let mount = |id: u32, at: &str, minor: u32, part: &str, kind: &str| Mount {
            id,
            parent: u32::from(id > 1),
            device: (8, minor),
            part: part.into(),
            at: at.parse().unwrap(),
            kind: kind.into(),
            source: "/dev/x".into(),
        };
        let found = |more: Vec<Mount>, inode| {
            let all = std::iter::once(mount(1, "/", 1, "/@", "btrfs")).chain(more);
            let mounts = Mounts::new(all.collect());
            let dir = "/srv/a/repo".parse().unwrap();
            foreign_mount(&mounts, &dir, inode).map(ToString::to_string)
        };
        let repo = |minor, part| mount(2, "/srv/a/repo", minor, part, "btrfs");
        assert_eq!(found(vec![], 1), None);
        assert_eq!(found(vec![mount(2, "/srv/a", 2, "/", "ext4")], 1), None);
        assert_eq!(found(vec![mount(2, "/srv/a/repo/in", 2, "/", "ext4")], 1), Some("/srv/a/repo/in".into()));
        // A disk, and a subvolume, of its own.
        assert_eq!(found(vec![repo(2, "/")], SUBVOLUME), None);
        assert_eq!(found(vec![repo(1, "/@repo")], SUBVOLUME), None);
        assert_eq!(found(vec![repo(1, "/@repo"), mount(3, "/mnt", 1, "/", "btrfs")], SUBVOLUME), None);
        // A directory of somebody else's.
        assert_eq!(found(vec![repo(1, "/@/srv/b/repo")], 300), Some("/srv/a/repo".into()));
        assert_eq!(
            found(vec![repo(2, "/b"), mount(3, "/mnt", 2, "/", "ext4")], 300),
            Some("/srv/a/repo".into())
        );
    }
}
