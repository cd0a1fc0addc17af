//! Killed at any point, applied again: the same end, nothing orphaned, everything made is in the ledger (R48).
//!
//! A dead process is told from a live one by nothing that it does: what carries ops out here panics at the N-th,
//! and nothing after it runs, no clean-up, no last word in the ledger. Then the real binary applies again.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

mod states;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    panic,
    process::Command,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use rlvm::{
    apply::{World, apply},
    effect::{Arg, Op, Receipt, temporary},
    expand::{UserFacts, expand},
    host::{Act, Real, Store},
    ledger::{self, LOG, Ledger, SNAPSHOT, Writer},
    model::{FetchUrl, HostPath, Scope},
    plan::{Looking, Options, Survey, decide, observe},
    resource::Looks,
};

use crate::support::{Scratch, Tree, restic_of};
use states::{BY_CRON, BY_SYSTEMD_OTHERWISE, FULL, NOTHING, OTHER};

/// A machine that has both versions of restic that the states pin.
fn mirrored() -> Scratch {
    let on = Scratch::new();
    for version in ["0.18.0", "0.19.0"] {
        on.file(&format!("/srv/mirror/restic-{version}"), &restic_of(version));
    }
    // As Debian has it: else what is empty between two of systemctl's steps would go at one time and stay at another.
    on.file("/etc/systemd/system/foreign.service", "");
    on
}

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    /// Before the op of this number.
    Before(usize),
    /// In the midst of it.
    Within(usize),
    /// After it.
    After(usize),
    /// When all is done, before what was done is made durable.
    BeforeSettling,
    /// Never.
    Never,
}

/// Does what the machine does, and dies.
struct Mortal<'a> {
    real: &'a Real,
    death: Death,
    done: AtomicUsize,
}

/// What a panic carries that stands for death.
struct Killed;

impl Act for Mortal<'_> {
    fn act(&self, op: &Op) -> Result<()> {
        let number = self.done.fetch_add(1, Ordering::SeqCst);
        if self.death == Death::Before(number) {
            panic::panic_any(Killed);
        }
        if self.death == Death::Within(number) {
            half(self.real, op);
            panic::panic_any(Killed);
        }
        self.real.act(op)?;
        if self.death == Death::After(number) {
            panic::panic_any(Killed);
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        if self.death == Death::BeforeSettling {
            panic::panic_any(Killed);
        }
        self.real.settle()
    }
}

