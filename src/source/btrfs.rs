//! Files of a btrfs subvolume, frozen by a snapshot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ground::{Frozen, Ground, Instead, Unfit};
use crate::{
    effect::{Cmd, Op, Query, Step},
    host::{Mount, Observe},
    model::{HostPath, RunId},
};

/// Files of a btrfs subvolume, taken from a read-only snapshot that is there only while they are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Btrfs {
    /// Where the subvolume is mounted or lies: an absolute path. Subvolumes within it are sources of their own.
    pub subvolume: HostPath,
    /// The paths to back up: absolute paths as the host sees them. Default: all of the subvolume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<HostPath>,
}

impl Btrfs {
    pub(super) fn stored(&self, ground: &Ground) -> Result<Vec<HostPath>, Unfit> {
        let (at, seen) = (&self.subvolume, ground.subvolumes.get(&self.subvolume));
        let place = ground.there(at)?;
        if ground.mounts.of(place).is_none_or(|mount| mount.kind != "btrfs") {
            return Err(Unfit::new(format!("{at} is not on btrfs"), "make it an `lvm:` or a `path:` source"));
        }
        if !seen.is_some_and(|seen| seen.is_one) {
            let message = format!("{at} is no subvolume");
            return Err(Unfit::new(
                message,
                "name the subvolume that it lies in, and this as one of its `paths`",
            ));
        }
        if !seen.is_some_and(|seen| seen.is_private) {
            // The snapshot lies in it, and somebody else could put another thing in its place.
            let message = format!("others than root can write into {at}, where its snapshot would lie");
            return Err(Unfit::new(
                message,
                format!("chown root {at}; chmod go-w {at}; or make it a `path:` source"),
            ));
        }
        for path in &self.paths {
            let lies = ground.there(path)?;
            if !lies.is_within(place)
                || ground.mounts.of(lies).map(|it| it.id) != ground.mounts.of(place).map(|it| it.id)
            {
                return Err(Unfit::new(
                    format!("{path} does not lie in {at}"),
                    "name the subvolume that it lies in",
                ));
            }
        }
        Ok(if self.paths.is_empty() { vec![at.clone()] } else { self.paths.clone() })
    }

    /// Lists the subvolumes that lie directly in it, as the host sees them. Those that cannot be listed are not known: needs
    /// root and btrfs-progs.
    pub(super) fn nested(&self, host: &dyn Observe, ground: &Ground) -> Vec<HostPath> {
        let place = ground.places.get(&self.subvolume);
        let Some((place, mount)) = place.and_then(|place| Some((place, ground.mounts.of(place)?))) else {
            return Vec::new();
        };
        let cmd = Cmd::new("btrfs").args(["subvolume", "list", "-o"]).path(place).timeout(60);
        let listed = Query::new(cmd).ok().and_then(|query| host.query(&query).ok());
        let listed = listed.filter(|output| output.code == Some(0)).unwrap_or_default();
        below(&listed.stdout, place, mount)
    }

    pub(super) fn frozen(&self, ground: &Ground, run: &RunId, number: usize) -> Result<Frozen, Unfit> {
        let place = ground.there(&self.subvolume)?.clone();
        let snapshot = place.join(&format!(".rlvm-{run}-{number}"));
        let snapshot = snapshot.map_err(|bad| Unfit::new(bad.to_string(), "rename the subvolume"))?;
        let cmd = Cmd::new("btrfs").args(["subvolume", "snapshot", "-r"]).path(&place).path(&snapshot);
        let act = Op::Run(cmd.timeout(120).whole());
        let step = Step { act, undo: Some(Op::DeleteSubvolume { path: snapshot.clone() }) };
        Ok(Frozen { at: place, from: Instead::Directory(snapshot), step, fills: None, holds: true })
    }
}

