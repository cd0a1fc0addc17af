//! Virtual machines: what only a whole system of one's own shows, with its systemd, its cron and its kernel.
//!
//! A machine is a Debian 13 (tests/vm/image.sh) under plain emulation, with rlvm in it. [`Vm::new`] takes a second and
//! not a boot's fifteen: the first one is put to sleep when it has started, and all others wake up from its memory, each
//! on a copy of its disk. What is about starting boots one, [`Vm::boot`]. At most two machines run at a time. A machine
//! ends with its test, however that ends.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

mod asleep;
mod clean;
mod disks;
mod first_boot;
mod lvm;
mod qemu;
mod run;
mod server;
mod services;
mod standin;
mod timers;
mod user;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) use disks::Disks;
use qemu::Qemu;

use crate::{
    repository::{PASSWORD, packed},
    support::{RLVM, Ran},
    turn::{self, Turn},
};

/// A machine that runs. All that is done in it is done as root.
pub(crate) struct Vm {
    qemu: RefCell<Qemu>,
    disks: Disks,
    turn: Turn,
}

impl Vm {
    /// Wakes a machine up that has just started, with rlvm in it and two blank disks.
    pub(crate) fn new() -> Self {
        Self::wake(asleep::standard)
    }

    /// Wakes one up whose `/` is on a logical volume (tests/vm/lvm.sh says what is where).
    pub(crate) fn lvm() -> Self {
        Self::wake(asleep::lvm)
    }

    fn wake(asleep: impl FnOnce() -> (Disks, PathBuf)) -> Self {
        let turn = turn();
        let (disks, memory) = asleep();
        let vm = Self { qemu: Qemu::start(&disks, Some(&memory)).into(), disks, turn };
        vm.give_rlvm();
        vm
    }

    /// Starts a machine from its disks, and waits until it has. Rlvm is in it if it was on the disk.
    pub(crate) fn boot(disks: Disks) -> Self {
        let turn = turn();
        Self { qemu: qemu::boot(&disks).into(), disks, turn }
    }

    /// Cuts the power: what was not yet on the disks is lost.
    pub(crate) fn cut_power(self) -> Disks {
        self.qemu.into_inner().kill();
        self.disks
    }

    /// Has it shut down, and starts it again from its disks.
    pub(crate) fn reboot(self) -> Self {
        let Self { qemu, disks, turn } = self;
        qemu.into_inner().shut_down();
        Self { qemu: qemu::boot(&disks).into(), disks, turn }
    }

    /// Runs some shell script to its end.
    pub(crate) fn run(&self, script: &str) -> Ran {
        self.run_with(script, &[])
    }

    /// Runs some shell script with this as its input.
    pub(crate) fn run_with(&self, script: &str, input: &[u8]) -> Ran {
        self.qemu.borrow_mut().ask(script, input)
    }

