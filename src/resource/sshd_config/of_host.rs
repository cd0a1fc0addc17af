//! Reads sshd's configuration files on a host.

use anyhow::Result;

use super::reading::{Files, NO_TEXT};
use crate::{
    host::{Entry, Observe},
    model::HostPath,
};

/// As many symbolic links as are followed to one file.
const MOST_LINKS: usize = 8;

/// The files of a host.
pub(super) struct OfHost<'a>(pub(super) &'a dyn Observe);

impl Files for OfHost<'_> {
    fn names(&self, dir: &str) -> Result<Result<Vec<String>, String>> {
        let dir: HostPath = match dir.parse() {
            Ok(dir) => dir,
            Err(bad) => return Ok(Err(format!("{bad}"))),
        };
        if dir.as_str().contains(NO_TEXT) {
            return Ok(Err("its name is not valid UTF-8".into()));
        }
        match self.0.entry(&dir)? {
            Entry::Directory(_) => Ok(Ok(self.0.names(&dir)?)),
            Entry::Blocked(why) => Ok(Err(why)),
            _ => Ok(Ok(Vec::new())),
        }
    }

    fn text(&self, path: &str) -> Result<Result<Option<String>, String>> {
        let mut path: HostPath = match path.parse() {
            Ok(path) => path,
            Err(bad) => return Ok(Err(format!("{bad}"))),
        };
        for _ in 0..MOST_LINKS {
            let (entry, text) = self.0.text(&path)?;
            match (entry, text) {
                (Entry::File(_), Some(text)) => return Ok(Ok(Some(String::from_utf8_lossy(&text).into()))),
                (Entry::File(_), None) => {
                    return Ok(Err("it is too large, or has several hard links".into()));
                }
                // sshd passes over what it cannot open.
                (Entry::Absent | Entry::Directory(_), _) => return Ok(Ok(None)),
                (Entry::Blocked(why), _) => return Ok(Err(why)),
                (other @ Entry::Other(_), _) => {
                    let Some(target) = self.0.link(&path)? else {
                        return Ok(Err(format!("it is {}", other.noun())));
                    };
                    let parent = path.parent_str().unwrap_or_default();
                    let whole = if target.starts_with('/') { target } else { format!("{parent}/{target}") };
                    path = match whole.parse() {
                        Ok(next) => next,
                        Err(_) => return Ok(Err(format!("it is a symbolic link to {whole}"))),
                    };
                }
            }
        }
        Ok(Err("too many symbolic links".into()))
    }
}
