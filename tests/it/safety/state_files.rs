//! State files, includes and saved plans that somebody else could have written are not used as root.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
};

use super::{OTHER, says};
use crate::support::{BACKUP, Scratch};

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

fn give(path: &Path, owner: u32) {
    chown(path, Some(owner), Some(owner)).unwrap();
}

/// A machine whose state includes a file in a directory of its own.
fn machine() -> Scratch {
    let scratch = Scratch::new();
    scratch.state("include: [../common/policy.yaml]\ndirectories:\n  /srv/x: {}\n");
    fs::create_dir(scratch.beside("state/common")).unwrap();
    fs::write(scratch.beside("state/common/policy.yaml"), "directories:\n  /srv/y: {}\n").unwrap();
    scratch
}

#[test]
fn a_state_that_others_could_have_written_is_refused_with_the_remedy() {
    for (what, is_dir) in [
        ("state/hosts/web01.yaml", false),
        ("state/hosts", true),
        ("state", true),
        ("state/common/policy.yaml", false),
        ("state/common", true),
    ] {
        let scratch = machine();
        scratch.expect(0, &["plan"]);
        let at = scratch.beside(what);
        let good = if is_dir { 0o755 } else { 0o644 };
        let before = scratch.tree_hash();
        for bad in [good | 0o002, good | 0o020] {
            mode(&at, bad);
            let remedy = format!("chmod go-w [DIR]/{what}");
            let mode = format!("others may write it (mode {bad:04o})");
            for args in [&["plan"][..], &["apply", "--yes"], &["validate"], &["show"]] {
                says(&scratch, args, 6, &["refusing to use", &mode, &remedy]);
            }
        }
        mode(&at, good);
        give(&at, OTHER);
        let remedy = format!("chown root [DIR]/{what}");
        says(&scratch, &["plan"], 6, &["it belongs to user 33, not to root", &remedy]);
        says(&scratch, &["apply", "--yes"], 6, &[&remedy]);
        assert_eq!(scratch.tree_hash(), before);
        // The remedy is one.
        give(&at, 0);
        scratch.expect(0, &["plan"]);
    }
}

#[test]
fn a_sticky_directory_is_good_enough_but_not_for_a_file_of_somebody_elses() {
    let scratch = machine();
    mode(&scratch.beside("state/hosts"), 0o1777);
    scratch.expect(0, &["plan"]);
    give(&scratch.beside("state/hosts/web01.yaml"), OTHER);
    says(&scratch, &["plan"], 6, &["chown root [DIR]/state/hosts/web01.yaml"]);
}

#[test]
fn the_directories_that_a_link_stands_in_count_too() {
    let scratch = machine();
    let open = scratch.beside("open");
    fs::create_dir(&open).unwrap();
    mode(&open, 0o777);
    symlink(scratch.beside("state"), open.join("state")).unwrap();
    let mut command = scratch.command(&["plan", "--state", open.join("state").to_str().unwrap()]);
    command = without_state(&scratch, &command);
    let ran = super::soon(&scratch, &mut command);
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.stderr.contains("refusing to use [DIR]/open as root"), "{ran:?}");
}

#[test]
fn the_state_in_the_working_directory_is_used_and_held_to_the_same() {
    let scratch = machine();
    let call = |verb: &str| {
        let mut command = without_state(&scratch, &scratch.command(&[verb]));
        command.current_dir(scratch.beside(""));
        super::soon(&scratch, &mut command)
    };
    let ran = call("plan");
    assert!(ran.code == Some(0) && ran.stdout.contains("directory:/srv/y"), "{ran:?}");
    mode(&scratch.beside("state"), 0o777);
    assert_eq!(call("plan").code, Some(6));
    mode(&scratch.beside("state"), 0o755);
    // Also the working directory itself.
    mode(&scratch.beside(""), 0o777);
    let ran = call("plan");
    mode(&scratch.beside(""), 0o755);
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.stderr.contains("chmod go-w [DIR]"), "{ran:?}");
}

