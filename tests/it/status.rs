//! How the backups are, of real repositories with a history that is made up, with each real restic.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    time::Duration,
};

use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use crate::{
    lab::{Lab, restics},
    monitoring::lints,
    support::Ran,
};

const PASSWORD: &str = "/etc/rlvm/pass";

/// Returns a schedule whose last time was three to four hours ago.
fn lately() -> String {
    let then = (Timestamp::now() - 3.hours()).to_zoned(jiff::tz::TimeZone::UTC);
    format!("0 {} * * *", then.hour())
}

/// Three repositories with one password; `system` at the first, copied to the second, `db` at the third, `hand` without a
/// schedule.
fn state(lab: &Lab, more: &str) {
    let place =
        |name: &str| format!("  {name}: {{ local: {{ path: /srv/{name} }}, password_file: {PASSWORD} }}\n");
    let places: String = ["vault", "offsite", "third"].map(place).concat();
    let schedule = lately();
    lab.state(&format!(
        "was: [old01]\ndestinations:\n{places}jobs:\n  \
           system: {{ was: [sys], sources: [{{ path: /srv/data }}], to: [vault], copy: {{ offsite: {{ from: vault }} }}, schedule: \"{schedule}\", retention: {{ daily: 9 }} }}\n  \
           db: {{ sources: [{{ path: /srv/data }}], to: [third], schedule: \"{schedule}\" }}\n  \
           hand: {{ sources: [{{ path: /srv/data }}], to: [third] }}\n  \
           off: {{ sources: [{{ path: /srv/data }}], to: [vault], schedule: \"@daily\", enabled: false }}\n{more}"
    ));
}

fn prepared() -> Lab {
    let lab = Lab::new();
    lab.file_of(PASSWORD, "hunter22\n", 0, 0o600);
    lab.file("/srv/data/a", "a");
    lab
}

#[track_caller]
fn restic(lab: &Lab, repository: &str, words: &[&str]) -> String {
    let start = ["restic", "-q", "--no-cache", "--password-file", PASSWORD, "--repo", repository];
    lab.ok(&[&start[..], words].concat())
}

/// Makes a backup of so many hours ago.
#[track_caller]
fn backup(lab: &Lab, name: &str, hours: i64, host: &str, tag: &str) {
    lab.file("/srv/data/a", &format!("{name} {hours} {host} {tag}"));
    let time = (Timestamp::now() - hours.hours()).strftime("%F %T").to_string();
    let words = ["backup", "--time", &time, "--host", host, "--tag", tag, "/srv/data"];
    restic(lab, &format!("/srv/{name}"), &words);
}

/// Puts repositories with these names on the machine.
fn repositories(lab: &Lab, names: &[&str]) {
    for name in names {
        lab.repository(&format!("/srv/{name}"), PASSWORD);
    }
}

/// Returns what is said of each job at each destination, the worst first, and the status itself.
#[track_caller]
fn status(lab: &Lab, code: i32, more: &[&str]) -> (BTreeMap<String, String>, Value) {
    let ran = lab.expect(code, &[&["status", "--json"], more].concat());
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let said = |line: &Value| {
        let words = |it: &Value| it["verdict"].as_str().unwrap().to_owned();
        let judged: Vec<String> = line["judged"].as_array().unwrap().iter().map(words).collect();
        let name = format!("{} {}", line["job"].as_str().unwrap(), line["destination"].as_str().unwrap());
        (name, judged.join(" "))
    };
    (json["lines"].as_array().unwrap().iter().map(said).collect(), json)
}

fn expected(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(name, said)| ((*name).to_owned(), (*said).to_owned())).collect()
}

