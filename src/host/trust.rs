//! Reads files of the caller: state files, includes, saved plans. As root, rlvm reads only files that no other user
//! could have written.

use std::{
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    unistd::{Group, User, geteuid},
};

use super::real::{ask, home_path};
use crate::model::{GroupName, HostName, HostPath, UserName};

/// The largest state file or plan that is read, in bytes.
const LARGEST: u64 = 256 << 20;

/// Reads files that the caller names, if they can be trusted.
#[derive(Clone, Debug)]
pub struct CallersFiles {
    /// Users whose files are read: root's and the caller's, also behind sudo. Without root there is nobody to
    /// be protected from, so anybody's are.
    owners: Option<Vec<u32>>,
}

/// A file that others may write was to be read as root.
#[derive(Debug)]
pub struct Untrusted(String);

impl std::fmt::Display for Untrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Untrusted {}

impl CallersFiles {
    /// Trusts root, the caller, and `sudo_uid`, who became root by sudo.
    pub fn new(sudo_uid: Option<u32>) -> Self {
        let euid = geteuid().as_raw();
        let owners = (euid == 0).then(|| [Some(0), sudo_uid].into_iter().flatten().collect());
        Self { owners }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Untrusted`] if somebody else could have written it; else if it cannot be read or is no UTF-8.
    pub fn read(&self, path: &Path) -> Result<String> {
        let bytes = self.bytes(path)?;
        String::from_utf8(bytes).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Reads a file of any bytes.
    ///
    /// # Errors
    ///
    /// [`Untrusted`] if somebody else could have written it; else if it cannot be read.
    pub fn bytes(&self, path: &Path) -> Result<Vec<u8>> {
        let shown = path.display();
        ask(path)?;
        let real = std::fs::canonicalize(path).with_context(|| format!("cannot read {shown}"))?;
        // Opened by the name that has no links left, and looked at through the descriptor.
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(&real)
            .with_context(|| format!("cannot read {shown}"))?;
        let meta = file.metadata().with_context(|| format!("cannot look at {shown}"))?;
        if !meta.is_file() {
            bail!("cannot read {shown}: it is no regular file");
        }
        if meta.len() > LARGEST {
            bail!("cannot read {shown}: it is larger than {} MiB", LARGEST >> 20);
        }
        self.check(&real, &meta, false)?;
        for dir in real.ancestors().skip(1).chain(path.ancestors().skip(1)) {
            self.check_dir(dir)?;
        }
        for part in path.ancestors().filter(|part| !part.as_os_str().is_empty()) {
            self.check_link(part)?;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(|| format!("cannot read {shown}"))?;
        Ok(bytes)
    }

    /// Refuses a link that somebody else made, in a sticky directory, say: it could lead elsewhere by now.
    #[expect(clippy::disallowed_methods, reason = "host looks")]
    pub(super) fn check_link(&self, path: &Path) -> Result<()> {
        let meta =
            std::fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
        match &self.owners {
            Some(owners) if meta.is_symlink() && !owners.contains(&meta.uid()) => {
                let shown = path.display();
                let why = format!(
                    "refusing to use {shown} as root: it is a link of user {}: name the file itself",
                    meta.uid()
                );
                Err(Untrusted(why).into())
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "host looks")]
    fn check_dir(&self, dir: &Path) -> Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let meta = std::fs::metadata(dir).with_context(|| format!("cannot look at {}", dir.display()))?;
        self.check(dir, &meta, true)
    }

    fn check(&self, path: &Path, meta: &std::fs::Metadata, directory: bool) -> Result<()> {
        let Some(owners) = &self.owners else { return Ok(()) };
        let shown = path.display();
        if !owners.contains(&meta.uid()) {
            let why = format!(
                "refusing to use {shown} as root: it belongs to user {}, not to root: chown root {shown}",
                meta.uid()
            );
            return Err(Untrusted(why).into());
        }
        let sticky = directory && meta.mode() & 0o1000 != 0;
        if meta.mode() & 0o022 != 0 && !sticky {
            let why = format!(
                "refusing to use {shown} as root: others may write it (mode {:04o}): chmod go-w {shown}",
                meta.mode() & 0o7777
            );
            return Err(Untrusted(why).into());
        }
        Ok(())
    }

    /// Says whether a path is a directory.
    pub fn is_dir(&self, path: &Path) -> bool {
        ask(path).is_ok() && path.is_dir()
    }

    /// Says whether a path is a file.
    pub fn is_file(&self, path: &Path) -> bool {
        ask(path).is_ok() && path.is_file()
    }

    /// Lists the names of a directory's `.yaml` files without that ending, sorted, for a hint.
    #[expect(clippy::disallowed_methods, reason = "host looks")]
    pub fn yaml_names(&self, dir: &Path) -> Vec<String> {
        if ask(dir).is_err() {
            return Vec::new();
        }
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".yaml").map(Into::into)).collect();
        names.sort_unstable();
        names
    }
}

/// Resolves `.` and `..` by the text alone, for an include's path.
pub fn lexical(base: &Path, path: &str) -> PathBuf {
    let mut out = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// Who calls, without root: what the system's accounts know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserName,
    /// The user's number.
    pub uid: u32,
    /// The user's first group.
    pub group: GroupName,
    /// Where the user is at home, if that is a place.
    pub home: Option<HostPath>,
}

/// Looks up who calls.
///
/// # Errors
///
/// If no account has the caller's number, or one with a name that is none.
pub fn caller() -> Result<Caller> {
    let uid = geteuid();
    let looked = User::from_uid(uid).with_context(|| format!("cannot look up user {uid}"))?;
    let user = looked.with_context(|| format!("no account has the number {uid}, which is yours"))?;
    let looked = Group::from_gid(user.gid).with_context(|| format!("cannot look up group {}", user.gid))?;
    let group = looked.with_context(|| format!("no group has the number {}, which is yours", user.gid))?;
    let home = user.dir.to_str().and_then(home_path);
    Ok(Caller { user: user.name.parse()?, uid: uid.as_raw(), group: group.name.parse()?, home })
}

/// Says whether the caller is root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Says whether an error is the kernel's that something is not permitted.
pub fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let errno = error.downcast_ref::<Errno>().copied();
    let io = || error.downcast_ref::<std::io::Error>()?.raw_os_error().map(Errno::from_raw);
    matches!(errno.or_else(io), Some(Errno::EACCES | Errno::EPERM))
}

/// Returns the machine's own name.
///
/// # Errors
///
/// If it has none that is a host name.
pub fn host_name() -> Result<HostName> {
    let name = nix::unistd::gethostname().context("cannot find out this machine's name")?;
    let name = name.to_string_lossy().parse::<HostName>();
    name.context("this machine's name is not a valid host name: use --host NAME")
}

/// Draws a name that no other thing has.
///
/// # Errors
///
/// If the system has no randomness to give.
#[expect(clippy::disallowed_methods, reason = "host draws")]
pub fn random_id() -> Result<String> {
    let mut bytes = [0; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut it| it.read_exact(&mut bytes));
    read.context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
