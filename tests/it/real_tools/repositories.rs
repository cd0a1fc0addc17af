//! Repositories of the real restic: made, recognised, and never mistaken for what they are not.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{VAULT, says};
use crate::support::{BACKUP, Scratch};

/// Calls the real restic on the machine's repository with the password that rlvm made, and returns what it said.
#[track_caller]
fn restic(scratch: &Scratch, args: &[&str]) -> String {
    let ran = scratch.ran(&mut restic_command(scratch, args));
    assert_eq!(ran.code, Some(0), "restic {args:?}: {ran:?}");
    ran.stdout
}

fn restic_command(scratch: &Scratch, args: &[&str]) -> Command {
    let mut command = Command::new("restic");
    command.arg("--no-cache").arg("-r").arg(scratch.at("/srv/r"));
    command.arg("-p").arg(scratch.at("/etc/rlvm/v")).args(args);
    command.env_clear().env("PATH", scratch.search_path());
    command
}

/// Copies a tree with owners, modes and times.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// The only entry of a directory.
fn only(dir: &Path) -> PathBuf {
    let mut entries = fs::read_dir(dir).unwrap();
    let only = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none());
    only
}

/// A plan says this, and an apply says it too and changes nothing but its lock.
#[track_caller]
fn stands(scratch: &Scratch, case: &str, code: i32, words: &[&str]) {
    println!("{case}");
    let hash = scratch.tree_hash();
    says(scratch, &["plan"], code, words);
    assert_eq!(scratch.tree_hash(), hash, "{case}: plan changed something");
    if code != 0 {
        let places = || {
            let mut tree = scratch.contents();
            tree.retain(|path, _| path.starts_with("/srv"));
            tree
        };
        let before = places();
        // A refusal (6) stops apply, an error on the repository (1 for plan) stops that alone.
        says(scratch, &["apply", "--yes"], if code == 1 { 7 } else { code }, words);
        assert!(places() == before, "{case}: apply changed something");
    }
}

#[test]
fn a_repository_is_never_mistaken_for_what_it_is_not() {
    // R22, R33, R41
    let scratch = Scratch::with_real_restic();
    scratch.state(VAULT);
    scratch.apply();
    scratch.plan_is_empty();
    // The real restic opens it with the generated password, and backs up to it.
    scratch.file("/etc/data", "to be kept\n");
    restic(&scratch, &["backup", scratch.at("/etc/data").to_str().unwrap()]);
    assert!(restic(&scratch, &["check"]).contains("no errors were found"));
    assert_eq!(
        restic(&scratch, &["dump", "latest", scratch.at("/etc/data").to_str().unwrap()]),
        "to be kept\n"
    );

    let (repo, pristine) = (scratch.at("/srv/r"), scratch.beside("pristine"));
    copy(&repo, &pristine);
    stands(&scratch, "ready", 0, &["No changes."]);

    let config = fs::read(pristine.join("config")).unwrap();
    let broken = |case: &str, words: &[&str], harm: &dyn Fn()| {
        harm();
        stands(&scratch, case, 1, words);
        copy(&pristine, &repo);
    };
    let set_config = |bytes: &[u8]| {
        let at = repo.join("config");
        fs::set_permissions(&at, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&at, bytes).unwrap();
    };
    broken("empty config", &["repository:vault: damaged: ", "do not make a new one over it"], &|| {
        set_config(b"");
    });
    broken("config cut short", &["repository:vault: damaged: "], &|| set_config(&config[..config.len() / 2]));
    broken("a short config", &["repository:vault: damaged: "], &|| set_config(&config[..7]));
    broken("garbled config", &["repository:vault: damaged: "], &|| {
        let mut garbled = config.clone();
        garbled[40] ^= 0x55;
        set_config(&garbled);
    });
    broken("no keys", &["repository:vault: damaged: it has no keys"], &|| {
        fs::remove_file(only(&repo.join("keys"))).unwrap();
    });
    broken("a key cut short", &["repository:vault: damaged: "], &|| {
        let key = only(&repo.join("keys"));
        let text = fs::read(&key).unwrap();
        fs::remove_file(&key).unwrap();
        fs::write(&key, &text[..text.len() / 2]).unwrap();
    });
    broken("no config", &["repository:vault: damaged: its configuration is missing"], &|| {
        fs::remove_file(repo.join("config")).unwrap();
    });
    broken(
        "gone",
        &["is gone from /srv/r", "to start a new one: rlvm ledger forget repository:vault"],
        &|| {
            fs::remove_dir_all(&repo).unwrap();
        },
    );
    broken("emptied", &["is gone from /srv/r"], &|| {
        fs::remove_dir_all(&repo).unwrap();
        fs::create_dir(&repo).unwrap();
    });
    fs::remove_dir_all(&repo).unwrap();
    fs::create_dir_all(repo.join("photos")).unwrap();
    stands(&scratch, "something else", 1, &["/srv/r is not empty (it holds `photos`) and no repository"]);
    copy(&pristine, &repo);
    stands(&scratch, "back", 0, &["No changes."]);

    // Wrong password, and none.
    let password = scratch.read("/etc/rlvm/v");
    scratch.file_of("/etc/rlvm/v", "hunter2\n", 0, 0o600);
    let words = &["repository:vault: wrong password: /etc/rlvm/v does not open it", "nothing was changed"];
    stands(&scratch, "wrong password", 1, words);
    scratch.file_of("/etc/rlvm/v", &password, 0, 0o600);
    fs::remove_file(scratch.at("/etc/rlvm/v")).unwrap();
    let words =
        &["the repository is there, and its password file /etc/rlvm/v is not", "a new one would not open it"];
    stands(&scratch, "no password", 1, words);
    scratch.file_of("/etc/rlvm/v", &password, 0, 0o600);
    scratch.apply();

    locked(&scratch);
    made_anew(&scratch, &repo);
}

