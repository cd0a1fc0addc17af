//! What is not as it was installed, or what others could have written, is not run by a look.

#![expect(clippy::disallowed_methods, reason = "tests change the machine themselves")]

use super::{place, sha256};
use crate::{lab::Lab, support::Scratch};

/// What a repository that was looked at with it would leave in the tree's root.
const ASKING: &str = "#!/bin/sh\ntouch asked\necho restic 0.18.0\n";

/// A machine with a pinned program, its receipt, and a repository that a plan looks into; nothing of it is in a ledger.
fn machine() -> Scratch {
    let on = Scratch::new();
    on.state(&format!(
        "restic: {{ version: 0.18.0, sha256: {}, url: \"file:///srv/restic\" }}\n\
         destinations:\n  vault: {{ local: {{ path: /srv/r }}, password_file: /p }}\n",
        sha256(ASKING.as_bytes())
    ));
    on.file_of("/p", "secret\n", 0, 0o600);
    for name in ["config", "keys/one", "data/00/x", "index/x", "snapshots/x"] {
        on.file_of(&format!("/srv/r/{name}"), "x", 0, 0o600);
    }
    on.file_of(&place("0.18.0"), ASKING, 0, 0o755);
    receipt(&on, ASKING);
    on
}

/// Writes the receipt of a program.
fn receipt(on: &Scratch, program: &str) {
    let digest = sha256(program.as_bytes());
    let text = format!("# fetched sha256 {digest}\n{digest}  restic\n");
    on.file(&format!("{}.sha256", place("0.18.0")), &text);
}

/// A way to make it one that is not trusted.
type Spoil = fn(&Scratch);

#[test]
fn what_is_not_as_it_was_installed_is_not_run() {
    let cases: [(Spoil, &str); 11] = [
        (|on| on.own(&place("0.18.0"), 33, 0o755), "restic belongs to www-data"),
        (
            |on| {
                on.file("/etc/passwd", "root:x:1500:0:root:/root:/bin/sh\n");
                on.own(&place("0.18.0"), 1500, 0o755);
            },
            "restic belongs to a user that only this tree calls root",
        ),
        (|on| on.own(&place("0.18.0"), 0, 0o757), "restic can be written by others than root (mode 0757)"),
        (|on| on.file_of(&place("0.18.0"), &format!("{ASKING}\n"), 0, 0o755), "is not what was installed"),
        (|on| receipt(on, "another"), "is not what was installed"),
        (|on| on.file(&format!("{}.sha256", place("0.18.0")), "nonsense"), "restic.sha256 says not what was"),
        (
            |on| std::fs::remove_file(on.at(&format!("{}.sha256", place("0.18.0")))).unwrap(),
            "restic.sha256 is",
        ),
        (|on| on.own(&format!("{}.sha256", place("0.18.0")), 33, 0o644), "restic.sha256 belongs to www-data"),
        (
            |on| on.own("/usr/local/lib/rlvm/restic/0.18.0", 0, 0o775),
            "0.18.0 can be written by others than root",
        ),
        (|on| on.own("/", 0, 0o777), "/ can be written by others than root (mode 0777)"),
        (|on| on.own("/usr/local", 33, 0o755), "/usr/local belongs to www-data"),
    ];
    for (spoil, why) in cases {
        let on = machine();
        spoil(&on);
        let plan = on.rlvm(&["plan"]);
        let asked = on.rlvm(&["restic", "version"]);
        assert!(!on.at("/asked").exists(), "{why}: {}{}", plan.stdout, plan.stderr);
        assert!(asked.code == Some(1) && asked.stderr.contains(why), "{why}: {}", asked.stderr);
    }
}

#[test]
fn what_is_as_it_was_installed_is_run() {
    let on = machine();
    // As Debian made it for long: what its group may write there is in root's PATH anyway.
    on.own("/usr/local/lib", 0, 0o2775);
    on.rlvm(&["plan"]);
    assert!(on.at("/asked").exists());
    on.expect(0, &["restic", "version"]);
}

#[test]
fn a_run_refuses_a_program_that_others_could_have_replaced_and_apply_repairs_it() {
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    lab.ok(&["sh", "-c", "cp \"$(command -v restic)\" /srv/restic"]);
    let digest = lab.ok(&["sha256sum", "/srv/restic"]);
    let version = lab.ok(&["/srv/restic", "version"]);
    lab.state(&format!(
        "restic: {{ version: {}, sha256: {}, url: \"file:///srv/restic\" }}\n\
         destinations:\n  near: {{ local: {{ path: /srv/near }}, password_file: /etc/rlvm/near, generate_password: true }}\n\
         jobs:\n  web: {{ sources: [{{ path: /srv/www }}], to: [near] }}\n",
        version.split(' ').nth(1).unwrap(),
        digest.split(' ').next().unwrap()
    ));
    lab.apply();
    lab.expect(0, &["run", "web"]);
    let shared = "/usr/local/lib/rlvm/restic";
    lab.ok(&["chmod", "0777", shared]);
    let why = format!("{shared} can be written by others than root (mode 0777)");
    let ran = lab.expect(8, &["run", "web"]);
    assert!(ran.stderr.contains(&why), "{ran:?}");
    let plan = lab.expect(2, &["plan", "--detailed-exitcode"]).stdout;
    assert!(plan.contains(&format!("mode of {shared}")), "{plan}");
    lab.apply();
    lab.plan_is_empty();
    lab.expect(0, &["run", "web"]);
}