#[test]
fn judged_by_what_is_there() {
    // R76, R79
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        repositories(&lab, &["vault", "offsite", "third"]);
        state(&lab, "");
        lab.apply();
        for (name, hours, host, tag) in [
            ("vault", 50, "old01", "rlvm:job=sys"),
            ("vault", 2, "web01", "rlvm:job=system"),
            ("vault", 1, "web02", "rlvm:job=system"),
            ("offsite", 30, "web01", "rlvm:job=system"),
            ("third", 1, "web02", "rlvm:job=db"),
            ("third", 900, "web01", "rlvm:job=hand"),
            ("third", 800, "web01", "mine"),
        ] {
            backup(&lab, name, hours, host, tag);
        }
        let before = lab.tree_hash();
        let (said, json) = status(&lab, 9, &[]);
        let all = expected(&[
            ("system vault", "fresh"),
            ("system offsite", "overdue"),
            ("db third", "never_stored"),
            ("hand third", "unscheduled"),
            ("off vault", "unscheduled"),
        ]);
        assert_eq!(said, all, "{}: {json:#}", version.version);
        assert_eq!((&json["level"], &json["cached"]), (&"critical".into(), &false.into()));
        assert_eq!(json["lines"][0]["level"], "critical", "the worst first");
        let vault = json["lines"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["destination"] == "vault" && it["job"] == "system");
        let vault = vault.unwrap();
        assert_eq!(vault["snapshots"], 2, "its own, under its old names too");
        // restic 0.14 keeps no size with a snapshot.
        assert_eq!(vault.get("bytes").is_some(), version.version.1 >= 17, "{vault}");
        let text = lab.expect(9, &["status"]).stdout;
        assert!(text.ends_with("Status: 2 critical, 0 warnings, 3 ok.\n"), "{text}");
        assert!(text.contains("overdue by ") && !text.contains('\x1b'), "{text}");
        let coloured = lab.expect(9, &["--color", "always", "status"]).stdout;
        assert!(coloured.contains("\x1b[31mcritical\x1b[0m"), "{coloured}");
        lab.expect(0, &["status", "--fail-on", "never"]);

        let ids = |words: &[&str]| {
            lab.expect(0, words).stdout.lines().filter(|it| it.contains("/srv/data")).count()
        };
        assert_eq!(ids(&["snapshots"]), 5);
        assert_eq!(ids(&["snapshots", "--all-hosts"]), 7);
        assert_eq!(ids(&["snapshots", "system"]), 3);
        assert_eq!(ids(&["snapshots", "system", "--to", "vault", "--latest", "1"]), 2, "of each host");
        let json = lab.expect(0, &["snapshots", "system", "--json"]).stdout;
        let json: Value = serde_json::from_str(&json).unwrap();
        let newest = &json["snapshots"][2];
        assert_eq!((&newest["job"], &newest["destination"]), (&"system".into(), &"vault".into()));
        assert_eq!(newest["hostname"], "web01", "{newest}");
        assert!(newest["id"].as_str().unwrap().starts_with(newest["short_id"].as_str().unwrap()));
        // R24: they change nothing, not even a cache.
        assert_eq!(lab.tree_hash(), before, "{}", version.version);
        let unknown = lab.expect(64, &["snapshots", "db", "--to", "vault"]);
        assert!(unknown.stderr.contains("there are: third"), "{unknown:?}");
        lab.expect(1, &["snapshots", "nothing"]);
    }
}

/// What is done to a good repository, what is said of it then, and in which words.
const HARM: &[(&str, &str, &str)] = &[
    ("true", "fresh", "stored "),
    (
        "rm -r /srv/vault",
        "not_initialised",
        "the repository is gone: mount what it lies on, or see rlvm plan",
    ),
    ("echo wrong > /etc/rlvm/pass.vault", "unreadable", "wrong password"),
    ("rm /etc/rlvm/pass.vault", "unreachable", "its password file /etc/rlvm/pass.vault is not there"),
    ("rm -rf /srv/vault/keys/*", "unreadable", "damaged: it has no keys"),
    ("rm -f /srv/vault/config", "unreadable", "damaged: its configuration is missing"),
    ("chmod u+w /srv/vault/config && truncate -s 77 /srv/vault/config", "unreadable", "damaged: "),
    // Somebody works on it, and has it for itself.
    (
        "touch /srv/vault/locks/0000000000000000000000000000000000000000000000000000000000000000",
        "fresh",
        "stored ",
    ),
];

