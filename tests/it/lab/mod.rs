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
mod wire;

use std::{
    fs,
    ops::{Deref, DerefMut},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) use restics::{Restic, restics};
pub(crate) use servers::{REST_PASSWORD, REST_USER};
pub(crate) use wire::{End, wire};

use crate::{
    space::Space,
    support::{BACKUP, RLVM, Ran, Scratch, require},
};

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
    machine: Space,
    scratch: Scratch,
}

impl Lab {
    /// Makes a machine with its accounts, empty otherwise, its loopback up.
    pub(crate) fn new() -> Self {
        let scratch = Scratch::with_real_restic();
        furnish(&scratch, "web01 nas.lan s3.lan rest.lan mirror.lan");
        add_clients(&scratch);
        Self::start(scratch, "web01")
    }

    /// Makes a machine of this name without clients' accounts, to be wired to another.
    pub(crate) fn named(name: &str) -> Self {
        let mut scratch = Scratch::with_real_restic();
        scratch.call_it(name);
        furnish(&scratch, name);
        Self::start(scratch, name)
    }

    fn start(mut scratch: Scratch, name: &str) -> Self {
        let path = std::env::var("PATH").unwrap() + ":/usr/sbin:/sbin";
        for (program, package) in [("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2")] {
            require(&path, program, package);
        }
        let machine = start(&scratch, name);
        let words = machine.enter(&ALL);
        scratch.call_by(
            &[&words.iter().map(String::as_str).collect::<Vec<_>>()[..], &["/usr/local/bin/rlvm"]].concat(),
        );
        scratch.find_by(PATH);
        let lab = Self { machine, scratch };
        lab.plug();
        lab
    }

    /// Takes one restic from now on, in place of this system's.
    pub(crate) fn use_restic(&mut self, restic: &Restic) {
        self.scratch.find_by(&format!("{}:{PATH}", restic.dir));
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
        self.behind(&self.machine.enter(&ALL), args)
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
        self.behind(&self.machine.enter(&ALL[1..]), args)
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
fn furnish(scratch: &Scratch, own_names: &str) {
    add_to(
        scratch,
        "/etc/passwd",
        "sshd:x:103:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
    );
    add_to(scratch, "/etc/group", "shadow:x:42:\nnogroup:x:65534:\n");
    let names = ["root", "www-data", "backup", "sshd", "nobody"];
    scratch.file_of("/etc/shadow", &names.map(locked).concat(), 0, 0o640);
    let hosts = format!("127.0.0.1 localhost {own_names}\n::1 localhost\n127.0.0.2 mute.lan\n");
    scratch.file("/etc/hosts", &hosts);
    scratch.file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n");
    scratch.file("/etc/ssh/ssh_config", "");
    for dir in ["/home", "/opt/restics", "/run/sshd", "/var/cache", "/usr/local/sbin", "/etc/rlvm"] {
        scratch.dir(dir, 0, 0o755);
    }
    scratch.dir("/root", 0, 0o700);
    scratch.dir("/var/tmp", 0, 0o1777);
    scratch.dir("/var/backups", BACKUP, 0o755);
    scratch.file("/usr/local/bin/rlvm", "");
}

/// Adds accounts that clients store through, made by somebody else, and what they store in.
fn add_clients(scratch: &Scratch) {
    let ((nas, nas_id), (worm, worm_id)) = (NAS_USER, WORM_USER);
    add_to(
        scratch,
        "/etc/passwd",
        &format!(
            "{nas}:x:{nas_id}:{nas_id}::{NAS}:/usr/sbin/nologin\n\
             {worm}:x:{worm_id}:{worm_id}::/srv/nas/worm:/bin/sh\n"
        ),
    );
    add_to(scratch, "/etc/group", &format!("{nas}:x:{nas_id}:\n{worm}:x:{worm_id}:\n"));
    add_to(scratch, "/etc/shadow", &[nas, worm].map(locked).concat());
    scratch.dir(NAS, 0, 0o755);
    scratch.dir("/srv/nas/worm", worm_id, 0o755);
    scratch.dir(WORM, worm_id, 0o700);
    // rclone makes it at its first start, to look for a configuration.
    scratch.dir("/srv/nas/worm/.config", worm_id, 0o755);
    scratch.dir("/srv/nas/worm/.config/rclone", worm_id, 0o755);
    scratch.dir(&format!("{NAS}/repo"), nas_id, 0o700);
}

/// Returns an account's line where no password opens it; `!` would lock it for keys too, where sshd asks no PAM.
fn locked(name: &str) -> String {
    format!("{name}:*:20000:0:99999:7:::\n")
}

fn add_to(scratch: &Scratch, path: &str, lines: &str) {
    // Not by a new file: that would have another mode.
    fs::write(scratch.at(path), scratch.read(path) + lines).unwrap();
}

/// Lays the tree over the machine's own directories and says so; then waits until the test lets go.
const SETUP: &str = r#"
tree=$1 rlvm=$2 restics=$3 name=$4
cd "$tree"
echo "$name" > /proc/sys/kernel/hostname
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

/// The namespaces of the machine, its files first.
const ALL: [&str; 4] = ["mnt", "net", "uts", "pid"];

fn start(scratch: &Scratch, name: &str) -> Space {
    let tree = scratch.root();
    let hidden = ["/etc", "/home", "/opt", "/root", "/run", "/srv", "/usr/local", "/var"];
    let seen = !hidden.iter().any(|dir| tree.starts_with(dir));
    assert!(seen, "{}: the laboratory lays its own tree over {hidden:?}: set TMPDIR=/tmp", tree.display());
    let spaces = ["--net", "--uts", "--mount-proc"];
    Space::start(&spaces, SETUP, &[&tree, Path::new(RLVM), &restics::place(), Path::new(name)])
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
