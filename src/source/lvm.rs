//! Files of a logical volume, frozen by a snapshot.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ground::{Fills, Frozen, Ground, Instead, Unfit};
use crate::{
    effect::{Cmd, Query, Step},
    host::{Mount, Observe},
    model::{HostPath, LvName, RunId, Size},
};

/// Files of a logical volume, taken from a snapshot that is there only while they are read. Other file systems that are
/// mounted below are sources of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lvm {
    /// The logical volume, as VG/LV: `vg0/root`. It must be mounted.
    pub volume: LvName,
    /// The room for changes during the backup: a size (`2G`), or a share of the volume (`10%`). A thin volume needs
    /// none. Default: 10%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_size: Option<Size>,
    /// The paths to back up: absolute paths as the host sees them. Default: where the volume is mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<HostPath>,
}

/// The size of a snapshot that nobody said: 10 %.
const USUAL: Size = Size::Percent(10_000);
/// What stays free in a group beside the snapshots, in hundredths of their size.
const MARGIN: u64 = 5;
/// How full a thin pool may be for another snapshot, in percent.
const FULL_POOL: u8 = 95;

/// A logical volume, as lvs(8) tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogicalVolume {
    /// Its name.
    pub name: LvName,
    /// Its size, in bytes.
    pub size: u64,
    /// Its ten letters (lvs(8), `lv_attr`).
    pub attributes: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The pool of a thin one.
    pub pool: Option<String>,
    /// Its device, if it is active.
    pub device: Option<(u32, u32)>,
    /// How full a snapshot or a pool is, in percent, rounded down.
    pub full: Option<u8>,
    /// What is free in its group, in bytes.
    pub free: u64,
    /// The size of an extent of its group, in bytes.
    pub extent: u64,
}

/// The tag of all that a run makes.
pub const TAG: &str = "rlvm";

/// Returns the tag of what one run makes.
pub fn tag_of(run: &RunId) -> String {
    format!("rlvm-run={run}")
}

/// The columns that are asked for.
const COLUMNS: &str = "vg_name,lv_name,lv_size,lv_attr,lv_tags,pool_lv,data_percent,lv_kernel_major,lv_kernel_minor,\
vg_free,vg_extent_size";

/// How often volumes are asked for before lvs(8) counts as failed: it fails while another command holds the lock of a
/// group, or while udev is slow.
const TRIES: u32 = 3;
/// How long to wait before each further try.
const PAUSE: Duration = Duration::from_millis(500);

/// Lists the host's logical volumes.
///
/// # Errors
///
/// If there is no LVM, or it cannot be asked.
pub fn volumes(host: &dyn Observe) -> Result<Vec<LogicalVolume>> {
    let cmd = Cmd::new("lvs").args(["--reportformat", "json", "--units", "b", "--nosuffix", "-o", COLUMNS]);
    let query = Query::new(cmd.timeout(60))?;
    let mut tries = 1;
    loop {
        let asked = host.query(&query);
        let output = asked.context("cannot ask for logical volumes (apt-get install lvm2)")?;
        match output.code {
            Some(0) => return read(&output.stdout),
            Some(_) if tries < TRIES => thread::sleep(PAUSE),
            _ => bail!("lvs failed: {}", output.stderr.trim()),
        }
        tries += 1;
    }
}

/// Reads what `lvs --reportformat json` prints.
fn read(json: &str) -> Result<Vec<LogicalVolume>> {
    #[derive(Deserialize)]
    struct Said {
        report: Vec<Report>,
    }
    #[derive(Deserialize)]
    struct Report {
        lv: Vec<BTreeMap<String, String>>,
    }
    let said: Said = serde_json::from_str(json).context("lvs printed what is no report")?;
    let rows = said.report.iter().flat_map(|report| &report.lv);
    // Names that no source can have are nobody's here: [pool_tdata] and the like are not listed without -a.
    Ok(rows.filter_map(row).collect())
}

