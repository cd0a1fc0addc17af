//! Programs that a run starts, and programs that read what it prints, which do not behave.

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
                { run: \"yes $(printf %0999d 1) | head -n 3000\" }, { run: \"sleep 60 >/dev/null 2>&1 &\" }] }";
    let lab = applied(hook);
    let ran = lab.run(&["timeout", "-s", "KILL", "30", "rlvm", "run", "web"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let record = lab.ok(&["sh", "-c", "cat /var/lib/rlvm/records/*.jsonl"]);
    assert!(record.contains("hook before 1: /bin/sh took longer than 1 s"), "{record}");
    assert!(record.contains("hook before 3 has left sleep (process "), "{record}");
    let log = lab.read("/var/log/rlvm/web.log");
    assert!(log.contains("[printed more than 1 MiB: ") && log.len() < 8 << 20, "{} bytes", log.len());
}

#[test]
fn slow_json_reader_does_not_block_a_run() {
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
    assert!(log.contains("reader was too slow"), "{log}");
}

#[test]
fn unfinished_list_is_an_error() {
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

#[test]
fn a_list_of_any_length_is_read_whole() {
    let lab = applied(", retention: { daily: 9000 }");
    lab.expect(0, &["run", "web"]);
    // 6 MiB of snapshots, before the real one.
    let many: Vec<String> = (0..7000)
        .map(|n| {
            let (id, path) = (format!("{n:064x}"), "x".repeat(600));
            format!(
                r#"{{"time":"2020-01-01T00:00:00Z","id":"{id}","hostname":"web01","tags":["rlvm:job=web"],"paths":["/{path}"]}},"#
            )
        })
        .collect();
    lab.file("/srv/many", &many.join("\n"));
    let last = r#"{"time":"2020-01-01T00:00:00Z","id":"ff"}"#;
    stand_in(
        &lab,
        &format!(
            "echo \"$*\" >>/srv/calls\ncase $1 in\n\
             snapshots) printf '['; cat /srv/many; printf '{last}]'; exit 0;;\n\
             forget) printf '[{{\"keep\":['; cat /srv/many; printf '{last}],\"remove\":null}}]'; exit 0;;\nesac"
        ),
    );
    let status: serde_json::Value = serde_json::from_str(&lab.rlvm(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["lines"][0]["snapshots"], 7000, "{status}");
    let ran = lab.expect(0, &["prune", "web"]);
    assert!(ran.stdout.contains("7001"), "{ran:?}");
    let shown = lab.expect(0, &["snapshots", "web", "--json"]).stdout;
    assert_eq!(shown.matches("rlvm:job=web").count(), 7000);
    // What is asked for is said to restic.
    let calls = lab.read("/srv/calls");
    let lists: Vec<&str> = calls.lines().filter(|it| it.starts_with("snapshots ")).collect();
    let is_of = |call: &&&str| call.contains("--host web01") && call.contains("--tag rlvm:job=web");
    assert!(lists.len() >= 2 && lists.iter().all(|it| is_of(&it)), "{calls}");
    // It is found among many.
    let real = lab.ok(&["sh", "-c", &format!("ls {VAULT}/snapshots")]);
    let found = many[0].replacen(&"0".repeat(64), real.trim(), 1).replace("2020-01", "2020-02");
    let found = many.join("") + &found.replace(&format!("/{}", "x".repeat(600)), "/srv/www");
    lab.file("/srv/many", &found);
    lab.expect(0, &["restore", "web", "--target", "/srv/restored"]);
    assert_eq!(lab.read("/srv/restored/srv/www/index.html"), "hello\n");
}

#[test]
fn an_lvs_that_fails_twice_is_asked_again() {
    let lab = applied("");
    // Every third call answers.
    let script = "#!/bin/sh\nn=$(cat /srv/n 2>/dev/null || echo 0); echo $((n + 1)) >/srv/n\n\
                  [ $((n % 3)) = 2 ] || { echo busy >&2; exit 5; }\necho '{\"report\":[{\"lv\":[]}]}'\n";
    lab.file_of("/usr/local/sbin/lvs", script, 0, 0o755);
    let text = lab.ok(&["cat", lab.inside("state/hosts/web01.yaml").to_str().unwrap()]);
    lab.state_text(&text.replace("{ path: /srv/www }", "{ lvm: { volume: vg0/web } }"));
    let ran = lab.expect(1, &["run", "web"]);
    assert!(ran.stderr.contains("there is no logical volume vg0/web"), "{ran:?}");
    assert_eq!(lab.read("/srv/n"), "3\n");
}
