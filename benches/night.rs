//! What a run adds to restic, as ratios and differences taken in one run against plain `restic backup`.
//!
//! `cargo bench --bench night` prints one line a figure, with its limit. Nothing here fails for being slow. Run as root;
//! restic is needed, and 5 GiB below `target/`.

#![expect(clippy::disallowed_methods, reason = "a benchmark makes its own trees and runs programs")]
#![expect(clippy::format_push_string, reason = "states are written once, before anything is measured")]

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const RLVM: &str = env!("CARGO_BIN_EXE_rlvm");
/// Each time is the least of so many: noise only adds.
const ROUNDS: usize = 7;

/// What a process came to.
struct Came {
    took: Duration,
    /// Its own time on a core, in ticks, as far as it was seen.
    own: u64,
    /// That of the programs that it has waited for.
    children: u64,
    /// Its peak memory, in KiB.
    peak: u64,
}

/// Runs a program, and watches it.
fn watch(command: &mut Command) -> Came {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("a program");
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let (mut own, mut children, mut peak) = (0, 0, 0);
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(status.success(), "{command:?}");
            return Came { took: start.elapsed(), own, children, peak };
        }
        let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split(' ')
            .map(|it| it.parse().unwrap_or(0))
            .collect();
        if let [user, system, of_children, system_of_children] = fields.get(12..16).unwrap_or_default() {
            (own, children) = (own.max(user + system), children.max(of_children + system_of_children));
        }
        let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0));
        thread::sleep(Duration::from_millis(2));
    }
}

/// A place with a state whose repositories were made by apply.
struct Place(PathBuf);

impl Place {
    fn new(destinations: &[&str], limit: Option<u32>) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/night");
        drop(fs::remove_dir_all(&dir));
        for part in ["data", "log", "home"] {
            fs::create_dir_all(dir.join(part)).expect("the bench's own directory");
            fs::set_permissions(dir.join(part), fs::Permissions::from_mode(0o700)).expect("a mode");
        }
        let at = dir.display();
        let mut text = format!("version: 1\nhost: bench\nlog: {{ directory: {at}/log }}\ndestinations:\n");
        for name in destinations {
            let options =
                limit.map_or(String::new(), |limit| format!(", options: {{ limit-upload: \"{limit}\" }}"));
            text += &format!(
                "  {name}: {{ local: {{ path: {at}/{name} }}, password_file: {at}/pass, generate_password: true{options} }}\n"
            );
        }
        text += &format!(
            "jobs:\n  all: {{ sources: [{{ path: {at}/data }}], to: [{}] }}\n",
            destinations.join(", ")
        );
        fs::write(dir.join("state.yaml"), text).expect("a state");
        let place = Self(dir);
        let targets: Vec<String> =
            destinations.iter().map(|name| format!("--target=repository:{name}")).collect();
        let mut apply = place.rlvm(&["apply", "--yes"]);
        assert!(apply.args(targets).stdout(Stdio::null()).status().expect("rlvm").success());
        place
    }

    fn rlvm(&self, args: &[&str]) -> Command {
        let mut command = Command::new(RLVM);
        command.args(["--host", "bench", "--state"]).arg(self.0.join("state.yaml")).args(args);
        command.env("RLVM_HOME", self.0.join("home"));
        command
    }

    fn restic(&self, repository: &str) -> Command {
        let mut command = Command::new("restic");
        command
            .args(["backup", "-q", "--host", "bench", "--tag", "plain", "--repo"])
            .arg(self.0.join(repository));
        command
            .arg("--password-file")
            .arg(self.0.join("pass"))
            .arg("--cache-dir")
            .arg(self.0.join("home/cache/root"));
        command.arg("--").arg(self.0.join("data"));
        command
    }

    /// Writes so many MiB that nobody has seen before.
    fn grow(&self, name: &str, mib: usize) {
        let mut file = fs::File::create(self.0.join("data").join(name)).expect("a file");
        let mut random = fs::File::open("/dev/urandom").expect("randomness");
        let copied = std::io::copy(&mut std::io::Read::take(&mut random, (mib as u64) << 20), &mut file);
        assert_eq!(copied.expect("data"), (mib as u64) << 20);
        file.flush().expect("data");
    }
}

fn least(mut what: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| what()).min().expect("some rounds")
}

fn say(name: &str, figure: &str, limit: &str) {
    println!("{name:<72} {figure:>10}   (limit {limit})");
}

#[expect(clippy::cast_precision_loss, reason = "ticks and kibibytes are few")]
fn main() {
    let place = Place::new(&["one"], None);
    place.grow("a", 32);
    watch(&mut place.rlvm(&["run", "all"]));
    watch(&mut place.restic("one"));
    let plain = least(|| watch(&mut place.restic("one")).took);
    let run = least(|| watch(&mut place.rlvm(&["-q", "run", "all"])).took);
    let more = run.as_secs_f64() - plain.as_secs_f64();
    say("run, nothing changed: more than plain restic", &format!("{:.0} ms", more * 1e3), "30 ms");

    place.grow("b", 1024);
    let came = watch(&mut place.rlvm(&["-q", "run", "all"]));
    let share = 100.0 * came.own as f64 / came.children.max(1) as f64;
    say("run, 1 GiB of new data: own time on a core over restic's", &format!("{share:.2} %"), "1 %");
    say("run: peak memory", &format!("{:.1} MiB", came.peak as f64 / 1024.0), "20 MiB");

    // 8 MiB at 2 MiB a second.
    let three = Place::new(&["one", "two", "three"], Some(2048));
    three.grow("a", 8);
    let slowest =
        ["one", "two", "three"].map(|name| watch(three.rlvm(&["-q", "run", "all", "--to"]).arg(name)).took);
    three.grow("b", 8);
    let all = watch(&mut three.rlvm(&["-q", "run", "all"])).took;
    let slowest = slowest.iter().max().expect("three").as_secs_f64();
    say(
        "three destinations at a limit over the slowest alone",
        &format!("{:.2}", all.as_secs_f64() / slowest),
        "1.15",
    );
}