fn row(row: &BTreeMap<String, String>) -> Option<LogicalVolume> {
    let field = |name: &str| row.get(name).map_or("", String::as_str);
    let number = |name: &str| field(name).parse::<u64>().ok();
    let minor = |name: &str| field(name).parse::<u32>().ok();
    Some(LogicalVolume {
        name: format!("{}/{}", field("vg_name"), field("lv_name")).parse().ok()?,
        size: number("lv_size")?,
        attributes: field("lv_attr").into(),
        tags: field("lv_tags").split(',').filter(|tag| !tag.is_empty()).map(Into::into).collect(),
        pool: Some(field("pool_lv").to_owned()).filter(|pool| !pool.is_empty()),
        device: minor("lv_kernel_major").zip(minor("lv_kernel_minor")),
        full: field("data_percent").split('.').next().and_then(|share| share.parse().ok()),
        free: number("vg_free")?,
        extent: number("vg_extent_size").filter(|size| *size > 0)?,
    })
}

impl LogicalVolume {
    /// Says whether it is a thin volume.
    pub fn is_thin(&self) -> bool {
        self.attributes.starts_with('V')
    }

    /// Says whether it is a snapshot that has overflowed: what is read from it is no longer what was frozen.
    pub fn is_invalid(&self) -> bool {
        matches!(self.attributes.chars().nth(4), Some('I' | 'S')) && self.attributes.starts_with(['s', 'S'])
    }
}

impl Lvm {
    fn volume<'a>(&self, ground: &'a Ground) -> Result<&'a LogicalVolume, Unfit> {
        let found = ground.volumes.iter().find(|it| it.name == self.volume);
        found.ok_or_else(|| {
            let group: Vec<String> = ground
                .volumes
                .iter()
                .filter(|it| it.name.group() == self.volume.group())
                .map(|it| it.name.to_string())
                .collect();
            let remedy = if group.is_empty() {
                format!("`vgs` lists the groups; there is no {}", self.volume.group())
            } else {
                format!("there are: {}", group.join(", "))
            };
            Unfit::new(format!("there is no logical volume {}", self.volume), remedy)
        })
    }

    /// Finds where the volume is mounted whole: of several places the first.
    fn mount<'a>(&self, ground: &'a Ground) -> Result<&'a Mount, Unfit> {
        let device = self.volume(ground)?.device;
        let its = |mount: &&Mount| Some(mount.device) == device && mount.part == "/";
        ground.mounts.iter().find(its).ok_or_else(|| {
            let on_btrfs = ground
                .mounts
                .iter()
                .find(|mount| mount.kind == "btrfs" && mount.source.ends_with(self.volume.name()));
            match on_btrfs {
                // R52: two btrfs with one UUID on one host are written into each other.
                Some(mount) => Unfit::new(
                    format!("{} holds btrfs, of which no second copy may be mounted", self.volume),
                    format!("make it a btrfs source: {{ subvolume: {} }}", mount.at),
                ),
                None => Unfit::new(
                    format!("{} is not mounted", self.volume),
                    "mount it, or take it out of `sources`",
                ),
            }
        })
    }

    pub(super) fn stored(&self, ground: &Ground) -> Result<Vec<HostPath>, Unfit> {
        let mount = self.mount(ground)?;
        if mount.kind == "btrfs" {
            let message = format!("{} holds btrfs, of which no second copy may be mounted", self.volume);
            return Err(Unfit::new(
                message,
                format!("make it a btrfs source: {{ subvolume: {} }}", mount.at),
            ));
        }
        for path in &self.paths {
            let place = ground.there(path)?;
            // R27
            let on = ground.mounts.of(place);
            if on.is_none_or(|on| on.id != mount.id) {
                let message =
                    format!("{path} does not lie on {}, which is mounted at {}", self.volume, mount.at);
                let remedy = match on {
                    Some(on) => format!(
                        "it lies on {} at {}: name that volume, or make it a `path:`",
                        on.source, on.at
                    ),
                    None => "name the volume that it lies on".into(),
                };
                return Err(Unfit::new(message, remedy));
            }
        }
        Ok(if self.paths.is_empty() { vec![mount.at.clone()] } else { self.paths.clone() })
    }

    pub(super) fn frozen(&self, ground: &Ground, run: &RunId, number: usize) -> Result<Frozen, Unfit> {
        let (volume, mount) = (self.volume(ground)?, self.mount(ground)?);
        let group = self.volume.group();
        let name = format!("rlvm-{run}-{number}");
        let snapshot: LvName = format!("{group}/{name}").parse().map_err(|_| {
            Unfit::new(
                format!("the name of the group {group} leaves no room for a snapshot's"),
                "rename the group",
            )
        })?;
        let tag = tag_of(run);
        let cmd = Cmd::new("lvcreate").args(["--yes", "--quiet", "--snapshot", "--name", &name]);
        let cmd = cmd.args(["--addtag", TAG, "--addtag", &tag]);
        let extents = self.extents(volume);
        let cmd = if volume.is_thin() {
            // With a size it would be a thick one; and thin ones are not active unless told (lvmthin(7)).
            cmd.args(["--setactivationskip", "n"])
        } else {
            cmd.args(["--extents", &extents.to_string()])
        };
        let cmd = cmd.arg(self.volume.to_string()).timeout(120).whole();
        // By exact name and tag, and no error if there is none.
        let exactly = format!("lv_name=\"{name}\" && lv_tags=\"{tag}\"");
        let undo =
            Cmd::new("lvremove").args(["--yes", "--quiet", "--select", &exactly, group]).timeout(120).whole();
        let device = format!("/dev/{group}/{name}")
            .parse()
            .map_err(|_| Unfit::new(format!("{group}/{name} is no device"), "rename the group"))?;
        Ok(Frozen {
            at: mount.at.clone(),
            from: Instead::Device { path: device, kind: mount.kind.clone() },
            step: Step::undone(cmd, undo),
            fills: (!volume.is_thin()).then(|| Fills { origin: self.volume.clone(), snapshot, extents }),
            holds: true,
        })
    }

    /// Says how large the snapshot is to be, in extents: rounded up, and no larger than its origin with what it takes to
    /// know what has changed.
    fn extents(&self, volume: &LogicalVolume) -> u64 {
        self.snapshot_size.unwrap_or(USUAL).of(volume.size).div_ceil(volume.extent).max(1)
    }
}