/// Leaves what an op leaves that is cut short.
fn half(real: &Real, op: &Op) {
    let at = |path: &str| real.root().join(path.trim_start_matches('/'));
    match op {
        Op::MakeDir { path, .. } | Op::EnsureDir { path, .. } => {
            fs::create_dir(at(&temporary(path))).unwrap();
        }
        Op::WriteFile { path, .. }
        | Op::MakeSecret { path, .. }
        | Op::EditFile { path, after: Some(_), .. } => {
            fs::write(at(&temporary(path)), "half of i").unwrap();
        }
        Op::ConfigureSshd(sshd) => {
            // In a tree; on a machine of its own it is killed in `server`.
            fs::write(at(&temporary(&sshd.path)), "half of i").unwrap();
        }
        Op::MakeKey { path, owner, kind, .. } if owner.user.as_str() == "root" => {
            // The private half is in place, the other one is not.
            let keygen = Command::new("ssh-keygen")
                .args(kind.flags())
                .args(["-q", "-N", "", "-f"])
                .arg(at(path.as_str()))
                .status();
            assert!(keygen.unwrap().success());
            fs::remove_file(at(path.public_half().as_str())).unwrap();
        }
        Op::MakeKey { path, .. } => {
            // A pair was begun, or it was about to be put in place.
            for dir in ["/run/rlvm", "/run/rlvm/keys"] {
                drop(fs::create_dir(at(dir)));
                fs::set_permissions(at(dir), fs::Permissions::from_mode(0o700)).unwrap();
            }
            for left in ["/run/rlvm/keys/new", "/run/rlvm/keys/new.pub", &temporary(path)] {
                fs::write(at(left), "half of i").unwrap();
                fs::set_permissions(at(left), fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        Op::Install(install) => {
            // In place, and what is written down of it is not.
            let FetchUrl::File(from) = &install.url else { panic!("{op}") };
            fs::copy(at(from.as_str()), at(install.path.as_str())).unwrap();
            fs::set_permissions(at(install.path.as_str()), fs::Permissions::from_mode(0o755)).unwrap();
            let receipt = Receipt::path_of(&install.path).unwrap();
            fs::write(at(&temporary(&receipt)), "# Written by").unwrap();
        }
        Op::Run(cmd) if cmd.name() == "systemctl" => {
            let [Arg::Word(verb), Arg::Word(unit)] = cmd.words() else {
                panic!("{cmd}: what does it leave?")
            };
            let target = if unit.contains(".timer") { "timers" } else { "multi-user" };
            let wants = at(&format!("/etc/systemd/system/{target}.target.wants"));
            // The directory and no link in it.
            match verb.as_str() {
                "enable" => drop(fs::create_dir(wants)),
                "disable" => drop(fs::remove_file(wants.join(unit))),
                _ => panic!("{cmd}: what does it leave?"),
            }
        }
        Op::Run(cmd) => {
            let words = cmd.words().iter();
            let paths: Vec<_> =
                words.filter_map(|arg| if let Arg::Path(path) = arg { Some(path) } else { None }).collect();
            let [repo, _password] = paths[..] else { panic!("{cmd}: what does it leave?") };
            // As restic: directories first, then a key, the configuration last.
            fs::create_dir(at(&format!("{repo}/data"))).unwrap();
            fs::create_dir(at(&format!("{repo}/keys"))).unwrap();
            let owner = Some(fs::metadata(at(repo.as_str())).unwrap().uid());
            for part in ["data", "keys"] {
                let part = at(&format!("{repo}/{part}"));
                chown(&part, owner, owner).unwrap();
                fs::set_permissions(&part, fs::Permissions::from_mode(0o700)).unwrap();
            }
            let key = at(&format!("{repo}/keys/{}", "ab".repeat(32)));
            fs::write(&key, "a key to nothing").unwrap();
            chown(&key, owner, owner).unwrap();
        }
        // crontab(1) renames, and only users without root have one. What gives a tree is killed in `server`.
        Op::EditCrontab(_)
        | Op::GiveTree { .. }
        | Op::SetOwner { .. }
        | Op::SetMode { .. }
        | Op::EditFile { after: None, .. }
        | Op::RemoveFile { .. }
        | Op::RemoveTemporary { .. }
        | Op::DeleteSubvolume { .. }
        | Op::RemoveDir { .. }
        | Op::RemoveStaging { .. } => {}
    }
}

/// A panic that stands for death is no news.
fn die_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let in_scope =
                info.payload().downcast_ref::<&str>().is_some_and(|it| it.contains("scoped thread"));
            if !info.payload().is::<Killed>() && !in_scope {
                usual(info);
            }
        }));
    });
}