/// Reads what `btrfs subvolume list -o` prints: `ID 258 gen 9 top level 257 path @/srv/sub`, from the file system's top.
fn below(listed: &str, place: &HostPath, mount: &Mount) -> Vec<HostPath> {
    let within = place.as_str().strip_prefix(mount.at.as_str().trim_end_matches('/')).unwrap_or_default();
    let top = format!("{}{within}", mount.part.trim_end_matches('/'));
    let one = |line: &str| {
        let (_, path) = line.split_once(" path ")?;
        let rest = format!("/{path}").strip_prefix(top.trim_end_matches('/'))?.to_owned();
        let is_own = path.rsplit('/').next().is_some_and(|name| name.starts_with(".rlvm-"));
        let rest = rest.strip_prefix('/').filter(|rest| !rest.is_empty() && !is_own)?;
        format!("{}/{rest}", place.as_str().trim_end_matches('/')).parse().ok()
    };
    listed.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{host::Mounts, source::Subvolume};

    fn ground(is_one: bool, is_private: bool) -> Ground {
        let path = |text: &str| text.parse::<HostPath>().unwrap();
        let places = ["/b/home", "/b/home/x", "/e", "/b"].map(|it| (path(it), path(it))).into();
        Ground {
            mounts: Mounts::table(&[("/", "ext4"), ("/b", "btrfs")]),
            places,
            subvolumes: BTreeMap::from([(path("/b/home"), Subvolume { is_one, is_private })]),
            ..Ground::default()
        }
    }

    #[test]
    fn subvolumes_within_one_are_listed_as_the_host_sees_them() {
        // As btrfs-progs 6.2 prints them.
        let listed = "ID 257 gen 10 top level 256 path @/srv/sub\nID 258 gen 11 top level 256 path @/srv/a b/c\n\
                      ID 259 gen 12 top level 256 path @/srv/.rlvm-0123456789ab-0\nID 260 gen 12 top level 5 path @other\n";
        let found = |place: &str, at: &str, part: &str| {
            let mount = Mount {
                id: 1,
                parent: 0,
                device: (0, 1),
                part: part.into(),
                at: at.parse().unwrap(),
                kind: "btrfs".into(),
                source: "/dev/vda".into(),
            };
            let found = below(listed, &place.parse().unwrap(), &mount);
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found("/srv", "/", "/@"), ["/srv/sub", "/srv/a b/c"]);
        assert_eq!(found("/mnt/srv", "/mnt/srv", "/@/srv"), ["/mnt/srv/sub", "/mnt/srv/a b/c"]);
        assert_eq!(found("/mnt", "/mnt", "/@other"), [""; 0]);
    }

    #[test]
    fn a_subvolume_of_roots() {
        let source = |at: &str, paths: &[&str]| Btrfs {
            subvolume: at.parse().unwrap(),
            paths: paths.iter().map(|it| it.parse().unwrap()).collect(),
        };
        let good = ground(true, true);
        assert_eq!(source("/b/home", &[]).stored(&good).unwrap(), ["/b/home".parse().unwrap()]);
        assert_eq!(source("/b/home", &["/b/home/x"]).stored(&good).unwrap().len(), 1);
        for (source, ground, said) in [
            (source("/b/home", &["/e"]), &good, "/e does not lie in /b/home"),
            (source("/e", &[]), &good, "/e is not on btrfs"),
            (source("/gone", &[]), &good, "/gone is not there"),
            (source("/b/home", &[]), &ground(false, true), "/b/home is no subvolume"),
            (
                source("/b/home", &[]),
                &ground(true, false),
                "others than root can write into /b/home, where its snapshot would lie",
            ),
        ] {
            assert_eq!(source.stored(ground).unwrap_err().message, said);
        }
        let run = "0123456789ab".parse().unwrap();
        let frozen = source("/b/home", &[]).frozen(&good, &run, 0).unwrap();
        assert_eq!(
            frozen.step.to_string(),
            "btrfs subvolume snapshot -r /b/home /b/home/.rlvm-0123456789ab-0\n#   undone by: btrfs subvolume delete \
             /b/home/.rlvm-0123456789ab-0"
        );
    }
}
