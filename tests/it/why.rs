//! What `rlvm why` says of a job, before and after real runs.

#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;

use crate::lab::Lab;

const STATE: &str = "destinations:\n  \
     vault: { local: { path: /srv/backup/vault }, password_file: /etc/rlvm/vault.pass, generate_password: true }\n  \
     offsite: { local: { path: /srv/backup/offsite }, password_file: /etc/rlvm/offsite.pass, generate_password: true }\n\
     jobs:\n  \
     data: { sources: [{ path: /srv/data }, { path: /srv/away }], to: [vault], copy: { offsite: { from: vault } }, \
     schedule: \"30 2 * * *\", jitter: 5m, timeout: 6h, retention: { last: 3, daily: 7 }, \
     hooks: { before: [{ name: dump, run: \"true\", timeout: 2m }], finally: [{ run: \"env > /srv/told\" }] } }\n  \
     off: { sources: [{ path: /srv/data }], to: [vault], enabled: false, schedule: \"@daily\" }\n";

#[track_caller]
fn why(lab: &Lab, job: &str) -> (String, Value) {
    let text = lab.expect(0, &["why", job]).stdout;
    let json = serde_json::from_str(&lab.expect(0, &["why", job, "--json"]).stdout).unwrap();
    (text, json)
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    let squeezed: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in lines {
        assert!(squeezed.iter().any(|it| it.contains(line)), "{line}:\n{text}");
    }
}

#[test]
fn all_about_a_job_and_how_its_last_run_went() {
    let lab = Lab::new();
    lab.file("/srv/data/a", "a");
    lab.repository("/srv/backup/vault", "/etc/rlvm/vault.pass");
    lab.repository("/srv/backup/offsite", "/etc/rlvm/offsite.pass");
    lab.state(STATE);
    lab.apply();
    let (text, json) = why(&lab, "data");
    has(
        &text,
        &[
            "job data of web01",
            "user root",
            "schedule 30 2 * * *, up to 5m later",
            "sources /srv/data",
            "unfit: /srv/away is not there; mount it",
            "destinations vault: /srv/backup/vault",
            "copies offsite: /srv/backup/offsite, from vault",
            "keeps the newest 3, the newest of each of 7 days",
            "prune by hand",
            "hooks before dump (up to 2m): true",
            "finally (up to 10m): env > /srv/told",
            "limits ended after 6h",
            "cache /var/cache/rlvm/root",
            "last run never",
            "log /var/log/rlvm/data.log",
            "records /var/lib/rlvm/records",
        ],
    );
    assert_eq!(json["next"].as_array().unwrap().len(), 3, "{json}");
    assert_eq!(json["sources"][0]["paths"][0], "/srv/data");
    assert!(json["sources"][1]["unfit"]["message"].is_string() && json.get("last").is_none(), "{json}");
    // Reading only: not even a cache is made.
    assert!(!lab.at("/var/cache/rlvm").exists() && !lab.at("/var/lib/rlvm/records").exists());

    assert_ne!(lab.rlvm(&["run", "data"]).code, Some(0));
    let (text, json) = why(&lab, "data");
    has(&text, &["last run failed, ", "error: /srv/away is not there"]);
    assert_eq!(json["last"]["jobs"][0]["status"], "failed", "{json}");

    lab.file("/srv/away/b", "b");
    lab.expect(0, &["run", "data", "off"]);
    let (text, json) = why(&lab, "data");
    let of_job = &json["last"]["jobs"];
    assert_eq!(of_job.as_array().unwrap().len(), 1, "{json}");
    let snapshot = of_job[0]["destinations"][0]["summary"]["snapshot_id"].as_str().unwrap();
    has(&text, &["last run success, ", &format!("vault: success, snapshot {}", &snapshot[..8])]);
    assert!(!text.contains("unfit"), "{text}");
    // What it says that hooks find, they found.
    let told = lab.read("/srv/told");
    for (name, value) in json["environment"].as_object().unwrap() {
        let line = format!("{name}={}", value.as_str().unwrap());
        assert!(name == "PATH" || told.lines().any(|it| it == line), "{line}: {told}");
    }
    assert!(["RLVM_RUN=", "RLVM_STATUS=success"].iter().all(|it| told.contains(it)), "{told}");

    let (text, json) = why(&lab, "off");
    has(&text, &["schedule @daily; disabled", "keeps all", "last run success"]);
    assert_eq!(json["next"].as_array().unwrap().len(), 0, "{json}");
    let ran = lab.rlvm(&["why", "nobody"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("there are: data, off"), "{ran:?}");
}
