//! The pinned restic: installed whole and as declared, or not at all.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

mod https;
mod trust;

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Command, Stdio},
};

use crate::support::{Ran, Scratch, Tree, require, restic_of, sha256};

/// Where a version is installed.
fn place(version: &str) -> String {
    format!("/usr/local/lib/rlvm/restic/{version}/restic")
}

/// Packs as restic is published.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// The part of a state that pins a version.
fn pin(version: &str, fetched: &[u8], url: &str) -> String {
    format!("restic: {{ version: {version}, sha256: {}, url: \"{url}\" }}\n", sha256(fetched))
}

/// Puts a file onto the machine's own mirror and pins it.
fn mirrored(on: &Scratch, version: &str, name: &str, bytes: &[u8]) {
    fs::create_dir_all(on.at("/srv/mirror")).unwrap();
    fs::write(on.at("/srv/mirror").join(name), bytes).unwrap();
    on.state(&pin(version, bytes, &format!("file:///srv/mirror/{name}")));
}

/// Everything where versions are installed that is no directory.
fn installed(on: &Scratch) -> Vec<String> {
    let tree: Tree = on.tree();
    let files = tree.iter().filter(|(_, what)| !what.ends_with(" directory"));
    files.map(|(path, _)| path.clone()).filter(|path| path.starts_with("/usr/local/")).collect()
}

/// The machine must have exactly this version, as it is published.
#[track_caller]
fn has(on: &Scratch, version: &str) {
    let place = place(version);
    assert_eq!(on.read(&place), restic_of(version));
    let meta = fs::symlink_metadata(on.at(&place)).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, 0o755));
    assert_eq!(installed(on), [place.clone(), format!("{place}.sha256")]);
    let dir = on.at(&place).parent().unwrap().to_owned();
    let check = Command::new("sha256sum").args(["-c", "--quiet", "restic.sha256"]).current_dir(dir).status();
    assert!(check.unwrap().success());
}

#[test]
fn a_pinned_restic_is_installed_beside_others() {
    for name in ["restic", "restic_0.18.0_linux_amd64.bz2"] {
        let on = Scratch::new();
        on.file("/usr/bin/restic", "the system's");
        let program = restic_of("0.18.0").into_bytes();
        let bytes = if name == "restic" { program } else { packed(&program) };
        mirrored(&on, "0.18.0", name, &bytes);
        let before = on.tree_hash();
        on.expect(2, &["plan", "--detailed-exitcode"]);
        assert_eq!(on.tree_hash(), before, "plan changes nothing");
        on.apply();
        has(&on, "0.18.0");
        assert_eq!(on.read("/usr/bin/restic"), "the system's");
        on.plan_is_empty();
        let used = on.expect(0, &["restic", "version"]).stdout;
        assert_eq!(used, "restic 0.18.0, pinned: /usr/local/lib/rlvm/restic/0.18.0/restic\n");
    }
}

#[test]
fn another_version_takes_the_place_of_the_old_one() {
    let on = Scratch::new();
    mirrored(&on, "0.17.3", "old.bz2", &packed(restic_of("0.17.3").as_bytes()));
    on.apply();
    mirrored(&on, "0.18.0", "new.bz2", &packed(restic_of("0.18.0").as_bytes()));
    let list = on.expect(0, &["restic", "list"]).stdout;
    assert!(list.contains("0.17.3   /usr/local/lib/rlvm/restic/0.17.3/restic  not used: goes"), "{list}");
    assert!(list.contains("0.18.0/restic  pinned, and not installed: rlvm restic install"), "{list}");
    let ran = on.expect(1, &["restic", "version"]);
    assert!(ran.stderr.contains("restic 0.18.0 is pinned, and /usr/local"), "{}", ran.stderr);
    on.apply();
    has(&on, "0.18.0");
    assert!(!on.at("/usr/local/lib/rlvm/restic/0.17.3").exists());
    on.plan_is_empty();
    // Not pinned any more: all of it goes.
    on.state("directories: {}\n");
    on.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(!on.at("/usr/local/lib/rlvm").exists());
    on.plan_is_empty();
}

