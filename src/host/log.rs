//! Appends to log files, without following links.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use anyhow::{Context, Result, bail};

use super::real::{Cursor, Leaf, Real, Way};
use crate::model::{HostPath, mask_passwords};

/// A log that is written to; it may be rotated away meanwhile.
pub struct Log {
    file: File,
    shown: HostPath,
}

impl Log {
    /// Opens a log, made if it is not there: 0640.
    ///
    /// # Errors
    ///
    /// If its directory is not there, or something else is in its place.
    pub fn open(real: &Real, path: &HostPath) -> Result<Self> {
        let mut cursor = Cursor::default();
        let leaf = match Leaf::reach(&mut cursor, real, path)? {
            Way::There(leaf) => leaf,
            Way::Absent => {
                bail!("cannot write the log {path}: its directory is not there; rlvm apply makes it")
            }
            Way::Blocked(why) => bail!("cannot write the log {path}: {why}"),
        };
        let file = leaf.open_log().with_context(|| format!("cannot open the log {path}"))?;
        Ok(Self { file, shown: path.clone() })
    }

    /// Reads the end of a log, whole lines of so many bytes at most; nothing if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or something else is in its place.
    pub fn tail(real: &Real, path: &HostPath, bytes: u64) -> Result<String> {
        let mut cursor = Cursor::default();
        let Way::There(leaf) = Leaf::reach(&mut cursor, real, path)? else { return Ok(String::new()) };
        let Some((mut file, stat)) =
            leaf.read_log().with_context(|| format!("cannot read the log {path}"))?
        else {
            return Ok(String::new());
        };
        let from = u64::try_from(stat.st_size).unwrap_or_default().saturating_sub(bytes);
        let mut read = Vec::new();
        file.seek(SeekFrom::Start(from))
            .and_then(|_| file.take(bytes).read_to_end(&mut read))
            .with_context(|| format!("cannot read the log {path}"))?;
        let text = String::from_utf8_lossy(&read);
        let whole = if from == 0 { &text } else { text.split_once('\n').map_or("", |(_, rest)| rest) };
        Ok(whole.to_owned())
    }

    /// Adds a line, passwords in addresses masked.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn line(&mut self, line: &str) -> Result<()> {
        self.file
            .write_all(format!("{}\n", mask_passwords(line)).as_bytes())
            .with_context(|| format!("cannot write the log {}", self.shown))
    }
}
