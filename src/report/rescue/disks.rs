//! What disks and accounts were like, for whoever lays them out again.

use std::collections::BTreeSet;

use super::{Kit, paper::Paper};
use crate::{
    host::{Mount, UserEntry},
    source::LogicalVolume,
};

pub(super) fn write(kit: &Kit<'_>, paper: &mut Paper) {
    paper.section("Disks and accounts");
    paper.say("As they were when this was made; nothing of it is done by a command of this text.");
    mounts(kit, paper);
    volumes(kit, paper);
    paper.line("");
    for (name, UserEntry { uid, group, home, .. }) in &kit.users {
        paper.fact(&format!("user {name}: number {uid}, group {group}, at home in {home}"));
    }
    if !kit.users.is_empty() {
        paper.say("Accounts come back with /etc. Restored elsewhere, files keep these numbers.");
    }
}

fn mounts(kit: &Kit<'_>, paper: &mut Paper) {
    let real: Vec<&Mount> = kit.mounts.iter().filter(|it| it.source.starts_with('/') && it.part == "/").collect();
    if real.is_empty() {
        return;
    }
    paper.line("");
    for Mount { at, kind, source, .. } in &real {
        paper.fact(&format!("{at}: {kind} on {source}"));
    }
    paper.line("");
    paper.say("Partition (EFI: one of type vfat at /boot/efi), make file systems, mount them below /mnt:");
    paper.line("");
    for Mount { at, kind, source, .. } in real {
        let device = if source.starts_with("/dev/mapper/") { source.as_str() } else { "/dev/PARTITION" };
        let at = at.as_str().trim_end_matches('/');
        paper.fact(&format!("mkfs.{kind} {device}; mkdir -p /mnt{at}; mount {device} /mnt{at}"));
    }
}

fn volumes(kit: &Kit<'_>, paper: &mut Paper) {
    let all = match &kit.volumes {
        None => return,
        Some(Err(why)) => {
            paper.line("");
            paper.say(&format!("Sources are on logical volumes, which could not be listed: {why}"));
            return;
        }
        Some(Ok(all)) => all,
    };
    paper.line("");
    for LogicalVolume { name, size, pool, attributes, .. } in all {
        let pool = pool.as_ref().map(|pool| format!(", thin, in the pool {pool}")).unwrap_or_default();
        let is_pool = if attributes.starts_with('t') { ", a thin pool" } else { "" };
        paper.fact(&format!("logical volume {name}: {} MiB{pool}{is_pool}", size >> 20));
    }
    paper.line("");
    paper.say("To make them again, the pools first:");
    paper.line("");
    let groups: BTreeSet<&str> = all.iter().map(|it| it.name.group()).collect();
    for group in groups {
        paper.fact(&format!("vgcreate {group} /dev/PARTITION"));
    }
    let (mut pools, rest): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.attributes.starts_with('t'));
    pools.extend(rest);
    // A snapshot, or what is inside a pool, is nobody's to make.
    for it in pools.into_iter().filter(|it| it.attributes.starts_with(['-', 'o', 'O', 't', 'V'])) {
        let (group, volume) = (it.name.group(), it.name.name());
        let mib = it.size >> 20;
        paper.fact(&match (&it.pool, it.attributes.starts_with('t')) {
            (Some(pool), _) => format!("lvcreate -V {mib}m --thinpool {pool} -n {volume} {group}"),
            (None, true) => format!("lvcreate -L {mib}m --thinpool {volume} {group}"),
            (None, false) => format!("lvcreate -L {mib}m -n {volume} {group}"),
        });
    }
}
