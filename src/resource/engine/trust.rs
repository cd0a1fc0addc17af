//! Decides whether observing may run an installed program: `plan` runs as root, also on the tree of another system.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Engine, receipt};
use crate::{
    effect::Receipt,
    host::{Entry, Meta, Observe},
    model::{HostPath, Mode},
};

/// Lets a group write.
const GROUP: u32 = 0o020;
/// Lets everybody write.
const ALL: u32 = 0o002;
/// Where others may write, lets nobody take away what is not theirs.
const STICKY: u32 = 0o1000;

/// A directory on the way to a program in which others than root can put a program of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExposedDirectory {
    /// The directory.
    pub path: HostPath,
    /// Its owner's name, or number.
    pub owner: String,
    /// Its permission bits.
    pub mode: Mode,
    /// Who can write it, as a sentence.
    pub why: String,
}

impl Engine {
    /// Lists the directories on the way to a program that others than root can write, the nearest first.
    ///
    /// # Errors
    ///
    /// If the host cannot be looked at.
    pub fn exposed(host: &dyn Observe, path: &HostPath) -> Result<Vec<ExposedDirectory>> {
        let mut found = Vec::new();
        for dir in path.ancestors().chain(["/".parse()?]) {
            if let Entry::Directory(meta) = host.entry(&dir)?
                && let Some(why) = others(&dir, &meta, allowed(&dir, meta.mode))
            {
                found.push(ExposedDirectory { path: dir, owner: meta.owner, mode: meta.mode, why });
            }
        }
        Ok(found)
    }

    /// Says why an installed program may not be run, not even to be asked for its version: it is not there, others
    /// than root could have put their own into it, or it is not what was installed.
    ///
    /// # Errors
    ///
    /// If the host cannot be looked at.
    pub fn distrust(host: &dyn Observe, path: &HostPath) -> Result<Option<String>> {
        let beside = Receipt::path_of(path)?;
        // What stands in a directory of somebody else's may be another thing when it is run.
        if let Some(dir) = Self::exposed(host, path)?.into_iter().next() {
            return Ok(Some(dir.why));
        }
        for file in [path, &beside] {
            let why = match host.entry(file)? {
                Entry::File(meta) if meta.links > 1 => {
                    Some(format!("{file} has {} names (hard links)", meta.links))
                }
                Entry::File(meta) => others(file, &meta, 0),
                Entry::Absent => Some(format!("{file} is not there")),
                Entry::Blocked(why) => Some(why),
                other => Some(format!("{file} is {}, no file", other.noun())),
            };
            if why.is_some() {
                return Ok(why);
            }
        }
        let Some(receipt) = receipt(host, path)? else {
            return Ok(Some(format!("{beside} says not what was installed")));
        };
        let (_, digest) = host.digest(path)?;
        let same = digest.is_some_and(|digest| digest == receipt.installed);
        Ok((!same).then(|| format!("{path} is not what was installed, by {beside}")))
    }
}

/// Says which bits that let others write a directory are no harm.
fn allowed(dir: &HostPath, mode: Mode) -> u32 {
    // Debian long gave /usr/local/lib to the group staff, who may write what is in root's PATH anyway.
    let group = if dir.as_str().starts_with("/usr/local/lib/") { 0 } else { GROUP };
    let sticky = if mode.bits() & STICKY == 0 { 0 } else { ALL | GROUP };
    group | sticky
}

/// Says who else than root could have written something, if so.
fn others(path: &HostPath, meta: &Meta, allowed: u32) -> Option<String> {
    match meta.owner.as_str() {
        _ if meta.trusted && meta.mode.bits() & (GROUP | ALL) & !allowed == 0 => None,
        _ if meta.trusted => Some(format!("{path} can be written by others than root (mode {})", meta.mode)),
        "root" => Some(format!("{path} belongs to a user that only this tree calls root")),
        owner => Some(format!("{path} belongs to {owner}")),
    }
}
