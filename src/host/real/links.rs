//! Finds a symbolic link whose target is no UTF-8: restic before 0.16 stores such a link altered.

use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::Result;
use nix::{
    dir::{Dir, Type},
    fcntl::readlinkat,
    sys::stat::fstat,
};

use super::{Real, answers, interrupted, staging::open_dir};
use crate::{host::lossy, model::HostPath};

impl Real {
    /// Returns the first link below a path whose target is no UTF-8, on that file system alone; nothing if there is none.
    /// What cannot be read is passed over: whoever stores it says so.
    ///
    /// # Errors
    ///
    /// If the path's mount does not answer.
    pub fn link_of_other_bytes(&self, path: &HostPath) -> Result<Option<String>> {
        let at = self.root.join(path.relative());
        answers::ask(&at)?;
        let Ok(dir) = open_dir(&self.root_fd, path.relative().as_bytes()) else { return Ok(None) };
        let Ok(stat) = fstat(dir.as_fd()) else { return Ok(None) };
        Ok(find(self, &dir, stat.st_dev, path.as_str().trim_end_matches('/')))
    }
}

fn find(real: &Real, dir: &OwnedFd, device: u64, path: &str) -> Option<String> {
    let mut listed = Dir::from_fd(open_dir(dir, b".").ok()?).ok()?;
    let mut below = Vec::new();
    for entry in listed.iter().filter_map(Result::ok) {
        let name = entry.file_name().to_bytes();
        // Nearly all file systems say what a name is of; for the others the name is tried as either.
        match entry.file_type() {
            Some(Type::Symlink) | None if name != b"." && name != b".." => {
                let target = readlinkat(dir, name).ok();
                if target.is_some_and(|target| target.to_str().is_none()) {
                    return Some(format!("{path}/{}", lossy(name)));
                }
                if entry.file_type().is_none() {
                    below.push(name.to_vec());
                }
            }
            Some(Type::Directory) if name != b"." && name != b".." => below.push(name.to_vec()),
            _ => {}
        }
    }
    drop(listed);
    below.iter().take_while(|_| interrupted().is_none()).find_map(|name| {
        let path = format!("{path}/{}", lossy(name));
        // Something that hangs may be mounted there.
        answers::ask_plain(|| real.root.join(path.trim_start_matches('/')), &path).ok()?;
        let inner = open_dir(dir, name).ok()?;
        let here = fstat(inner.as_fd()).ok()?.st_dev == device;
        here.then(|| find(real, &inner, device, &path))?
    })
}