/// Says what is wrong with the room that all snapshots of a run need (R28).
pub fn room(sources: &[&Lvm], ground: &Ground) -> Vec<Unfit> {
    let mut groups: BTreeMap<&str, (u64, &LogicalVolume)> = BTreeMap::new();
    let mut unfit = Vec::new();
    for source in sources {
        let Ok(volume) = source.volume(ground) else { continue };
        if let Some(pool) = &volume.pool {
            let pool = ground
                .volumes
                .iter()
                .find(|it| it.name.group() == volume.name.group() && it.name.name() == pool);
            if let Some((pool, full)) = pool.and_then(|pool| Some((pool, pool.full?)))
                && full >= FULL_POOL
            {
                let message =
                    format!("the thin pool {} is {full} % full: its volumes fail when it is full", pool.name);
                unfit.push(Unfit::new(
                    message,
                    format!("lvextend --size +1G {}, or remove what is not needed", pool.name),
                ));
            }
            continue;
        }
        groups.entry(source.volume.group()).or_insert((0, volume)).0 += source.extents(volume);
    }
    for (group, (extents, volume)) in groups {
        let margin = (extents * MARGIN).div_ceil(100).max(1);
        let (needed, margin) = (extents * volume.extent, margin * volume.extent);
        if needed + margin > volume.free {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let short = mib(needed + margin - volume.free);
            let message = format!(
                "the snapshots do not fit into {group}: {} MiB free, {} MiB needed and {} MiB to spare, {short} MiB short",
                volume.free >> 20,
                mib(needed),
                mib(margin),
            );
            unfit.push(Unfit::new(
                message,
                format!("a smaller `snapshot_size`, or a larger group: vgextend {group} DEVICE"),
            ));
        }
    }
    unfit
}

#[cfg(test)]
mod tests;
