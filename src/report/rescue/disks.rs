//! Describes disks and accounts in the rescue kit, so that a person can create them again.

use std::collections::BTreeSet;

use super::{Kit, paper::Paper};
use crate::{
    host::{Mount, UserEntry},
    model::Name,
    resource::{Location, Repository},
    source::LogicalVolume,
};

/// Finds the file system that a repository of the host's own lies on, as far as its path tells.
pub(super) fn of<'a>(kit: &'a Kit<'_>, repository: &Repository) -> Option<&'a Mount> {
    let Location::Local(path) = &repository.location else { return None };
    kit.mounts.iter().filter(|it| path.is_within(&it.at)).max_by_key(|it| it.at.parts().count())
}

pub(super) fn write(kit: &Kit<'_>, paper: &mut Paper) {
    paper.section("Disks and accounts");
    paper.say("As they were when this was made. No command of this text does anything of it: look twice, then type.");
    let mounts: Vec<&Mount> =
        kit.mounts.iter().filter(|it| it.source.starts_with('/') && it.part == "/").collect();
    let volumes: Vec<&LogicalVolume> = match &kit.volumes {
        Some(Ok(all)) => all.iter().filter(|it| is_lasting(it)).collect(),
        _ => Vec::new(),
    };
    if !mounts.is_empty() || kit.volumes.is_some() {
        paper.line("");
    }
    for Mount { at, kind, source, .. } in &mounts {
        paper.fact(&format!("{at}: {kind} on {source}"));
    }
    for LogicalVolume { name, size, pool, attributes, .. } in &volumes {
        let pool = pool.as_ref().map(|pool| format!(", thin, in the pool {pool}")).unwrap_or_default();
        let is_pool = if attributes.starts_with('t') { ", a thin pool" } else { "" };
        paper.fact(&format!("logical volume {name}: {} MiB{pool}{is_pool}", size >> 20));
    }
    if let Some(Err(why)) = &kit.volumes {
        paper.fact(&format!("sources are on logical volumes, which could not be listed: {why}"));
    }
    if !mounts.is_empty() {
        layout(kit, &mounts, &volumes, paper);
    }
    if !kit.users.is_empty() {
        paper.line("");
    }
    for (name, UserEntry { uid, group, home, .. }) in &kit.users {
        paper.fact(&format!("user {name}: number {uid}, group {group}, at home in {home}"));
    }
    if !kit.users.is_empty() {
        paper.say("Accounts come back with /etc. Restored elsewhere, files keep these numbers.");
    }
}

/// Says how disks are laid out again, in the order of doing it.
fn layout(kit: &Kit<'_>, mounts: &[&Mount], volumes: &[&LogicalVolume], paper: &mut Paper) {
    paper.line("");
    paper.say("To lay out empty disks so again: partition them (fdisk; for EFI one of type vfat at /boot/efi), then");
    paper.line("");
    let groups: BTreeSet<&str> = volumes.iter().map(|it| it.name.group()).collect();
    let kept = |it: &LogicalVolume| !held(kit, &device_of(it)).is_empty();
    for group in groups {
        // What is in a group that holds backups is laid out by hand, if at all.
        match volumes.iter().find(|it| it.name.group() == group && kept(it)) {
            Some(it) => {
                paper.fact(&format!("NOT vgcreate {group}: {} holds backups; vgchange -ay {group}", it.name));
            }
            None => paper.fact(&format!("vgcreate {group} /dev/PARTITION")),
        }
    }
    // Pools first.
    let (pools, rest): (Vec<&LogicalVolume>, Vec<&LogicalVolume>) =
        volumes.iter().copied().partition(|it| it.attributes.starts_with('t'));
    for it in pools.into_iter().chain(rest).filter(|it| !kept(it)) {
        let (group, volume, mib) = (it.name.group(), it.name.name(), it.size >> 20);
        paper.fact(&match (&it.pool, it.attributes.starts_with('t')) {
            (Some(pool), _) => format!("lvcreate -V {mib}m --thinpool {pool} -n {volume} {group}"),
            (None, true) => format!("lvcreate -L {mib}m --thinpool {volume} {group}"),
            (None, false) => format!("lvcreate -L {mib}m -n {volume} {group}"),
        });
    }
    for mount in mounts {
        let Mount { at, kind, source, .. } = mount;
        let is_volume = source.starts_with("/dev/mapper/");
        let device = if is_volume { source.as_str() } else { "/dev/PARTITION" };
        let held = held(kit, source);
        if !held.is_empty() {
            let held = super::list(held);
            paper.fact(&format!(
                "NOT mkfs {source}: the repository {held} lies on it, at {at}; mount it as it is"
            ));
            continue;
        }
        let at = at.as_str().trim_end_matches('/');
        paper.fact(&format!("mkfs.{kind} {device} && mkdir -p /mnt{at}"));
        paper.fact(&format!("mount {device} /mnt{at}"));
    }
}

/// Lists the repositories that lie on a file system: making it anew would be the end of them.
fn held<'a>(kit: &'a Kit<'_>, device: &str) -> Vec<&'a Name> {
    let lies =
        |name: &&Name| kit.repository(name).and_then(|it| of(kit, it)).is_some_and(|it| it.source == device);
    kit.destinations().filter(lies).collect()
}

/// Returns the device of a volume: in a mapped device's name a hyphen of LVM's own stands twice (lvm(8)).
fn device_of(volume: &LogicalVolume) -> String {
    let twice = |name: &str| name.replace('-', "--");
    format!("/dev/mapper/{}-{}", twice(volume.name.group()), twice(volume.name.name()))
}

/// Says whether a volume is one that stays: no snapshot, no part of a pool (lvs(8), `lv_attr`).
fn is_lasting(volume: &LogicalVolume) -> bool {
    volume.attributes.starts_with(['-', 'o', 'O', 't', 'V'])
}
