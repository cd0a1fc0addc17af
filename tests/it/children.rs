//! Programs that a run starts, and programs that read what it prints, which do not behave.

#![expect(clippy::unwrap_used, reason = "tests look at the machine")]

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use crate::lab::Lab;

const VAULT: &str = "/srv/backup/vault";
const PASSWORD: &str = "/etc/rlvm/vault.pass";

/// A machine with a job `web`, and these words of it.
fn applied(job: &str) -> Lab {
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    lab.repository(VAULT, PASSWORD);
    lab.state(&format!(
        "destinations:\n  vault: {{ local: {{ path: {VAULT} }}, password_file: {PASSWORD} }}\n\
         jobs:\n  web: {{ sources: [{{ path: /srv/www }}], to: [vault]{job} }}\n"
    ));
    lab.apply();
    lab
}

/// Puts a script in restic's place, whose end is the real one.
fn stand_in(lab: &Lab, script: &str) {
    let real = lab.ok(&["sh", "-c", "command -v restic"]);
    let text = format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", real.trim());
    lab.file_of("/usr/local/sbin/restic", &text, 0, 0o755);
}

#[test]
fn a_hook_that_prints_without_end_is_ended_in_time() {
    let hook = ", hooks: { before: [{ run: \"yes a long line that fills the disk\", timeout: 1s, on_failure: continue }, \
                { run: \"sleep 4 >/dev/null 2>&1 &\" }] }";
    let lab = applied(hook);
    let ran = lab.run(&["timeout", "-s", "KILL", "30", "rlvm", "run", "web"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let record = lab.ok(&["sh", "-c", "cat /var/lib/rlvm/records/*.jsonl"]);
    assert!(record.contains("hook before 1: /bin/sh took longer than 1 s"), "{record}");
    assert!(record.contains("hook before 2 has left sleep (process "), "{record}");
    let log = lab.read("/var/log/rlvm/web.log");
    assert!(log.contains("[printed more than 1 MiB: ") && log.len() < 3 << 20, "{} bytes", log.len());
}

#[test]
fn nobody_who_reads_json_holds_a_run_up() {
    let lab = applied("");
    let status = r#"{"message_type":"status","percent_done":0.5,"total_files":2,"files_done":1,"total_bytes":8,"bytes_done":4}"#;
    let error = r#"{"message_type":"error","error":{"message":"no"},"during":"archival","item":"/x"}"#;
    let prints = format!("for n in $(seq 3000); do echo '{status}'; done; echo '{error}'");
    stand_in(&lab, &format!("[ \"$1\" != backup ] || {{ {prints}; }}"));
    let mut run = lab.command(&["run", "--json", "web"]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let code = loop {
        if let Some(status) = run.try_wait().unwrap() {
            break status.code();
        }
        assert!(start.elapsed() < Duration::from_secs(60), "nobody reads, and the run waits");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(code, Some(8), "it says that a file could not be read");
    let record = lab.ok(&["sh", "-c", "cat /var/lib/rlvm/records/*.jsonl"]);
    assert!(record.contains("\"status\":\"incomplete\""), "{record}");
    let log = lab.read("/var/log/rlvm/web.log");
    assert!(log.contains("left out: nobody read"), "{log}");
}

#[test]
fn a_list_that_does_not_end_is_no_empty_list() {
    let lab = applied(", retention: { daily: 1 }");
    lab.expect(0, &["run", "web"]);
    stand_in(&lab, "case $1 in snapshots|forget) sleep 4321 & exit 0;; esac");
    let open = "keeps its output open";
    let ran = lab.rlvm(&["snapshots"]);
    assert!(ran.code == Some(9) && ran.stderr.contains(open), "{ran:?}");
    let ran = lab.rlvm(&["prune", "web"]);
    assert!(ran.code == Some(1) && ran.stderr.contains(open), "{ran:?}");
    let ran = lab.rlvm(&["status"]);
    assert!(ran.stdout.contains("critical") && ran.stdout.contains(open), "{ran:?}");
}