#[test]
fn each_failure_by_its_own_name() {
    // R22, R76
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        lab.file_of("/etc/rlvm/pass.vault", "hunter22\n", 0, 0o600);
        lab.file_of("/etc/rlvm/rest.user", "me\n", 0, 0o600);
        lab.file_of("/etc/rlvm/rest.login", "canary\n", 0, 0o600);
        let schedule = lately();
        let places = |vault: &str| {
            lab.state(&format!(
                "destinations:\n  vault: {{ {vault}, password_file: /etc/rlvm/pass.vault }}\n  \
                 other: {{ local: {{ path: /srv/other }}, password_file: {PASSWORD} }}\njobs:\n  \
                 web: {{ sources: [{{ path: /srv/data }}], to: [vault, other], schedule: \"{schedule}\" }}\n"
            ));
        };
        places("local: { path: /srv/vault }");
        repositories(&lab, &["vault", "other"]);
        lab.apply();
        backup(&lab, "vault", 2, "web01", "rlvm:job=web");
        backup(&lab, "other", 2, "web01", "rlvm:job=web");
        lab.ok(&["sh", "-ec", "cp -a /srv/vault /srv/good; cp -a /etc/rlvm/pass.vault /etc/rlvm/pass.good"]);
        for (harm, verdict, words) in HARM {
            let again = "rm -rf /srv/vault; cp -a /srv/good /srv/vault; cp -a /etc/rlvm/pass.good /etc/rlvm/pass.vault";
            lab.ok(&["sh", "-ec", &format!("{again}; {harm}")]);
            let well = *verdict == "fresh";
            let (said, json) = status(&lab, if well { 0 } else { 9 }, &[]);
            assert_eq!(
                said,
                expected(&[("web vault", verdict), ("web other", "fresh")]),
                "{}: {harm}: {json:#}",
                version.version
            );
            assert!(json["lines"].to_string().contains(words), "{}: {harm}: {json:#}", version.version);
            let Ran { stdout, stderr, code } = lab.rlvm(&["snapshots"]);
            assert_eq!(code, Some(if well { 0 } else { 9 }), "{harm}: {stdout}{stderr}");
            assert!(
                stdout.contains("other") && stderr.contains("error: vault: ") != well,
                "{harm}: {stdout}{stderr}"
            );
        }
        // Nobody is there, and one who says nothing.
        for url in ["http://rest.lan:8009/r", "http://mute.lan:8000/r"] {
            places(&format!(
                "rest: {{ url: \"{url}\", plain_http: true, user_file: /etc/rlvm/rest.user, password_file: /etc/rlvm/rest.login }}"
            ));
            let _mute = url.contains("mute").then(|| lab.mute());
            let (said, json) = status(&lab, 9, &["--timeout", "4s"]);
            assert_eq!(said["web vault"], "unreachable", "{}: {url}: {json:#}", version.version);
            assert_eq!(said["web other"], "fresh", "{}: {url}", version.version);
            let more = lab.expect(9, &["-vv", "snapshots", "--timeout", "4s"]);
            for text in [json.to_string(), more.stdout, more.stderr] {
                assert!(
                    !text.contains("canary") && !text.contains("hunter22"),
                    "{}: {text}",
                    version.version
                );
            }
        }
    }
}

#[test]
fn metrics_after_each_run_prune_and_verification() {
    const FILE: &str = "/var/lib/metrics/rlvm.prom";
    let lab = prepared();
    lab.dir("/var/lib/metrics", 0, 0o755);
    repositories(&lab, &["vault", "offsite", "third"]);
    state(&lab, &format!("metrics: {{ textfile: {FILE} }}\n"));
    lab.apply();
    lab.expect(0, &["plan"]);
    lab.expect(0, &["run", "system", "db", "hand"]);
    let text = lab.read(FILE);
    lints(&text);
    assert!(text.contains("rlvm_backup_level{job_name=\"system\",destination=\"offsite\"} 0\n"), "{text}");
    assert!(
        text.contains("rlvm_backup_last_duration_seconds{job_name=\"db\",destination=\"third\"} "),
        "{text}"
    );
    let meta = fs::metadata(lab.at(FILE)).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o644, 0));
    lab.expect(0, &["verify", "system"]);
    let text = lab.read(FILE);
    lints(&text);
    let verified = "rlvm_backup_verified_timestamp_seconds{job_name=\"system\",destination=\"offsite\"} ";
    assert!(text.contains(verified), "{text}");

    // By hand it is that file and nothing else; what stands in its place is not followed.
    fs::remove_file(lab.at(FILE)).unwrap();
    lab.file("/srv/precious", "precious");
    let before = lab.tree();
    lab.expect(0, &["status", "--metrics", "/srv/other.prom"]);
    let mut after = lab.tree();
    assert_eq!(after.remove("/srv/other.prom").map(|_| ()), Some(()));
    assert_eq!(after, before);
    lints(&lab.read("/srv/other.prom"));
    symlink("/srv/precious", lab.at(FILE)).unwrap();
    let refused = lab.expect(0, &["prune"]);
    assert!(refused.stderr.contains("warning: metrics: "), "{refused:?}");
    assert_eq!(lab.read("/srv/precious"), "precious");
    fs::remove_file(lab.at(FILE)).unwrap();
    lab.expect(0, &["prune"]);
    assert!(lab.at(FILE).is_file());

    // A run is as good as it was, whatever becomes of its metrics.
    lab.ok(&["rm", "-r", "/var/lib/metrics"]);
    let ran = lab.expect(0, &["run", "db"]);
    assert!(
        ran.stderr.contains("warning: metrics: cannot write the metrics to /var/lib/metrics/rlvm.prom"),
        "{ran:?}"
    );
    lab.expect(1, &["status", "--metrics", FILE]);
}