    /// Runs some shell script, which must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, script: &str) -> String {
        let ran = self.run(script);
        assert_eq!(ran.code, Some(0), "{script}\n{}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Waits until some shell script succeeds, for this many seconds at the most.
    #[track_caller]
    pub(crate) fn until(&self, seconds: u32, script: &str) {
        let wait = format!("timeout {seconds} sh -c \"$(cat)\"");
        let ran = self.run_with(&wait, format!("until {{ {script}\n}}; do sleep 0.3; done").as_bytes());
        assert_eq!(ran.code, Some(0), "{script}\n{}{}", ran.stdout, ran.stderr);
    }

    /// Sets the clock to ten seconds before a minute, so that nobody waits for most of one. cron reads the clock when it
    /// starts, and then sleeps by its own.
    #[track_caller]
    pub(crate) fn before_the_minute(&self) {
        self.ok("date -s \"$(date +%H:%M):50\" && systemctl restart cron");
    }

    /// Puts a file there, root's; its directories are made.
    #[track_caller]
    pub(crate) fn put(&self, path: &str, bytes: &[u8], mode: u32) {
        let ran = self.run_with(&format!("install -D -m {mode:o} /dev/stdin {}", quoted(path)), bytes);
        assert_eq!(ran.code, Some(0), "{path}: {}", ran.stderr);
    }

    /// Writes the state, with `version` and `host` put before it.
    #[track_caller]
    pub(crate) fn state(&self, yaml: &str) {
        let text = format!("version: 1\nhost: web01\n{yaml}");
        self.put("/etc/rlvm/state/hosts/web01.yaml", text.as_bytes(), 0o644);
    }

    /// Calls rlvm, which must end with this exit code.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, args: &[&str]) -> Ran {
        let words: String = args.iter().map(|arg| format!(" {}", quoted(arg))).collect();
        let ran = self.run(&format!("rlvm{words}"));
        assert_eq!(ran.code, Some(code), "rlvm{words}\n{}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Applies, which must succeed. On a busy machine an emulated repository may need more than the ten seconds that rlvm
    /// gives it: then what it lacks is applied by another try.
    #[track_caller]
    pub(crate) fn apply(&self) -> Ran {
        for _ in 0..3 {
            let ran = self.run("rlvm apply --yes");
            let is_slow = format!("{}{}", ran.stdout, ran.stderr).contains("no answer within 10 s");
            if ran.code != Some(7) || !is_slow {
                assert_eq!(ran.code, Some(0), "rlvm apply --yes\n{}{}", ran.stdout, ran.stderr);
                return ran;
            }
        }
        self.expect(0, &["apply", "--yes"])
    }

    /// Plans, and there must be nothing to do.
    #[track_caller]
    pub(crate) fn plan_is_empty(&self) {
        let ran = self.expect(0, &["plan", "--detailed-exitcode"]);
        assert!(ran.stdout.contains("No changes. The host matches the state."), "{}", ran.stdout);
    }

    /// Puts an empty repository on the machine that opens quickly, and its password file. It belongs to whom its directory's
    /// parent belongs to. Emulated, each open of one that restic has made takes several seconds.
    #[track_caller]
    pub(crate) fn repository(&self, path: &str, password_file: &str) {
        self.put(password_file, format!("{PASSWORD}\n").as_bytes(), 0o600);
        let path = quoted(path);
        let script =
            format!("install -d -m 700 {path} && tar -x -C {path} && chown -R --reference={path}/.. {path}");
        let ran = self.run_with(&script, &packed());
        assert_eq!(ran.code, Some(0), "{path}: {}", ran.stderr);
    }

    fn give_rlvm(&self) {
        self.put("/usr/bin/rlvm", &rlvm(), 0o755);
    }
}

/// An emulated machine keeps one core busy, and more of them run into each other's time limits.
const AT_MOST: usize = 2;

/// Waits until a machine may run.
fn turn() -> Turn {
    turn::take_one_of("machine", AT_MOST)
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns the program that is tested, without what only a debugger reads: two thirds of it.
pub(crate) fn rlvm() -> Vec<u8> {
    let built = fs::metadata(RLVM).unwrap().modified().unwrap();
    let at = Path::new(RLVM).with_file_name("rlvm-stripped");
    let _turn = turn::take("strip");
    // It has the time of what it was made from.
    if fs::metadata(&at).and_then(|it| it.modified()).ok() != Some(built) {
        let new = at.with_extension("new");
        command("strip", "binutils", &["-o", word(&new), RLVM]);
        fs::File::options().append(true).open(&new).unwrap().set_modified(built).unwrap();
        fs::rename(&new, &at).unwrap();
    }
    fs::read(at).unwrap()
}

/// Runs a program of this system, which must succeed.
#[track_caller]
fn command(program: &str, package: &str, args: &[&str]) {
    crate::support::require(&std::env::var("PATH").unwrap(), program, package);
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns a path as an argument.
fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_machine_forgets_reboots_and_loses_its_power() {
    let vm = Vm::new();
    assert_eq!(vm.run("cat; echo no >&2; exit 3").code, Some(3));
    let ran = vm.run_with("cat; echo no >&2; kill -9 $$", b"yes\n");
    assert_eq!((ran.code, &*ran.stdout), (Some(137), "yes\n"));
    assert_eq!(vm.ok("lsblk -nro NAME"), "vda\nvdb\nvdc\n");
    vm.ok("echo kept >/kept; sync; echo lost >/lost");
    // What is on the disk stays, what is on its way is lost.
    let vm = Vm::boot(vm.cut_power());
    assert_eq!(vm.ok("cat /kept; rlvm --version | cut -d' ' -f1"), "kept\nrlvm\n");
    assert_eq!(vm.run("test -s /lost").code, Some(1));
    vm.ok("echo kept too >/kept; echo volatile >/run/volatile");
    let vm = vm.reboot();
    assert_eq!(
        vm.ok("cat /kept; ls /run/volatile 2>/dev/null || systemctl is-system-running"),
        "kept too\nrunning\n"
    );
    drop(vm);
    assert_eq!(Vm::new().run("ls /kept").code, Some(2));
}
