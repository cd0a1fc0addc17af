//! Reads from the kernel how much of a file system a user may fill.

use std::path::Path;

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::quota::{QuotaType, quotactl_get},
};

use super::{Real, mounts};
use crate::{
    host::Quota,
    model::{HostPath, UserName},
};

/// What a mount's options say where users have quotas (mount(8), xfs(5)).
const OPTIONS: [&str; 4] = ["usrquota", "usrjquota", "uquota", "quota"];

/// The kernel counts limits in blocks of this size (quotactl(2)).
const BLOCK: u64 = 1024;

/// Looks up a user's quota where a directory lies; nothing where there are none.
pub(super) fn of(real: &Real, user: &UserName, dir: &HostPath) -> Result<Option<Quota>> {
    let Some(uid) = real.accounts.user(user)? else { return Ok(None) };
    let Some(mount) = mounts::above(&real.root.join(dir.as_str().trim_start_matches('/')))? else {
        return Ok(None);
    };
    let has_quotas = mount.options.iter().any(|option| {
        let name = option.split_once('=').map_or(option.as_str(), |(name, _)| name);
        OPTIONS.contains(&name)
    });
    if !has_quotas {
        return Ok(None);
    }
    let at = mount.point.display().to_string();
    match quotactl_get(QuotaType::USRQUOTA, Path::new(&mount.source), i32::try_from(uid)?) {
        Ok(block) => {
            let limits = [block.blocks_hard_limit(), block.blocks_soft_limit()];
            let limit = limits.into_iter().flatten().filter(|limit| *limit > 0).min();
            let limit = limit.map(|blocks| blocks.saturating_mul(BLOCK));
            Ok(Some(Quota { at, limit, used: block.occupied_space().unwrap_or_default() }))
        }
        // XFS knows nothing of a user who has neither files nor a limit (ENOENT); quotas may be off (ESRCH).
        Err(Errno::ENOENT) => Ok(Some(Quota { at, limit: None, used: 0 })),
        Err(Errno::ESRCH | Errno::EPERM | Errno::ENOSYS | Errno::ENOTBLK | Errno::ENODEV) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("cannot ask for the quota of {user} on {at}")),
    }
}