/// A backup under way locks it, and so does one that died; neither is in a plan's way.
fn locked(scratch: &Scratch) {
    let mut command = restic_command(scratch, &["backup", "--stdin"]);
    let mut backup = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    backup.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    let start = Instant::now();
    // Written under another name first, and made read-only last: until then a look sees something change.
    let is_there = || {
        let mut locks = fs::read_dir(scratch.at("/srv/r/locks")).unwrap().map(Result::unwrap);
        locks.any(|lock| lock.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o222 == 0))
    };
    while !is_there() {
        if start.elapsed() > Duration::from_secs(60) {
            backup.kill().unwrap();
            panic!("restic makes no lock");
        }
        thread::sleep(Duration::from_millis(20));
    }
    let words = &["note: repository:vault: locked: something works on it", "not renewed for 30 minutes"];
    stands(scratch, "locked", 0, words);
    backup.kill().unwrap();
    backup.wait().unwrap();
    stands(scratch, "left locked", 0, words);
    restic(scratch, &["unlock"]);
}

/// R33: somebody made another one in its place, with the same password.
fn made_anew(scratch: &Scratch, repo: &Path) {
    let id = |scratch: &Scratch| {
        let config: serde_json::Value = serde_json::from_str(&restic(scratch, &["cat", "config"])).unwrap();
        config["id"].as_str().unwrap().to_owned()
    };
    let then = id(scratch);
    fs::remove_dir_all(repo).unwrap();
    restic(scratch, &["init"]);
    let now = id(scratch);
    let words = format!("this is another repository: its id is {}, and was {}", &now[..10], &then[..10]);
    stands(scratch, "made anew", 1, &[&words, "rlvm ledger forget repository:vault"]);
    // The remedy is one.
    scratch.expect(0, &["ledger", "forget", "repository:vault"]);
    scratch.apply();
    scratch.plan_is_empty();
    assert_eq!(id(scratch), now, "it was taken as it is");
}

#[test]
fn an_init_that_was_cut_short_is_ended_and_a_persons_own_repository_adopted() {
    // R41, R48
    let scratch = Scratch::with_real_restic();
    scratch.state(
        "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v }\n  own: { local: { path: /srv/own }, password_file: /etc/rlvm/v }\n",
    );
    scratch.file_of("/etc/rlvm/v", "a person's own\n", 0, 0o600);
    for part in ["data/00", "index", "keys", "locks", "snapshots"] {
        scratch.dir(&format!("/srv/r/{part}"), 0, 0o700);
    }
    scratch.file_of("/srv/r/keys/0123", "{ half a k", 0, 0o400);
    let own = restic_command(&scratch, &[]).get_args().next().is_some();
    assert!(own);
    let made = Command::new("restic")
        .args(["--no-cache", "-r"])
        .arg(scratch.at("/srv/own"))
        .arg("-p")
        .arg(scratch.at("/etc/rlvm/v"))
        .arg("init")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let config = fs::read(scratch.at("/srv/own/config")).unwrap();
    let plan = scratch.plan_json(&[]);
    let actions = |address: &str| {
        let changes = plan["changes"].as_array().unwrap().iter();
        let change = changes.clone().find(|change| change["address"] == address);
        change.map(|change| change["actions"].to_string()).unwrap_or_default()
    };
    assert_eq!(actions("repository:vault"), "[\"create\"]", "{plan}");
    assert_eq!(actions("repository:own"), "[\"adopt\"]", "{plan}");
    scratch.apply();
    scratch.plan_is_empty();
    assert!(restic(&scratch, &["check"]).contains("no errors were found"));
    assert_eq!(fs::read(scratch.at("/srv/own/config")).unwrap(), config);
}

/// A job that runs as `backup`.
const AS_BACKUP: &str = "jobs:\n  web: { user: backup, sources: [{ path: /etc }], to: [vault] }\n";

