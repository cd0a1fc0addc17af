//! What the tests have in common: a machine to try things on.
//!
//! It is the real kernel in a scratch tree (`--root`), never a fake that is kinder than the kernel. Tests give
//! files to several owners, so they run as root, and say so if they do not.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The user that jobs run as if not as root; uid and gid 4000 in the scratch tree.
pub(crate) const BACKUP: u32 = 4000;

/// The program that is tested.
pub(crate) const RLVM: &str = env!("CARGO_BIN_EXE_rlvm");

/// A machine in a temporary directory.
///
/// ```text
/// DIR/root/…                    the tree, with etc/passwd, etc/group, etc/cron.d, etc/logrotate.d, srv, var
/// DIR/state/hosts/web01.yaml    the state
/// DIR/bin/restic                the stand-in, unless the real one is wanted
/// DIR/calls                     what the stand-in was called with
/// ```
pub(crate) struct Scratch {
    dir: TempDir,
    path: String,
    /// What calls rlvm.
    call: Vec<String>,
    /// What the machine is called.
    name: String,
    /// Where the directory is seen from outside, if another mount namespace has it: `/proc/PID/root`.
    seen: Option<PathBuf>,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed, with the scratch directory's name taken out (`[DIR]`).
    pub(crate) stdout: String,
    /// What it complained about, likewise.
    pub(crate) stderr: String,
}

/// What stands at each path of a tree: type, owner, mode, and what it holds.
pub(crate) type Tree = BTreeMap<String, String>;

