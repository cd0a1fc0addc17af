//! Namespaces of a test's own: what is mounted or started in them is gone when the test ends, however it ends.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::support::require;

/// The process whose namespaces they are: of mounts and processes always.
pub(crate) struct Space(Child);

impl Space {
    /// Makes them by unshare(1), with more of its options, and runs a shell script in them with these arguments.
    ///
    /// It prints `ready` when it is done, and lives on as what waits for the test to let go: `exec cat >/dev/null`.
    pub(crate) fn start(options: &[&str], script: &str, args: &[&Path]) -> Self {
        let path = std::env::var("PATH").unwrap();
        for program in ["unshare", "nsenter"] {
            require(&path, program, "util-linux");
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        command.args(options).args(["sh", "-euc", script, "sh"]).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "this test needs root, and a kernel that lets it make namespaces");
        Self(child)
    }

    /// Returns a file of /proc about the process that holds the namespaces.
    pub(crate) fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.0.id().to_string()).join(name)
    }

    /// Returns the number of that process.
    pub(crate) fn holder(&self) -> u32 {
        self.0.id()
    }

    /// Returns the words that bring a program into some of them: `mnt`, `net`, `uts`, `pid`.
    pub(crate) fn enter(&self, spaces: &[&str]) -> Vec<String> {
        // Found here, since the program's own PATH is the test's to choose.
        let path = std::env::var_os("PATH").unwrap();
        let found = std::env::split_paths(&path).map(|dir| dir.join("nsenter")).find(|at| at.is_file());
        let mut words = vec![found.unwrap().display().to_string()];
        words.extend(spaces.iter().map(|space| {
            let (option, file) = match *space {
                "mnt" => ("mount", "mnt"),
                "pid" => ("pid", "pid_for_children"),
                other => (other, other),
            };
            format!("--{option}={}", self.proc("ns").join(file).display())
        }));
        words
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // Its first process reads until the end of this, and ends; the kernel ends the rest before that is done.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
