//! An unprivileged user plants things where rlvm reads, writes and gives away: in directories of its own, before a look
//! and between look and act. Nothing of root's is shown, given away, changed or used.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use nix::{
    fcntl::OFlag,
    sys::stat::{Mode, SFlag, makedev, mknod},
    unistd::{Gid, Uid, mkfifo, setfsgid, setfsuid},
};
use rlvm::{
    effect::{Cmd, Content, Op, Owner, Private},
    host::{Act, Entry, Host, Log, Real},
    model::{HostPath, Mode as Bits, SecretFile},
};

use super::{Dice, link, soon};
use crate::support::{BACKUP, Scratch};

/// What no user may learn.
const SECRET: &str = "AWS_ROOT_ONLY=the-words-of-root";
/// The directory of the user, in which rlvm manages files.
const HOME: &str = "/srv/bob";
/// How often the race is run, unless `RLVM_HOSTILE_ROUNDS` says.
const ROUNDS: usize = 300;

/// A way to plant something at a path; root has left `HOME/left` there.
type Plant = fn(&Scratch, &str);

/// Everything that may stand where a file of the user's is to be.
const PLANTS: [(&str, Plant); 9] = [
    ("a renamed file of root's", |it, at| fs::rename(it.at("/srv/bob/left"), it.at(at)).unwrap()),
    ("a renamed file of root's that anybody may read", |it, at| {
        fs::rename(it.at("/srv/bob/left"), it.at(at)).unwrap();
        it.own(at, 0, 0o644);
    }),
    ("a hard link to a file of root's", |it, at| {
        fs::hard_link(it.at("/victim/secret"), it.at(at)).unwrap();
    }),
    ("a file of root's with two names here", |it, at| {
        fs::hard_link(it.at("/srv/bob/left"), it.at(at)).unwrap();
    }),
    ("a file of the user's with two names", |it, at| {
        it.file_of("/srv/bob/own", "AWS_OWN=1\n", BACKUP, 0o600);
        fs::hard_link(it.at("/srv/bob/own"), it.at(at)).unwrap();
    }),
    ("a link to a file of root's", |it, at| link(it, at, "/victim/secret", BACKUP)),
    ("a FIFO", |it, at| mkfifo(&it.at(at), Mode::from_bits_truncate(0o666)).unwrap()),
    ("a device", |it, at| {
        mknod(&it.at(at), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).unwrap();
    }),
    ("a directory of root's", |it, at| fs::rename(it.at("/srv/bob/closed"), it.at(at)).unwrap()),
];

/// The files of root's that the user may try to get: held open, so that they are known under any name.
struct Victims(Vec<(File, u32)>);

impl Victims {
    fn of(on: &Scratch) -> Self {
        on.dir("/victim", 0, 0o755);
        on.dir(HOME, BACKUP, 0o755);
        let mut held = Vec::new();
        for path in ["/victim/secret", "/srv/bob/left", "/srv/bob/closed/inner"] {
            on.file_of(path, &format!("{SECRET}\n"), 0, 0o600);
            held.push((File::open(on.at(path)).unwrap(), 0o600));
        }
        on.own("/srv/bob/closed", 0, 0o700);
        held.push((File::open(on.at("/srv/bob/closed")).unwrap(), 0o700));
        Self(held)
    }

    /// Fails if one was given away, opened to others, or written to.
    #[track_caller]
    fn are_untouched(&self, what: &str) {
        use std::os::unix::fs::FileExt;
        for (file, mode) in &self.0 {
            let meta = file.metadata().unwrap();
            assert_eq!(meta.uid(), 0, "{what}: given away");
            // One plant is open to begin with.
            let now = meta.mode() & 0o7777;
            assert!(now == *mode || now == 0o644, "{what}: its mode is {now:o}");
            if meta.is_file() {
                let mut text = vec![0; SECRET.len()];
                file.read_exact_at(&mut text, 0).unwrap();
                assert_eq!(text, SECRET.as_bytes(), "{what}: written to");
            }
        }
    }
}

/// Fails if the user could read what is root's anywhere below a directory.
fn nothing_is_disclosed_below(dir: &Path, what: &str) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for at in entries.flatten().map(|entry| entry.path()) {
        let Ok(meta) = fs::symlink_metadata(&at) else { continue };
        if meta.is_dir() {
            nothing_is_disclosed_below(&at, what);
        }
        // By the descriptor: the user may put something else there meanwhile.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let Ok(mut file) = OpenOptions::new().read(true).custom_flags(flags.bits()).open(&at) else {
            continue;
        };
        let meta = file.metadata().unwrap();
        if !meta.is_file() || meta.uid() == 0 {
            continue;
        }
        let mut text = Vec::new();
        let _ = file.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains(SECRET), "{what}: {} holds it", at.display());
    }
}

fn path(text: &str) -> HostPath {
    text.parse().unwrap()
}

fn bob() -> Owner {
    Owner { user: "backup".parse().unwrap(), group: "backup".parse().unwrap() }
}

