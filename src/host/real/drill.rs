//! Examines the restored files in a private directory one by one.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::stat::{Mode as Bits, fstat},
};

use super::{
    Real,
    leaf::open_at,
    look::digest_of,
    staging::{open_dir, there},
};
use crate::{
    host::{Sort, There},
    model::{HostPath, Sha256},
};

impl Real {
    /// Says what a file in the private directory of a restore is, and the digest of what it holds; nothing if it is not
    /// there. No link is followed, whoever owns what is in there.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is no regular file.
    pub fn staged_file(&self, staging: &HostPath, path: &str) -> Result<Option<(There, Sha256)>> {
        let (_, mut dir) = self.open_staging(staging)?.with_context(|| format!("{staging} is gone"))?;
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let Some(name) = parts.pop() else { return Ok(None) };
        ensure!(!parts.contains(&"..") && name != "..", "{path} leads out of {staging}");
        for part in parts {
            dir = match open_dir(&dir, part.as_bytes()) {
                Ok(below) => below,
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(errno).with_context(|| format!("cannot open {part} of {path}")),
            };
        }
        let file: File = match open_at(&dir, name.as_bytes(), OFlag::O_RDONLY, Bits::empty()) {
            Ok(fd) => fd.into(),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno).with_context(|| format!("cannot open {path}")),
        };
        let there = there(&fstat(&file)?);
        ensure!(there.sort == Sort::File, "{path} is no regular file");
        let digest = digest_of(file).with_context(|| format!("cannot read {path}"))?;
        Ok(Some((there, digest)))
    }
}