#[test]
fn another_file_of_the_same_version_is_installed_anew() {
    let on = Scratch::new();
    let program = restic_of("0.18.0");
    mirrored(&on, "0.18.0", "restic.bz2", &packed(program.as_bytes()));
    on.apply();
    mirrored(&on, "0.18.0", "restic", program.as_bytes());
    let changes = on.plan_json(&[])["changes"].to_string();
    assert!(changes.contains("\"sha256\"") && changes.contains("\"drift\":false"), "{changes}");
    on.apply();
    has(&on, "0.18.0");
    on.plan_is_empty();
}

#[test]
fn what_somebody_changed_is_drift_and_put_back() {
    // R47
    let on = Scratch::new();
    mirrored(&on, "0.18.0", "restic.bz2", &packed(restic_of("0.18.0").as_bytes()));
    on.apply();
    let place = place("0.18.0");
    let edits: [&dyn Fn(); 5] = [
        &|| on.file_of(&place, "#!/bin/sh\necho restic 0.18.0 compiled by me\n", 0, 0o755),
        &|| on.own(&place, 33, 0o755),
        &|| on.own(&place, 0, 0o777),
        &|| fs::remove_file(on.at(&place)).unwrap(),
        &|| on.file_of(&format!("{place}.sha256"), "nonsense", 0, 0o644),
    ];
    for (number, edit) in edits.iter().enumerate() {
        edit();
        let plan = on.plan_json(&[]);
        let changes = plan["changes"].as_array().unwrap();
        assert_eq!(changes.len(), 1, "{number}: {plan}");
        assert_eq!((&changes[0]["address"], &changes[0]["drift"]), (&"restic:0.18.0".into(), &true.into()));
        on.apply();
        has(&on, "0.18.0");
        on.plan_is_empty();
    }
}

#[test]
fn what_others_could_have_written_is_not_even_asked() {
    let on = Scratch::new();
    mirrored(&on, "0.18.0", "restic.bz2", &packed(restic_of("0.18.0").as_bytes()));
    on.apply();
    let place = place("0.18.0");
    for (owner, mode, why) in
        [(33, 0o755, "belongs to www-data"), (0, 0o775, "by others than root (mode 0775)")]
    {
        on.file_of(&place, "#!/bin/sh\ntouch asked\n", owner, mode);
        let ran = on.expect(1, &["restic", "version"]);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
        on.expect(2, &["plan", "--detailed-exitcode"]);
        on.expect(0, &["restic", "list"]);
        assert!(!on.at("/asked").exists());
    }
}

#[test]
fn a_real_restic_runs_from_where_it_is_installed() {
    let on = Scratch::with_real_restic();
    let real = std::env::split_paths(on.search_path()).map(|dir| dir.join("restic")).find(|it| it.is_file());
    let real = fs::read(real.unwrap()).unwrap();
    on.state("directories: {}\n");
    let said = on.expect(0, &["restic", "version"]).stdout;
    let version = said.split([' ', ',']).nth(1).unwrap();
    mirrored(&on, version, "restic", &real);
    on.apply();
    let said = on.expect(0, &["restic", "version"]).stdout;
    assert_eq!(said, format!("restic {version}, pinned: {}\n", place(version)));
    on.plan_is_empty();
}

#[test]
fn what_is_not_rlvms_is_left_alone_until_it_is_adopted() {
    // R46
    let on = Scratch::new();
    mirrored(&on, "0.18.0", "restic.bz2", &packed(restic_of("0.18.0").as_bytes()));
    on.file_of(&place("0.18.0"), "mine", 0, 0o755);
    on.expect(6, &["apply", "--yes"]);
    assert_eq!(on.read(&place("0.18.0")), "mine");
    on.expect(0, &["apply", "--yes", "--adopt"]);
    has(&on, "0.18.0");
    on.plan_is_empty();
}

