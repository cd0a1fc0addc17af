//! What a backup would lack although no program fails: plan warns, run does not end well, status says it.

#![expect(clippy::unwrap_used, reason = "tests look at the machine")]

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    lab::{Lab, REST_PASSWORD, REST_USER, restics},
    support::BACKUP,
};

const NEAR: &str = "/srv/backup/near";

fn state(lab: &Lab, job: &str) {
    lab.state(&format!(
        "destinations:\n  near: {{ local: {{ path: {NEAR} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n\
         jobs:\n  web: {{ to: [near], schedule: \"@daily\", {job} }}\n"
    ));
}

/// Counts the snapshots there.
fn snapshots(lab: &Lab) -> usize {
    lab.ok(&["ls", &format!("{NEAR}/snapshots")]).lines().count()
}

/// Returns what status says first of the job: the verdict, the level, the message.
#[track_caller]
fn verdict(lab: &Lab) -> (String, String, String) {
    let status: Value = serde_json::from_str(&lab.rlvm(&["status", "--json"]).stdout).unwrap();
    let judged = &status["lines"][0]["judged"][0];
    let text = |key: &str| judged[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("level"), text("message"))
}

#[test]
fn a_source_of_which_nothing_is_stored_is_said_everywhere() {
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    lab.file("/srv/app/a", "hello\n");
    lab.ok(&["mkdir", "/srv/photos"]);
    let both = "sources: [{ path: /srv/www }, { path: /srv/app }, { path: /srv/photos }]";
    let excluded = "source /srv/app is left out as a whole by the exclude `/srv/app/*`";
    let empty = "source /srv/photos is an empty directory";
    for (more, said, stored) in [
        (", exclude: [/srv/app/*]", &[excluded, empty][..], true),
        (", may_be_empty: true", &[], true),
        // Nothing at all: what was stored is taken back.
        (", exclude: [/srv/*]", &["source /srv/www is left out as a whole by the exclude `/srv/*`"], false),
    ] {
        state(&lab, &format!("{both}{more}"));
        let plan = lab.rlvm(&["plan"]);
        lab.apply();
        lab.make_key_cheap(NEAR, "/etc/rlvm/near.pass");
        let before = snapshots(&lab);
        let ran = lab.expect(if said.is_empty() { 0 } else { 8 }, &["run", "web"]);
        assert_eq!(snapshots(&lab) - before, usize::from(stored), "{ran:?}");
        let (verdict, level, message) = verdict(&lab);
        for why in said {
            assert!(plan.stdout.contains(&format!("warning: jobs.web.sources: {why}")), "{plan:?}");
            if stored {
                assert!(ran.stderr.contains(why) && message.contains(why), "{ran:?} {message}");
            }
        }
        let expected = match (said.is_empty(), stored) {
            (true, _) => ("fresh", "ok"),
            (false, true) => ("incomplete", "warning"),
            (false, false) => ("failing", "warning"),
        };
        assert_eq!((verdict.as_str(), level.as_str()), expected, "{message}");
        if !stored {
            assert!(ran.stderr.contains("the backup has no file: mount the sources"), "{ran:?}");
            assert!(message.contains("the backup has no file: mount the sources"), "{message}");
        }
    }
}

#[test]
fn a_source_that_its_user_cannot_enter_is_no_unreadable_file() {
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        lab.file_of("/srv/www/index.html", "hello\n", BACKUP, 0o644);
        lab.file_of("/srv/closed/secret", "x\n", 0, 0o600);
        lab.ok(&["chmod", "0700", "/srv/closed"]);
        state(&lab, "user: backup, sources: [{ path: /srv/www }, { path: /srv/closed }]");
        let plan = lab.rlvm(&["plan"]);
        lab.apply();
        lab.make_key_cheap(NEAR, "/etc/rlvm/near.pass");
        let said = "warning: jobs.web.sources: user backup cannot read source /srv/closed";
        assert!(plan.stdout.contains(said), "{plan:?}");
        let ran = lab.expect(8, &["run", "web"]);
        assert!(ran.stderr.contains("not stored at near") && ran.stderr.contains("/srv/closed"), "{ran:?}");
        let status = lab.expect(9, &["status"]).stdout;
        assert!(status.contains("failing since") && status.contains("/srv/closed"), "{status}");
    }
}

