//! Reads which git revision a state is at, without running anything that the repository configures.
//!
//! A repository's own configuration names programs: content filters, a file system monitor, hooks, an ssh command. A
//! member of a group that may write `.git` would run them as root. So rlvm finds the commit itself, and git compares
//! with a configuration that rlvm writes: in a private git directory that borrows the repository's objects and a copy of
//! its index. git never opens the repository's configuration. What a filter changed (git-lfs, git-crypt) counts as a
//! change, since the filter is not run.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{fcntl::OFlag, unistd::mkdtemp};
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::{Real, answers::ask, process};
use crate::effect::{Arg, Cmd};

/// How long reading a revision may take in all, in seconds.
const LIMIT: u64 = 30;
/// The largest file of a repository that is read or copied, in bytes.
const LARGEST: u64 = 256 << 20;
/// How many symbolic references are followed; git follows five.
const MOST_REFERENCES: usize = 5;
/// How deep submodules are looked at.
const DEEPEST: usize = 8;

/// The git commit that a state came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The commit's full name.
    pub commit: String,
    /// Whether the work tree differed from it.
    pub dirty: bool,
}

impl Real {
    /// Returns the git revision of the work tree that a file of the caller's lies in. Nothing if the file is in no work
    /// tree, or git cannot tell: it is missing, it takes longer than half a minute, or the repository is broken.
    pub fn revision(&self, file: &Path) -> Option<Revision> {
        let file = file.canonicalize().ok()?;
        let dir = file.parent()?;
        let top = dir.ancestors().find(|dir| dir.join(".git").exists())?;
        let state = file.strip_prefix(top).ok()?.to_str()?;
        let deadline = Instant::now() + Duration::from_secs(LIMIT);
        let read = WorkTree::open(top).and_then(|tree| {
            let Some(commit) = tree.head()? else { return Ok(None) };
            let dirty = tree.is_dirty(self, &commit, Some(state), (deadline, DEEPEST))?;
            Ok(Some(Revision { commit, dirty }))
        });
        read.unwrap_or_else(|err| {
            debug!("cannot read the revision of {}: {err:#}", top.display());
            None
        })
    }
}

/// A work tree with its repository.
struct WorkTree {
    /// The directory that holds `.git`.
    top: PathBuf,
    /// What is this work tree's alone: `HEAD` and the index.
    own: PathBuf,
    /// What all work trees of the repository share: references and objects.
    common: PathBuf,
}

impl WorkTree {
    /// Finds the repository of a work tree (gitrepository-layout(5)): `.git` is a directory, or in linked work trees and
    /// submodules a file that names one.
    fn open(top: &Path) -> Result<Self> {
        let git = top.join(".git");
        let own = if git.is_dir() {
            git
        } else {
            let text = read(&git)?.context("its .git is gone")?;
            let dir = text.strip_prefix("gitdir:").context("its .git names no directory")?;
            top.join(dir.trim())
        };
        // Whoever may write .git may have it name a directory on a mount that hangs.
        ask(&own)?;
        let common = match read(&own.join("commondir"))? {
            Some(dir) => own.join(dir.trim()),
            None => own.clone(),
        };
        ask(&common)?;
        Ok(Self { top: top.to_owned(), own, common })
    }

    /// Returns the commit that is checked out; nothing before the first one.
    fn head(&self) -> Result<Option<String>> {
        let mut text = read(&self.own.join("HEAD"))?;
        for _ in 0..MOST_REFERENCES {
            let Some(line) = text else { return Ok(None) };
            let line = line.trim();
            if is_id(line) {
                return Ok(Some(line.to_owned()));
            }
            let name =
                line.strip_prefix("ref:").context("HEAD names neither a commit nor a reference")?.trim();
            let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            ensure!(name.starts_with("refs/") && inside, "HEAD leads out of the repository");
            text = match read(&self.own.join(name))? {
                Some(text) => Some(text),
                None => read(&self.common.join(name))?.or(self.packed(name)?),
            };
        }
        bail!("HEAD leads through too many references")
    }