/// Applies the state in this process, until it is killed. Returns how many ops were begun.
fn mortal_apply(on: &Scratch, yaml: &str, death: Death) -> usize {
    die_quietly();
    let text = format!("version: 1\nhost: web01\n{yaml}");
    let loaded = rlvm::state::load("state", &mut |_| Ok(text.clone())).unwrap();
    let real = Real::open(&on.root(), on.search_path()).unwrap();
    let home: HostPath = "/var/lib/rlvm".parse().unwrap();
    let store = Store::new(&real, &home);
    let (snapshot, log) = (store.read(SNAPSHOT).unwrap(), store.read(LOG).unwrap());
    let known = ledger::read(home.as_str(), snapshot.as_deref(), log.as_deref()).unwrap();
    let (ledger, whole) =
        known.unwrap_or_else(|| (Ledger::new("web01".parse().unwrap(), "lineage".into()), 0));
    let group = |name: &str| (name.parse().unwrap(), name.parse().unwrap());
    let facts = UserFacts { groups: ["backup", "www-data"].map(group).into(), ..UserFacts::default() };
    let expanded = expand(&loaded.state, &facts, &Scope::Host);
    let survey = Survey::new(&expanded, &ledger, &[]).unwrap();
    let seen = observe(&survey, &Looking { host: &real, looks: Looks::default(), progress: &|_| {} });
    let options = Options { allow_mass_removal: true, ..Options::default() };
    let plan = decide(&loaded.state.host, Some(&ledger), &survey, &seen, &expanded.findings, &options);
    let act = Mortal { real: &real, death, done: AtomicUsize::new(0) };
    let killed = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let mut writer = Writer::begin(&store, ledger.clone(), whole).unwrap();
        let mut world = World { host: &real, act: &act, watch: &mut |_| {}, stop: &|| false };
        let outcome = apply(&plan, &mut writer, &mut world).unwrap();
        assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
        writer.finish().unwrap();
    }));
    assert_eq!(killed.is_err(), death != Death::Never, "{death:?}");
    act.done.load(Ordering::SeqCst)
}

/// The machine without what differs from one apply to the next: what random passwords are and what follows from
/// them, and rlvm's own files.
fn comparable(on: &Scratch) -> Tree {
    let mut tree = on.tree();
    tree.retain(|path, _| !path.starts_with("/var/lib/rlvm/") && !path.starts_with("/run/rlvm/"));
    // An empty one is what systemctl leaves when it is killed, and means nothing.
    let linked: Vec<String> = tree.keys().filter(|path| path.contains(".wants/")).cloned().collect();
    tree.retain(|path, _| {
        !path.ends_with("target.wants") || linked.iter().any(|link| link.starts_with(path.as_str()))
    });
    for (path, what) in &mut tree {
        if path.starts_with("/etc/rlvm/") || path.contains("/keys/") || path.contains("/.ssh/id_") {
            what.truncate(what.find(" file ").map_or(what.len(), |at| at + 5));
        }
    }
    tree
}

/// What stands on the machine and in the ledger at the end.
type End = (Tree, Vec<String>);

/// Applies with the binary, which must end as an apply that nobody killed.
#[track_caller]
fn ends_the_same(on: &Scratch, yaml: &str, expected: &End, what: &str) {
    on.state(yaml);
    on.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    let (tree, managed) = (comparable(on), on.managed());
    assert_eq!(managed, expected.1, "the ledger, {what}");
    for (path, is) in &tree {
        assert_eq!(expected.0.get(path), Some(is), "{path}, {what}");
    }
    let gone: Vec<&String> = expected.0.keys().filter(|path| !tree.contains_key(*path)).collect();
    assert!(gone.is_empty(), "missing, {what}: {gone:?}");
    assert!(!tree.keys().any(|path| path.ends_with(".rlvm-new~")), "{what}");
    assert!(!on.at("/run/rlvm/keys/new").exists() && !on.at("/run/rlvm/keys/new.pub").exists(), "{what}");
    on.plan_is_empty();
}

/// The ways to die in an op.
fn deaths(number: usize) -> [Death; 3] {
    [Death::Before(number), Death::Within(number), Death::After(number)]
}

/// Kills an apply of `to`, from a machine on which `from` was applied, everywhere.
fn matrix(from: Option<&str>, to: &str) {
    let start = || {
        let on = mirrored();
        if let Some(from) = from {
            on.state(from);
            on.apply();
        }
        on
    };
    let whole = start();
    let ops = mortal_apply(&whole, to, Death::Never);
    whole.state(to);
    // The state is kept too, though the tree is compared without it.
    whole.expect(0, &["apply", "--yes"]);
    let expected = (comparable(&whole), whole.managed());
    assert!(ops > 0);
    for death in (0..ops).flat_map(deaths).chain([Death::BeforeSettling]) {
        let on = start();
        mortal_apply(&on, to, death);
        ends_the_same(&on, to, &expected, &format!("{death:?} of {ops}"));
    }
}

