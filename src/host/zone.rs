//! Reads the time zone of a host, which cron and systemd use for schedules.

use std::{fs, path::Path};

use jiff::tz::TimeZone;

/// Where a host says its time zone: a link to a file of the zone database, or such a file.
const LOCALTIME: &str = "etc/localtime";

/// Returns the time zone of the system below `root`: the caller's `TZ` changes nothing of it. UTC where nothing says one.
#[expect(clippy::disallowed_methods, reason = "host looks")]
pub fn zone_of(root: &Path) -> TimeZone {
    let file = root.join(LOCALTIME);
    // The link's name tells the zone also where its file is not on this machine.
    let target = fs::read_link(&file).ok();
    let name = target.as_deref().and_then(Path::to_str).and_then(|target| target.split_once("zoneinfo/"));
    if let Some(zone) = name.and_then(|(_, name)| TimeZone::get(name).ok()) {
        return zone;
    }
    let read = fs::read(&file).ok().and_then(|bytes| TimeZone::tzif("localtime", &bytes).ok());
    read.unwrap_or(TimeZone::UTC)
}
