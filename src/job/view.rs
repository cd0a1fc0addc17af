//! Builds the view of a run: a tree in which frozen snapshots stand in the place of the live files, and everything
//! else is as on the host.
//!
//! The view is built below a private directory, from mounts that no other process sees, and restic works in it by
//! chroot(8). So stored paths are the real ones, also for `/` (R51), and tools, sockets, credentials and mounts of
//! the host are at their usual paths (R26). Directories that restic writes (its cache, local repositories) are
//! bind-mounted over the frozen ones (R68).

use serde::{Deserialize, Serialize};

use crate::{
    effect::Cmd,
    host::{Mount, Mounts},
    model::HostPath,
    source::{Frozen, Instead},
};

/// How the view is built, and taken down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Where it stands.
    pub dir: HostPath,
    /// What is mounted, in order; within mounts of one's own.
    pub mounts: Vec<Cmd>,
    /// What of the host stands in it.
    of: Mounts,
    /// What stays live although it lies on something frozen.
    live: Vec<HostPath>,
    /// What takes all of it away again.
    pub unmount: Cmd,
}

impl View {
    /// Lists what builds it: the host's `mounts`, those that are `frozen` in their place, and what stays `live` although
    /// it lies on one of them.
    pub fn new(dir: HostPath, mounts: &Mounts, frozen: &[&Frozen], live: &[HostPath]) -> Self {
        let root: HostPath = HostPath::fixed("/");
        let at = |place: &HostPath| frozen.iter().find(|it| it.at == *place);
        let mut all = vec![at(&root).map_or_else(|| bind(false, &root, &dir), |it| instead(it, &dir))];
        let mut points: Vec<&HostPath> = mounts.iter().map(|mount| &mount.at).collect();
        points.extend(frozen.iter().map(|it| &it.at));
        points.sort();
        points.dedup();
        let mut whole: Option<&HostPath> = None;
        for point in points.into_iter().filter(|point| **point != root) {
            if whole.is_some_and(|whole| point.is_within(whole)) {
                continue;
            }
            let to = below(&dir, point);
            if let Some(frozen) = at(point) {
                all.push(instead(frozen, &to));
                continue;
            }
            // With all that stands below it, unless something there is frozen, or is this very view.
            let alone = dir.is_within(point) || frozen.iter().any(|it| it.at.is_within(point));
            all.push(bind(!alone, point, &to));
            whole = if alone { whole } else { Some(point) };
        }
        let is_frozen = |path: &HostPath| nearest(path, mounts, frozen);
        all.extend(
            live.iter().filter(|path| is_frozen(path)).map(|path| bind(false, path, &below(&dir, path))),
        );
        let unmount = Cmd::new("umount").args(["--recursive"]).path(&dir).timeout(60);
        Self { dir, mounts: all, of: mounts.clone(), live: live.to_vec(), unmount }
    }

    /// Returns the same with just these frozen: what could not be is as it is, for those who do not need it (R55).
    pub(super) fn with(&self, frozen: &[&Frozen]) -> Self {
        Self::new(self.dir.clone(), &self.of, frozen, &self.live)
    }

    /// Has a command run in it.
    pub fn within(&self, cmd: Cmd) -> Cmd {
        cmd.by(["chroot", self.dir.as_str()])
    }
}

/// Says whether what a path lies on is frozen.
fn nearest(path: &HostPath, mounts: &Mounts, frozen: &[&Frozen]) -> bool {
    let depth = |at: &HostPath| at.parts().count();
    let live = mounts.of(path).map_or(0, |mount: &Mount| depth(&mount.at));
    frozen.iter().any(|it| path.is_within(&it.at) && depth(&it.at) >= live)
}

fn below(dir: &HostPath, path: &HostPath) -> HostPath {
    path.parts().fold(dir.clone(), |dir, part| dir.join(part).unwrap_or(dir))
}

fn bind(whole: bool, from: &HostPath, to: &HostPath) -> Cmd {
    Cmd::new("mount").arg(if whole { "--rbind" } else { "--bind" }).path(from).path(to).timeout(60)
}

/// Mounts what is frozen. The device can be written to, so that the file system ends its own journal in the snapshot; an
/// XFS has the UUID of its origin, which is mounted too (R52).
fn instead(frozen: &Frozen, to: &HostPath) -> Cmd {
    match &frozen.from {
        Instead::Directory(from) => bind(false, from, to),
        Instead::Device { path, kind } => {
            let options = if kind == "xfs" { "ro,nouuid" } else { "ro" };
            Cmd::new("mount").args(["--types", kind, "--options", options]).path(path).path(to).timeout(300)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Step;

    fn frozen(at: &str, device: &str, kind: &str) -> Frozen {
        let from = if device.starts_with("/dev") {
            Instead::Device { path: device.parse().unwrap(), kind: kind.into() }
        } else {
            Instead::Directory(device.parse().unwrap())
        };
        let step = Step::run(Cmd::new("true"));
        Frozen { at: at.parse().unwrap(), from, step, fills: None, holds: true }
    }

    fn lines(frozen: &[Frozen], live: &[&str]) -> Vec<String> {
        let mounts = Mounts::table(&[
            ("/", "ext4"),
            ("/proc", "proc"),
            ("/proc/sys/x", "autofs"),
            ("/run", "tmpfs"),
            ("/run/lock", "tmpfs"),
            ("/srv", "ext4"),
            ("/srv/a b", "tmpfs"),
            ("/srv2", "ext4"),
        ]);
        let live: Vec<HostPath> = live.iter().map(|it| it.parse().unwrap()).collect();
        let frozen: Vec<&Frozen> = frozen.iter().collect();
        let view = View::new(HostPath::fixed("/run/rlvm/run/x/view"), &mounts, &frozen, &live);
        view.mounts.iter().map(|cmd| cmd.to_string().replace("/run/rlvm/run/x/view", "VIEW")).collect()
    }

    #[test]
    fn what_is_frozen_stands_in_its_place_and_all_else_is_as_it_is() {
        // R51, R52
        assert_eq!(
            lines(&[frozen("/srv", "/dev/v/s", "xfs")], &["/srv/repo", "/var/cache/rlvm", "/srv/a b/r"]),
            [
                "mount --bind / VIEW",
                "mount --rbind /proc VIEW/proc",
                "mount --bind /run VIEW/run",
                "mount --rbind /run/lock VIEW/run/lock",
                "mount --types xfs --options ro,nouuid /dev/v/s VIEW/srv",
                "mount --rbind '/srv/a b' 'VIEW/srv/a b'",
                "mount --rbind /srv2 VIEW/srv2",
                // R68
                "mount --bind /srv/repo VIEW/srv/repo",
            ]
        );
    }

    #[test]
    fn the_root_too_and_a_subvolume_that_is_no_mount() {
        assert_eq!(
            lines(
                &[frozen("/", "/dev/v/r", "ext4"), frozen("/srv/sub", "/srv/sub/.s", "")],
                &["/var/cache/rlvm", "/srv/r"]
            ),
            [
                "mount --types ext4 --options ro /dev/v/r VIEW",
                "mount --rbind /proc VIEW/proc",
                "mount --bind /run VIEW/run",
                "mount --rbind /run/lock VIEW/run/lock",
                "mount --bind /srv VIEW/srv",
                "mount --rbind '/srv/a b' 'VIEW/srv/a b'",
                "mount --bind /srv/sub/.s VIEW/srv/sub",
                "mount --rbind /srv2 VIEW/srv2",
                "mount --bind /var/cache/rlvm VIEW/var/cache/rlvm",
            ]
        );
    }
}
