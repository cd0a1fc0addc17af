//! A Debian 13 of a test's own, to be given to `--root`: the cached one (tests/vm/image.sh), and over it, in memory,
//! what the test changes.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::{
    space::Space,
    support::{RLVM, Ran, Scratch},
};

/// A tree in a mount namespace. It is a [`Scratch`] whose tree is a whole system.
pub(crate) struct DebianTree {
    /// Before the scratch directory, so that nothing is mounted there any more when that is removed.
    space: Space,
    scratch: Scratch,
}

/// Lays what may be changed over what is cached, in the directory $1.
const SETUP: &str = r#"
mount -t tmpfs -o mode=755 none "$1"
cd "$1"
mkdir root changed work
mount -t overlay -o lowerdir="$2",upperdir="$1/changed",workdir="$1/work" none root
echo ready
exec cat >/dev/null
"#;

/// Makes the tree in $1 the `/` of a program, with processes of its own.
const CHROOT: &str = r#"
cd "$1"
shift
mount -t proc none proc
mount --rbind /dev dev
mount -t tmpfs none run
exec chroot . "$@"
"#;

impl DebianTree {
    /// Makes one.
    pub(crate) fn new() -> Self {
        let mut scratch = Scratch::bare();
        let space = Space::start(&[], SETUP, &[&scratch.inside(""), &image().join("tree")]);
        let root = scratch.inside("root");
        let mut words = space.enter(&["mnt"]);
        words.extend([RLVM, "--root", root.to_str().unwrap()].map(Into::into));
        scratch.call_by(&words.iter().map(String::as_str).collect::<Vec<_>>());
        scratch.see_by(&space.proc("root"));
        Self { space, scratch }
    }

    /// Runs one of the tree's own programs with the tree as its `/`; /run is empty.
    pub(crate) fn chroot(&self, args: &[&str]) -> Ran {
        let unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"];
        let mut command = self.beside_it(&[&unshare[..], &["sh", "-euc", CHROOT, "sh"]].concat());
        command.arg(self.inside("root")).args(args);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        self.ran(&mut command)
    }

    /// Makes a disk of it, an ext4 file system without partitions.
    pub(crate) fn disk(&self, at: &Path) {
        let words = ["sh", "-euc", r#"truncate -s 4G "$2" && mkfs.ext4 -q -d "$1" "$2""#, "sh"];
        let made = self.ran(self.beside_it(&words).arg(self.inside("root")).arg(at));
        assert_eq!(made.code, Some(0), "{made:?}");
    }

    /// Prepares a call of a program of this system that sees the tree.
    fn beside_it(&self, args: &[&str]) -> Command {
        let words = self.space.enter(&["mnt"]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(args).stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/sbin:/sbin", self.search_path()));
        command
    }
}

impl Deref for DebianTree {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.scratch
    }
}

impl DerefMut for DebianTree {
    fn deref_mut(&mut self) -> &mut Scratch {
        &mut self.scratch
    }
}

/// Returns where tests/vm/image.sh has put the tree, the disk, the kernel and the initrd.
pub(crate) fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    let image = IMAGE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/image.sh");
        let target = Path::new(RLVM).ancestors().nth(2).unwrap();
        let said = Command::new(script).arg("--where").env("CARGO_TARGET_DIR", target).output().unwrap();
        String::from_utf8(said.stdout).unwrap().trim().into()
    });
    assert!(image.is_dir(), "this test needs a Debian 13 in {}: ./tests/vm/image.sh", image.display());
    image
}

#[test]
fn it_is_a_debian_and_leaves_the_cached_one_as_it_was() {
    let tree = DebianTree::new();
    assert!(tree.read("/etc/os-release").contains("VERSION_CODENAME=trixie"));
    tree.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    tree.file("/new", "");
    assert_eq!(tree.chroot(&["id", "-un"]).stdout, "root\n");
    let said =
        tree.chroot(&["sh", "-c", "cat /etc/passwd; ls /new; rm /etc/os-release; echo $$; restic version"]);
    assert!(said.stdout.starts_with("root:x:0:0::/root:/bin/sh\n/new\n1\nrestic 0.18"), "{said:?}");
    assert!(!tree.at("/etc/os-release").exists());
    assert!(!image().join("tree/new").exists() && image().join("tree/etc/os-release").exists());
    let dir = tree.inside("");
    drop(tree);
    assert!(!dir.exists());
}
