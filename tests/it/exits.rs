//! Every exit code that is documented, each from what brings it about; and that nothing was done where it says so.

#![expect(clippy::disallowed_methods, reason = "tests look at the machine and change it themselves")]

use std::{fs, thread, time::Duration};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{Ran, Scratch};

const STATE: &str = r#"
directories:
  /srv/a: {}
  /srv/a/b: {}
destinations:
  one: { local: { path: /srv/one }, password_file: /etc/rlvm/one, generate_password: true }
  two: { local: { path: /srv/two }, password_file: /etc/rlvm/two, generate_password: true }
cron:
  trim: { schedule: "@weekly", command: "true" }
"#;

fn machine(yaml: &str) -> Scratch {
    let on = Scratch::new();
    on.state(yaml);
    on
}

/// Calls rlvm, which must refuse with this code and word, and change nothing.
#[track_caller]
fn refuses(on: &Scratch, code: i32, args: &[&str], word: &str) -> Ran {
    let before = on.tree();
    let ran = on.expect(code, args);
    assert!(ran.stdout.contains(word) || ran.stderr.contains(word), "{word}: {ran:?}");
    let mut after = on.tree();
    // The lock's file says who had it last.
    let locks = |path: &str| path.starts_with("/run/rlvm");
    after.retain(|path, _| !locks(path));
    let before: Vec<_> = before.into_iter().filter(|(path, _)| !locks(path)).collect();
    assert_eq!(after.into_iter().collect::<Vec<_>>(), before);
    ran
}

#[test]
fn changes_are_2_only_when_asked() {
    let on = machine(STATE);
    on.expect(0, &["plan"]);
    on.expect(2, &["plan", "--detailed-exitcode"]);
    on.apply();
    on.expect(0, &["plan", "--detailed-exitcode"]);
}

#[test]
fn errors_are_1_and_an_invalid_state_is_3() {
    let on = machine("directories:\n  /x: { owner: nobody }\n");
    refuses(&on, 1, &["plan", "--detailed-exitcode"], "no user nobody");
    on.expect(7, &["apply", "--yes"]);
    on.state("directories: 7\n");
    for verb in [&["validate"][..], &["plan"], &["show"], &["observe"], &["apply", "--yes"]] {
        refuses(&on, 3, verb, "web01.yaml:3:");
    }
    let both = machine("directories:\n  /srv: { mounted: true }\n");
    // In a tree a mount is deferred: a word, no change, no error.
    both.apply();
    both.plan_is_empty();
}

#[test]
fn an_error_stops_its_resource_alone_and_apply_ends_with_7() {
    let on = machine(&STATE.replace(", generate_password: true", ""));
    refuses(&on, 1, &["plan", "--detailed-exitcode"], "/etc/rlvm/one is not there");
    let ran = on.expect(7, &["apply", "--yes"]);
    assert!(
        ran.stdout.contains("Apply incomplete") && ran.stdout.contains("2 errors in the plan"),
        "{ran:?}"
    );
    assert!(on.at("/etc/cron.d/trim").exists() && on.at("/etc/rlvm").is_dir(), "the rest is applied");
    assert!(!on.managed().iter().any(|it| it.starts_with("repository:")));
    // The file's directory is there: now the password can be put where the plan says.
    for name in ["one", "two"] {
        on.file_of(&format!("/etc/rlvm/{name}"), "word\n", 0, 0o600);
    }
    on.apply();
    on.plan_is_empty();
}

#[test]
fn the_lock_is_4_for_those_who_write() {
    let on = machine(STATE);
    on.apply();
    let lock = fs::OpenOptions::new().write(true).open(on.at("/run/rlvm/lock")).unwrap();
    fs::write(on.at("/run/rlvm/lock"), "process 77 since yesterday").unwrap();
    let held = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    let holder = "another rlvm holds the lock: process 77 since yesterday";
    refuses(&on, 4, &["apply", "--yes"], holder);
    refuses(&on, 4, &["ledger", "forget", "cron:trim"], holder);
    for verb in [&["plan"][..], &["observe"], &["show"], &["validate"], &["ledger", "list"]] {
        on.expect(0, verb);
    }
    drop(held);
    on.apply();
}

#[test]
fn a_stale_plan_is_5_and_names_what_moved() {
    let on = machine(STATE);
    let saved = on.beside("p.plan");
    let saved = saved.to_str().unwrap();
    on.expect(0, &["plan", "--out", saved]);
    // Something came where nothing was.
    on.file("/etc/cron.d/trim", "x\n");
    let ran = refuses(&on, 5, &["apply", saved], "cron:trim");
    assert!(!ran.stderr.contains("directory:"), "{ran:?}");
    fs::remove_file(on.at("/etc/cron.d/trim")).unwrap();
    on.expect(0, &["apply", saved]);
    on.plan_is_empty();
    refuses(&on, 5, &["apply", saved], "the ledger: something was applied since");
    // An attribute moved.
    on.expect(0, &["plan", "--out", saved]);
    on.own("/srv/a/b", 33, 0o700);
    refuses(&on, 5, &["apply", saved], "directory:/srv/a/b");
    refuses(&on, 64, &["apply", saved, "--adopt"], "a saved plan is applied as it is");
}

