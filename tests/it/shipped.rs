//! What is shipped for people to copy: each state is planned on a machine, and what it asks for beyond this version
//! is said.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{fs, path::Path, process::Command};

use crate::support::Scratch;

/// Lists the states that are shipped, from the top of the repository.
fn states() -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for dir in ["state/hosts", "examples"] {
        for entry in fs::read_dir(top.join(dir)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|it| it == "yaml") {
                found.push(format!("{dir}/{name}"));
            }
        }
    }
    found.sort();
    assert!(found.len() > 2, "{found:?}");
    found
}

#[test]
fn every_state_is_planned_and_nothing_is_passed_over_in_silence() {
    for name in states() {
        let scratch = Scratch::new();
        let dir = scratch.beside("copy");
        fs::create_dir(&dir).unwrap();
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["state", "examples"] {
            let copied = Command::new("cp").arg("-r").arg(top.join(part)).arg(&dir).status().unwrap();
            assert!(copied.success());
        }
        let text = fs::read_to_string(dir.join(&name)).unwrap();
        let host = text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let host = host.split_whitespace().next().unwrap();
        let file = dir.join(&name);
        let ran = scratch.ran(&mut scratch.command_as(host, &["plan", file.to_str().unwrap(), "--json"]));
        let plan: serde_json::Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{name}: {ran:?}"));
        // Accounts and passwords that the scratch machine has not are errors; nothing else is.
        let errors: Vec<&str> = plan["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["severity"] == "error")
            .map(|it| it["message"].as_str().unwrap())
            .filter(|it| !it.ends_with("is not there") && !it.starts_with("there is no"))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        let said = plan["findings"].to_string();
        for (word, unsupported) in [
            ("sftp:", "left to the running system"),
            ("s3:", "left to the running system"),
            ("rclone:", "left to the running system"),
        ] {
            let declared =
                text.lines().any(|line| line.contains(word) && !line.trim_start().starts_with('#'));
            assert!(!declared || said.contains(unsupported), "{name} has `{word}`, and plan does not say it");
        }
    }
}

#[test]
fn apply_keeps_the_state_with_its_revision() {
    let scratch = Scratch::new();
    scratch.state("directories:\n  /srv/a: {}\n");
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C")
            .arg(scratch.beside("state"))
            .args(["-c", "user.name=x", "-c", "user.email=x"])
            .args(args);
        let output = git.output().expect("git runs: apt-get install git");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let kept =
        || serde_json::from_str::<serde_json::Value>(&scratch.read("/var/lib/rlvm/state.json")).unwrap();

    scratch.apply();
    assert_eq!(kept()["revision"], serde_json::Value::Null, "it is in no repository");
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "x"]);
    scratch.apply();
    assert_eq!(kept()["revision"]["commit"], git(&["rev-parse", "HEAD"]).as_str());
    assert_eq!(kept()["revision"]["dirty"], false);
    scratch.state("directories:\n  /srv/a: { mode: \"0755\" }\n");
    scratch.apply();
    assert_eq!(kept()["revision"]["dirty"], true);
    // Nothing of the caller's environment reaches git.
    let mark = scratch.beside("ran");
    let mut hostile = scratch.command(&["apply", "--yes"]);
    hostile.env("GIT_DIR", "/nonexistent").env("GIT_CONFIG_COUNT", "1");
    hostile
        .env("GIT_CONFIG_KEY_0", "core.fsmonitor")
        .env("GIT_CONFIG_VALUE_0", format!("touch {}; false", mark.display()));
    assert_eq!(scratch.ran(&mut hostile).code, Some(0));
    assert_eq!(kept()["revision"]["commit"], git(&["rev-parse", "HEAD"]).as_str());
    assert!(!mark.exists(), "a program ran that the caller's environment names");
    assert_eq!(kept()["state"]["directories"]["/srv/a"]["mode"], "0755");
}

#[test]
fn two_names_of_one_repository_are_told() {
    // R07: by a link, which the words alone do not show.
    let scratch = Scratch::new();
    scratch.file_of("/etc/a.pass", "one\n", 0, 0o600);
    std::os::unix::fs::symlink("/srv/real", scratch.at("/srv/link")).unwrap();
    scratch.dir("/srv/real", 0, 0o700);
    let one = "destinations:\n  a: { local: { path: /srv/real/r }, password_file: /etc/a.pass }\n";
    scratch.state(one);
    scratch.apply();
    scratch.state(&format!("{one}  b: {{ local: {{ path: /srv/link/r }}, password_file: /etc/a.pass }}\n"));
    let plan = scratch.expect(0, &["plan"]);
    assert!(
        plan.stdout.contains("warning: repository:b: /srv/link/r is the same repository on this host as /srv/real/r of repository:a"),
        "{plan:?}"
    );
    scratch.file_of("/etc/b.pass", "one\n", 0, 0o600);
    scratch.state(&format!("{one}  b: {{ local: {{ path: /srv/link/r }}, password_file: /etc/b.pass }}\n"));
    let plan = scratch.expect(1, &["plan"]);
    assert!(
        plan.stdout.contains("error: repository:b: /srv/link/r is the same repository on this host as /srv/real/r of repository:a"),
        "{plan:?}"
    );
}