impl Scratch {
    /// Makes a machine whose restic is the quick stand-in.
    pub(crate) fn new() -> Self {
        let scratch = Self::with_real_restic();
        fs::create_dir(scratch.beside("bin")).unwrap();
        let restic = scratch.beside("bin/restic");
        fs::write(&restic, include_str!("restic.sh")).unwrap();
        fs::set_permissions(&restic, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(scratch.beside("version"), "0.18.0").unwrap();
        fs::write(scratch.beside("calls"), "").unwrap();
        // Jobs' users call it too.
        fs::set_permissions(scratch.beside("calls"), fs::Permissions::from_mode(0o666)).unwrap();
        let path = format!("{}:{}", scratch.beside("bin").display(), scratch.path);
        Self { path, ..scratch }
    }

    /// Makes a machine whose restic is this system's.
    pub(crate) fn with_real_restic() -> Self {
        let scratch = Self::bare();
        for dir in ["etc/cron.d", "etc/logrotate.d", "srv", "var/lib", "var/log", "run"] {
            fs::create_dir_all(scratch.root().join(dir)).unwrap();
        }
        scratch.file(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\n\
             www-data:x:33:33::/var/www:/usr/sbin/nologin\n\
             backup:x:4000:4000::/var/backups:/usr/sbin/nologin\n",
        );
        scratch.file("/etc/group", "root:x:0:\nadm:x:4:backup\nwww-data:x:33:\nbackup:x:4000:\n");
        scratch
    }

    /// Makes a machine with nothing in its tree.
    pub(crate) fn bare() -> Self {
        let is_root = nix::unistd::geteuid().is_root();
        assert!(is_root, "these tests give files to several owners: run them as root (sudo -E cargo test)");
        let path = std::env::var("PATH").unwrap();
        require(&path, "restic", "restic");
        require(&path, "setpriv", "util-linux");
        let dir = TempDir::with_prefix("rlvm-it-").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut scratch = Self { dir, path, call: Vec::new(), name: "web01".into(), seen: None };
        scratch.call_by(&[RLVM, "--root", scratch.root().to_str().unwrap()]);
        scratch
    }

    /// Has rlvm called by these words from now on.
    pub(crate) fn call_by(&mut self, words: &[&str]) {
        self.call = words.iter().map(ToString::to_string).collect();
    }

    /// Calls the machine so from now on, in place of `web01`.
    pub(crate) fn call_it(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Has programs find others by this `PATH` from now on.
    pub(crate) fn find_by(&mut self, path: &str) {
        path.clone_into(&mut self.path);
    }

    /// Looks at the machine in another mount namespace from now on: `/proc/PID/root`.
    pub(crate) fn see_by(&mut self, root: &Path) {
        self.seen = Some(root.join(self.dir.path().strip_prefix("/").unwrap()));
    }

    /// Returns where the machine's `/` is.
    pub(crate) fn root(&self) -> PathBuf {
        self.beside("root")
    }

    /// Returns where one of the machine's paths really is.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Returns a path beside the machine's tree: no part of what is hashed.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.seen.as_deref().unwrap_or(self.dir.path()).join(name)
    }

    /// Returns the same path as programs on the machine have it.
    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns what `PATH` is for rlvm.
    pub(crate) fn search_path(&self) -> &str {
        &self.path
    }

    /// Writes a file on the machine: root's, 0644.
    pub(crate) fn file(&self, path: &str, text: &str) {
        self.file_of(path, text, 0, 0o644);
    }

    /// Writes a file on the machine with an owner (user and group) and mode; its directories are made.
    pub(crate) fn file_of(&self, path: &str, text: &str, owner: u32, mode: u32) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, text).unwrap();
        self.own(path, owner, mode);
    }

    /// Makes a directory on the machine with an owner (user and group) and mode.
    pub(crate) fn dir(&self, path: &str, owner: u32, mode: u32) {
        fs::create_dir_all(self.at(path)).unwrap();
        self.own(path, owner, mode);
    }

    /// Gives something on the machine another owner (user and group) and mode.
    pub(crate) fn own(&self, path: &str, owner: u32, mode: u32) {
        chown(self.at(path), Some(owner), Some(owner)).unwrap();
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Reads a file of the machine.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|err| panic!("{path}: {err}"))
    }

    /// Writes the state, with `version` and `host` put before it.
    pub(crate) fn state(&self, yaml: &str) {
        self.state_text(&format!("version: 1\nhost: {}\n{yaml}", self.name));
    }

    /// Writes the state as it is.
    pub(crate) fn state_text(&self, yaml: &str) {
        let hosts = self.beside("state/hosts");
        fs::create_dir_all(&hosts).unwrap();
        fs::write(hosts.join(format!("{}.yaml", self.name)), yaml).unwrap();
    }

    /// Prepares a call of rlvm: this machine, this state, nothing of the caller's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_as(&self.name, args)
    }

    /// Prepares a call of rlvm on a machine that is called so.
    pub(crate) fn command_as(&self, host: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.call[0]);
        command.args(&self.call[1..]).args(["--host", host, "--state"]).arg(self.inside("state"));
        command.args(args).env_clear().env("PATH", &self.path).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Calls rlvm and waits for its end.
    pub(crate) fn rlvm(&self, args: &[&str]) -> Ran {
        self.ran(&mut self.command(args))
    }

    /// Calls rlvm, which must end with this exit code.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, args: &[&str]) -> Ran {
        let ran = self.rlvm(args);
        let Ran { stdout, stderr, .. } = &ran;
        assert_eq!(ran.code, Some(code), "rlvm {}\n{stdout}\n{stderr}", args.join(" "));
        ran
    }

    /// Applies, which must succeed.
    #[track_caller]
    pub(crate) fn apply(&self) -> Ran {
        self.expect(0, &["apply", "--yes"])
    }

    /// Plans, and there must be nothing to do.
    #[track_caller]
    pub(crate) fn plan_is_empty(&self) {
        let ran = self.expect(0, &["plan", "--detailed-exitcode"]);
        assert!(ran.stdout.contains("No changes. The host matches the state."), "{}", ran.stdout);
    }

    /// Plans, and returns the plan as JSON, whatever the exit code.
    #[track_caller]
    pub(crate) fn plan_json(&self, args: &[&str]) -> serde_json::Value {
        let ran = self.rlvm(&[&["plan", "--json"], args].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|err| panic!("{err}\n{}{}", ran.stdout, ran.stderr))
    }

    /// Lists the addresses that the ledger has.
    #[track_caller]
    pub(crate) fn managed(&self) -> Vec<String> {
        let ran = self.expect(0, &["ledger", "list", "--json"]);
        let list: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let entries = list["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["address"].as_str().unwrap().to_owned()).collect()
    }

    /// Runs a command to its end.
    pub(crate) fn ran(&self, command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| self.plain(&String::from_utf8_lossy(bytes));
        Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Takes the scratch directory's name out of a text.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "[DIR]")
    }

    /// Lists what the stand-in for restic was called with, and forgets it.
    pub(crate) fn restic_calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.beside("calls")).unwrap();
        fs::write(self.beside("calls"), "").unwrap();
        calls.lines().map(ToOwned::to_owned).collect()
    }

    /// Describes the whole tree, times aside.
    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        walk(&self.root(), &self.root(), &mut |path, at, meta| {
            tree.insert(path, describe(at, meta));
        });
        tree
    }

    /// Describes the whole tree, times and rlvm's lock aside: a refused apply leaves that alone.
    pub(crate) fn contents(&self) -> Tree {
        let mut tree = self.tree();
        tree.retain(|path, _| !path.starts_with("/run/rlvm"));
        tree
    }

    /// Returns a digest of every path, type, owner, mode, content and time of change.
    pub(crate) fn tree_hash(&self) -> String {
        let mut hash = Sha256::new();
        walk(&self.root(), &self.root(), &mut |path, at, meta| {
            let line = format!("{path}\0{}\0{}.{}\n", describe(at, meta), meta.mtime(), meta.mtime_nsec());
            hash.update(line);
        });
        format!("{:02x?}", hash.finalize().as_slice())
    }
}

