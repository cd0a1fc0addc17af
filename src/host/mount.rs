//! A table of mounts, as a value.

use serde::{Deserialize, Serialize};

use crate::model::HostPath;

/// A mounted file system, as `proc_pid_mountinfo(5)` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Its number.
    pub id: u32,
    /// The number of the mount that it stands on.
    pub parent: u32,
    /// The device, as major and minor number.
    pub device: (u32, u32),
    /// What of the file system stands here: `/`, or a part of it (a bind, a btrfs subvolume).
    pub part: String,
    /// Where it stands.
    pub at: HostPath,
    /// The type of the file system: `ext4`.
    pub kind: String,
    /// What was mounted: a device's path, mostly.
    pub source: String,
}

/// What is mounted, as far as a path can reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts(Vec<Mount>);

/// File systems that hold no data: what they show is made up by the kernel, or kept in memory alone.
const PSEUDO: [&str; 24] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

impl Mount {
    /// Says whether it holds no data (R53).
    pub fn is_pseudo(&self) -> bool {
        PSEUDO.contains(&self.kind.as_str())
    }
}

impl Mounts {
    /// Takes what the kernel lists, in any order, and leaves out what something else covers.
    pub fn new(mut all: Vec<Mount>) -> Self {
        // Whatever is nearer to the root first; of two at one place the one that the other stands on.
        all.sort_by_key(|mount| (mount.at.parts().count(), mount.id));
        let mut seen: Vec<Mount> = Vec::new();
        while let Some(index) = all.iter().position(|mount| {
            // The one at `/` has a parent that is in no list.
            let below =
                seen.iter().filter(|it| mount.at.is_within(&it.at)).max_by_key(|it| it.at.parts().count());
            below.map_or(mount.at.as_str() == "/", |below| below.id == mount.parent)
        }) {
            let mount = all.remove(index);
            seen.retain(|it| it.at != mount.at);
            seen.push(mount);
        }
        seen.sort_by(|a, b| a.at.cmp(&b.at));
        Self(seen)
    }

    /// Lists them, each after those that it stands on.
    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter()
    }

    /// Finds the one that a path lies on; the path's links are not followed.
    pub fn of(&self, path: &HostPath) -> Option<&Mount> {
        self.0.iter().filter(|mount| path.is_within(&mount.at)).max_by_key(|mount| mount.at.parts().count())
    }

    /// Returns the table without some places.
    #[must_use]
    pub fn without(&self, left_out: impl Fn(&HostPath) -> bool) -> Self {
        Self(self.0.iter().filter(|mount| !left_out(&mount.at)).cloned().collect())
    }

    /// Lists those that stand below a path, not at it.
    pub fn below(&self, path: &HostPath) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| mount.at != *path && mount.at.is_within(path))
    }
}

#[cfg(test)]
impl Mounts {
    /// Makes a table of places and types, each a device of its own, standing on what is above it.
    pub(crate) fn table(rows: &[(&str, &str)]) -> Self {
        let mut all: Vec<Mount> = Vec::new();
        for (number, (at, kind)) in (1_u32..).zip(rows) {
            let at: HostPath = at.parse().unwrap();
            let above = all.iter().filter(|it| at.is_within(&it.at)).max_by_key(|it| it.at.parts().count());
            let parent = above.map_or(0, |above| above.id);
            let (device, part, source) = ((253, number), "/".into(), format!("/dev/{number}"));
            all.push(Mount { id: number, parent, device, part, at, kind: (*kind).into(), source });
        }
        Self::new(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: u32, parent: u32, at: &str) -> Mount {
        let (at, part) = (at.parse().unwrap(), "/".to_owned());
        Mount { id, parent, device: (253, id), part, at, kind: "ext4".into(), source: format!("/dev/{id}") }
    }

    #[test]
    fn what_is_covered_is_left_out() {
        // A file system over /a hides what stood at /a/b; two at one place show the later one.
        let all = vec![
            mount(9, 3, "/c"),
            mount(2, 1, "/a/b"),
            mount(1, 0, "/"),
            mount(5, 1, "/a"),
            mount(3, 1, "/c"),
        ];
        let mounts = Mounts::new(all);
        let ids: Vec<u32> = mounts.iter().map(|it| it.id).collect();
        assert_eq!(ids, [1, 5, 9]);
        let of = |path: &str| mounts.of(&path.parse().unwrap()).unwrap().id;
        assert_eq!((of("/a/b"), of("/ab"), of("/c/d"), of("/")), (5, 1, 9, 1));
        assert_eq!(mounts.below(&"/".parse().unwrap()).count(), 2);
        assert_eq!(mounts.below(&"/a".parse().unwrap()).count(), 0);
    }

    #[test]
    fn what_the_kernel_makes_up_is_no_data() {
        // R53
        let mounts = Mounts::table(&[("/", "ext4"), ("/proc", "proc"), ("/run", "tmpfs"), ("/srv", "xfs")]);
        let pseudo: Vec<&str> = mounts.iter().filter(|it| it.is_pseudo()).map(|it| it.at.as_str()).collect();
        assert_eq!(pseudo, ["/proc", "/run"]);
    }
}
