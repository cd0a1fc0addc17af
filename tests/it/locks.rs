//! Locks in repositories: those that were left behind are removed, and no others, with each real restic. Runs, prunes and
//! checks of one host that meet.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{
    fs,
    process::{Child, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::lab::{Lab, restics};

const VAULT: &str = "/srv/backup/vault";
/// How many jobs start together.
const JOBS: usize = 12;

fn state(lab: &Lab, job: &str) {
    lab.file("/srv/www/index.html", "hello\n");
    lab.state(&format!(
        "destinations:\n  vault: {{ local: {{ path: {VAULT} }}, password_file: /etc/rlvm/vault.pass }}\n\
         jobs:\n  web: {{ sources: [{{ path: /srv/www }}], to: [vault], retention: {{ last: 1 }}{job} }}\n"
    ));
    lab.apply();
}

fn prepared() -> Lab {
    let lab = Lab::new();
    lab.repository(VAULT, "/etc/rlvm/vault.pass");
    state(&lab, "");
    lab
}

/// A repository with the lock of a check on a host that is gone (`tests/samples/stale-lock`), made with restic 0.14. Its
/// password is hunter22.
pub(crate) fn stale_lock(lab: &Lab, repository: &str) {
    let script = format!(
        "umask 077; mkdir -p {repository}; cd {repository}; mkdir keys locks snapshots index data; cd data; mkdir $(printf '%02x ' $(seq 0 255))"
    );
    lab.ok(&["sh", "-euc", &script]);
    for (from, to) in [
        ("config", "config"),
        ("key", "keys/9661e3de8500441ba2cec20e1d9e1f03effb9728d6e4bcab0cd87f24cc4faf81"),
        ("lock", "locks/e46862f3a1ec1a207f218d47501de22b72649ac39b8722cf2d9a9cabcda534e9"),
    ] {
        let from = format!("{}/tests/samples/stale-lock/{from}", env!("CARGO_MANIFEST_DIR"));
        fs::copy(from, lab.at(&format!("{repository}/{to}"))).unwrap();
    }
}

/// Lets half an hour pass since a lock was first seen.
pub(crate) fn seen_half_an_hour_ago(lab: &Lab, destination: &str) {
    let file = format!("/var/lib/rlvm/locks/{destination}.json");
    let mut known: Value = serde_json::from_str(&lab.read(&file)).unwrap();
    let (_, first) = known["seen"].as_object_mut().unwrap().iter_mut().next().unwrap();
    first["seconds"] = (first["seconds"].as_i64().unwrap() - 30 * 60).into();
    lab.file_of(&file, &known.to_string(), 0, 0o600);
}

fn with_stale_lock(lab: &Lab) {
    stale_lock(lab, VAULT);
    lab.file_of("/etc/rlvm/vault.pass", "hunter22\n", 0, 0o600);
    lab.make_key_cheap(VAULT, "/etc/rlvm/vault.pass");
}

fn locks(lab: &Lab) -> Vec<String> {
    let listed = fs::read_dir(lab.at(VAULT).join("locks")).unwrap();
    listed
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|it| it.len() == 64)
        .collect()
}

/// Starts a restic that works for long, on a machine of its own that is called web01 like this one.
fn twin(lab: &Lab) -> Child {
    let script = format!(
        "(sleep 60) | restic -q --no-cache --repo {VAULT} --password-file /etc/rlvm/vault.pass backup --stdin"
    );
    let words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script];
    let twin = lab.program(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(|| locks(lab).len() == 1);
    twin
}

fn until(holds: impl Fn() -> bool) {
    while !holds() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_live_lock_of_a_machine_of_the_same_name_stays() {
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        lab.expect(0, &["run", "web"]);
        lab.expect(0, &["run", "web"]);
        let mut twin = twin(&lab);
        let before = locks(&lab);
        for words in [["prune", "--wait", "1s"], ["verify", "--wait", "1s"]] {
            let ran = lab.run(&[&["rlvm"], &words[..]].concat());
            assert!(
                ran.code != Some(0) && ran.stderr.contains("the repository is locked"),
                "{words:?} {ran:?}"
            );
        }
        lab.expect(0, &["sweep"]);
        assert_eq!(locks(&lab), before, "{}", version.version);
        twin.kill().unwrap();
        twin.wait().unwrap();
    }
}