/// Says in one line what something is, to whom it belongs, its mode, and what it holds.
pub(crate) fn describe(at: &Path, meta: &fs::Metadata) -> String {
    let kind = meta.file_type();
    let holds = match () {
        () if kind.is_dir() => "directory".into(),
        () if kind.is_symlink() => format!("link to {}", fs::read_link(at).unwrap().display()),
        () if kind.is_file() => format!("file {}", String::from_utf8_lossy(&fs::read(at).unwrap())),
        () if kind.is_fifo() => "FIFO".into(),
        () => "something else".into(),
    };
    format!("{}:{} {:04o} {holds}", meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

fn walk(root: &Path, dir: &Path, each: &mut dyn FnMut(String, &Path, &fs::Metadata)) {
    let mut names: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for at in names {
        let meta = fs::symlink_metadata(&at).unwrap();
        each(format!("/{}", at.strip_prefix(root).unwrap().display()), &at, &meta);
        if meta.is_dir() {
            walk(root, &at, each);
        }
    }
}

/// Fails, saying how to get it, if a program is missing: a test that is skipped looks like one that passed.
#[track_caller]
pub(crate) fn require(path: &str, program: &str, package: &str) {
    let found = std::env::split_paths(path).any(|dir| dir.join(program).is_file());
    assert!(found, "this test needs {program}: apt-get install {package}");
}

/// A program that answers as a restic of this version, and leaves the rest to the stand-in: programs start in the
/// tree's root, and the stand-in is beside it.
pub(crate) fn restic_of(version: &str) -> String {
    format!(
        "#!/bin/sh\n\
         if [ \"$1\" = version ]; then echo 'restic {version} compiled with go1.24 on linux/amd64'; exit; fi\n\
         exec ../bin/restic \"$@\"\n"
    )
}

/// The digest of some bytes, as it is published.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_stand_in_speaks_like_restic() {
    let scratch = Scratch::new();
    scratch.file("/p", "one");
    scratch.file("/q", "two");
    let restic = |args: &[&str]| {
        scratch.ran(Command::new(scratch.beside("bin/restic")).args(args).current_dir(scratch.root()))
    };
    let repo = ["--repo", "./srv/r", "--password-file"];
    let look = |password: &str| restic(&[&["cat", "config", "--no-lock"][..], &repo, &[password]].concat());
    assert_eq!(look("./p").code, Some(10));
    assert_eq!(restic(&[&["init"][..], &repo, &["./p"]].concat()).code, Some(0));
    assert_eq!(restic(&[&["init"][..], &repo, &["./p"]].concat()).code, Some(1));
    let ready = look("./p");
    assert!(ready.code == Some(0) && ready.stdout.contains("\"id\":"), "{ready:?}");
    assert_eq!(look("./q").code, Some(12));
    assert!(restic(&["version"]).stdout.starts_with("restic 0.18.0 "));
    assert_eq!(scratch.restic_calls().len(), 6);
}

#[test]
fn a_machine_is_made_planned_and_applied() {
    let scratch = Scratch::new();
    scratch.state(
        "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n",
    );
    let before = scratch.tree_hash();
    scratch.expect(2, &["plan", "--detailed-exitcode"]);
    assert_eq!(scratch.tree_hash(), before);
    scratch.apply();
    assert_ne!(scratch.tree_hash(), before);
    assert!(scratch.tree().contains_key("/srv/r/config"));
    scratch.plan_is_empty();
}
