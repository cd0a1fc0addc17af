//! `rlvm verify`: repositories that are whole, damaged in every way, and out of reach, with each real restic; drills.

#![expect(clippy::unwrap_used, reason = "tests look at the machine themselves")]

mod damage;
mod drills;

use serde_json::Value;

use crate::{
    lab::{Lab, restics},
    support::BACKUP,
};

const VAULT: &str = "/srv/backup/vault";
const OFFSITE: &str = "/srv/backup/offsite";

/// Two destinations, the second for copies, and two jobs that share the first.
fn state(lab: &Lab, system: &str) {
    lab.state(&format!(
        "destinations:\n  \
           vault: {{ local: {{ path: {VAULT} }}, password_file: /etc/rlvm/vault.pass, generate_password: true }}\n  \
           offsite: {{ local: {{ path: {OFFSITE} }}, password_file: /etc/rlvm/offsite.pass, generate_password: true }}\n\
         jobs:\n  \
           system: {{ sources: [{{ path: /srv/data }}], to: [vault], copy: {{ offsite: {{ from: vault }} }}{system} }}\n  \
           web: {{ sources: [{{ path: /srv/www }}], to: [vault] }}\n"
    ));
}

/// A tree with every kind of file, and one that is large.
fn tree(lab: &Lab) {
    lab.file("/srv/www/index.html", "hello\n");
    let script = "
        mkdir -p /srv/data/docs /srv/data/bin '/srv/data/o d*d [x]' && cd /srv/data
        head -c 3000000 /dev/urandom > docs/large; head -c 900 /dev/urandom > docs/small
        echo well > bin/tool; chmod 4755 bin/tool; ln bin/tool bin/other; ln -s tool bin/link
        mkfifo pipe; mknod null c 1 3; truncate -s 2M sparse; touch empty
        printf x > 'o d*d [x]/n?a\\me'; printf x > \"$(printf 'odd\\377name')\"; printf x > \"$(printf 'two\\nlines')\"
        echo theirs > docs/theirs; chown 4000:4000 docs/theirs; chmod 600 docs/theirs
        touch -d 2001-02-03T04:05:06.789 docs/old; chmod 0 docs/old";
    lab.ok(&["sh", "-euc", script]);
}

/// Puts both repositories on the machine.
fn repositories(lab: &Lab) {
    lab.repository(VAULT, "/etc/rlvm/vault.pass");
    lab.repository(OFFSITE, "/etc/rlvm/offsite.pass");
}

/// A laboratory with a backup of both jobs at both destinations.
fn backed_up(lab: &Lab, system: &str) {
    tree(lab);
    repositories(lab);
    state(lab, system);
    lab.apply();
    lab.expect(0, &["run", "--all"]);
}

/// Returns the records of verifications.
fn records(lab: &Lab) -> Vec<Value> {
    let all = lab.ok(&["sh", "-c", "cat /var/lib/rlvm/records/*.jsonl"]);
    let all = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|it| it["kind"] == "verify").collect()
}

/// Says that nothing of a verification is left on the machine.
#[track_caller]
fn nothing_is_left(lab: &Lab) {
    let script = "ls -A /var/lib/rlvm/journal; find /var/cache/rlvm -name '.rlvm-*'; ls /srv/backup/*/locks | grep -v :";
    assert_eq!(lab.run(&["sh", "-c", script]).stdout.trim(), "");
}

#[test]
fn a_whole_repository_is_well() {
    // R77
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        backed_up(&lab, ", verify: { read_data: 50%, drill: { files: 30 } }");
        let said = lab.expect(0, &["verify"]).stdout;
        for words in [
            "vault: no damage found, part 1 of 2 of its data read, ",
            "offsite: no damage found, part 1 of 2 of its data read, ",
            " restored (",
        ] {
            assert!(said.contains(words), "{}: {said}", version.version);
        }
        let kept = records(&lab);
        assert_eq!(kept.len(), 2, "{kept:?}");
        let vault = kept.iter().find(|it| it["destination"] == "vault").unwrap();
        assert_eq!(
            (&vault["outcome"], &vault["jobs"]),
            (&"well".into(), &serde_json::json!(["system", "web"]))
        );
        assert_eq!(vault["read"], serde_json::json!({ "part": { "number": 1, "of": 2 } }));
        let [drill] = &vault["drills"].as_array().unwrap()[..] else { panic!("{vault}") };
        // All but what cannot be asked for: two names that are no plain UTF-8.
        assert_eq!((&drill["job"], &drill["files"]), (&"system".into(), &9.into()), "{drill}");
        assert_eq!(drill["compared"], 9, "nothing has changed since: {drill}");
        nothing_is_left(&lab);
        // What it covers goes on from where it was, and begins anew.
        for part in [2, 1] {
            let json: Value = serde_json::from_str(&lab.expect(0, &["verify", "--json"]).stdout).unwrap();
            assert_eq!(json["destinations"][0]["read"]["part"]["number"], part, "{json}");
        }
    }
}