#[test]
fn a_stale_lock_goes_once_it_was_seen_for_half_an_hour() {
    for version in restics() {
        for words in [&["run", "web"][..], &["verify", "--wait", "1s"]] {
            let mut lab = Lab::new();
            lab.use_restic(&version);
            with_stale_lock(&lab);
            state(&lab, "");
            // Its own time says that it is stale; but that is the clock of another host.
            lab.expect(0, &["sweep"]);
            lab.ok(&["sh", "-c", "rlvm verify --wait 1s; true"]);
            assert_eq!(locks(&lab).len(), 1, "{}", version.version);
            seen_half_an_hour_ago(&lab, "vault");
            lab.expect(0, words);
            assert_eq!(locks(&lab).len(), 0, "{} {words:?}", version.version);
        }
    }
}

#[test]
fn the_lock_of_a_killed_prune_goes() {
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        lab.expect(0, &["run", "web"]);
        lab.expect(0, &["run", "web"]);
        // The process that rlvm has started holds a lock until it is killed with rlvm.
        let script = format!(
            "#!/bin/sh\n[ $1 = forget ] && [ $2 != --dry-run ] || exec {dir}/restic \"$@\"\n\
             mkfifo /srv/pipe; exec 8<>/srv/pipe\n\
             exec {dir}/restic -q --no-cache --repo {VAULT} --password-file /etc/rlvm/vault.pass backup --stdin <&8\n",
            dir = version.dir
        );
        lab.file_of("/srv/bin/restic", &script, 0, 0o755);
        let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", version.dir);
        lab.find_by(&format!("/srv/bin:{path}"));
        let mut prune = lab.command(&["prune"]);
        let mut prune = prune.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until(|| locks(&lab).len() == 1);
        lab.ok(&["sh", "-c", "kill -9 $(grep -lx rlvm /proc/[0-9]*/comm | head -1 | cut -d/ -f3)"]);
        prune.wait().unwrap();
        lab.find_by(&path);
        assert_eq!(locks(&lab).len(), 1, "it had no chance to remove it");
        let swept = lab.expect(0, &["sweep"]);
        assert!(swept.stderr.contains("removed 1 lock left behind at vault"), "{swept:?}");
        assert_eq!(locks(&lab).len(), 0, "{}", version.version);
        lab.expect(0, &["prune"]);
    }
}

