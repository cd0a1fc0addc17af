//! Asks a mount whether it answers, before rlvm touches a path on it.
//!
//! A call on a network or FUSE file system whose server hangs does not return, and nothing in the calling process can end
//! it. So a helper program asks first, `stat -f`, which no cache answers. rlvm waits for the helper only so
//! long, kills it, and leaves it behind if the kernel does not let it go. A mount that did not answer counts as silent
//! until this process ends; one that did is asked again after `FRESH`. File systems on local disks are not asked.

use std::{
    collections::{HashMap, VecDeque},
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use nix::unistd::geteuid;
use tracing::debug;

use super::{Real, interrupted, mounts, process};
use crate::{effect::Cmd, side_by_side::side_by_side};

/// How long a mount may take to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a mount may take once a signal asked rlvm to stop: one that answers does so at once.
const LIMIT_WHEN_STOPPED: Duration = Duration::from_millis(500);
/// How long a killed helper may take to go before it is left behind.
const LAST_WAIT: Duration = Duration::from_millis(200);
/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(60);
/// How long the list of mounts counts.
const LISTED: Duration = Duration::from_secs(1);
/// As many links as the kernel follows before it gives up.
const MOST_LINKS: usize = 40;
/// How many mounts are asked at a time.
const AT_ONCE: usize = 16;
/// Where the helper is: rlvm has no host, and so no search path, when it asks about the caller's files.
const PATH: &str = "/usr/bin:/bin";

/// File systems that wait for somebody else. Those of FUSE begin with `fuse.` as well.
const REMOTE: [&str; 18] = [
    "9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "fuse", "fuseblk", "gfs2", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "virtiofs",
];

/// A mount that may not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Remote {
    at: PathBuf,
    /// Whether what lies below is mounted when it is touched: then each directory below is a mount of its own.
    is_automatic: bool,
    /// The only user whose calls reach the server: that of a FUSE file system without `allow_other`.
    only: Option<u32>,
}

/// What is known of mounts.
#[derive(Default)]
struct Known {
    listed: Option<(Instant, Arc<Vec<Remote>>)>,
    verdicts: HashMap<PathBuf, Arc<OnceLock<(Instant, bool)>>>,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// Makes sure that each mount on the way to a path answers. Links are followed. A path that cannot be looked at for
/// another reason is fine here: whoever opens it says so.
///
/// # Errors
///
/// If a mount did not answer.
pub(in crate::host) fn ask(path: &Path) -> Result<()> {
    let remotes = remotes();
    if remotes.is_empty() {
        return Ok(());
    }
    // A relative path starts where the kernel says that this process is.
    let start = if path.is_absolute() {
        PathBuf::new()
    } else {
        std::fs::read_link("/proc/self/cwd").unwrap_or_default()
    };
    let mut left: VecDeque<OsString> = parts(&start).chain(parts(path)).collect();
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(part);
        ask_here(&remotes, &next, path)?;
        match std::fs::read_link(&next) {
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(part);
                }
            }
            _ => at = next,
        }
    }
    Ok(())
}

/// Makes sure that the mounts at a path and above it answer. The path has no links, and is only made if there is
/// anything to ask.
///
/// # Errors
///
/// If one did not answer. The error names `asked`, the path that the caller was on the way to.
pub(super) fn ask_plain(path: impl FnOnce() -> PathBuf, asked: &str) -> Result<()> {
    let remotes = remotes();
    if remotes.is_empty() { Ok(()) } else { ask_here(&remotes, &path(), asked.as_ref()) }
}

/// Asks the mounts of many paths side by side; the answers count for whoever touches the paths.
pub(super) fn ask_ahead(paths: &[PathBuf]) {
    let remotes = remotes();
    let questions = |remote: &Remote| -> Vec<PathBuf> {
        let mut places: Vec<PathBuf> = paths.iter().filter_map(|path| remote.question(path)).collect();
        places.sort_unstable();
        places.dedup();
        places
    };
    let all: Vec<(&Remote, PathBuf)> =
        remotes.iter().flat_map(|it| questions(it).into_iter().map(move |at| (it, at))).collect();
    side_by_side(&all, AT_ONCE, |(remote, at)| remote.answers(at));
}

/// Lists the parts of a path that lead on.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    })
}

fn ask_here(remotes: &[Remote], path: &Path, asked: &Path) -> Result<()> {
    for remote in remotes {
        if let Some(at) = remote.question(path)
            && !remote.answers(&at)
        {
            let (asked, at, limit) = (asked.display(), at.display(), LIMIT.as_secs());
            bail!("cannot look at {asked}: the mount {at} did not answer within {limit} s");
        }
    }
    Ok(())
}