    /// Looks a reference up in the list of those that have no file of their own.
    fn packed(&self, name: &str) -> Result<Option<String>> {
        let list = read(&self.common.join("packed-refs"))?.unwrap_or_default();
        let id = |line: &str| Some(line.split_once(' ').filter(|(_, of)| *of == name)?.0.to_owned());
        Ok(list.lines().find_map(id))
    }

    /// Says whether the index, a file or a submodule differs from the commit, or a file is not in it. The state's file
    /// must be known to git: an ignored one is in no commit either. `limits` are the time and how deep submodules go.
    fn is_dirty(
        &self,
        real: &Real,
        commit: &str,
        state: Option<&str>,
        limits: (Instant, usize),
    ) -> Result<bool> {
        let (deadline, depth) = limits;
        let git = Borrowed::new(real, self, commit, deadline)?;
        // git would look into submodules with their own configuration.
        let status =
            ["status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=all", "--no-renames"];
        if !git.run(&status)?.is_empty() {
            return Ok(true);
        }
        if let Some(state) = state
            && git.run(&["ls-files", "--", state])?.is_empty()
        {
            return Ok(true);
        }
        for path in self.submodules()? {
            // One that is not checked out has nothing to compare; one behind a link is none.
            let top = self.top.join(&path);
            if top.canonicalize().is_ok_and(|real| real != top) || !top.join(".git").exists() {
                continue;
            }
            ensure!(depth > 0, "its submodules are too deep");
            let listed = git.run(&["ls-tree", "-z", "--full-tree", commit, "--", &path])?;
            let recorded = listed.strip_prefix("160000 commit ").and_then(|rest| rest.split('\t').next());
            let sub = Self::open(&top)?;
            let head = sub.head()?;
            if recorded != head.as_deref() {
                return Ok(true);
            }
            if let Some(head) = head
                && sub.is_dirty(real, &head, None, (deadline, depth - 1))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lists where submodules are.
    fn submodules(&self) -> Result<Vec<String>> {
        let text = read(&self.top.join(".gitmodules"))?.unwrap_or_default();
        let paths = text.lines().filter_map(|line| {
            let (name, path) = line.split_once('=')?;
            (name.trim() == "path").then(|| path.trim().trim_matches('"').to_owned())
        });
        let inside =
            |path: &String| Path::new(path).components().all(|it| matches!(it, Component::Normal(_)));
        Ok(paths.filter(inside).collect())
    }
}

/// A private git directory that borrows a repository's objects and has a copy of its index. It goes when this does.
struct Borrowed<'a> {
    real: &'a Real,
    dir: PathBuf,
    tree: &'a WorkTree,
    deadline: Instant,
}

impl<'a> Borrowed<'a> {
    fn new(real: &'a Real, tree: &'a WorkTree, commit: &str, deadline: Instant) -> Result<Self> {
        let dir = mkdtemp("/tmp/rlvm-git-XXXXXX").context("cannot make a directory in /tmp")?;
        let borrowed = Self { real, dir, tree, deadline };
        borrowed.fill(commit)?;
        Ok(borrowed)
    }

    #[expect(clippy::disallowed_methods, reason = "host writes into a directory that it has just made")]
    fn fill(&self, commit: &str) -> Result<()> {
        let Self { dir, tree: WorkTree { own, common, .. }, .. } = self;
        // A name of 64 digits is SHA-256's.
        let format = if commit.len() == 64 { "[extensions]\nobjectFormat = sha256\n" } else { "" };
        let version = u8::from(!format.is_empty());
        std::fs::create_dir(dir.join("refs"))?;
        std::fs::create_dir(dir.join("info"))?;
        std::fs::write(dir.join("HEAD"), format!("{commit}\n"))?;
        std::fs::write(dir.join("config"), format!("[core]\nrepositoryFormatVersion = {version}\n{format}"))?;
        copy(&common.join("info/exclude"), &dir.join("info/exclude"))?;
        copy(&own.join("index"), &dir.join("index"))?;
        // A split index has its other half beside it.
        for entry in std::fs::read_dir(own)? {
            let name = entry?.file_name();
            if name.to_string_lossy().starts_with("sharedindex.") {
                copy(&own.join(&name), &dir.join(&name))?;
            }
        }
        Ok(())
    }