#[test]
fn killed_while_making() {
    matrix(None, FULL);
}

#[test]
fn killed_while_changing() {
    matrix(Some(FULL), OTHER);
}

#[test]
fn killed_while_removing() {
    matrix(Some(FULL), NOTHING);
}

#[test]
fn killed_while_another_scheduler_takes_over() {
    let by_systemd = format!("scheduler: systemd{BY_CRON}");
    let by_systemd = by_systemd.as_str();
    for (from, to) in [
        (None, by_systemd),
        (Some(BY_CRON), by_systemd),
        (Some(by_systemd), BY_SYSTEMD_OTHERWISE),
        (Some(by_systemd), BY_CRON),
        (Some(by_systemd), NOTHING),
    ] {
        matrix(from, to);
    }
}

#[test]
fn killed_and_then_not_wanted_any_more() {
    // What was made goes again, although the ledger knew only that it was about to be made.
    let ops = mortal_apply(&mirrored(), FULL, Death::Never);
    let clean = mirrored();
    clean.state(NOTHING);
    clean.apply();
    let clean = comparable(&clean);
    for death in (0..ops).flat_map(deaths) {
        let on = mirrored();
        mortal_apply(&on, FULL, death);
        on.state(NOTHING);
        on.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
        on.plan_is_empty();
        // Secrets and repositories stay, and what they lie in.
        let mut tree = comparable(&on);
        let kept = ["/etc/rlvm", "/srv/repos", "/root"];
        tree.retain(|path, _| !kept.iter().any(|kept| path.starts_with(kept)));
        assert_eq!(tree.keys().collect::<Vec<_>>(), clean.keys().collect::<Vec<_>>(), "{death:?}");
    }
}

#[test]
fn a_power_cut_leaves_any_prefix_of_the_log() {
    let whole = mirrored();
    whole.state(FULL);
    whole.apply();
    let expected = (comparable(&whole), whole.managed());
    // Killed at the end: the log holds all records, none is in the snapshot yet.
    let on = mirrored();
    mortal_apply(&on, FULL, Death::BeforeSettling);
    let path = on.at("/var/lib/rlvm/ledger.log");
    let log = fs::read(&path).unwrap();
    let lines: Vec<usize> =
        log.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    // What was about to be made was durable before anything was made: only what came later can be lost.
    let text = String::from_utf8(log.clone()).unwrap();
    let intended = text.lines().take_while(|line| line.contains("\"pending\":true")).count();
    assert!(intended > 8 && lines.len() > intended + 8, "{intended} of {}", lines.len());
    let home = on.at("/var/lib/rlvm");
    let kept = on.beside("kept");
    copy(&home, &kept);
    let last = &lines[lines.len() - 3..];
    let each_byte = (last[0] - 3..log.len()).step_by(7);
    let ends = lines[intended - 1..].iter().copied();
    for cut in each_byte.chain(ends) {
        fs::remove_dir_all(&home).unwrap();
        copy(&kept, &home);
        fs::write(&path, &log[..cut]).unwrap();
        ends_the_same(&on, FULL, &expected, &format!("cut at {cut} of {}", log.len()));
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

#[test]
fn the_real_program_killed_again_and_again() {
    let whole = mirrored();
    whole.state(FULL);
    whole.apply();
    let expected = (comparable(&whole), whole.managed());
    let mut killed = 0;
    // Ten machines, each killed on four times, later each time, so that each part of an apply is killed in.
    for machine in 0..10 {
        let on = mirrored();
        on.state(FULL);
        for kill in 0..4 {
            let mut child = on.command(&["apply", "--yes"]).spawn().unwrap();
            thread::sleep(Duration::from_micros(4000 + 4000 * machine + 9000 * kill));
            child.kill().unwrap();
            let ended = child.wait_with_output().unwrap();
            killed += usize::from(ended.status.code().is_none());
            assert_ne!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
        }
        ends_the_same(&on, FULL, &expected, "after four kills");
    }
    assert!(killed >= 10, "only {killed} were killed");
}
