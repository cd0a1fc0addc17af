//! A secret that is known here is in nothing that rlvm says or keeps (R25, invariant 5).

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{fs, process::Command};

use crate::support::{Scratch, require};

const GIVEN: &str = "canary-given-0xC0FFEE";
const TOKEN: &str = "canary-env-0xDECADE";

const STATE: &str = r#"
destinations:
  made: { local: { path: /srv/made }, password_file: /etc/rlvm/secrets/made, generate_password: true }
  given: { local: { path: /srv/given }, password_file: /etc/rlvm/given, env_file: /etc/rlvm/env }
  far: { s3: { bucket: b }, password_file: /etc/rlvm/given, env_file: /etc/rlvm/env }
jobs:
  system: { sources: [{ path: /etc }], to: [made, given], schedule: "30 2 * * *" }
ssh:
  keys: { /root/.ssh/id_rlvm: {}, /root/.ssh/id_old: { type: rsa } }
"#;

fn machine() -> Scratch {
    let on = Scratch::new();
    on.file_of("/etc/rlvm/given", &format!("{GIVEN}\n"), 0, 0o600);
    on.file_of("/etc/rlvm/env", &format!("AWS_SECRET_ACCESS_KEY={TOKEN}\n"), 0, 0o600);
    // Where the public half belongs somebody has put the private one.
    on.file_of("/root/.ssh/id_old", &private_key(&on), 0, 0o600);
    on.file_of("/root/.ssh/id_old.pub", &on.read("/root/.ssh/id_old"), 0, 0o644);
    on.state(STATE);
    on
}

/// Returns a private key in a form that does not show its public half.
fn private_key(on: &Scratch) -> String {
    require(on.search_path(), "ssh-keygen", "openssh-client");
    let at = on.beside("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"]).arg(&at);
    assert!(keygen.status().unwrap().success());
    fs::read_to_string(at).unwrap()
}

#[test]
fn no_secret_in_anything_said_or_kept() {
    let on = machine();
    let mut said = String::new();
    let mut say = |args: &[&str]| {
        let ran = on.rlvm(&[&["-vv"], args].concat());
        assert!(ran.code.is_some_and(|code| code < 10), "{args:?} {ran:?}");
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    };
    let saved = on.beside("night.plan");
    let (saved, into) = (saved.to_str().unwrap(), on.beside("into.json"));
    say(&["plan", "--out", saved]);
    say(&["plan", "--json"]);
    say(&["apply", saved, "--json-into", into.to_str().unwrap()]);
    // Drift of all of them, a wrong password, and a change that fails.
    for path in ["/etc/rlvm/given", "/etc/rlvm/env", "/etc/rlvm/secrets/made", "/root/.ssh/id_rlvm"] {
        on.own(path, 33, 0o666);
    }
    for args in [
        &["plan"][..],
        &["plan", "--json"],
        &["plan", "--summary"],
        &["apply", "--yes"],
        &["apply", "--yes", "--json"],
        &["observe", "--refresh"],
        &["show"],
        &["show", "--json"],
        &["validate", "--json"],
        &["ledger", "list", "--json"],
        &["rescue-kit"],
    ] {
        say(args);
    }
    for path in ["/etc/rlvm/given", "/etc/rlvm/env"] {
        on.own(path, 0, 0o600);
    }
    say(&["apply", "--yes"]);
    on.file_of("/etc/rlvm/given", &format!("{GIVEN}-wrong\n"), 0, 0o600);
    say(&["plan"]);
    for file in [saved.as_ref(), into.as_path()] {
        said.push_str(&fs::read_to_string(file).unwrap());
    }
    for name in ["ledger.json", "ledger.log", "state.json"] {
        said.push_str(&on.read(&format!("/var/lib/rlvm/{name}")));
    }
    said.push_str(&on.restic_calls().join("\n"));
    let made = on.read("/etc/rlvm/secrets/made");
    assert_eq!(made.trim().len(), 32);
    let keys = [on.read("/root/.ssh/id_rlvm"), on.read("/root/.ssh/id_old")].concat();
    let lines: Vec<&str> = keys.lines().filter(|line| line.len() >= 60).collect();
    assert!(lines.len() > 20);
    for secret in [GIVEN, TOKEN, made.trim(), "PRIVATE KEY-----"].into_iter().chain(lines) {
        assert!(!said.contains(secret), "{secret} was said");
    }
    assert!(said.contains("/etc/rlvm/secrets/made") && said.len() > 10_000);
}

#[test]
fn a_generated_password_is_shown_on_a_terminal_alone() {
    let on = machine();
    let warning = "the only copy of this password is on this host";
    on.apply();
    assert!(on.expect(0, &["plan"]).stdout.contains(warning));
    let refused = on.expect(64, &["secret", "show", "made"]);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("terminal"), "{refused:?}");
    assert!(on.expect(0, &["plan"]).stdout.contains(warning));

    require(on.search_path(), "script", "bsdutils");
    let on_terminal = |args: &[&str]| {
        let call = on.command(args);
        let words: Vec<_> = std::iter::once(call.get_program()).chain(call.get_args()).collect();
        let line: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
        let mut script = Command::new("script");
        script.args(["-qec", &line.join(" "), "/dev/null"]).env_clear().env("PATH", on.search_path());
        on.ran(&mut script)
    };
    let shown = on_terminal(&["secret", "show", "made"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains(on.read("/etc/rlvm/secrets/made").trim()), "{shown:?}");
    assert!(!on.expect(0, &["plan"]).stdout.contains(warning));
    on.plan_is_empty();
    // Of those that rlvm did not make it has nothing to show.
    for other in ["given", "nothing"] {
        let refused = on_terminal(&["secret", "show", other]);
        assert!(refused.code == Some(1) && !refused.stdout.contains(GIVEN), "{refused:?}");
    }
}