#[test]
fn what_is_asked_for_takes_the_place_of_what_is_declared() {
    let lab = Lab::new();
    backed_up(&lab, ", verify: { read_data: 5% }");
    let one = |words: &[&str]| -> Value {
        let ran = lab.expect(0, &[&["verify", "--json", "--to", "vault"], words].concat());
        serde_json::from_str::<Value>(&ran.stdout).unwrap()["destinations"][0].clone()
    };
    assert_eq!(one(&["--read-data"])["read"], "all");
    assert_eq!(one(&["--read-data=1M"])["read"]["share"], "1M");
    assert_eq!(one(&["web"])["read"], "nothing");
    // Both jobs, each by itself.
    let drills = one(&["--drill=2"])["drills"].clone();
    assert_eq!((&drills[0]["files"], &drills[1]["files"]), (&2.into(), &1.into()), "{drills}");
    // Of a file that was written since only the copy is looked at.
    lab.file("/srv/www/index.html", "later\n");
    assert_eq!(one(&["web", "--drill"])["drills"][0]["compared"], 0);
    lab.expect(64, &["verify", "web", "--to", "offsite"]);
    lab.expect(64, &["verify", "--drill=0"]);
    lab.expect(1, &["verify", "wbe"]);
}

#[test]
fn what_a_dry_run_prints_can_be_pasted() {
    let lab = Lab::new();
    backed_up(&lab, ", verify: { drill: { files: 3 } }");
    let before = lab.tree();
    let printed = lab.expect(0, &["verify", "--dry-run", "--read-data=50%"]).stdout;
    assert!(
        printed.contains("--read-data-subset=1/2") && printed.contains("# system at vault: 3 files"),
        "{printed}"
    );
    assert_eq!(lab.tree(), before);
    lab.ok(&["sh", "-ec", &printed]);
    nothing_is_left(&lab);
}

#[test]
fn as_another_user() {
    // R20, R77
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        lab.file_of("/srv/data/a", "hello\n", BACKUP, 0o600);
        lab.file_of("/srv/data/set", "hello\n", 0, 0o6755);
        lab.file_of("/etc/rlvm/vault.pass", "hunter22\n", BACKUP, 0o600);
        lab.repository(VAULT, "/etc/rlvm/vault.pass");
        lab.state(&format!(
            "destinations:\n  vault: {{ local: {{ path: {VAULT} }}, password_file: /etc/rlvm/vault.pass }}\n\
             jobs:\n  system: {{ sources: [{{ path: /srv/data }}], to: [vault], user: backup }}\n"
        ));
        lab.apply();
        lab.expect(0, &["run", "system"]);
        let json: Value =
            serde_json::from_str(&lab.expect(0, &["verify", "--drill", "--json"]).stdout).unwrap();
        let drill = &json["destinations"][0]["drills"][0];
        assert_eq!((&drill["files"], &drill["compared"]), (&2.into(), &2.into()), "{json}");
        let owners = lab.ok(&["find", VAULT, "-not", "-user", "backup"]);
        assert_eq!(owners, "", "{}: root's would be closed to the job", version.version);
        nothing_is_left(&lab);
    }
}

#[test]
fn its_schedule_comes_and_goes() {
    // R77
    let lab = Lab::new();
    tree(&lab);
    repositories(&lab);
    state(&lab, ", verify: { schedule: \"0 6 * * 0\", read_data: all within 90d }");
    lab.apply();
    let entry = lab.read("/etc/cron.d/rlvm_verify-system");
    assert!(entry.contains("0 6 * * 0 root /usr/bin/rlvm --quiet verify system\n"), "{entry}");
    lab.expect(0, &["run", "--all"]);
    // What cron mails is what it prints.
    let ran = lab.expect(0, &["--quiet", "verify", "system"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert_eq!(records(&lab)[0]["read"]["part"]["of"], 12);
    state(&lab, "");
    lab.apply();
    assert!(!lab.at("/etc/cron.d/rlvm_verify-system").exists());
}
