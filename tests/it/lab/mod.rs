//! The laboratory: rlvm without `--root`, on a machine that is really `/` and yet nobody's, among real servers.
//!
//! The machine is a process in namespaces of its own (mounts, network, processes), where a scratch tree lies over
//! /etc, /root, /srv, /var and the like; programs and libraries are this system's. What is in the tree can be looked
//! at and changed from outside, by the same methods as any scratch tree. The network is a loopback and nothing else.
//! When the test ends, or is killed, the first process ends, and the kernel ends all that ran in there.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

mod facts;
mod network;
mod restics;
mod servers;
mod table;

use std::{
    fs,
    io::{BufRead, BufReader},
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) use restics::{Restic, restics};
pub(crate) use servers::{REST_PASSWORD, REST_USER};

use crate::support::{BACKUP, Ran, Scratch, require};

/// The account that backs up by SFTP, locked up below [`NAS`].
pub(crate) const NAS_USER: (&str, u32) = ("backup-web01", 4001);

/// The account that a forced command serves, which only appends.
pub(crate) const WORM_USER: (&str, u32) = ("backup-web01-worm", 4002);

/// What SFTP clients see as `/`: root's, and in it `repo`, which is [`NAS_USER`]'s.
pub(crate) const NAS: &str = "/srv/nas/backup-web01";

/// Where the forced command keeps its repository, [`WORM_USER`]'s.
pub(crate) const WORM: &str = "/srv/nas/worm/repo";

/// What `PATH` is in there, unless a test says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine of its own. It is a [`Scratch`] whose rlvm runs inside.
pub(crate) struct Lab {
    /// Before the scratch tree, so that nothing runs any more when that is removed.
    machine: Machine,
    scratch: Scratch,
}

/// The process whose namespaces the machine is.
struct Machine(Child);

impl Lab {
    /// Makes a machine with its accounts, empty otherwise, its loopback up.
    pub(crate) fn new() -> Self {
        let mut scratch = Scratch::with_real_restic();
        let path = std::env::var("PATH").unwrap() + ":/usr/sbin:/sbin";
        for (program, package) in [("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2")] {
            require(&path, program, package);
        }
        furnish(&scratch);
        let machine = Machine::start(&scratch);
        scratch.enter_by(machine.enter("mnt"), PATH);
        let lab = Self { machine, scratch };
        lab.plug();
        lab
    }

    /// Takes one restic from now on, in place of this system's.
    pub(crate) fn use_restic(&mut self, restic: &Restic) {
        let words = self.machine.enter("mnt");
        self.scratch.enter_by(words, &format!("{}:{PATH}", restic.dir));
    }

    /// Pulls the network's plug: nothing can be reached, not even the machine itself.
    ///
    /// The address goes too, so a client is told at once; with it, it would wait for minutes. For silence there is
    /// `mute`.
    pub(crate) fn unplug(&self) {
        self.ok(&["ip", "link", "set", "lo", "down"]);
        self.ok(&["ip", "address", "flush", "dev", "lo"]);
    }

    /// Puts the network's plug back; the kernel gives the loopback its address.
    pub(crate) fn plug(&self) {
        self.ok(&["ip", "link", "set", "lo", "up"]);
    }

    /// Prepares a call of any program inside, as root, with nothing of the caller's environment.
    pub(crate) fn program(&self, args: &[&str]) -> Command {
        self.behind(&self.machine.enter("mnt"), args)
    }