#[test]
fn who_became_root_by_sudo_may_own_the_state() {
    let scratch = machine();
    for what in ["state", "state/hosts", "state/hosts/web01.yaml", "state/common", "state/common/policy.yaml"]
    {
        give(&scratch.beside(what), BACKUP);
    }
    let call = |uid: &str| super::soon(&scratch, scratch.command(&["plan"]).env("SUDO_UID", uid)).code;
    assert_eq!(call("4000"), Some(0));
    assert_eq!(call("33"), Some(6));
    assert_eq!(call("rubbish"), Some(6));
    assert_eq!(call(""), Some(6));
    // Not what others could have written, whoever it belongs to.
    mode(&scratch.beside("state/hosts/web01.yaml"), 0o666);
    assert_eq!(call("4000"), Some(6));
}

#[test]
fn a_saved_plan_that_others_could_have_written_is_refused() {
    let scratch = machine();
    let dir = scratch.beside("plans");
    fs::create_dir(&dir).unwrap();
    let file = dir.join("night.plan");
    let saved = file.to_str().unwrap().to_owned();
    scratch.expect(0, &["plan", "--out", &saved]);
    let before = scratch.tree_hash();
    mode(&file, 0o666);
    says(&scratch, &["apply", &saved], 6, &["chmod go-w [DIR]/plans/night.plan"]);
    mode(&file, 0o600);
    give(&file, OTHER);
    says(&scratch, &["apply", &saved], 6, &["chown root [DIR]/plans/night.plan"]);
    give(&file, 0);
    mode(&dir, 0o777);
    says(&scratch, &["apply", &saved], 6, &["chmod go-w [DIR]/plans"]);
    mode(&dir, 0o755);
    assert_eq!(scratch.tree_hash(), before);
    scratch.expect(0, &["apply", &saved]);
    scratch.plan_is_empty();
}

#[test]
fn what_is_observed_elsewhere_is_held_to_the_same() {
    let scratch = machine();
    let observed = scratch.beside("web01.json");
    fs::write(&observed, scratch.expect(0, &["observe"]).stdout).unwrap();
    let args = ["plan", "--observed", observed.to_str().unwrap()];
    scratch.expect(0, &args);
    mode(&observed, 0o666);
    says(&scratch, &args, 6, &["chmod go-w [DIR]/web01.json"]);
}

#[test]
fn a_state_that_is_no_regular_file_is_refused_and_does_not_hang() {
    let scratch = machine();
    let at = scratch.beside("state/hosts/web01.yaml");
    fs::remove_file(&at).unwrap();
    nix::unistd::mkfifo(&at, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let named = scratch.beside("state/hosts/web01.yaml");
    let mut command = scratch.command(&["plan", named.to_str().unwrap()]);
    let ran = super::soon(&scratch, &mut command);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("it is no regular file"), "{ran:?}");
}