/// Puts a restic before the real one that stops in this verb of its, until /srv/go is written to.
fn stops_in(lab: &mut Lab, verb: &str) {
    let script = format!(
        "#!/bin/sh\n[ $1 = {verb} ] && [ \"$2\" != --dry-run ] || exec /usr/bin/restic \"$@\"\n\
         touch /srv/stopped; read go </srv/go; exec /usr/bin/restic \"$@\"\n"
    );
    lab.file_of("/srv/bin/restic", &script, 0, 0o755);
    lab.ok(&["mkfifo", "-m", "600", "/srv/go"]);
    lab.find_by("/srv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

/// Starts rlvm with its errors in /srv/NAME.
fn start(lab: &Lab, name: &str, words: &[&str]) -> Child {
    let said = fs::File::create(lab.at("/srv").join(name)).unwrap();
    lab.command(words).stdout(Stdio::null()).stderr(said).spawn().unwrap()
}

#[test]
fn a_backup_waits_for_rlvms_own_verify() {
    let mut lab = prepared();
    lab.expect(0, &["run", "web"]);
    stops_in(&mut lab, "check");
    let mut verify = start(&lab, "verify", &["verify"]);
    until(|| lab.at("/srv/stopped").exists());
    let mut run = start(&lab, "run", &["run", "web"]);
    until(|| {
        lab.read("/srv/run")
            .contains("rlvm waits for destination vault, which is in use by rlvm verify (process ")
    });
    assert_eq!(run.try_wait().unwrap(), None);
    assert!(
        lab.read("/var/log/rlvm/web.log")
            .contains("rlvm waits for destination vault, which is in use by rlvm verify (process ")
    );
    lab.ok(&["sh", "-c", "echo go >/srv/go"]);
    assert!(verify.wait().unwrap().success() && run.wait().unwrap().success(), "{}", lab.read("/srv/run"));
    let kept = lab.ok(&["sh", "-c", "cat /var/lib/rlvm/records/*.jsonl | tail -1"]);
    assert!(kept.contains("s for destination vault, which was in use by rlvm verify (process "), "{kept}");
}

#[test]
fn process_in_use_is_named_when_the_wait_ends() {
    let mut lab = prepared();
    state(&lab, ", lock_timeout: 1s");
    lab.expect(0, &["run", "web"]);
    lab.expect(0, &["run", "web"]);
    stops_in(&mut lab, "forget");
    let mut prune = start(&lab, "prune", &["prune"]);
    until(|| lab.at("/srv/stopped").exists());
    let verify = lab.expect(9, &["verify", "--wait", "1s"]);
    assert!(verify.stderr.contains("is still in use by rlvm prune (process "), "{verify:?}");
    let second = lab.expect(1, &["prune", "--wait", "1s"]);
    assert!(second.stderr.contains("is still in use by rlvm prune (process "), "{second:?}");
    let run = lab.expect(8, &["run", "web"]);
    assert!(run.stderr.contains("the destination is still in use by "), "{run:?}");
    let restored = lab.expect(0, &["restore", "web", "--target", "/srv/out"]);
    assert!(restored.stderr.contains(" is using vault: this restore can fail"), "{restored:?}");
    lab.ok(&["sh", "-c", "echo go >/srv/go"]);
    assert!(prune.wait().unwrap().success(), "{}", lab.read("/srv/prune"));
}

#[test]
fn jobs_that_start_together_all_leave_a_record() {
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    lab.repository(VAULT, "/etc/rlvm/vault.pass");
    let jobs: String = (0..JOBS)
        .map(|job| format!("  j{job}: {{ sources: [{{ path: /srv/www }}], to: [vault] }}\n"))
        .collect();
    lab.state(&format!(
        "destinations:\n  vault: {{ local: {{ path: {VAULT} }}, password_file: /etc/rlvm/vault.pass }}\njobs:\n{jobs}"
    ));
    lab.apply();
    // Whether restic stores is another question; a run that ends at once meets the sweeps of the others more often.
    let stores = "#!/bin/sh\n[ $1 != ls ] || { echo '{\"struct_type\":\"snapshot\"}'; \
        echo '{\"path\":\"/srv/www/index.html\",\"type\":\"file\"}'; exit; }\n\
        [ $1 = backup ] || exec /usr/bin/restic \"$@\"\n\
        echo '{\"message_type\":\"summary\",\"total_files_processed\":1,\"snapshot_id\":\"12345678\"}'\n";
    lab.file_of("/srv/bin/restic", stores, 0, 0o755);
    let script = format!(
        "export PATH=/srv/bin:$PATH; for round in $(seq 4); do for job in $(seq 0 {}); do
           rlvm --state {} run j$job >/srv/said-$round-$job 2>&1 || echo \"$round $job: $?\" >>/srv/failed &
         done; wait; done; cat /srv/failed 2>/dev/null; ls -A /var/lib/rlvm/journal; cat /srv/said-* | grep -i -e error -e warning",
        JOBS - 1,
        lab.inside("state").display()
    );
    assert_eq!(lab.run(&["sh", "-c", &script]).stdout, "");
    let kept = lab.ok(&[
        "sh",
        "-c",
        "cat /var/lib/rlvm/records/*.jsonl | grep -c '\"status\":\"success\",\"jobs\"'",
    ]);
    assert_eq!(kept.trim(), (4 * JOBS).to_string());
}