/// Calls everything that reads, writes, gives away, opens or removes a file by its path. Returns all that came out of it.
fn every_reader(real: &Real, at: &HostPath) -> Vec<(&'static str, String)> {
    let look = real.looker();
    let mut said = Vec::new();
    let text = look.text(at).map(|(_, text)| String::from_utf8_lossy(&text.unwrap_or_default()).into_owned());
    said.push(("text", text.unwrap_or_default()));
    said.push(("private_key", format!("{:?}", look.private_key(at))));
    said.push(("digest", format!("{:?}", look.digest(at).map(|(entry, _)| entry))));
    let mut shown = Vec::new();
    let revealed = real.reveal(at, &mut shown);
    said.push(("reveal", format!("{revealed:?} {}", String::from_utf8_lossy(&shown))));
    said.push(("log", Log::tail(real, at, 1000).unwrap_or_default()));
    let secret = SecretFile(at.clone());
    for private in
        [Private::All(secret.clone()), Private::File { name: "AWS_ONE".into(), file: secret.clone() }]
    {
        let env = Cmd::new("env").private(&[private]).user(&bob().user).timeout(10);
        let ran = real.run(&env).map(|output| output.stdout);
        said.push(("environment", ran.unwrap_or_default()));
    }
    said
}

/// Lists everything that changes, gives away or removes a file by its path.
fn every_writer(at: &HostPath) -> Vec<Op> {
    let (at, owner, mode) = (at.clone(), bob(), Bits::new(0o644));
    let known = Some(format!("{SECRET}\n"));
    let content = || Some(Content { text: format!("{SECRET} and more\n"), owner: bob(), mode });
    vec![
        Op::SetOwner { path: at.clone(), owner: owner.clone() },
        Op::SetMode { path: at.clone(), mode: Bits::new(0o666) },
        Op::EditFile { path: at.clone(), before: known.clone(), after: content() },
        Op::EditFile { path: at.clone(), before: known, after: None },
        Op::EditFile {
            path: at.clone(),
            before: None,
            after: Some(Content { text: "new\n".into(), owner: bob(), mode }),
        },
        Op::MakeSecret { path: at.clone(), owner: owner.clone(), mode },
        Op::MakeDir { path: at.clone(), owner: owner.clone(), mode: Bits::new(0o777) },
        Op::EnsureDir { path: at.clone(), owner: owner.clone(), mode: Bits::new(0o777) },
        Op::WriteFile { path: at.clone(), text: "new\n".into(), owner, mode },
        Op::RemoveFile { path: at.clone() },
        Op::RemoveDir { path: at },
    ]
}

#[test]
fn no_reader_takes_what_somebody_else_could_have_put_there() {
    for (what, plant) in PLANTS {
        let on = Scratch::new();
        let victims = Victims::of(&on);
        let at = path("/srv/bob/managed");
        plant(&on, at.as_str());
        let real = Real::open(&on.root(), on.search_path()).unwrap();
        for (reader, said) in every_reader(&real, &at) {
            assert!(!said.contains(SECRET), "{reader} shows {what}: {said}");
            assert!(!said.contains("AWS_OWN=1"), "{reader} takes {what}: {said}");
        }
        if what != "a file of the user's with two names" {
            let entry = real.looker().entry(&at).unwrap();
            assert!(!matches!(entry, Entry::File(ref meta) if meta.links == 1), "{what} is taken for a file");
        }
        for op in every_writer(&at) {
            let _ = real.act(&op);
            victims.are_untouched(&format!("{what}, {op}"));
            nothing_is_disclosed_below(&on.at("/srv"), &format!("{what}, {op}"));
        }
    }
}

