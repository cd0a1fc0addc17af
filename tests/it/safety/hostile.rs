//! A client that has been taken over: it plants links, hard links and FIFOs and renames its directories as fast as the
//! kernel lets it, while apply runs as root over what is declared in its own directory. It gains nothing.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use nix::{
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    sys::stat::Mode,
    unistd::{Gid, Uid, mkfifo, setfsgid, setfsuid},
};

use super::Dice;
use crate::support::{Scratch, Tree};

/// How often apply runs; the client does some thousand things meanwhile.
const ROUNDS: usize = 2000;
/// How many things the client must have got done.
const THINGS: usize = 20_000;
/// Longer than any apply here takes, in seconds: one that waits for a FIFO takes for ever.
const ENDLESS: u64 = 120;
/// The client's number: so high that no system has it.
const CLIENT: u32 = 4777;
/// What is the client's own.
const HOME: &str = "/srv/clients/one/repo";

const STATE: &str = "\
directories:
  /srv/clients: { mode: \"0755\" }
  /srv/clients/one/repo: { owner: client1, group: client1 }
  /srv/clients/one/repo/a: { owner: client1, group: client1, mode: \"0750\" }
  /srv/clients/one/repo/a/b: { owner: client1, group: client1 }
  /srv/clients/one/repo/a/b/c: { owner: client1, group: client1 }
ssh:
  users:
    client1:
      directory: /srv/clients/one
      authorized_keys:
        - key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0 root@web01
";

/// What the client puts its hands on: what is declared, and what rlvm calls it until it is in place.
const NAMES: [&str; 6] = ["a", "a/b", "a/b/c", "a.rlvm-new~", "a/b.rlvm-new~", "a/b/c.rlvm-new~"];

fn machine() -> Scratch {
    let on = Scratch::new();
    on.file(
        "/etc/passwd",
        &format!(
            "{}client1:x:{CLIENT}:{CLIENT}::/srv/clients/one:/usr/sbin/nologin\n",
            on.read("/etc/passwd")
        ),
    );
    on.file("/etc/group", &format!("{}client1:x:{CLIENT}:\n", on.read("/etc/group")));
    on.file("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n");
    on.dir("/etc/ssh/sshd_config.d", 0, 0o755);
    on.file("/etc/ssh/sshd_config.d/50-open.conf", "AcceptEnv *\nMatch LocalPort 22\nChrootDirectory none\n");
    // What the client would like to have: root's, readable by nobody else; and what it would like root to write.
    on.file_of("/victim/secret", "root's alone\n", 0, 0o600);
    on.file_of("/victim/open", "root writes here\n", 0, 0o644);
    on.dir("/victim/dir", 0, 0o755);
    // Another client's, which would be one directory with this client's through a link.
    on.dir("/victim/two", CLIENT + 1, 0o700);
    on.dir("/victim", 0, 0o755);
    on.dir("/etc/rlvm", 0, 0o755);
    on.dir("/srv/clients/one", 0, 0o755);
    on.dir(HOME, CLIENT, 0o700);
    on.state(STATE);
    on
}

/// Everything but what is the client's and what an apply that fails half-way may leave undone of it.
fn outside(on: &Scratch) -> Tree {
    let mut tree = on.tree();
    tree.retain(|path, _| {
        !path.starts_with(HOME) && !path.starts_with("/var/lib/rlvm") && !path.starts_with("/run/rlvm")
    });
    tree
}

/// When each of the victim's things was changed last: a change that was taken back is one too.
fn changes(on: &Scratch) -> Vec<(i64, i64, u32, u32, u64)> {
    let all = ["", "/secret", "/open", "/dir", "/two"].map(|name| on.at(&format!("/victim{name}")));
    let look = |at: &PathBuf| fs::symlink_metadata(at).unwrap();
    all.iter().map(look).map(|it| (it.ctime(), it.ctime_nsec(), it.uid(), it.mode(), it.nlink())).collect()
}

/// Does one thing. Most fail: the kernel forbids them, or something else stands there.
fn mischief(home: &Path, victim: &Path, dice: &mut Dice) -> bool {
    let at = home.join(NAMES[dice.roll(NAMES.len())]);
    let other = home.join(NAMES[dice.roll(NAMES.len())]);
    let away = home.join(format!("away{}", dice.roll(4)));
    let targets = ["", "secret", "open", "dir", "two"].map(|name| victim.join(name));
    let target = &targets[dice.roll(targets.len())];
    // First out of the way with what is there, most of the time.
    if dice.roll(4) > 0 {
        let _ = fs::remove_dir_all(&away);
        let _ = fs::remove_file(&away);
        let _ = fs::rename(&at, &away);
    }
    match dice.roll(9) {
        0 => symlink(target, &at).is_ok(),
        1 => fs::hard_link(target, &at).is_ok(),
        2 => fs::hard_link(&away, &at).is_ok(),
        3 => mkfifo(&at, Mode::S_IRWXU).is_ok(),
        4 => fs::create_dir(&at).is_ok(),
        // Never one that is there: its own FIFO would hold it up.
        5 => fs::File::create_new(&at).is_ok(),
        6 => renameat2(AT_FDCWD, &at, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).is_ok(),
        7 => fs::set_permissions(&at, fs::Permissions::from_mode(0o777)).is_ok(),
        // A link that leads up and round: through root's own directories to the victim.
        _ => symlink("../../../../victim/dir", &at).is_ok(),
    }
}

/// Clears all away, or opens what is there to everybody, so that plan finds nothing to refuse and apply has something to
/// do; and waits for the moment when it does.
fn lie_in_wait(home: &Path, dice: &mut Dice) {
    if dice.roll(2) == 0 || !home.join("a/b/c").is_dir() {
        for name in fs::read_dir(home).into_iter().flatten().flatten() {
            let at = name.path();
            let _ = fs::remove_dir_all(&at);
            let _ = fs::remove_file(&at);
        }
    }
    let as_it_was: Vec<_> = NAMES.map(|name| open_to_all(&home.join(name))).into();
    for _ in 0..400 {
        let now = NAMES.map(|name| look(&home.join(name)));
        if as_it_was != now {
            break;
        }
        thread::sleep(Duration::from_micros(50));
    }
}

/// Opens a directory to everybody, and says what is there then.
fn open_to_all(at: &Path) -> Option<u32> {
    if look(at).is_some_and(|mode| mode & 0o170_000 == 0o040_000) {
        let _ = fs::set_permissions(at, fs::Permissions::from_mode(0o777));
    }
    look(at)
}

fn look(at: &Path) -> Option<u32> {
    Some(fs::symlink_metadata(at).ok()?.mode())
}

#[test]
fn a_link_that_a_client_left_for_its_repository_fails_the_apply() {
    let on = machine();
    on.state(&format!("ssh:{}", STATE.split("ssh:").nth(1).unwrap()));
    fs::remove_dir(on.at(HOME)).unwrap();
    on.own("/srv/clients/one", CLIENT, 0o755);
    super::link(&on, HOME, "/victim/dir", CLIENT);
    let stood = changes(&on);
    // The directory above becomes root's, and only then the link can be told from a directory.
    let ran = on.expect(7, &["apply", "--yes", "--adopt"]);
    assert!(ran.stderr.contains("/srv/clients/one/repo is a symbolic link"), "{ran:?}");
    assert_eq!(changes(&on), stood);
    on.expect(1, &["plan"]);
}

#[test]
fn a_client_that_was_taken_over_gains_nothing() {
    let on = machine();
    on.expect(0, &["apply", "--yes", "--adopt"]);
    on.plan_is_empty();
    let (before, stood) = (outside(&on), changes(&on));
    let (stop, things) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut codes = std::collections::BTreeMap::<i32, usize>::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Of this thread alone, and with it go the capabilities over files (capabilities(7)).
            setfsgid(Gid::from_raw(CLIENT));
            setfsuid(Uid::from_raw(CLIENT));
            let (home, victim) = (on.at(HOME), on.at("/victim"));
            assert!(fs::read(victim.join("secret")).is_err(), "the client is as good as root");
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
            while !stop.load(Ordering::Relaxed) {
                lie_in_wait(&home, &mut dice);
                for _ in 0..dice.roll(200) {
                    things.fetch_add(usize::from(mischief(&home, &victim, &mut dice)), Ordering::Relaxed);
                }
            }
        });
        for round in 0..ROUNDS {
            let mut command = on.command(&["apply", "--yes", "-q"]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let end = std::time::Instant::now() + Duration::from_secs(ENDLESS);
            let status = loop {
                match child.try_wait().unwrap() {
                    Some(status) => break status,
                    None if std::time::Instant::now() > end => {
                        stop.store(true, Ordering::Relaxed);
                        drop(child.kill());
                        panic!("round {round} waits for something");
                    }
                    None => thread::sleep(Duration::from_millis(1)),
                }
            };
            *codes.entry(status.code().unwrap_or(-1)).or_default() += 1;
            if round % 100 == 0 {
                let ok = changes(&on) == stood;
                stop.store(!ok, Ordering::Relaxed);
                assert!(ok, "round {round}: root touched what is not the client's");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(changes(&on), stood, "root touched what is not the client's");
    assert_eq!(outside(&on), before);
    let done = things.load(Ordering::Relaxed);
    assert!(done > THINGS, "the client got {done} things done: {codes:?}");
    println!("apply ended by exit code: {codes:?}; the client got {done} things done");
    // It is refused, fails in part, or is as declared; and never crashes.
    assert!(codes.keys().all(|code| [0, 1, 6, 7].contains(code)), "{codes:?}");
    assert!(codes.get(&0).is_some_and(|count| *count > 0) && codes.len() > 1, "no race at all: {codes:?}");

    // Once it is thrown out, and what it left is moved away, all is as declared again.
    fs::remove_dir_all(on.at(HOME)).unwrap();
    on.apply();
    on.plan_is_empty();
}