#[test]
fn what_else_is_to_be_said() {
    let lab = prepared();
    let (password, schedule) = ("/etc/rlvm/secrets/own", lately());
    lab.state(&format!(
        "destinations:\n  vault: {{ local: {{ path: /srv/vault }}, password_file: {password}, generate_password: true }}\njobs:\n  \
         web: {{ sources: [{{ path: /srv/data }}], to: [vault], schedule: \"{schedule}\" }}\n"
    ));
    lab.apply();
    lab.make_key_cheap("/srv/vault", password);
    lab.expect(0, &["run", "web"]);
    let about = |code: i32| -> Vec<String> {
        let (_, json) = status(&lab, code, &["--fail-on", "warning"]);
        let remarks = json["remarks"].as_array().unwrap().iter();
        remarks.map(|it| it["about"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(about(9), ["secret"]);
    lab.expect(0, &["status"]);
    // A file of another owner than apply gave it, and a run that died.
    lab.ok(&[
        "sh",
        "-c",
        "echo '# mine' >> /etc/cron.d/rlvm-web || echo '# mine' >> $(ls /etc/cron.d/* | head -1)",
    ]);
    lab.file_of("/var/lib/rlvm/journal/0123456789ab", "", 0, 0o600);
    assert_eq!(about(9), ["drift", "secret"], "a journal that was just made is a run's that begins");
    lab.ok(&["touch", "-d", "1 hour ago", "/var/lib/rlvm/journal/0123456789ab"]);
    let before = lab.tree_hash();
    assert_eq!(about(9), ["drift", "secret", "journal"]);
    let text = lab.expect(0, &["status"]).stdout;
    assert!(
        text.contains("warning: drift: the host differs from the state that was applied in 1 resource: "),
        "{text}"
    );
    assert!(
        text.contains("warning: journal: a run has died and is not swept (0123456789ab): rlvm sweep\n"),
        "{text}"
    );
    assert_eq!(lab.tree_hash(), before);
    // What somebody else could have written is not read, and said; the repositories are asked all the same.
    lab.file_of("/var/lib/rlvm/records/2026-01.jsonl", "", 0, 0o666);
    assert_eq!(about(9), ["drift", "secret", "journal", "records"]);
}

#[test]
fn a_run_that_fails_and_one_that_recovers() {
    let lab = prepared();
    repositories(&lab, &["vault", "offsite", "third"]);
    state(&lab, "");
    lab.apply();
    lab.expect(0, &["run", "system", "db"]);
    let (said, _) = status(&lab, 0, &[]);
    assert_eq!((&*said["system offsite"], &*said["db third"]), ("fresh", "fresh"));
    lab.ok(&["mv", "/srv/third", "/srv/away"]);
    lab.expect(8, &["run", "db"]);
    lab.ok(&["mv", "/srv/away", "/srv/third"]);
    let (said, json) = status(&lab, 9, &["--fail-on", "warning"]);
    assert_eq!(said["db third"], "failing fresh", "{json:#}");
    assert!(json["lines"].to_string().contains("\"failing_since\":\"2"), "{json:#}");
    // Times are to the second.
    std::thread::sleep(Duration::from_millis(1100));
    lab.expect(0, &["run", "db"]);
    let (said, json) = status(&lab, 0, &[]);
    assert_eq!(said["db third"], "fresh");
    assert!(!json["lines"].to_string().contains("failing_since"), "{json:#}");
}
