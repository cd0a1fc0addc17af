//! What plan says before the night, of things that it does not manage.

use crate::support::Scratch;

const HOME: &str = "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n\
    jobs:\n  home: { sources: [{ path: /home }], to: [vault], schedule: \"@daily\" }\n";

#[test]
fn what_else_backs_up_is_said_and_left_alone() {
    // R30
    let scratch = Scratch::new();
    scratch.file(
        "/etc/cron.d/old-backup",
        "SHELL=/bin/sh\n0 3 * * * root TOKEN=hunter2 borgmatic --verbosity 0\n",
    );
    scratch.file("/var/spool/cron/crontabs/root", "0 4 * * * /usr/local/bin/rlvm backup /home\n");
    scratch.file("/etc/cron.daily/dump", "#!/bin/sh\nrestic backup /home\n");
    scratch.file("/etc/systemd/system/timers.target.wants/resticprofile-backup@x.timer", "");
    scratch.state(HOME);
    for _ in 0..2 {
        let plan = scratch.expect(0, &["plan"]);
        for words in [
            "warning: other_backups:schedules: /etc/cron.d/old-backup:2 runs borgmatic",
            "/etc/cron.daily/dump:2 runs restic on /home, which a job of this state backs up",
            "/var/spool/cron/crontabs/root:1 runs rlvm on /home",
            "resticprofile-backup@x.timer runs restic",
        ] {
            assert!(plan.stdout.contains(words), "{words}\n{}", plan.stdout);
        }
        assert!(!plan.stdout.contains("hunter2") && !plan.stdout.contains("rlvm-home:"), "{}", plan.stdout);
        scratch.apply();
    }
    scratch.plan_is_empty();
    scratch.state("directories:\n  /srv/x: {}\n");
    assert!(!scratch.rlvm(&["plan"]).stdout.contains("borgmatic"), "without jobs it is nobody's business");
}

#[test]
fn in_a_tree_what_needs_the_running_system_is_left_to_it() {
    let scratch = Scratch::new();
    scratch.file_of("/etc/rlvm/p", "x\n", 0, 0o600);
    scratch.state("destinations:\n  far: { s3: { bucket: b }, password_file: /etc/rlvm/p }\n");
    for args in [&["plan"][..], &["plan", "--offline"]] {
        let plan = scratch.expect(0, args);
        assert!(
            plan.stdout.contains("repository:far: not looked at: it is left to the running system"),
            "{plan:?}"
        );
    }
    scratch.apply();
    scratch.plan_is_empty();
    assert!(scratch.restic_calls().is_empty() && !scratch.managed().contains(&"repository:far".to_owned()));
}

#[test]
fn a_copy_that_no_call_could_make_is_told() {
    // R41: restic has one environment and each option once.
    let scratch = Scratch::new();
    scratch.file_of("/etc/rlvm/p", "x\n", 0, 0o600);
    scratch.file_of("/etc/rlvm/q", "x\n", 0, 0o600);
    let state = |from: &str, to: &str| {
        format!(
            "destinations:\n  one: {{ s3: {{ bucket: one{from} }}, password_file: /etc/rlvm/p }}\n  \
             two: {{ s3: {{ bucket: two{to} }}, password_file: /etc/rlvm/q }}\n\
             jobs:\n  home: {{ sources: [{{ path: /home }}], to: [one], copy: {{ two: {{ from: one }} }} }}\n"
        )
    };
    scratch.state(&state(", region: here", ", region: there"));
    let plan = scratch.expect(1, &["plan"]).stdout;
    assert!(
        plan.contains("error: destinations.two: copies come from one, and s3.region differs there"),
        "{plan}"
    );
    for (from, to) in [("", ", region: here"), (", region: here", ", region: here")] {
        scratch.state(&state(from, to));
        scratch.expect(0, &["plan"]);
    }
}

#[test]
fn credentials_are_checked_like_passwords() {
    // R25
    let scratch = Scratch::new();
    scratch.file_of("/etc/rlvm/p", "x\n", 0, 0o600);
    scratch.file_of("/etc/rlvm/key", "hunter2\n", 33, 0o640);
    scratch.file_of("/etc/rlvm/ca.pem", "x\n", 0, 0o666);
    scratch.state(
        "destinations:\n  far:\n    s3: { bucket: b, ca_file: /etc/rlvm/ca.pem }\n    password_file: /etc/rlvm/p\n    \
         credentials:\n      AWS_SECRET_ACCESS_KEY: { file: /etc/rlvm/key }\n      AWS_ACCESS_KEY_ID: { file: /etc/rlvm/id }\n",
    );
    let plan = scratch.expect(1, &["plan"]);
    for words in [
        "error: secret:/etc/rlvm/id: /etc/rlvm/id is not there",
        "error: secret:/etc/rlvm/key: /etc/rlvm/key belongs to www-data, but root works with it",
        "warning: secret:/etc/rlvm/key: /etc/rlvm/key can be read by others",
        "warning: secret:/etc/rlvm/ca.pem: /etc/rlvm/ca.pem can be written by others than root (mode 0666)",
    ] {
        assert!(plan.stdout.contains(words), "{words}\n{}", plan.stdout);
    }
}