/// Fails to install: nothing is there but empty directories, and the text says why.
#[track_caller]
fn installs_nothing(on: &Scratch, ran: &Ran, why: &[&str]) {
    assert_eq!(ran.code, Some(7), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(installed(on), [""; 0], "{}", ran.stderr);
    for why in why {
        assert!(ran.stderr.contains(why), "{why}:\n{}", ran.stderr);
    }
}

#[test]
fn what_is_not_as_pinned_installs_nothing() {
    let good = packed(restic_of("0.18.0").as_bytes());
    // A few hundred bytes that are 210 MB.
    let bomb = packed(&vec![0; 10 << 20]).repeat(21);
    assert!(bomb.len() < 10_000);
    for (name, bytes, why) in [
        ("cut.bz2", &good[..good.len() - 9], "cannot unpack file:///srv/mirror/cut.bz2"),
        ("none.bz2", b"no bzip2 at all", "cannot unpack"),
        ("bomb.bz2", &bomb, "it holds more than 200 MB"),
        ("text", b"\x7fELF nothing that runs", "is no program that runs here"),
        ("silent", b"#!/bin/sh\n", "says that it is ``, and `restic 0.18.0` is declared"),
        ("failing", b"#!/bin/sh\necho restic 0.18.0; exit 3\n", "(exit code 3)"),
        (
            "old",
            restic_of("0.17.3").as_bytes(),
            "says that it is `restic 0.17.3`, and `restic 0.18.0` is declared; nothing was installed",
        ),
        ("nearly", b"#!/bin/sh\necho restic 0.18.0-dev\n", "`restic 0.18.0-dev`"),
    ] {
        let on = Scratch::new();
        mirrored(&on, "0.18.0", name, bytes);
        installs_nothing(&on, &on.rlvm(&["apply", "--yes"]), &[why]);
        // Mended, it is as if nothing had been.
        mirrored(&on, "0.18.0", "good.bz2", &good);
        on.apply();
        has(&on, "0.18.0");
        on.plan_is_empty();
    }
}

#[test]
fn a_wrong_sha256_installs_nothing() {
    let on = Scratch::new();
    on.state("directories: {}\n");
    on.apply();
    let bytes = packed(restic_of("0.18.0").as_bytes());
    mirrored(&on, "0.18.0", "restic.bz2", b"what was published");
    fs::write(on.at("/srv/mirror/restic.bz2"), &bytes).unwrap();
    let before = on.contents();
    let ran = on.rlvm(&["apply", "--yes"]);
    let (is, pinned) = (sha256(&bytes), sha256(b"what was published"));
    installs_nothing(&on, &ran, &["file:///srv/mirror/restic.bz2 is not what is pinned", &is, &pinned]);
    let mut after = on.contents();
    after.retain(|path, _| !path.starts_with("/var/lib/rlvm") && !path.starts_with("/usr"));
    let mut before = before;
    before.retain(|path, _| !path.starts_with("/var/lib/rlvm"));
    assert_eq!(after, before);
    // One that works stays, too.
    mirrored(&on, "0.18.0", "restic.bz2", &bytes);
    on.apply();
    mirrored(&on, "0.18.0", "restic.bz2", b"other");
    fs::write(on.at("/srv/mirror/restic.bz2"), &bytes).unwrap();
    assert_eq!(on.rlvm(&["apply", "--yes"]).code, Some(7));
    has(&on, "0.18.0");
}

#[test]
fn the_old_version_stays_if_the_new_one_is_not_as_pinned() {
    // R45
    let on = Scratch::new();
    mirrored(&on, "0.17.3", "old", restic_of("0.17.3").as_bytes());
    on.apply();
    mirrored(&on, "0.18.0", "new", b"what was published");
    fs::write(on.at("/srv/mirror/new"), restic_of("0.18.0")).unwrap();
    let ran = on.expect(7, &["apply", "--yes"]);
    has(&on, "0.17.3");
    assert!(
        ran.stderr.contains("skipped restic:0.17.3: it needs restic:0.18.0, which failed"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stderr.matches("failed restic").count(), 1);
    assert!(!ran.stderr.contains("failed directory"), "{}", ran.stderr);
    mirrored(&on, "0.18.0", "new", restic_of("0.18.0").as_bytes());
    on.apply();
    has(&on, "0.18.0");
    on.plan_is_empty();
}

#[test]
fn what_cannot_be_read_installs_nothing() {
    for (url, why) in [
        ("file:///srv/mirror/none.bz2", "cannot get to /srv/mirror/none.bz2: its directory is not there"),
        ("file:///srv/none.bz2", "cannot read /srv/none.bz2"),
        ("file:///srv/fifo", "cannot read /srv/fifo: it is a FIFO, no plain file"),
        ("file:///srv/link", "cannot read /srv/link"),
    ] {
        let on = Scratch::new();
        nix::unistd::mkfifo(&on.at("/srv/fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", on.at("/srv/link")).unwrap();
        on.state(&pin("0.18.0", b"", url));
        installs_nothing(&on, &on.rlvm(&["apply", "--yes"]), &[why]);
    }
}

#[test]
fn the_line_that_is_shown_does_the_same() {
    let path = std::env::var("PATH").unwrap();
    for (program, package) in [("curl", "curl"), ("bunzip2", "bzip2"), ("sha256sum", "coreutils")] {
        require(&path, program, package);
    }
    for name in ["restic", "restic.bz2"] {
        let on = Scratch::new();
        let program = restic_of("0.18.0");
        let bytes = if name == "restic" { program.clone().into_bytes() } else { packed(program.as_bytes()) };
        mirrored(&on, "0.18.0", name, &bytes);
        let plan = on.plan_json(&[]);
        let changes = plan["changes"].as_array().unwrap().iter();
        let change = changes.clone().find(|it| it["address"] == "restic:0.18.0").unwrap();
        let line = change["commands"][0].as_str().unwrap();
        // Pasted on the machine, which is a tree here.
        let root = on.root().display().to_string();
        let line = line.replace("/usr/local", &format!("{root}/usr/local"));
        let line = line.replace("file:///srv", &format!("file://{root}/srv"));
        fs::create_dir_all(on.at(&place("0.18.0")).parent().unwrap()).unwrap();
        let paste =
            |line: &str| Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap().status;
        assert!(paste(&line).success(), "{line}");
        assert_eq!(on.read(&place("0.18.0")), program);
        let mode = fs::metadata(on.at(&place("0.18.0"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        assert_eq!(installed(&on), [place("0.18.0")]);
        // And not if the digest is another.
        fs::remove_file(on.at(&place("0.18.0"))).unwrap();
        fs::write(on.at("/srv/mirror").join(name), "x").unwrap();
        assert!(!paste(&line).success() && !on.at(&place("0.18.0")).exists());
    }
}

#[test]
fn one_is_installed_by_name_and_nothing_else() {
    let on = Scratch::new();
    let bytes = packed(restic_of("0.18.0").as_bytes());
    fs::create_dir_all(on.at("/srv/mirror")).unwrap();
    fs::write(on.at("/srv/mirror/restic.bz2"), &bytes).unwrap();
    let pin = pin("0.18.0", &bytes, "file:///srv/mirror/restic.bz2");
    on.state(&format!("{pin}directories:\n  /srv/other: {{}}\n"));
    on.expect(0, &["restic", "install"]);
    has(&on, "0.18.0");
    assert!(!on.at("/srv/other").exists());
    let list = on.expect(0, &["restic", "list", "--json"]).stdout;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let [one] = &list["versions"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!(
        (&one["used"], &one["managed"], &one["installed"]),
        (&true.into(), &true.into(), &true.into())
    );
    // Again: nothing to do.
    on.expect(0, &["restic", "install"]);
    on.apply();
    assert!(on.at("/srv/other").exists());
    on.state("directories: {}\n");
    let ran = on.expect(1, &["restic", "install"]);
    assert!(ran.stderr.contains("the state pins no restic"), "{}", ran.stderr);
}

#[test]
fn without_a_pin_it_is_the_one_on_path() {
    // R31
    let on = Scratch::new();
    on.state("directories: {}\n");
    let used = on.expect(0, &["restic", "version"]).stdout;
    assert_eq!(used, "restic 0.18.0, from PATH: [DIR]/bin/restic\n");
    let list = on.expect(0, &["restic", "list"]).stdout;
    assert_eq!(list, "No restic is pinned or installed by rlvm: the one on PATH is used.\n");
    fs::write(on.beside("version"), "0.12.1").unwrap();
    let ran = on.expect(1, &["restic", "version", "--json"]);
    let used: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(used["problem"], "restic is 0.12.1, and at least 0.14.0 is needed");
    assert_eq!(used["from"], "path");
}

#[test]
fn a_pin_that_is_too_old_is_a_problem_of_the_state() {
    // R31
    let on = Scratch::new();
    on.state(&pin("0.13.1", b"", "file:///srv/restic"));
    let ran = on.expect(3, &["plan"]);
    assert!(ran.stderr.contains("restic 0.13.1 is too old"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("web01.yaml:3:20") && ran.stderr.contains("at least 0.14.0"),
        "{}",
        ran.stderr
    );
}

#[test]
fn offline_nothing_is_begun() {
    let on = Scratch::new();
    on.state(&pin("0.18.0", b"", "https://127.0.0.1:1/restic.bz2"));
    let before = on.contents();
    let ran = on.expect(1, &["restic", "install", "--offline"]);
    assert!(ran.stdout.contains("--offline forbids it"), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(on.contents(), before);
    let ran = on.expect(7, &["apply", "--yes", "--offline"]);
    assert!(ran.stdout.contains("--offline forbids it"), "{}{}", ran.stdout, ran.stderr);
    assert!(!on.managed().iter().any(|it| it.starts_with("restic:")), "{:?}", on.managed());
    mirrored(&on, "0.18.0", "restic", restic_of("0.18.0").as_bytes());
    on.expect(0, &["restic", "install", "--offline"]);
    has(&on, "0.18.0");
}

#[test]
fn repositories_are_made_and_looked_at_with_the_pinned_one() {
    let on = Scratch::new();
    let bytes = packed(restic_of("0.18.0").as_bytes());
    let pin = pin("0.18.0", &bytes, "file:///srv/mirror/restic.bz2");
    on.state(&format!(
        "{pin}destinations:\n  vault: {{ local: {{ path: /srv/r }}, password_file: /p, generate_password: true }}\n"
    ));
    // Without it there is no repository either, though there is a restic on PATH.
    assert_eq!(on.rlvm(&["apply", "--yes"]).code, Some(7));
    assert!(!on.at("/srv/r/config").exists() && on.restic_calls().is_empty());
    fs::create_dir_all(on.at("/srv/mirror")).unwrap();
    fs::write(on.at("/srv/mirror/restic.bz2"), &bytes).unwrap();
    on.apply();
    assert!(on.at("/srv/r/config").exists());
    on.plan_is_empty();
    // In other hands it is not run.
    on.restic_calls();
    on.own(&place("0.18.0"), 33, 0o755);
    on.expect(2, &["plan", "--refresh", "--detailed-exitcode"]);
    assert!(on.restic_calls().is_empty());
    on.apply();
    has(&on, "0.18.0");
    on.plan_is_empty();
}
