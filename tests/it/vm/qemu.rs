//! The emulator, and the agent in the guest that answers at its standard output (tests/vm/guest/agent).

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::disks::{Disks, Layout};
use crate::{
    support::{Ran, require},
    tree::image,
};

/// The emulator.
pub(super) const PROGRAM: &str = "qemu-system-x86_64";

/// What all machines are; one that is asleep wakes up in no other. Never KVM: where machines are nested, /dev/kvm may
/// be there and hang.
pub(super) const MACHINE: [&str; 14] = [
    "-machine",
    "q35",
    "-accel",
    "tcg,thread=multi",
    "-cpu",
    "max",
    "-smp",
    "2",
    "-m",
    "1500",
    "-nodefaults",
    "-no-reboot",
    "-display",
    "none",
];

/// Returns what the kernel is told.
pub(super) fn append(layout: &Layout) -> String {
    format!(
        "root={} rw console=ttyS0 systemd.mask=serial-getty@ttyS0.service systemd.mask=getty@tty1.service",
        layout.root
    )
}

/// How long any one thing may take: generous, the machines are shared and noisy.
const PATIENCE: Duration = Duration::from_secs(300);

/// A machine that runs; it ends when this is dropped.
pub(super) struct Qemu {
    write: Sender<Vec<u8>>,
    read: Receiver<Vec<u8>>,
    pending: Vec<u8>,
    /// Dropped, it ends the machine.
    power: Option<Sender<()>>,
    ended: Receiver<()>,
    console: PathBuf,
    monitor: PathBuf,
}

/// Starts a machine from its disks and waits until it has.
#[track_caller]
pub(super) fn boot(disks: &Disks) -> Qemu {
    let mut qemu = Qemu::start(disks, None);
    let said = qemu.line();
    assert_eq!(said, "ready running", "it has not started well:\n{}", qemu.end_of_console());
    qemu
}

