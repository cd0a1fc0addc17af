//! restics that are missing, old, slow or killed; how often one is called; and the password file it gets.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, Instant},
};

use super::{VAULT, says};
use crate::{
    lab::{Lab, restics},
    support::Scratch,
};

/// Puts a script in the stand-in's place.
fn replace_restic(scratch: &Scratch, script: &str) {
    let restic = scratch.beside("bin/restic");
    fs::write(&restic, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&restic, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A machine with a repository, and a restic that has since become this.
fn applied_then(script: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.state(VAULT);
    scratch.apply();
    replace_restic(&scratch, script);
    scratch
}

const VERSION: &str = "[ \"$1\" != version ] || { echo restic 0.18.0; exit 0; }\n";

#[test]
fn a_restic_that_does_not_answer_is_waited_for_half_a_minute() {
    // R22
    let scratch = applied_then(&format!("{VERSION}sleep 300\n"));
    let before = scratch.tree_hash();
    let start = Instant::now();
    says(&scratch, &["plan"], 1, &["repository:vault: unreachable: no answer within 30 s"]);
    let took = start.elapsed();
    assert!(took > Duration::from_secs(29) && took < Duration::from_secs(58), "{took:?}");
    assert_eq!(scratch.tree_hash(), before);
}

#[test]
fn a_restic_that_ends_strangely_is_unreachable_and_nothing_else() {
    // R22
    for (script, words) in [
        ("kill -KILL $$", "unreachable: restic was ended by a signal"),
        ("echo odd >&2; exit 77", "unreachable: restic ended with exit code 77: odd"),
        (
            "echo 'Fatal: dial tcp: no route to host' >&2; exit 1",
            "unreachable: Fatal: dial tcp: no route to host",
        ),
        ("exit 11", "repository:vault: locked"),
        ("exit 12", "wrong password: /etc/rlvm/v does not open it"),
        ("exit 10", "damaged: restic finds no repository here"),
        ("exit 0", "damaged: its configuration has no id"),
        ("echo '{\"id\":\"../../etc\"}'", "damaged: its configuration has no id"),
        ("yes 'Fatal: loud' | head -c 3000000 >&2; exit 1", "unreachable: Fatal: loud"),
    ] {
        let scratch = applied_then(&format!("{VERSION}{script}\n"));
        let before = scratch.contents();
        says(&scratch, &["plan"], 1, &[words]);
        says(&scratch, &["apply", "--yes"], 7, &[words]);
        assert_eq!(scratch.contents(), before, "{script}");
    }
}

#[test]
fn an_old_restic_and_none_are_reported_with_what_is_needed() {
    // R31
    let scratch = Scratch::new();
    scratch.state(VAULT);
    fs::write(scratch.beside("version"), "0.9.6").unwrap();
    says(
        &scratch,
        &["plan"],
        1,
        &["restic is 0.9.6, and at least 0.14.0 is needed", "apt-get install restic"],
    );
    says(&scratch, &["apply", "--yes"], 7, &["restic is 0.9.6"]);
    replace_restic(&scratch, "echo sorry");
    says(&scratch, &["plan"], 1, &["restic does not say which version it is"]);
    let none = scratch.beside("none");
    fs::create_dir(&none).unwrap();
    for tool in ["setsid", "setpriv", "test"] {
        symlink(Path::new("/usr/bin").join(tool), none.join(tool)).unwrap();
    }
    let plan = || scratch.ran(scratch.command(&["plan"]).env("PATH", &none));
    let ran = plan();
    assert!(ran.code == Some(1) && ran.stdout.contains("there is no restic on PATH"), "{ran:?}");
    // Neither a directory nor a file that nobody may run is a restic.
    fs::create_dir(none.join("restic")).unwrap();
    assert!(plan().stdout.contains("there is no restic on PATH"));
    fs::remove_dir(none.join("restic")).unwrap();
    fs::write(none.join("restic"), "#!/bin/sh\n").unwrap();
    assert!(plan().stdout.contains("there is no restic on PATH"));
    assert!(!scratch.at("/srv/r").join("config").exists());
}

#[test]
fn a_missing_program_that_starts_others_is_named() {
    let scratch = Scratch::new();
    scratch.state(VAULT);
    for missing in ["setsid", "setpriv"] {
        let some = scratch.beside(&format!("without-{missing}"));
        fs::create_dir(&some).unwrap();
        for tool in ["setsid", "setpriv", "test"].into_iter().filter(|tool| *tool != missing) {
            symlink(Path::new("/usr/bin").join(tool), some.join(tool)).unwrap();
        }
        symlink(scratch.beside("bin/restic"), some.join("restic")).unwrap();
        for args in [&["plan"][..], &["apply", "--yes"]] {
            let ran = scratch.ran(scratch.command(args).env("PATH", &some));
            assert_eq!(ran.code, Some(1), "{ran:?}");
            let words = format!("there is no program {missing} in PATH");
            assert!(
                ran.stderr.contains(&words) && ran.stderr.contains("apt-get install util-linux"),
                "{ran:?}"
            );
            assert!(!ran.stderr.contains("restic"), "{ran:?}");
        }
    }
}

#[test]
fn what_was_verified_and_has_not_moved_is_not_opened_again() {
    let scratch = Scratch::new();
    scratch.state(VAULT);
    scratch.apply();
    scratch.restic_calls();
    let opened = || {
        scratch.plan_is_empty();
        scratch.restic_calls().iter().filter(|call| call.starts_with("cat config")).count()
    };
    assert_eq!(opened(), 0);
    assert_eq!(scratch.restic_calls(), Vec::<String>::new());
    scratch.expect(0, &["plan", "--refresh"]);
    assert_eq!(scratch.restic_calls().len(), 1, "opened once");
    for path in ["/srv/r/config", "/etc/rlvm/v", "/srv/r/keys", "restic"] {
        let at = if path == "restic" { scratch.beside("bin/restic") } else { scratch.at(path) };
        let file = fs::File::open(&at).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(opened(), 1, "{path} moved");
        assert_eq!(opened(), 1, "a plan keeps nothing");
        scratch.apply();
        scratch.restic_calls();
        assert_eq!(opened(), 0, "apply keeps what it verified");
    }
    // Nor is it when it is left alone for something else's sake.
    scratch.state(&format!("{VAULT}directories:\n  /srv/x: {{}}\n"));
    scratch.apply();
    assert_eq!(scratch.restic_calls(), Vec::<String>::new());
}

#[test]
fn a_password_file_is_there_private_its_users_and_not_empty() {
    // R25
    let state = "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, env_file: /etc/rlvm/e }\n\
        jobs:\n  web: { user: backup, sources: [{ path: /etc }], to: [vault] }\n";
    let good = ("hunter2\n", 4000, 0o600);
    for ((text, owner, mode), code, words) in [
        (("hunter2\n", 0, 0o600), 1, "belongs to root, but backup works with it"),
        (("hunter2\n", 33, 0o600), 1, "belongs to www-data, but backup works with it"),
        (("", 4000, 0o600), 1, "is empty"),
        (("hunter2\n", 4000, 0o640), 0, "can be read by others than backup (mode 0640)"),
        (("hunter2\n", 4000, 0o604), 0, "can be read by others than backup (mode 0604)"),
        (("hunter2\n", 4000, 0o400), 0, "Plan: "),
    ] {
        for (bad, other) in [("/etc/rlvm/v", "/etc/rlvm/e"), ("/etc/rlvm/e", "/etc/rlvm/v")] {
            let scratch = Scratch::new();
            scratch.state(state);
            scratch.file_of(bad, text, owner, mode);
            scratch.file_of(other, good.0, good.1, good.2);
            let words = if words.starts_with("Plan") { words.into() } else { format!("{bad} {words}") };
            let said = says(&scratch, &["plan"], code, &[&words]);
            assert!(!said.contains("hunter2"), "{said}");
            assert!(scratch.restic_calls().iter().all(|call| call == "version"));
        }
    }
    let scratch = Scratch::new();
    scratch.state(state);
    says(&scratch, &["plan"], 1, &["/etc/rlvm/v is not there", "/etc/rlvm/e is not there", "mode 0600"]);
}

#[test]
fn what_a_secret_holds_is_in_nothing_that_is_said_or_kept() {
    // R25
    let scratch = Scratch::new();
    scratch.state(
        "destinations:\n  own: { local: { path: /srv/own }, password_file: /etc/rlvm/own, env_file: /etc/rlvm/env }\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n",
    );
    scratch.file_of("/etc/rlvm/own", "correct-horse\n", 0, 0o600);
    scratch.file_of("/etc/rlvm/env", "AWS_SECRET_ACCESS_KEY=battery-staple\n", 0, 0o600);
    let saved = scratch.beside("night.plan");
    let mut said = String::new();
    let mut call = |args: &[&str]| {
        let ran = scratch.rlvm(args);
        said.push_str(&(ran.stdout + &ran.stderr));
    };
    call(&["-vv", "plan", "--out", saved.to_str().unwrap()]);
    call(&["-vv", "apply", saved.to_str().unwrap()]);
    for verb in ["plan", "observe", "show", "validate"] {
        call(&["-vv", verb]);
    }
    call(&["plan", "--json", "--refresh"]);
    call(&["ledger", "list", "--json"]);
    call(&["secret", "show", "vault"]);
    scratch.file_of("/etc/rlvm/own", "correct-horses\n", 0, 0o600);
    call(&["-vv", "plan"]);
    said.push_str(&fs::read_to_string(&saved).unwrap());
    for kept in ["ledger.json", "ledger.log", "state.json"] {
        said.push_str(&scratch.read(&format!("/var/lib/rlvm/{kept}")));
    }
    said.push_str(&scratch.restic_calls().join("\n"));
    assert!(said.contains("/etc/rlvm/v") && said.len() > 10_000);
    let generated = scratch.read("/etc/rlvm/v");
    assert_eq!(generated.trim().len(), 32);
    let digest = |text: &str| {
        use sha2::{Digest, Sha256};
        Sha256::digest(text).iter().fold(String::new(), |all, byte| format!("{all}{byte:02x}"))
    };
    for secret in ["correct-horse", "battery-staple", generated.trim()] {
        assert!(!said.contains(secret), "{secret} was told");
        assert!(!said.contains(&digest(secret)) && !said.contains(&digest(&format!("{secret}\n"))));
    }
}

#[test]
fn flags_that_the_restic_of_a_run_refuses_are_an_error() {
    for restic in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&restic);
        let old = restic.version.1 < 15;
        for (options, refused) in [
            ("no-scan: \"true\"", old.then_some("unknown flag: --no-scan")),
            ("with-atime: \"true\"", None),
            ("nonsense: \"1\"", Some("unknown flag: --nonsense")),
            ("exclude-caches: maybe", Some("invalid argument \"maybe\" for \"--exclude-caches\"")),
            ("exclude-file: /etc/hosts", None),
            ("exclude-file: /etc/none", Some("`exclude-file` names /etc/none, which does not exist")),
            ("iexclude-file: none", Some("`iexclude-file: none` must be an absolute path")),
        ] {
            lab.state(&format!(
                "destinations:\n  vault: {{ local: {{ path: /srv/r }}, password_file: /etc/rlvm/v, generate_password: true }}\n\
                 jobs:\n  home: {{ sources: [{{ path: /home }}], to: [vault], options: {{ {options} }} }}\n"
            ));
            let plan = lab.rlvm(&["plan"]);
            match refused {
                Some(why) => {
                    let said = "error: job_flags:restic: job `home`: every run would fail";
                    assert!(
                        plan.code == Some(1) && plan.stdout.contains(said),
                        "{}: {plan:?}",
                        restic.version
                    );
                    assert!(plan.stdout.contains(why), "{}: {plan:?}", restic.version);
                }
                None => assert_eq!(plan.code, Some(0), "{}: {options}: {plan:?}", restic.version),
            }
        }
    }
}