#[test]
fn a_job_keeps_its_destination_until_the_new_one_is_there() {
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    let place = |name: &str, path: &str| {
        format!(
            "  {name}: {{ local: {{ path: {path} }}, password_file: /etc/rlvm/{name}.pass, generate_password: true }}\n"
        )
    };
    let job = |to: &str| format!("jobs:\n  web: {{ sources: [{{ path: /srv/www }}], to: [{to}] }}\n");
    lab.state(&format!("destinations:\n{}{}", place("near", NEAR), job("near")));
    lab.apply();
    lab.make_key_cheap(NEAR, "/etc/rlvm/near.pass");
    // What lies there is no repository.
    lab.file("/srv/taken/far/config", "mine\n");
    lab.state(&format!("destinations:\n{}{}", place("far", "/srv/taken/far"), job("far")));
    let applied = lab.expect(7, &["apply", "--yes"]);
    let said = "skipped job:web: it needs repository:far, which rlvm could not create or open; the previous definition \
                stays active";
    assert!(applied.stderr.contains(said), "{applied:?}");
    // However often apply tries.
    let applied = lab.expect(7, &["apply", "--yes"]);
    assert!(applied.stderr.contains(said), "{applied:?}");
    // As the schedule would start it.
    let ran = lab.run(&["rlvm", "run", "web"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("web: stored at near"), "{ran:?}");
    let plan = lab.rlvm(&["plan"]);
    assert!(plan.stdout.contains("job:web"), "it is still to be done: {plan:?}");

    lab.ok(&["rm", "-r", "/srv/taken/far"]);
    lab.apply();
    lab.make_key_cheap("/srv/taken/far", "/etc/rlvm/far.pass");
    let ran = lab.run(&["rlvm", "run", "web"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("web: stored at far"), "{ran:?}");
    lab.plan_is_empty();
}

#[test]
fn a_dead_server_is_waited_for_and_not_for_ever() {
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        lab.file("/srv/www/index.html", "hello\n");
        lab.file_of("/etc/rlvm/rest.user", &format!("{REST_USER}\n"), 0, 0o600);
        lab.file_of("/etc/rlvm/rest.login", &format!("{REST_PASSWORD}\n"), 0, 0o600);
        let state = |retry_for: &str| {
            lab.state(&format!(
                "destinations:\n  far: {{ rest: {{ url: \"http://rest.lan:8000/r\", plain_http: true, \
                 user_file: /etc/rlvm/rest.user, password_file: /etc/rlvm/rest.login }}, \
                 password_file: /etc/rlvm/far.pass, generate_password: true, retry_for: {retry_for} }}\n\
                 jobs:\n  web: {{ to: [far], sources: [{{ path: /srv/www }}] }}\n"
            ));
        };
        state("2s");
        let rest = lab.rest(&[]);
        lab.apply();
        drop(rest);
        let since = Instant::now();
        let ran = lab.expect(8, &["run", "web"]);
        assert!(ran.stderr.contains("not stored at far") && ran.stderr.contains("refused"), "{ran:?}");
        // restic 0.19 by itself tries for 15 minutes.
        assert!(since.elapsed() < Duration::from_secs(40), "{}: {:?}", version.version, since.elapsed());

        // The network comes back while it is tried: the record says how often.
        state("2m");
        let run = lab.command(&["run", "web"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let _rest = lab.rest(&[]);
        let ran = run.wait_with_output().unwrap();
        assert!(ran.status.success(), "{}: {ran:?}", version.version);
    }
}

#[test]
fn a_restic_that_is_missing_is_an_error_everywhere() {
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    state(&lab, "sources: [{ path: /srv/www }]");
    lab.apply();
    lab.make_key_cheap(NEAR, "/etc/rlvm/near.pass");
    lab.ok(&["mount", "--bind", "/dev/null", "/usr/bin/restic"]);
    let said = "there is no restic on PATH";
    let plan = lab.expect(1, &["plan", "--refresh"]);
    assert!(plan.stdout.contains(&format!("error: repository:near: {said}")), "{plan:?}");
    let ran = lab.expect(8, &["run", "web"]);
    assert!(ran.stderr.contains(&format!("not stored at near: {said}")), "{ran:?}");
    let status = lab.expect(9, &["status"]).stdout;
    assert!(status.contains("failing since ") && status.contains(said), "{status}");
}
