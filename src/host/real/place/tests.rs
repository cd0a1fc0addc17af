//! What is left as it is if somebody changes it between the comparison and the restore.

use std::{
    cell::Cell,
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread::sleep,
    time::{Duration, UNIX_EPOCH},
};

use super::*;

const STAGED: &str = ".rlvm-restore-x";

fn chmod(path: &Path, mode: u32) {
    // The clock of the ctime ticks at least 100 times a second.
    sleep(Duration::from_millis(30));
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Writes a file with a time of its own.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap();
}

fn seen(top: &Path, name: &str) -> Stamp {
    let dir: OwnedFd = File::open(top).unwrap().into();
    stamp(&look(&dir, name.as_bytes()).unwrap())
}

/// Puts in place what is staged. `during` is called before each name and each piece of a file.
fn place(top: &Path, fate: &dyn Fn(&[u8]) -> Option<Fate>, during: &dyn Fn(u32)) -> Vec<Left> {
    let real = Real::open(top, "/usr/bin").unwrap();
    let calls = Cell::new(0);
    let stop = || {
        calls.set(calls.get() + 1);
        during(calls.get());
        false
    };
    let asked = [&b"/d"[..], b"/f"];
    let mut placing = Placing::new(asked.into_iter(), fate, (&|_| false, false), &stop);
    let staging = format!("/{STAGED}").parse().unwrap();
    placing.place(&real, &staging, &HostPath::fixed("/")).unwrap();
    placing.left
}

#[test]
fn a_directory_that_somebody_changes_keeps_its_mode() {
    for (what, before, during, expected) in [
        ("unchanged", None, None, 0o700),
        ("changed during the question", Some(0o711), None, 0o711),
        ("changed while files are put in it", None, Some(0o711), 0o711),
        // Nothing is to be set.
        ("set to what was stored", Some(0o700), None, 0o700),
    ] {
        let top = tempfile::tempdir().unwrap();
        let (dir, staged) = (top.path().join("d"), top.path().join(STAGED).join("d"));
        fs::create_dir(&dir).unwrap();
        fs::create_dir_all(&staged).unwrap();
        fs::write(staged.join("x"), "x").unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&staged, Permissions::from_mode(0o700)).unwrap();
        let shown = seen(top.path(), "d");
        if let Some(mode) = before {
            chmod(&dir, mode);
        }
        let fate = |path: &[u8]| match path {
            b"/d" => Some(Fate::Enter { stamp: shown, dress: true }),
            b"/d/x" => Some(Fate::Create),
            _ => None,
        };
        // The second name is the one in the directory.
        let left = place(top.path(), &fate, &|call| {
            if let (2, Some(mode)) = (call, during) {
                chmod(&dir, mode);
            }
        });
        assert_eq!(mode(&dir), expected, "{what}");
        assert!(dir.join("x").exists(), "{what}");
        let listed: Vec<&str> = left.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(listed, if expected == 0o711 { &["/d"][..] } else { &[] }, "{what}: {left:?}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_compared_is_not_replaced() {
    for changes in [false, true] {
        let top = tempfile::tempdir().unwrap();
        let (live, staged) = (top.path().join("f"), top.path().join(STAGED).join("f"));
        fs::create_dir(top.path().join(STAGED)).unwrap();
        write(&live, "old");
        write(&staged, "new");
        let shown = seen(top.path(), "f");
        // After the first look: size and time are those that were shown.
        let left = place(top.path(), &|_| Some(Fate::Replace(shown)), &|call| {
            if call == 2 && changes {
                sleep(Duration::from_millis(30));
                write(&live, "own");
            }
        });
        assert_eq!(fs::read_to_string(&live).unwrap(), if changes { "own" } else { "new" });
        assert_eq!(left.iter().any(|it| it.path == "/f" && it.why == CHANGED), changes, "{left:?}");
    }
}