impl Qemu {
    /// Starts a machine, or wakes it up from its memory.
    pub(super) fn start(disks: &Disks, memory: Option<&Path>) -> Self {
        let path = std::env::var("PATH").unwrap();
        require(&path, PROGRAM, "qemu-system-x86, by ./tests/vm/image.sh");
        let (console, monitor) = (disks.at("console.log"), disks.at("monitor"));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", PROGRAM]).args(MACHINE);
        command.arg("-kernel").arg(image().join("kernel")).arg("-initrd").arg(image().join("initrd"));
        command.arg("-append").arg(append(disks.layout()));
        for (name, _) in disks.layout().disks {
            // What the guest has flushed is in its file then, and survives this process; no disk has to turn for it.
            let at = disks.at(name);
            command.arg("-drive").arg(format!("file={},if=virtio,format=qcow2,cache=unsafe", at.display()));
        }
        for (name, words) in [
            ("console", format!("file,id=console,path={}", console.display())),
            ("monitor", format!("socket,id=monitor,path={},server=on,wait=off", monitor.display())),
            ("agent", "stdio,id=agent,signal=off".into()),
        ] {
            command.args(["-chardev", &words]);
            command.args(match name {
                "console" => &["-serial", "chardev:console"][..],
                "monitor" => &["-mon", "chardev=monitor,mode=control"],
                _ => &["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent"],
            });
        }
        if let Some(memory) = memory {
            command.arg("-incoming").arg(format!("file:{}", memory.display()));
        }
        let complaints = fs::File::create(disks.at("complaints.log")).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints);
        keep(command, console, monitor)
    }

    /// Has the agent run a script.
    #[track_caller]
    pub(super) fn ask(&mut self, script: &str, input: &[u8]) -> Ran {
        let head = format!("{} {}\n{script}", script.len(), input.len());
        self.send([head.as_bytes(), input].concat());
        let answer = self.line();
        let numbers: Vec<usize> = answer.split(' ').map_while(|word| word.parse().ok()).collect();
        let [code, stdout, stderr] = numbers[..] else {
            panic!("the agent answered `{answer}`:\n{}", self.end_of_console());
        };
        let mut text = |length| String::from_utf8_lossy(&self.take(length)).into_owned();
        Ran { code: i32::try_from(code).ok(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Cuts the power.
    pub(super) fn kill(mut self) {
        self.power.take();
        let _ = self.ended.recv();
    }

    /// Has systemd shut it down, and waits until it is off.
    #[track_caller]
    pub(super) fn shut_down(self) {
        let script = "systemctl reboot";
        self.send(format!("{} 0\n{script}", script.len()).into_bytes());
        let off = matches!(self.ended.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
        assert!(off, "it does not shut down:\n{}", self.end_of_console());
    }

    /// Writes its memory into a file, and ends it (QMP, as QEMU's manual has it).
    pub(super) fn save(self, memory: &Path) {
        let mut write = UnixStream::connect(&self.monitor).unwrap();
        write.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut lines = BufReader::new(write.try_clone().unwrap()).lines();
        let mut call = |name: &str, arguments: Value| {
            writeln!(write, "{}", json!({ "execute": name, "arguments": arguments })).unwrap();
            loop {
                let said: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
                assert!(said.get("error").is_none(), "{name}: {said}");
                if let Some(answer) = said.get("return") {
                    return answer.clone();
                }
            }
        };
        call("qmp_capabilities", json!({}));
        call("migrate-set-parameters", json!({ "max-bandwidth": 10_000_000_000_u64 }));
        call("migrate", json!({ "uri": format!("file:{}", memory.display()) }));
        let start = Instant::now();
        loop {
            let state = call("query-migrate", json!({}));
            match state["status"].as_str() {
                Some("completed") => break,
                Some("failed" | "cancelled") => panic!("{state}"),
                _ => assert!(start.elapsed() < PATIENCE, "{state}"),
            }
            thread::sleep(Duration::from_millis(20));
        }
        call("quit", json!({}));
        let _ = self.ended.recv_timeout(PATIENCE);
    }

    fn send(&self, bytes: Vec<u8>) {
        // One that has ended is noticed by whoever reads the answer.
        let _ = self.write.send(bytes);
    }

    #[track_caller]
    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line = self.take(end + 1);
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            self.receive();
        }
    }

    #[track_caller]
    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.pending.len() < length {
            self.receive();
        }
        self.pending.drain(..length).collect()
    }

    #[track_caller]
    fn receive(&mut self) {
        match self.read.recv_timeout(PATIENCE) {
            Ok(bytes) => self.pending.extend(bytes),
            Err(RecvTimeoutError::Timeout) => {
                panic!("the machine said nothing for {} s:\n{}", PATIENCE.as_secs(), self.end_of_console())
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the machine has ended:\n{}", self.end_of_console())
            }
        }
    }

    /// Returns the last lines of its console, and what the emulator complained about.
    fn end_of_console(&self) -> String {
        let console = String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = console.lines().collect();
        let complaints =
            fs::read_to_string(self.console.with_file_name("complaints.log")).unwrap_or_default();
        format!("{}\n{complaints}", lines[lines.len().saturating_sub(60)..].join("\n"))
    }
}

/// Runs the emulator in the care of a thread that lives as long as it: the kernel takes that thread's end for the
/// parent's death.
fn keep(mut command: Command, console: PathBuf, monitor: PathBuf) -> Qemu {
    let (give, given) = mpsc::channel();
    let (power, on) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    thread::spawn(move || {
        let _end = end;
        let mut child = command.spawn().unwrap();
        give.send((child.stdin.take().unwrap(), child.stdout.take().unwrap())).unwrap();
        while child.try_wait().unwrap().is_none() {
            if on.recv_timeout(Duration::from_millis(20)) != Err(RecvTimeoutError::Timeout) {
                let _ = child.kill();
                child.wait().unwrap();
            }
        }
    });
    let (stdin, stdout) = given.recv().unwrap();
    Qemu {
        write: writer(stdin),
        read: reader(stdout),
        pending: Vec::new(),
        power: Some(power),
        ended,
        console,
        monitor,
    }
}

fn writer(mut pipe: ChildStdin) -> Sender<Vec<u8>> {
    let (send, receive) = mpsc::channel::<Vec<u8>>();
    thread::spawn(move || {
        for bytes in receive {
            if pipe.write_all(&bytes).is_err() {
                break;
            }
        }
        // Open until the machine ends: closed, its port would be unplugged.
    });
    send
}

fn reader(mut pipe: ChildStdout) -> Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut some = vec![0; 1 << 16];
        while let Ok(length @ 1..) = pipe.read(&mut some) {
            if send.send(some[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.power.take();
        // When this returns it runs no more.
        let _ = self.ended.recv();
    }
}