#[test]
fn a_saved_plan_is_no_way_to_run_somebody_elses_commands() {
    let on = machine(STATE);
    let path = on.beside("p.plan");
    let saved = path.to_str().unwrap();
    on.expect(0, &["plan", "--out", saved]);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("mkdir", "rm").replace("install -d", "rm -rf")).unwrap();
    refuses(&on, 6, &["apply", saved], "the plan file was altered");
    fs::write(&path, &text).unwrap();
    let others = on.ran(&mut on.command_as("web02", &["apply", saved]));
    assert_eq!(others.code, Some(6), "{others:?}");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    refuses(&on, 6, &["apply", saved], "others may write it");
}

#[test]
fn guards_are_6() {
    let on = machine(STATE);
    on.file("/etc/cron.d/trim", "somebody's\n");
    refuses(&on, 6, &["plan"], "was not made by rlvm, and differs");
    refuses(&on, 6, &["apply", "--yes"], "Nothing was changed: 1 refusal.");
    fs::remove_file(on.at("/etc/cron.d/trim")).unwrap();
    on.apply();
    on.state("logrotate: {}\n");
    refuses(&on, 6, &["apply", "--yes"], "--allow-mass-removal");
    // Of another host: the state, then the ledger.
    let others =
        on.ran(&mut on.command_as("web02", &["plan", on.beside("state/hosts/web01.yaml").to_str().unwrap()]));
    assert!(others.code == Some(6) && others.stderr.contains("is the state of host web01"), "{others:?}");
    fs::write(on.beside("state/hosts/web02.yaml"), "version: 1\nhost: web02\n").unwrap();
    for verb in [&["plan"][..], &["apply", "--yes"], &["observe"]] {
        let others = on.ran(&mut on.command_as("web02", verb));
        assert!(others.code == Some(6) && others.stderr.contains("is of host web01"), "{others:?}");
    }
}

#[test]
fn a_state_that_others_may_write_is_6() {
    let on = machine(STATE);
    let path = on.beside("state/hosts/web01.yaml");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    refuses(&on, 6, &["plan"], "others may write it (mode 0666)");
}

#[test]
fn what_failed_is_7_and_the_rest_converges() {
    let on = machine(STATE);
    // Nothing that rlvm left: it is not removed, so the directory cannot be made.
    on.file("/srv/a.rlvm-new~/keep", "");
    let ran = on.expect(7, &["apply", "--yes"]);
    assert!(ran.stderr.contains("failed directory:/srv/a: "), "{ran:?}");
    assert!(
        ran.stderr.contains("skipped directory:/srv/a/b: it needs directory:/srv/a, which failed"),
        "{ran:?}"
    );
    assert!(on.at("/srv/one/config").exists() && on.at("/etc/cron.d/trim").exists());
    assert!(!on.managed().iter().any(|address| address.starts_with("directory:/srv/a")));
    fs::remove_dir_all(on.at("/srv/a.rlvm-new~")).unwrap();
    on.apply();
    on.plan_is_empty();
}

#[test]
fn wrong_usage_is_64() {
    let on = machine(STATE);
    refuses(&on, 64, &["apply"], "say --yes");
    for args in [&["plan", "--nonsense"][..], &["unknown"], &["plan", "--target", "no-address"], &[]] {
        on.expect(64, args);
    }
    let bad = on.ran(on.command(&["ledger", "list"]).env("RLVM_HOME", "not/absolute"));
    assert!(bad.code == Some(64) && bad.stderr.contains("RLVM_HOME"), "{bad:?}");
    on.expect(0, &["--help"]);
    on.expect(0, &["--version"]);
}

#[test]
fn a_signal_is_130_or_143_after_what_it_was_at() {
    // One more than can be made side by side.
    let count = thread::available_parallelism().unwrap().get() + 1;
    let destination =
        |n: usize| format!("  d{n}: {{ local: {{ path: /srv/d{n} }}, password_file: /etc/pass }}\n");
    let state = format!("destinations:\n{}", (0..count).map(destination).collect::<String>());
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 143)] {
        let on = machine(&state);
        on.file_of("/etc/pass", "secret\n", 0, 0o600);
        fs::write(on.beside("sleep"), "0.7").unwrap();
        let child = on.command(&["apply", "--yes"]).spawn().unwrap();
        // Once it is at the slow things.
        for _ in 0..1000 {
            if fs::read_to_string(on.beside("calls")).unwrap().contains("init") {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert!(said.contains("Stopped by a signal. Apply again to go on."), "{said}");
        let made = (0..count).filter(|n| on.at(&format!("/srv/d{n}/config")).exists()).count();
        assert!(made > 0, "what it was at was not finished");
        assert!(made < count, "something was begun after the signal");
        fs::remove_file(on.beside("sleep")).unwrap();
        on.apply();
        on.plan_is_empty();
    }
}

#[test]
fn what_was_put_right_only_now_ends_with_7_until_all_is_applied() {
    let keys = "ssh:\n  keys: { /srv/d/id: { owner: backup } }\n";
    let directory = "directories:\n  /srv/d: { owner: backup }\n";
    let on = machine(directory);
    on.apply();
    // Drift makes all that lies there look planted.
    on.own("/srv/d", 33, 0o700);
    on.state(&format!("{directory}{keys}"));
    let ran = on.expect(7, &["apply", "--yes"]);
    assert!((ran.stdout + &ran.stderr).contains("run rlvm apply again"));
    on.apply();
    on.plan_is_empty();
    assert!(on.at("/srv/d/id").exists());
}
