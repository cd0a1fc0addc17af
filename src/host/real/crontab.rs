//! The caller's own crontab, changed by crontab(1), which alone may write it.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
};

use anyhow::{Context, Result, bail};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{Real, process};
use crate::effect::{EditCrontab, install_crontab, list_crontab, listed, remove_crontab};

/// Looks at it once more, and puts what it shall be in its place. crontab(1) itself writes a new file and renames it.
pub(super) fn edit(real: &Real, edit: &EditCrontab) -> Result<()> {
    let output = process::run(real, &list_crontab())?;
    let now = match listed(output.code, output.stdout, &output.stderr) {
        Ok(now) => now,
        Err(why) => bail!("cannot read the crontab: {why}"),
    };
    let Some(after) = edit.after(now.as_deref()) else {
        bail!("the crontab was changed since it was looked at: apply again");
    };
    if after.is_empty() {
        return process::must(real, &remove_crontab()).map(drop);
    }
    // Not a pipe: if rlvm is killed while it writes into one, crontab takes what came so far for all.
    let whole = memory(after.as_bytes()).context("cannot pass the crontab on")?;
    process::must_with(real, &install_crontab(), whole).map(drop)
}

/// Returns a file that is nowhere but in memory, to be read from its start.
fn memory(bytes: &[u8]) -> Result<File> {
    let mut file = File::from(memfd_create(c"crontab", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