    /// Runs git on the work tree; returns what it printed.
    fn run(&self, words: &[&str]) -> Result<String> {
        let left = self.deadline.saturating_duration_since(Instant::now()).as_secs();
        ensure!(left > 0, "it took longer than {LIMIT} s");
        let text = |path: &Path| path.to_str().map(ToOwned::to_owned).context("a path is no UTF-8");
        let word = |path: &Path| Ok::<_, anyhow::Error>(Arg::Word(text(path)?));
        let cmd = Cmd::new("git")
            .args(["--literal-pathspecs", "-C", &text(&self.tree.top)?])
            .args(words.iter().copied())
            .env("GIT_DIR", word(&self.dir)?)
            .env("GIT_WORK_TREE", word(&self.tree.top)?)
            .env("GIT_INDEX_FILE", word(&self.dir.join("index"))?)
            .env("GIT_OBJECT_DIRECTORY", word(&self.tree.common.join("objects"))?)
            .env("GIT_CONFIG_NOSYSTEM", Arg::Word("1".into()))
            .env("GIT_CONFIG_GLOBAL", Arg::Word("/dev/null".into()))
            .env("GIT_ATTR_NOSYSTEM", Arg::Word("1".into()))
            .env("GIT_OPTIONAL_LOCKS", Arg::Word("0".into()))
            .env("GIT_TERMINAL_PROMPT", Arg::Word("0".into()));
        Ok(process::must(self.real, &cmd.timeout(left))?.stdout)
    }
}

impl Drop for Borrowed<'_> {
    #[expect(clippy::disallowed_methods, reason = "host removes what it has made itself")]
    fn drop(&mut self) {
        for dir in [self.dir.join("refs"), self.dir.join("info"), self.dir.clone()] {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                drop(std::fs::remove_file(entry.path()));
            }
            // What stays is a copy of an index that nobody else can read; the system cleans /tmp.
            drop(std::fs::remove_dir(&dir));
        }
    }
}

/// Says whether a text is the name of an object: SHA-1's or SHA-256's.
fn is_id(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Opens a plain file of a repository; nothing if it is not there. A FIFO must not hold rlvm up.
fn open(path: &Path) -> Result<Option<File>> {
    let shown = path.display();
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(err) => return Err(err).with_context(|| format!("cannot read {shown}")),
    };
    let meta = file.metadata().with_context(|| format!("cannot look at {shown}"))?;
    ensure!(meta.is_file() && meta.len() <= LARGEST, "{shown} is no plain file of at most {LARGEST} bytes");
    Ok(Some(file))
}

/// Reads a text file of a repository; nothing if it is not there.
fn read(path: &Path) -> Result<Option<String>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut text = String::new();
    file.take(LARGEST)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(text))
}

/// Copies a file of a repository with its time, if it is there. git takes a file that changed after the index was
/// written for one that it has to compare.
#[expect(clippy::disallowed_methods, reason = "host writes into a directory that it has just made")]
fn copy(from: &Path, to: &Path) -> Result<()> {
    let Some(file) = open(from)? else { return Ok(()) };
    let time = file.metadata()?.modified()?;
    let mut new = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    std::io::copy(&mut file.take(LARGEST), &mut new)
        .with_context(|| format!("cannot copy {}", from.display()))?;
    new.set_modified(time).with_context(|| format!("cannot set the time of {}", to.display()))
}