impl Remote {
    /// Returns what to ask about before a path is touched; nothing if the path is not on this mount.
    fn question(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.at).ok()?;
        match below.components().next() {
            Some(first) if self.is_automatic => Some(self.at.join(first)),
            _ => Some(self.at.clone()),
        }
    }

    /// Says whether a place on this mount answers. Whoever comes meanwhile waits for the same answer.
    fn answers(&self, at: &Path) -> bool {
        let verdict = {
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            let verdict = known.verdicts.entry(at.to_owned()).or_default();
            if verdict.get().is_some_and(|(when, answered)| *answered && when.elapsed() > FRESH) {
                *verdict = Arc::default();
            }
            Arc::clone(verdict)
        };
        verdict.get_or_init(|| (Instant::now(), self.probe(at))).1
    }

    /// Starts the helper and waits for it, whatever it says: an error is an answer.
    fn probe(&self, at: &Path) -> bool {
        let Some(name) = at.to_str() else { return true };
        let real = match Real::open(Path::new("/"), PATH) {
            Ok(real) => real,
            Err(err) => {
                debug!("cannot ask {name}: {err:#}");
                return true;
            }
        };
        let cmd = Cmd::new("stat").args(["-f", "--", name]);
        let only = self.only.filter(|_| geteuid().is_root()).map(|uid| real.accounts.user_name(uid));
        let cmd = match only.and_then(|name| name.parse().ok()) {
            Some(user) => cmd.user(&user),
            None => cmd,
        };
        let limit = || if interrupted().is_some() { LIMIT_WHEN_STOPPED } else { LIMIT };
        match process::run_within(&real, &cmd, &limit, LAST_WAIT) {
            Ok(output) => !output.timed_out,
            Err(err) => {
                debug!("cannot ask {name}: {err:#}");
                err.downcast_ref::<process::LeftBehind>().is_none()
            }
        }
    }
}

/// Lists the mounts that may not answer, those nearer to the root first.
fn remotes() -> Arc<Vec<Remote>> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((when, remotes)) = &known.listed
        && when.elapsed() < LISTED
    {
        return Arc::clone(remotes);
    }
    let mut list: Vec<Remote> = match mounts::list() {
        Ok(text) => text.split(|byte| *byte == b'\n').filter_map(remote).collect(),
        // Without /proc nothing is known of mounts.
        Err(_) => Vec::new(),
    };
    list.sort_by_key(|it| it.at.components().count());
    let remotes = Arc::new(list);
    known.listed = Some((Instant::now(), Arc::clone(&remotes)));
    remotes
}

/// Reads a line of `proc_pid_mountinfo(5)`: the fifth field is the place; behind a `-` stand type, source and options.
fn remote(line: &[u8]) -> Option<Remote> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let at = mounts::unescape(fields.get(4)?);
    let rest = fields.iter().position(|field| *field == b"-")?;
    let kind = std::str::from_utf8(fields.get(rest + 1)?).ok()?;
    // Without its root there is no host to look at.
    if at == b"/" || !(REMOTE.contains(&kind) || kind.starts_with("fuse.")) {
        return None;
    }
    let options = String::from_utf8_lossy(fields.get(rest + 3)?).into_owned();
    let is_closed = kind.starts_with("fuse") && !options.split(',').any(|it| it == "allow_other");
    let owner = options.split(',').find_map(|it| it.strip_prefix("user_id=")?.parse().ok());
    Some(Remote {
        at: PathBuf::from(OsStr::from_bytes(&at)),
        is_automatic: kind == "autofs",
        only: owner.filter(|uid| is_closed && *uid != 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_wait_for_somebody_else_are_known() {
        let line = |at: &str, kind: &str, options: &str| {
            remote(format!("30 21 0:5 / {at} rw shared:1 - {kind} source {options}").as_bytes())
        };
        let plain = |at: &str| Some(Remote { at: at.into(), is_automatic: false, only: None });
        assert_eq!(line("/mnt/a\\040b", "nfs4", "rw"), plain("/mnt/a b"));
        assert_eq!(line("/m", "fuse.sshfs", "rw,user_id=0,group_id=0"), plain("/m"));
        assert_eq!(line("/m", "fuse.sshfs", "rw,user_id=1000,allow_other"), plain("/m"));
        assert_eq!(line("/m", "fuse", "rw,user_id=1000").unwrap().only, Some(1000));
        assert!(line("/m", "autofs", "rw").unwrap().is_automatic);
        for (at, kind) in [("/", "nfs4"), ("/m", "ext4"), ("/m", "fusectl"), ("/m", "tmpfs"), ("/m", "btrfs")]
        {
            assert_eq!(line(at, kind, "rw"), None, "{at} {kind}");
        }
        assert_eq!(remote(b""), None);
    }

    #[test]
    fn below_an_automatic_mount_each_directory_is_asked_by_itself() {
        let mount = |is_automatic| Remote { at: "/net".into(), is_automatic, only: None };
        let asked = |is_automatic, path: &str| mount(is_automatic).question(Path::new(path));
        assert_eq!(asked(true, "/net/nas/a/b"), Some("/net/nas".into()));
        assert_eq!(asked(true, "/net"), Some("/net".into()));
        assert_eq!(asked(false, "/net/nas/a"), Some("/net".into()));
        assert_eq!(asked(false, "/network"), None);
    }
}