    /// Runs any program inside to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.ran(&mut self.program(args))
    }

    /// Runs any program inside, which must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{}\n{}{}", args.join(" "), ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Prepares a call of a program on the machine's network that has this system's files: a server from elsewhere.
    fn beside_it(&self, args: &[&str]) -> Command {
        self.behind(&self.machine.enter("net"), args)
    }

    fn behind(&self, enter: &[String], args: &[&str]) -> Command {
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).args(args).env_clear().env("PATH", self.search_path()).env("HOME", "/root");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Says whether anybody listens on a TCP port of 127.0.0.1, as the kernel has it.
    pub(crate) fn listens(&self, port: u16) -> bool {
        let local = format!("{:08X}:{port:04X}", u32::from_ne_bytes([127, 0, 0, 1]));
        let sockets = fs::read_to_string(self.machine.proc("net/tcp")).unwrap();
        let mut sockets = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        sockets.any(|socket| socket[1] == local && socket[3] == "0A")
    }

    /// Waits until somebody listens on a port, or nobody any more.
    #[track_caller]
    fn wait_for(&self, port: u16, listens: bool, log: &str) {
        let start = Instant::now();
        while self.listens(port) != listens {
            let said = || fs::read_to_string(self.beside(log)).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "port {port}: listens is not {listens}:\n{}", said());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Deref for Lab {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.scratch
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Scratch {
        &mut self.scratch
    }
}

/// Puts accounts, names and empty directories into the tree.
fn furnish(scratch: &Scratch) {
    let ((nas, nas_id), (worm, worm_id)) = (NAS_USER, WORM_USER);
    let (passwd, group) = (scratch.read("/etc/passwd"), scratch.read("/etc/group"));
    scratch.file(
        "/etc/passwd",
        &format!(
            "{passwd}sshd:x:103:65534::/run/sshd:/usr/sbin/nologin\n\
             nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n\
             {nas}:x:{nas_id}:{nas_id}::{NAS}:/usr/sbin/nologin\n\
             {worm}:x:{worm_id}:{worm_id}::/srv/nas/worm:/bin/sh\n"
        ),
    );
    let more = format!("shadow:x:42:\nnogroup:x:65534:\n{nas}:x:{nas_id}:\n{worm}:x:{worm_id}:\n");
    scratch.file("/etc/group", &(group + &more));
    // No password opens any of them; `!` would lock them for keys too, where sshd asks no PAM.
    let names = ["root", "www-data", "backup", "sshd", "nobody", nas, worm];
    let shadow = names.map(|name| format!("{name}:*:20000:0:99999:7:::\n")).concat();
    scratch.file_of("/etc/shadow", &shadow, 0, 0o640);
    scratch.file(
        "/etc/hosts",
        "127.0.0.1 localhost web01 nas.lan s3.lan rest.lan mirror.lan\n::1 localhost\n127.0.0.2 mute.lan\n",
    );
    scratch.file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n");
    scratch.file("/etc/ssh/ssh_config", "");
    for dir in ["/home", "/opt/restics", "/run/sshd", "/var/cache", "/usr/local/sbin", "/etc/rlvm", NAS] {
        scratch.dir(dir, 0, 0o755);
    }
    scratch.dir("/root", 0, 0o700);
    scratch.dir("/var/tmp", 0, 0o1777);
    scratch.dir("/srv/nas/worm", worm_id, 0o755);
    scratch.dir(WORM, worm_id, 0o700);
    // rclone makes it at its first start, to look for a configuration.
    scratch.dir("/srv/nas/worm/.config", worm_id, 0o755);
    scratch.dir("/srv/nas/worm/.config/rclone", worm_id, 0o755);
    scratch.dir(&format!("{NAS}/repo"), nas_id, 0o700);
    scratch.dir("/var/backups", BACKUP, 0o755);
    scratch.file("/usr/local/bin/rlvm", "");
}

/// Lays the tree over the machine's own directories and says so; then waits until the test lets go.
const SETUP: &str = r#"
tree=$1 rlvm=$2 restics=$3
cd "$tree"
echo web01 > /proc/sys/kernel/hostname
mount --bind "$rlvm" usr/local/bin/rlvm
mount --bind "$restics" opt/restics
# What this system's programs read, and what they are called.
for dir in alternatives pam.d security ssl; do
    [ -d "/etc/$dir" ] || continue
    mkdir -p "etc/$dir"
    mount --bind "/etc/$dir" "etc/$dir"
done
for dir in etc home opt root run srv usr/local var; do
    mount --rbind "$dir" "/$dir"
done
cd /
echo ready
exec cat >/dev/null
"#;

impl Machine {
    fn start(scratch: &Scratch) -> Self {
        let tree = scratch.root();
        let hidden = ["/etc", "/home", "/opt", "/root", "/run", "/srv", "/usr/local", "/var"];
        let seen = !hidden.iter().any(|dir| tree.starts_with(dir));
        assert!(
            seen,
            "{}: the laboratory lays its own tree over {hidden:?}: set TMPDIR=/tmp",
            tree.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["--propagation", "private", "sh", "-euc", SETUP, "lab"]);
        command.arg(&tree).arg(env!("CARGO_BIN_EXE_rlvm")).arg(restics::place());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "the laboratory needs root, and a kernel that lets it make namespaces");
        Self(child)
    }

    /// Returns a file of /proc about the process that holds the namespaces.
    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.0.id().to_string()).join(name)
    }

    /// Returns the words that bring a program onto the machine: its network alone (`net`), or its files too (`mnt`).
    fn enter(&self, space: &str) -> Vec<String> {
        // Found here, since the program's own PATH is the test's to choose.
        let path = std::env::var_os("PATH").unwrap();
        let found = std::env::split_paths(&path).map(|dir| dir.join("nsenter")).find(|at| at.is_file());
        let nsenter = found.unwrap().display().to_string();
        let ns =
            |option: &str, file: &str| format!("--{option}={}", self.proc(&format!("ns/{file}")).display());
        let mut words = vec![nsenter, ns("net", "net"), ns("uts", "uts"), ns("pid", "pid_for_children")];
        words.extend((space == "mnt").then(|| ns("mount", "mnt")));
        words
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its first process reads until the end of this, and ends; the kernel ends the rest before that is done.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn it_is_the_machine_and_leaves_none_of_it_behind() {
    let lab = Lab::new();
    let hosts = fs::read("/etc/hosts").unwrap();
    lab.state(
        "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n",
    );
    lab.expect(2, &["plan", "--detailed-exitcode"]);
    lab.apply();
    lab.plan_is_empty();
    assert!(lab.at("/srv/r/config").is_file() && lab.at("/var/lib/rlvm/ledger.json").is_file());
    assert_eq!(lab.managed().len(), 5, "{:?}", lab.managed());
    assert!(!Path::new("/srv/r").exists() && !Path::new("/var/lib/rlvm").exists());
    // Both ways, at once.
    lab.file_of("/root/.ssh/config", "Host nas\n", 0, 0o600);
    assert_eq!(lab.ok(&["cat", "/root/.ssh/config"]), "Host nas\n");
    lab.ok(&["sh", "-c", "echo gone > /etc/hosts"]);
    assert!(lab.read("/etc/hosts") == "gone\n" && fs::read("/etc/hosts").unwrap() == hosts);
    // It has a first process of its own, and what runs in it ends with it.
    assert_eq!(lab.ok(&["readlink", "/proc/1/exe"]), "/usr/bin/cat\n");
    let mut endless = lab.program(&["sleep", "600"]).spawn().unwrap();
    let dir = lab.beside("");
    drop(lab);
    assert!(!endless.wait().unwrap().success() && !dir.exists());
}
