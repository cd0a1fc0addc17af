//! Speed as ratios taken in one run: machines differ and are noisy, the work that cannot be avoided is the measure.
//!
//! `cargo bench` prints one line a ratio, with its limit. Nothing here fails for being slow.
//!
//! Run as root: it makes what rlvm would make, in a tree of its own below `target/`. restic is needed.

#![expect(clippy::disallowed_methods, reason = "a benchmark makes its own trees and runs programs")]
#![expect(clippy::format_push_string, reason = "states are written once, before anything is measured")]

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const RLVM: &str = env!("CARGO_BIN_EXE_rlvm");
/// Each time is the least of so many: noise only adds.
const ROUNDS: usize = 7;
/// How many plans are compared with as many bare loops, taken in turns; the median ratio counts.
const PAIRS: usize = 15;
/// With this argument and a file of paths the benchmark is the bare loop, as a process of its own.
const BARE_LOOK: &str = "--bare-look";

/// A tree with its state.
struct Tree {
    dir: PathBuf,
}

impl Tree {
    fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench").join(name)
    }

    fn new(name: &str) -> Self {
        let dir = Self::path(name);
        drop(fs::remove_dir_all(&dir));
        for part in ["root/etc", "state/hosts"] {
            fs::create_dir_all(dir.join(part)).expect("the bench's own directory");
        }
        for file in ["etc/passwd", "etc/group"] {
            fs::copy(Path::new("/").join(file), dir.join("root").join(file)).expect("accounts");
        }
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn state(&self, text: &str) {
        let text = format!("version: 1\nhost: bench\n{text}");
        fs::write(self.dir.join("state/hosts/bench.yaml"), text).expect("a state");
    }

    /// Runs rlvm and returns how long it took.
    fn rlvm(&self, args: &[&str]) -> Duration {
        let start = Instant::now();
        let output = Command::new(RLVM)
            .args(args)
            .args(["--host", "bench", "--root"])
            .arg(self.root())
            .arg("--state")
            .arg(self.dir.join("state"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .output()
            .expect("rlvm runs");
        let took = start.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rlvm {args:?}: {}\n{said}", output.status);
        took
    }
}

/// `count` directories and as many files, as a state.
fn state_of(count: usize) -> String {
    let mut text = "directories:\n".to_owned();
    for n in 0..count {
        text +=
            &format!("  /srv/data/{:03}/{n:06}: {{ owner: root, group: root, mode: \"0755\" }}\n", n % 100);
    }
    text += "cron:\n";
    for n in 0..count {
        text +=
            &format!("  job{n:06}: {{ schedule: \"{} 2 * * *\", user: root, command: /bin/true }}\n", n % 60);
    }
    text
}

/// Lists the paths that a plan of [`state_of`] looks at, one a line.
fn paths_of(tree: &Tree, count: usize) -> String {
    let root = tree.root();
    let root = root.display();
    let dirs = (0..count).map(|n| format!("{root}/srv/data/{:03}/{n:06}\n", n % 100));
    let files = (0..count).map(|n| format!("{root}/etc/cron.d/job{n:06}\n"));
    dirs.chain(files).collect()
}

/// The bare loop: opens, stats and reads the very same paths, one after the other.
fn bare_look(paths: &str) -> Duration {
    let start = Instant::now();
    let mut sum = 0;
    let mut text = Vec::new();
    for path in paths.lines() {
        let mut file = File::open(path).expect("a path that plan looks at");
        let meta = file.metadata().expect("what is open has a state");
        sum += meta.mode();
        if meta.is_file() {
            text.clear();
            sum += u32::try_from(file.read_to_end(&mut text).expect("a file")).unwrap_or(0);
        }
    }
    assert!(sum > 0);
    start.elapsed()
}

/// Runs the bare loop as a process of its own.
fn bare_process(list: &Path) -> Duration {
    let program = std::env::current_exe().expect("this program");
    let start = Instant::now();
    let status = Command::new(program).arg(BARE_LOOK).arg(list).stdin(Stdio::null()).status();
    let took = start.elapsed();
    assert!(status.expect("the benchmark runs").success());
    took
}

/// The bare loop of making: directories; files written beside their place, made durable, renamed.
fn bare_make(root: &Path, count: usize) -> Duration {
    drop(fs::remove_dir_all(root));
    fs::create_dir_all(root.join("cron.d")).expect("a directory");
    for n in 0..100 {
        fs::create_dir_all(root.join(format!("data/{n:03}"))).expect("a directory");
    }
    let text = "# a line of some length, as long as the one that rlvm writes for an entry\nSHELL=/bin/sh\nPATH=/bin\n";
    let start = Instant::now();
    for n in 0..count {
        let dir = root.join(format!("data/{:03}/{n:06}", n % 100));
        fs::create_dir(&dir).expect("a directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    for n in 0..count {
        let (new, place) = (root.join("cron.d/new"), root.join(format!("cron.d/job{n:06}")));
        let mut file = File::create(&new).expect("a file");
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).expect("a file");
        fs::rename(new, place).expect("a file");
    }
    start.elapsed()
}

fn least(mut measure: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| measure()).min().expect("at least one round")
}

fn ratio(what: &str, ours: Duration, measure: Duration, limit: f64) {
    let ratio = ours.as_secs_f64() / measure.as_secs_f64();
    println!("{what}: {ratio:.2} (limit {limit}; {:.1} ms over {:.1} ms)", millis(ours), millis(measure));
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn look_alone(tree: &Tree) -> Duration {
    use rlvm::{
        expand::expand,
        host::Real,
        ledger,
        plan::{Looking, Survey, observe},
        state,
    };
    let name = tree.dir.join("state/hosts/bench.yaml");
    let text = fs::read_to_string(&name).expect("the state");
    let loaded = state::load("bench.yaml", &mut |_| Ok(text.clone())).expect("a valid state");
    let expanded = expand(&loaded.state, &rlvm::expand::UserFacts::default(), &rlvm::model::Scope::Host);
    let bytes = fs::read(tree.root().join("var/lib/rlvm/ledger.json")).expect("a ledger");
    let (ledger, _) = ledger::read("/", Some(&bytes), None).expect("a ledger").expect("a ledger");
    let survey = Survey::new(&expanded, &ledger, &[]).expect("a survey");
    least(|| {
        let host = Real::open(&tree.root(), "/usr/bin:/bin").expect("a tree");
        let start = Instant::now();
        observe(
            &survey,
            &Looking { host: &host, looks: rlvm::resource::Looks::default(), progress: &|_| {} },
        );
        start.elapsed()
    })
}

fn plans() {
    let (mut applied, mut made) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let small = Tree::new("small");
        small.state(&state_of(5_000));
        applied = applied.min(small.rlvm(&["apply", "--yes", "--quiet"]));
        made = made.min(bare_make(&small.dir.join("bare"), 5_000));
    }
    ratio("apply that creates 10,000 over a loop that makes, writes, syncs and renames", applied, made, 3.0);

    let small = Tree { dir: Tree::path("small") };
    let list = small.dir.join("paths");
    fs::write(&list, paths_of(&small, 5_000)).expect("a list of paths");
    let plan = against_bare_loop(&small, &list);
    let paths = fs::read_to_string(&list).expect("a list of paths");
    ratio("looking alone over the same loop", look_alone(&small), least(|| bare_look(&paths)), 1.3);
    println!("peak memory of that plan: {:.1} MiB (limit 64)", peak(&small));

    let large = Tree::new("large");
    large.state(&state_of(50_000));
    large.rlvm(&["apply", "--yes", "--quiet"]);
    let plan_large = (0..3).map(|_| large.rlvm(&["plan", "--quiet"])).min().expect("a round");
    ratio("no-op plan over 100,000 over one over 10,000", plan_large, plan, 13.0);
    drop(fs::remove_dir_all(&large.dir));
}

/// Compares a no-op plan with the bare loop, both as whole processes. Returns the shortest time of a plan.
fn against_bare_loop(tree: &Tree, list: &Path) -> Duration {
    // Taken in turns, so that a slow moment hits both.
    let pairs: Vec<(Duration, Duration)> =
        (0..PAIRS).map(|_| (tree.rlvm(&["plan", "--quiet"]), bare_process(list))).collect();
    let mut ratios: Vec<f64> =
        pairs.iter().map(|(plan, bare)| plan.as_secs_f64() / bare.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let plan = pairs.iter().map(|(plan, _)| *plan).min().expect("a pair");
    let bare = pairs.iter().map(|(_, bare)| *bare).min().expect("a pair");
    println!(
        "no-op plan over 10,000 over a loop that opens, stats and reads, as processes: {:.2} (limit 2.0; median of \
         {PAIRS} pairs; least {:.1} ms over {:.1} ms)",
        ratios[PAIRS / 2],
        millis(plan),
        millis(bare)
    );
    plan
}

/// Returns the peak resident memory of a plan, in MiB, as GNU time(1) would.
fn peak(tree: &Tree) -> f64 {
    // The largest child so far is what is asked for, so this must be called before larger ones run.
    tree.rlvm(&["plan", "--quiet"]);
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).expect("usage");
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let kib = usage.max_rss() as f64;
    kib / 1024.0
}

fn repositories() {
    const COUNT: usize = 100;
    let of = |repositories: bool| {
        let mut text = String::new();
        if repositories {
            text += "destinations:\n";
            for n in 0..COUNT {
                text += &format!(
                    "  r{n:03}:\n    local: {{ path: /srv/r{n:03} }}\n    password_file: /etc/pass\n"
                );
            }
            return text;
        }
        text += "directories:\n";
        (0..COUNT).for_each(|n| text += &format!("  /srv/r{n:03}: {{ mode: \"0700\" }}\n"));
        text
    };
    let with = Tree::new("repositories");
    let pass = with.root().join("etc/pass");
    fs::write(&pass, "secret\n").expect("a password");
    fs::set_permissions(&pass, fs::Permissions::from_mode(0o600)).expect("a mode");
    with.state(&of(true));
    let without = Tree::new("directories");
    without.state(&of(false));
    with.rlvm(&["apply", "--yes", "--quiet"]);
    without.rlvm(&["apply", "--yes", "--quiet"]);
    let (mut repositories, mut directories) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        repositories = repositories.min(with.rlvm(&["plan", "--quiet"]));
        directories = directories.min(without.rlvm(&["plan", "--quiet"]));
    }
    let more = millis(repositories) - millis(directories);
    println!("no-op plan over 100 repositories, more than over 100 directories: {more:.1} ms (limit 20)");
    let refresh = with.rlvm(&["plan", "--quiet", "--refresh"]);
    let one = least(|| open(&with, "r000"));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!(
        "--refresh of 100 repositories over opening one 100 times: {:.2} (goal 1/{cores} cores)",
        refresh.as_secs_f64() / (one.as_secs_f64() * 100.0)
    );
}