#[test]
fn a_users_repository_is_made_as_that_user() {
    // R41
    let scratch = Scratch::with_real_restic();
    scratch.state(&format!("{VAULT}{AS_BACKUP}"));
    scratch.apply();
    scratch.plan_is_empty();
    let mut seen = 0;
    for (path, what) in scratch.tree().iter().filter(|(path, _)| path.starts_with("/srv/r")) {
        assert!(what.starts_with(&format!("{BACKUP}:")), "{path} is {}", &what[..12]);
        seen += 1;
    }
    assert!(seen > 256, "restic's own directories are there");
    let password = fs::metadata(scratch.at("/etc/rlvm/v")).unwrap();
    assert_eq!((password.uid(), password.mode() & 0o7777), (BACKUP, 0o600));
    // And that user can work with it.
    let mut command = Command::new("setpriv");
    command.args(["--reuid=4000", "--regid=4000", "--clear-groups", "restic", "--no-cache", "-r"]);
    command
        .arg(scratch.at("/srv/r"))
        .arg("-p")
        .arg(scratch.at("/etc/rlvm/v"))
        .args(["backup", "/etc/hostname"]);
    let ran = scratch.ran(command.env_clear().env("PATH", scratch.search_path()));
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_repository_that_its_user_cannot_work_with_is_reported() {
    // R20: asked of the kernel as that user, all its groups, though plan runs as root; nothing is written.
    let at = |path: &str| {
        format!(
            "destinations:\n  vault: {{ local: {{ path: {path} }}, password_file: /etc/rlvm/v, generate_password: true }}\n{AS_BACKUP}"
        )
    };
    let scratch = Scratch::new();
    scratch.dir("/srv/closed", 0, 0o700);
    scratch.dir("/srv/adms", 0, 0o770);
    chown(scratch.at("/srv/adms"), Some(0), Some(4)).unwrap();
    scratch.dir("/srv/readable", 0, 0o755);
    for (path, words) in [
        ("/srv/closed", "backup cannot write /srv/closed (/srv/closed is root:root 0700)"),
        ("/srv/closed/r", "backup cannot reach /srv/closed (/srv/closed is root:root 0700)"),
        ("/srv/readable", "backup cannot write /srv/readable (/srv/readable is root:root 0755)"),
    ] {
        scratch.state(&at(path));
        stands(&scratch, path, 1, &["repository:vault: ", words, "name another `user:` for the job"]);
    }
    for path in ["/srv/adms", "/srv/adms/r", "/srv/readable/r"] {
        scratch.state(&at(path));
        scratch.expect(0, &["plan"]);
    }
    // Above what is already there.
    scratch.state(&at("/srv/readable/r"));
    scratch.apply();
    scratch.own("/srv/readable", 0, 0o700);
    stands(&scratch, "closed above", 1, &["backup cannot write /srv/readable/r"]);
    assert!(scratch.restic_calls().iter().filter(|call| call.starts_with("init")).count() <= 1);
}

#[test]
fn a_directory_with_something_else_in_it_is_refused() {
    let scratch = Scratch::new();
    scratch.state(VAULT);
    scratch.file("/srv/r/holiday.jpg", "not a repository\n");
    stands(&scratch, "foreign", 1, &["/srv/r is not empty (it holds `holiday.jpg`) and no repository"]);
    says(&scratch, &["apply", "--yes", "--adopt"], 7, &["holiday.jpg"]);
    // Beside what an unfinished init could have left, too.
    scratch.dir("/srv/r/data", 0, 0o700);
    stands(&scratch, "foreign", 1, &["holiday.jpg"]);
}

#[test]
fn what_an_init_that_was_killed_left_is_made_anew_and_opens() {
    // R48: a key without its configuration would open with the same password, and decrypt nothing of the new one.
    let scratch = Scratch::with_real_restic();
    scratch.state(VAULT);
    scratch.apply();
    fs::remove_file(scratch.at("/srv/r/config")).unwrap();
    scratch.expect(0, &["ledger", "forget", "repository:vault"]);
    let key = only(&scratch.at("/srv/r/keys"));
    let commands = scratch.plan_json(&[])["changes"][0]["commands"].to_string();
    assert!(commands.contains(key.file_name().unwrap().to_str().unwrap()), "{commands}");
    scratch.apply();
    scratch.plan_is_empty();
    assert_ne!(only(&scratch.at("/srv/r/keys")), key, "the key that was left is gone");
    // With a pack in it, it is no such thing.
    fs::remove_file(scratch.at("/srv/r/config")).unwrap();
    scratch.expect(0, &["ledger", "forget", "repository:vault"]);
    scratch.file("/srv/r/data/ab/pack", "backups\n");
    stands(&scratch, "packs", 1, &["damaged: its configuration is missing"]);
}

#[test]
fn what_cannot_be_seen_is_not_empty() {
    // R22: root's repository, whose top was given to somebody else; nobody goes through that into what is root's.
    let scratch = Scratch::with_real_restic();
    scratch.state(VAULT);
    scratch.apply();
    restic(&scratch, &["backup", "/etc/hostname"]);
    fs::remove_file(scratch.at("/srv/r/config")).unwrap();
    chown(scratch.at("/srv/r"), Some(BACKUP), Some(BACKUP)).unwrap();
    scratch.expect(0, &["ledger", "forget", "repository:vault"]);
    let ran = scratch.rlvm(&["plan"]);
    assert!(!ran.stdout.contains("+ repository:vault"), "{ran:?}");
    let ran = scratch.rlvm(&["apply", "--yes"]);
    assert!(ran.code != Some(0) && !scratch.at("/srv/r/config").exists(), "{ran:?}");
}
