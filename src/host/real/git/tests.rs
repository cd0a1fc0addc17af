//! Real repositories of every shape, and hostile ones.

#![expect(clippy::disallowed_methods, reason = "tests make repositories")]

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use super::*;

/// A directory with a state in it, which is or becomes a repository.
struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    /// Makes one with one commit that holds `state.yaml`.
    fn new(init: &[&str]) -> Self {
        let repository = Self { dir: tempfile::tempdir().unwrap() };
        repository.git(&[&["init", "--quiet"], init].concat());
        repository.write("state.yaml", "host: a\n");
        repository.commit();
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn git(&self, words: &[&str]) -> String {
        git(self.dir.path(), words)
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "x"]);
    }

    /// Compares what rlvm reads with the commit that git names.
    fn check(&self, dirty: bool, case: &str) {
        let commit = self.git(&["rev-parse", "HEAD"]);
        assert_eq!(read_at(&self.path("state.yaml")), Some(Revision { commit, dirty }), "{case}");
    }
}

fn git(dir: &Path, words: &[&str]) -> String {
    let fixed = ["-c", "user.name=x", "-c", "user.email=x", "-c", "protocol.file.allow=always"];
    let output = Command::new("git").arg("-C").arg(dir).args(fixed).args(words).output();
    let output = output.expect("git runs: apt-get install git");
    assert!(output.status.success(), "git {words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn read_at(file: &Path) -> Option<Revision> {
    Real::open(Path::new("/"), "/usr/local/bin:/usr/bin:/bin").unwrap().revision(file)
}

#[test]
fn each_way_to_differ_from_the_commit_is_dirty() {
    for format in ["sha1", "sha256"] {
        let repository = Repository::new(&["--object-format", format]);
        repository.check(false, "committed");
        // Of the same length and in the same second: only its content tells.
        repository.write("state.yaml", "host: b\n");
        repository.check(true, "modified");
        repository.git(&["add", "."]);
        repository.check(true, "staged");
        repository.write("state.yaml", "host: a\n");
        repository.check(true, "staged, and taken back in the work tree");
        repository.git(&["reset", "--hard", "--quiet"]);
        repository.check(false, "reset");
        repository.write("include/other.yaml", "x: 1\n");
        repository.check(true, "untracked");
        repository.commit();
        repository.check(false, "committed again");
        repository.git(&["pack-refs", "--all"]);
        repository.git(&["gc", "--quiet"]);
        repository.check(false, "packed");
        repository.git(&["update-index", "--split-index"]);
        repository.check(false, "split index");
        repository.git(&["checkout", "--quiet", "--detach", "HEAD~1"]);
        repository.check(false, "detached");
        fs::set_permissions(repository.path("state.yaml"), fs::Permissions::from_mode(0o755)).unwrap();
        repository.check(true, "executable");
        fs::set_permissions(repository.path("state.yaml"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(repository.path(".git/info/exclude"), "*.swp\n").unwrap();
        repository.write("state.yaml.swp", "");
        repository.check(false, "ignored by the repository");
        repository.git(&["rm", "--quiet", "--cached", "state.yaml"]);
        repository.write(".gitignore", "state.yaml\n");
        repository.commit();
        repository.check(true, "the state itself is ignored");
    }
}

#[test]
fn no_repository_and_no_commit_are_no_revision() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("state.yaml"), "").unwrap();
    assert_eq!(read_at(&dir.path().join("state.yaml")), None);
    git(dir.path(), &["init", "--quiet"]);
    assert_eq!(read_at(&dir.path().join("state.yaml")), None, "unborn");
    fs::write(dir.path().join(".git/HEAD"), "ref: refs/../../../etc/passwd\n").unwrap();
    assert_eq!(read_at(&dir.path().join("state.yaml")), None, "outside");
    fs::remove_file(dir.path().join(".git/HEAD")).unwrap();
    nix::unistd::mkfifo(&dir.path().join(".git/HEAD"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(read_at(&dir.path().join("state.yaml")), None, "a FIFO");
}

#[test]
fn linked_work_trees_and_submodules_have_revisions_of_their_own() {
    let repository = Repository::new(&[]);
    let beside = tempfile::tempdir().unwrap();
    let linked = beside.path().join("linked");
    repository.git(&["worktree", "add", "--quiet", "-b", "other", linked.to_str().unwrap()]);
    fs::write(linked.join("state.yaml"), "host: b\n").unwrap();
    git(&linked, &["commit", "--quiet", "--all", "--message", "y"]);
    let commit = git(&linked, &["rev-parse", "HEAD"]);
    let clean = Some(Revision { commit, dirty: false });
    assert_eq!(read_at(&linked.join("state.yaml")), clean);
    assert_ne!(read_at(&repository.path("state.yaml")), clean);

    let inner = Repository::new(&[]);
    repository.git(&["submodule", "--quiet", "add", inner.dir.path().to_str().unwrap(), "in ner"]);
    repository.check(true, "a submodule added");
    repository.commit();
    repository.check(false, "a submodule committed");
    let sub = repository.path("in ner");
    fs::write(sub.join("state.yaml"), "host: c\n").unwrap();
    repository.check(true, "a submodule's file modified");
    let revision = read_at(&sub.join("state.yaml")).unwrap();
    assert_eq!(revision, Revision { commit: git(&sub, &["rev-parse", "HEAD"]), dirty: true });
    git(&sub, &["commit", "--quiet", "--all", "--message", "z"]);
    repository.check(true, "a submodule at another commit");
    repository.commit();
    repository.check(false, "that commit recorded");
    assert_eq!(repository.git(&["submodule", "--quiet", "deinit", "--force", "--all"]), "");
    repository.check(false, "a submodule that is not checked out");
}

/// Plants all that git would run of a repository's configuration; each of it leaves a mark.
fn plant(config: &Path, hooks: &Path, mark: &Path) {
    let (program, mark) = (hooks.join("evil"), mark.display());
    fs::create_dir_all(hooks).unwrap();
    let text = format!("#!/bin/sh\necho \"$0 $*\" >>{mark}\ncat\n");
    for name in ["evil", "post-index-change", "pre-auto-gc", "reference-transaction", "post-checkout"] {
        fs::write(hooks.join(name), &text).unwrap();
        fs::set_permissions(hooks.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (evil, hooks) = (program.display(), hooks.display());
    let included = config.with_file_name("included");
    fs::write(&included, format!("[core]\nfsmonitor = {evil}\n")).unwrap();
    let more = format!(
        "[include]\npath = {}\n[core]\nfsmonitor = {evil}\nhooksPath = {hooks}\nsshCommand = {evil}\npager = {evil}\n\
         editor = {evil}\n[filter \"evil\"]\nclean = {evil}\nsmudge = {evil}\nprocess = {evil}\nrequired = true\n\
         [diff \"evil\"]\ntextconv = {evil}\ncommand = {evil}\n[diff]\nexternal = {evil}\n[alias]\nstatus = !{evil}\n\
         ls-files = !{evil}\n[submodule]\nrecurse = true\n[credential]\nhelper = !{evil}\n\
         [extensions]\npartialClone = evil\n[remote \"evil\"]\nurl = ext::{evil}\npromisor = true\n\
         uploadpack = {evil}\n[protocol]\nallow = always\n[gpg]\nprogram = {evil}\n",
        included.display(),
    );
    let before = fs::read_to_string(config).unwrap_or_default();
    fs::write(config, before + &more).unwrap();
}

#[test]
fn nothing_that_a_repository_configures_is_run() {
    let repository = Repository::new(&[]);
    let inner = Repository::new(&[]);
    repository.git(&["submodule", "--quiet", "add", inner.dir.path().to_str().unwrap(), "inner"]);
    repository.write(".gitattributes", "* filter=evil diff=evil\n");
    repository.commit();
    fs::write(repository.path("inner/.gitattributes"), "* filter=evil\n").unwrap();
    git(&repository.path("inner"), &["add", ".gitattributes"]);
    git(&repository.path("inner"), &["commit", "--quiet", "--message", "x"]);
    repository.commit();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let tree = repository.git(&["rev-parse", "HEAD^{tree}"]);

    let beside = tempfile::tempdir().unwrap();
    let mark = beside.path().join("ran");
    plant(&repository.path(".git/config"), &repository.path(".git/hooks"), &mark);
    plant(&repository.path(".git/modules/inner/config"), &repository.path(".git/modules/inner/hooks"), &mark);
    // New times: git has to compare the content, and would filter it first.
    for file in ["state.yaml", "inner/state.yaml"] {
        fs::write(repository.path(file), "host: a\n").unwrap();
    }
    assert_eq!(
        read_at(&repository.path("state.yaml")),
        Some(Revision { commit: commit.clone(), dirty: false })
    );
    assert!(!mark.exists(), "{}", fs::read_to_string(&mark).unwrap());
    // An object that is missing is fetched from nowhere.
    let object = repository.path(&format!(".git/objects/{}/{}", &tree[..2], &tree[2..]));
    fs::remove_file(object).unwrap();
    assert_eq!(read_at(&repository.path("state.yaml")), None);
    assert!(!mark.exists(), "{}", fs::read_to_string(&mark).unwrap());
    // The traps work: git itself, called as before, runs them.
    let mut plain = Command::new("git");
    plain.arg("-C").arg(repository.dir.path()).args(["status", "--porcelain"]).output().unwrap();
    assert!(mark.exists());
}