fn open(tree: &Tree, name: &str) -> Duration {
    let start = Instant::now();
    let status = Command::new("restic")
        .args(["cat", "config", "--no-lock", "--no-cache", "--repo"])
        .arg(tree.root().join("srv").join(name))
        .arg("--password-file")
        .arg(tree.root().join("etc/pass"))
        .stdout(Stdio::null())
        .status()
        .expect("restic runs: apt-get install restic");
    assert!(status.success());
    start.elapsed()
}

fn start_up() {
    let tree = Tree::new("start");
    tree.state("directories:\n  /srv: {}\n");
    let version = least(|| {
        let start = Instant::now();
        let status = Command::new(RLVM).arg("--version").stdout(Stdio::null()).status().expect("rlvm runs");
        assert!(status.success());
        start.elapsed()
    });
    let validate = least(|| tree.rlvm(&["validate", "--quiet"]));
    println!(
        "--version: {:.1} ms, validate of a small state: {:.1} ms (limit 10)",
        millis(version),
        millis(validate)
    );
}

fn main() {
    // `cargo test --benches` runs this too, with `--test`: then there is nothing to measure.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let mut args = std::env::args().skip_while(|arg| arg != BARE_LOOK).skip(1);
    if let Some(list) = args.next() {
        bare_look(&fs::read_to_string(list).expect("a list of paths"));
        return;
    }
    start_up();
    plans();
    repositories();
}