#[test]
fn a_saved_plan_is_written_for_its_owner_alone_and_over_no_link() {
    let scratch = machine();
    let (victim, out) = (scratch.beside("victim"), scratch.beside("out.plan"));
    fs::write(&victim, "kept\n").unwrap();
    symlink(&victim, &out).unwrap();
    lchown(&out, Some(OTHER), Some(OTHER)).unwrap();
    scratch.expect(0, &["plan", "--out", out.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "kept\n");
    let meta = fs::symlink_metadata(&out).unwrap();
    assert!(meta.is_file() && meta.permissions().mode() & 0o7777 == 0o600, "{meta:?}");
    // The stream of apply too.
    let events: PathBuf = scratch.beside("events.json");
    symlink(&victim, &events).unwrap();
    scratch.expect(0, &["apply", "--yes", "--json-into", events.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "kept\n");
    assert_eq!(fs::symlink_metadata(&events).unwrap().permissions().mode() & 0o7777, 0o600);
}

/// A machine whose verbs can write each kind of output, with the arguments before the file's name.
const OUTPUTS: [&[&str]; 4] = [
    &["plan", "--out"],
    &["apply", "--yes", "--json-into"],
    &["rescue-kit", "--out"],
    &["report", "--from", "status.json", "--html"],
];

/// What `status --json` of a host prints.
const STATUS: &str = r#"{"format_version":"1.0","rlvm_version":"0.1.0","host":"web01","time":"2026-11-21T18:00:00Z","level":"ok","lines":[]}"#;

/// Says what something is, without what it holds: a device stays the same device.
fn kept(at: &Path) -> (u64, u32) {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(at).unwrap();
    (meta.ino(), meta.mode())
}

#[test]
fn no_output_takes_the_place_of_a_device_or_fifo() {
    let scratch = machine();
    scratch.apply();
    fs::write(scratch.beside("status.json"), STATUS).unwrap();
    let (null, fifo, link) = (scratch.beside("null"), scratch.beside("fifo"), scratch.beside("link"));
    let everybody = nix::sys::stat::Mode::from_bits_truncate(0o666);
    let device = nix::sys::stat::makedev(1, 3);
    nix::sys::stat::mknod(&null, nix::sys::stat::SFlag::S_IFCHR, everybody, device).unwrap();
    nix::unistd::mkfifo(&fifo, everybody).unwrap();
    symlink(&null, &link).unwrap();
    for words in OUTPUTS {
        for at in [&null, &link] {
            let before = kept(at);
            scratch.expect(0, &[words, &[at.to_str().unwrap()]].concat());
            assert_eq!(kept(at), before, "{words:?} {}", at.display());
        }
        let before = kept(&fifo);
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read_to_string(fifo).unwrap()
        });
        scratch.expect(0, &[words, &[fifo.to_str().unwrap()]].concat());
        assert!(reader.join().unwrap().len() > 20, "{words:?}");
        assert_eq!(kept(&fifo), before, "{words:?}");
        // Standard output, as a pipe and as a file.
        let call = &[words, &["/proc/self/fd/1"]].concat();
        assert!(scratch.expect(0, call).stdout.len() > 20, "{words:?}");
        let file = scratch.beside("stdout");
        let mut command = scratch.command(call);
        assert!(command.stdout(fs::File::create(&file).unwrap()).status().unwrap().success());
        assert!(fs::read_to_string(&file).unwrap().len() > 20, "{words:?}");
        // A directory is an error, and what cannot be written leaves nothing behind.
        let ran = scratch.rlvm(&[words, &["state"]].concat());
        assert!(
            ran.code == Some(1) && ran.stderr.contains("cannot write state: it is a directory"),
            "{ran:?}"
        );
    }
    let names = fs::read_dir(scratch.beside("")).unwrap().map(|it| it.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with('.')));
}

#[test]
fn no_output_goes_where_somebody_elses_link_leads() {
    let scratch = machine();
    scratch.apply();
    fs::write(scratch.beside("status.json"), STATUS).unwrap();
    let (fifo, link) = (scratch.beside("fifo"), scratch.beside("link"));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    symlink(&fifo, &link).unwrap();
    lchown(&link, Some(OTHER), Some(OTHER)).unwrap();
    for words in OUTPUTS {
        let ran = super::soon(&scratch, &mut scratch.command(&[words, &["link"]].concat()));
        assert!(ran.code == Some(6) || ran.code == Some(1), "{words:?} {ran:?}");
        assert!(ran.stderr.contains("it is a link of user"), "{words:?} {ran:?}");
    }
}

/// The same call without `--state`.
fn without_state(scratch: &Scratch, command: &std::process::Command) -> std::process::Command {
    let mut args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let at = args.iter().position(|arg| arg == "--state").unwrap();
    args.drain(at..at + 2);
    let mut again = scratch.command(&[]);
    let program = again.get_program().to_owned();
    again = std::process::Command::new(program);
    again.args(args).env_clear().env("PATH", scratch.search_path());
    again.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    again.stderr(std::process::Stdio::piped());
    again
}
