//! What `status` takes over 20 local repositories, as a ratio taken in one run against plain restic calls: opening each is
//! a key derivation, which is work for a core on purpose.
//!
//! `cargo bench --bench status` prints one line a figure, with its limit. Nothing here fails for being slow. Run as root;
//! restic is needed.

#![expect(clippy::disallowed_methods, reason = "a benchmark makes its own trees and runs programs")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

const RLVM: &str = env!("CARGO_BIN_EXE_rlvm");
const REPOSITORIES: usize = 20;
/// Each time is the least of so many: noise only adds.
const ROUNDS: usize = 3;

/// Runs a program, which must end well.
fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).stderr(Stdio::inherit()).status().expect("a program");
    assert!(status.success(), "{command:?}");
}

fn least(mut what: impl FnMut()) -> Duration {
    let once = |_| {
        let start = Instant::now();
        what();
        start.elapsed()
    };
    (0..ROUNDS).map(once).min().expect("some rounds")
}

/// A place with a state whose repositories apply has made.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/status");
        drop(fs::remove_dir_all(&dir));
        for part in ["data", "log", "home"] {
            fs::create_dir_all(dir.join(part)).expect("the bench's own directory");
            fs::set_permissions(dir.join(part), fs::Permissions::from_mode(0o700)).expect("a mode");
        }
        fs::write(dir.join("data/a"), "a").expect("data");
        let at = dir.display();
        let names: Vec<String> = (0..REPOSITORIES).map(|number| format!("r{number:02}")).collect();
        let place = |name: &String| {
            format!(
                "  {name}: {{ local: {{ path: {at}/{name} }}, password_file: {at}/pass, generate_password: true }}\n"
            )
        };
        let places: String = names.iter().map(place).collect();
        let text = format!(
            "version: 1\nhost: bench\nlog: {{ directory: {at}/log }}\ndestinations:\n{places}jobs:\n  \
             all: {{ sources: [{{ path: {at}/data }}], to: [{}] }}\n",
            names.join(", ")
        );
        fs::write(dir.join("state.yaml"), text).expect("a state");
        let place = Self(dir);
        let targets = names.iter().map(|name| format!("--target=repository:{name}"));
        run(place.rlvm(&["apply", "--yes"]).args(targets));
        run(&mut place.rlvm(&["-q", "run", "all"]));
        place
    }

    fn rlvm(&self, args: &[&str]) -> Command {
        let mut command = Command::new(RLVM);
        command.args(["--host", "bench", "--state"]).arg(self.0.join("state.yaml")).args(args);
        command.env("RLVM_HOME", self.0.join("home"));
        command
    }

    /// Opens one repository.
    fn open(&self, number: usize) {
        let mut command = Command::new("restic");
        command.args(["cat", "config", "--no-lock", "--no-cache", "--repo"]);
        command.arg(self.0.join(format!("r{number:02}"))).arg("--password-file").arg(self.0.join("pass"));
        run(&mut command);
    }

    /// Opens all of them, so many at a time.
    fn open_all(&self, at_once: usize) {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some(number) =
                        Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < REPOSITORIES)
                    {
                        self.open(number);
                    }
                });
            }
        });
    }
}

fn say(name: &str, figure: &str, limit: &str) {
    println!("{name:<72} {figure:>10}   (limit {limit})");
}

fn main() {
    let place = Place::new();
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let status = least(|| run(&mut place.rlvm(&["status", "--fail-on", "never"]))).as_secs_f64();
    let all_cores = least(|| place.open_all(cores)).as_secs_f64();
    let one_by_one = least(|| place.open_all(1)).as_secs_f64();
    say(
        "status of 20 local repositories over opening them on all cores",
        &format!("{:.2}", status / all_cores),
        "1.5",
    );
    say("the same over opening them one after the other", &format!("{:.2}", status / one_by_one), "none");
}