/// What rlvm manages for the user, in directories of the user's.
const STATE: &str = "\
directories:
  /srv/bob/dir: { owner: backup, group: backup, mode: \"0755\" }
destinations:
  made: { local: { path: /srv/bob/r1 }, password_file: /srv/bob/made.pass, generate_password: true }
  own: { s3: { url: \"https://s3.lan/b\" }, password_file: /srv/bob/own.pass, credentials: { file: /srv/bob/s3.env } }
  nas: { sftp: { host: nas.lan, user: u, path: /b }, password_file: /srv/bob/nas.pass, generate_password: true }
jobs:
  j: { user: backup, sources: [{ path: /srv/data }], to: [made, own, nas] }
ssh:
  keys: { /var/backups/.ssh/id: { owner: backup } }
  hosts:
    nas.lan: { identity: /var/backups/.ssh/id, host_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0] }
";

#[test]
fn no_kind_takes_what_somebody_else_could_have_put_there() {
    let on = Scratch::new();
    on.dir("/srv/data", 0, 0o755);
    on.state(STATE);
    for (what, plant) in PLANTS {
        for at in [
            "/srv/bob/dir",
            "/srv/bob/made.pass",
            "/srv/bob/own.pass",
            "/srv/bob/s3.env",
            "/var/backups/.ssh/config",
            "/var/backups/.ssh/known_hosts",
            "/var/backups/.ssh/id",
            "/var/backups/.ssh/id.pub",
        ] {
            for dir in [HOME, "/var/backups/.ssh"] {
                let _ = fs::remove_dir_all(on.at(dir));
            }
            let victims = Victims::of(&on);
            for (file, mode) in [("/srv/bob/own.pass", 0o600), ("/srv/bob/s3.env", 0o600)] {
                on.file_of(file, "AWS_ACCESS_KEY_ID=a\n", BACKUP, mode);
            }
            on.dir("/var/backups/.ssh", BACKUP, 0o700);
            on.own("/var/backups", BACKUP, 0o755);
            let _ = fs::remove_file(on.at(at));
            plant(&on, at);
            let about = format!("{what} at {at}");
            for args in [&["plan", "--offline"][..], &["apply", "--yes", "--adopt", "--offline"]] {
                let ran = soon(&on, &mut on.command(args));
                let said = format!("{}{}", ran.stdout, ran.stderr);
                assert!(!said.contains(SECRET), "{about}: {said}");
                assert!(!said.contains("panicked"), "{about}: {said}");
                victims.are_untouched(&about);
            }
            nothing_is_disclosed_below(&on.at("/srv"), &about);
            nothing_is_disclosed_below(&on.at("/var"), &about);
            for called in on.restic_calls() {
                assert!(!called.contains(SECRET), "{about}: {called}");
            }
        }
    }
}

/// Does one thing to the managed name, as the user. Most fail: the kernel forbids them, or nothing is there.
fn mischief(home: &Path, victim: &Path, dice: &mut Dice) -> bool {
    let (at, own) = (home.join("managed"), home.join("own"));
    let new = home.join("managed.rlvm-new~");
    match dice.roll(12) {
        0 | 1 => fs::rename(home.join("left"), &at).is_ok(),
        2 => fs::rename(&at, home.join("left")).is_ok(),
        3 => fs::rename(home.join("closed"), &at).is_ok(),
        4 => fs::rename(&at, home.join("closed")).is_ok(),
        5 => symlink(victim.join("secret"), &at).is_ok(),
        6 => fs::hard_link(home.join("left"), &at).is_ok(),
        7 => mkfifo(&at, Mode::S_IRWXU).is_ok(),
        8 => fs::File::create_new(&own).is_ok() && fs::rename(&own, &at).is_ok(),
        9 => fs::rename(home.join("left"), &new).is_ok(),
        10 => fs::rename(&new, home.join("left")).is_ok(),
        _ => fs::remove_file(&at).is_ok(),
    }
}

#[test]
fn nothing_of_roots_is_taken_in_a_race() {
    let rounds = std::env::var("RLVM_HOSTILE_ROUNDS").ok().and_then(|it| it.parse().ok()).unwrap_or(ROUNDS);
    let on = Scratch::new();
    let victims = Mutex::new(Victims::of(&on));
    let real = Real::open(&on.root(), on.search_path()).unwrap();
    let (home, victim, at) = (on.at(HOME), on.at("/victim"), path("/srv/bob/managed"));
    let (stop, things) = (AtomicBool::new(false), AtomicUsize::new(0));
    let done = thread::scope(|scope| {
        let hostile = scope.spawn(|| {
            // Of this thread alone, and with it go the capabilities over files (capabilities(7)).
            setfsgid(Gid::from_raw(BACKUP));
            setfsuid(Uid::from_raw(BACKUP));
            assert!(fs::read(victim.join("secret")).is_err(), "the user is as good as root");
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
            while !stop.load(Ordering::Relaxed) {
                things.fetch_add(usize::from(mischief(&home, &victim, &mut dice)), Ordering::Relaxed);
            }
        });
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..rounds {
                for (reader, said) in every_reader(&real, &at) {
                    assert!(!said.contains(SECRET), "round {round}: {reader} shows it: {said}");
                }
                for op in every_writer(&at) {
                    let _ = real.act(&op);
                }
                let mut victims = victims.lock().unwrap();
                victims.are_untouched(&format!("round {round}"));
                nothing_is_disclosed_below(&home, &format!("round {round}"));
                // Some of root's files were lost: the user may remove them in a directory of its own. Root leaves new ones.
                let is_roots = |name: &&str| {
                    fs::symlink_metadata(home.join(name)).is_ok_and(|meta| meta.is_file() && meta.uid() == 0)
                };
                if !["left", "managed", "managed.rlvm-new~"].iter().any(is_roots) {
                    let made = home.join("left");
                    fs::write(victim.join("new"), format!("{SECRET}\n")).unwrap();
                    fs::set_permissions(victim.join("new"), fs::Permissions::from_mode(0o600)).unwrap();
                    victims.0.push((File::open(victim.join("new")).unwrap(), 0o600));
                    // The user may have made a directory there meanwhile.
                    let _ = fs::rename(victim.join("new"), made);
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        hostile.join().unwrap();
        played
    });
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
    let things = things.load(Ordering::Relaxed);
    println!("{rounds} rounds; the user got {things} things done");
    assert!(things > rounds, "the user got only {things} things done");
}
