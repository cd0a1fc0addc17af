//! What is damaged, what is out of reach, and that one is never taken for the other.

use serde_json::Value;

use super::{VAULT, backed_up, nothing_is_left, records};
use crate::{
    lab::{Lab, NAS, NAS_USER, REST_PASSWORD, REST_USER, restics},
    support::Ran,
};

/// What is done to a repository; `large` and `trees` are its packs.
const PREPARE: &str = "
cd /srv/backup/vault
large=$(ls -S data/*/* | head -1) trees=$(ls -S data/*/* | tail -1)
garble() { printf 'UUUU' | dd of=\"$1\" bs=1 seek=\"$2\" conv=notrunc status=none; }
chmod -R u+w .
";

/// What is done, with which words it is looked at, and what has to be found: the outcome, what the message says.
const HARM: &[(&str, &[&str], &str, &str)] = &[
    (":", &["--read-data", "--drill"], "well", ""),
    ("truncate -s -100 $large", &[], "damaged", "unexpected file size"),
    ("truncate -s 0 $large", &[], "damaged", "unexpected file size"),
    ("garble $large 5000", &[], "well", ""),
    ("garble $large 5000", &["--read-data"], "damaged", ""),
    ("garble $large 5000", &["system", "--drill=100"], "damaged", ""),
    ("rm $large", &[], "damaged", "does not exist"),
    ("rm $large", &["system", "--drill=100"], "damaged", "does not exist"),
    ("garble $trees 40", &[], "damaged", "ciphertext verification failed"),
    ("rm index/*", &[], "damaged", "not found"),
    ("garble $(ls index/* | head -1) 40", &[], "damaged", "error loading index"),
    ("garble $(ls snapshots/* | head -1) 40", &[], "damaged", "invalid data returned"),
    ("truncate -s 0 config", &[], "damaged", ""),
    ("rm config", &[], "damaged", "there is no repository"),
    // An upload that was cut short, and what nobody needs any more, are no damage.
    ("mkdir -p data/00; head -c 100 $large > data/00/$(printf '%064d' 0)", &["--read-data"], "well", ""),
    // Of these nobody can say what the repository holds.
    (
        "mv /srv/backup/vault /srv/elsewhere; mkdir /srv/backup/vault",
        &[],
        "unreachable",
        "is its disk mounted?",
    ),
    ("echo wrong > /etc/rlvm/vault.pass", &[], "failed", "wrong password"),
    ("rm /etc/rlvm/vault.pass", &[], "failed", "is not there"),
];

/// A laboratory with backups whose smallest pack holds trees.
fn packed(lab: &Lab) {
    lab.dir("/srv/www", 0, 0o755);
    lab.ok(&["sh", "-c", "head -c 20000 /dev/urandom > /srv/www/photo"]);
    backed_up(lab, "");
}

#[test]
fn each_damage_is_found_and_is_no_absence() {
    // R77
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        packed(&lab);
        lab.ok(&["sh", "-euc", "cp -a /srv/backup /srv/good; cp -a /etc/rlvm/vault.pass /srv/good.pass"]);
        for (harm, words, outcome, says) in HARM {
            let script = "rm -rf /srv/backup /srv/elsewhere; cp -a /srv/good /srv/backup; cp -a /srv/good.pass /etc/rlvm/vault.pass";
            lab.ok(&["sh", "-euc", &format!("{script}\n{PREPARE}{harm}")]);
            let code = if *outcome == "well" { 0 } else { 9 };
            let ran = lab.rlvm(&[&["verify", "--json", "--to", "vault"], *words].concat());
            let what = format!("{}: {harm} {words:?}: {ran:?}", version.version);
            assert_eq!(ran.code, Some(code), "{what}");
            let json: Value = serde_json::from_str(&ran.stdout).unwrap();
            let found = &json["destinations"][0];
            assert_eq!(found["outcome"], *outcome, "{what}");
            assert!(ran.stdout.contains(says), "{what}");
            if *outcome != "well" {
                assert!(ran.stderr.contains("error: 1 of 1: not well"), "{what}");
            }
            let kept = records(&lab);
            assert_eq!(kept.last(), Some(found), "{what}");
        }
        nothing_is_left(&lab);
    }
}

#[test]
fn a_tree_that_is_missing() {
    // R77. 0.14 tries for 45 s whether it comes back, twice (tried).
    for version in restics().into_iter().skip(1) {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        packed(&lab);
        lab.ok(&["sh", "-euc", &format!("{PREPARE}rm $trees")]);
        let Ran { stderr, .. } = lab.expect(9, &["verify", "--to", "vault", "--drill"]);
        assert!(stderr.contains("error: vault: damaged: pack "), "{stderr}");
        assert!(stderr.contains("does not exist") && stderr.contains("help: other destinations"), "{stderr}");
    }
}

#[test]
fn locked_by_another_host_is_neither() {
    // R69, R77
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        backed_up(&lab, "");
        let script = format!(
            "hostname web02; mkfifo /srv/pipe; exec 8<>/srv/pipe
             restic -q --no-cache --repo {VAULT} --password-file /etc/rlvm/vault.pass backup --stdin <&8 & pid=$!
             until [ -n \"$(ls {VAULT}/locks | grep -v tmp)\" ]; do sleep 0.1; done
             kill -9 $pid; wait $pid || true"
        );
        lab.ok(&["unshare", "--uts", "sh", "-euc", &script]);
        let Ran { stdout, stderr, .. } = lab.expect(9, &["verify", "--wait", "1s", "--drill"]);
        let words = "error: vault: not verified: the repository is locked by PID ";
        assert!(
            stderr.contains(words) && stderr.contains(" on web02 by root"),
            "{}: {stderr}",
            version.version
        );
        assert!(stdout.contains("offsite: no damage found"), "{stdout}");
        assert_eq!(
            records(&lab).iter().find(|it| it["destination"] == "vault").unwrap()["outcome"],
            "failed"
        );
    }
}

/// A job that stores at the two servers.
fn elsewhere(lab: &Lab) {
    let (nas, nas_id) = NAS_USER;
    lab.repository(VAULT, "/etc/rlvm/near.pass");
    lab.repository_of("/srv/rest/r", "hunter22", 0);
    lab.repository_of(&format!("{NAS}/repo/r"), "hunter22", nas_id);
    for (name, text) in [("rest.user", REST_USER), ("rest.login", REST_PASSWORD), ("far.pass", "hunter22")] {
        lab.file_of(&format!("/etc/rlvm/{name}"), &format!("{text}\n"), 0, 0o600);
    }
    lab.file("/srv/www/index.html", "hello\n");
    lab.state(&format!(
        "destinations:\n  \
           near: {{ local: {{ path: {VAULT} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n  \
           rest: {{ rest: {{ url: \"http://rest.lan:8000/r\", plain_http: true, user_file: /etc/rlvm/rest.user, password_file: /etc/rlvm/rest.login }}, password_file: /etc/rlvm/far.pass }}\n  \
           nas: {{ sftp: {{ host: nas.lan, user: {nas}, path: /repo/r }}, password_file: /etc/rlvm/far.pass }}\n\
         jobs:\n  web: {{ sources: [{{ path: /srv/www }}], to: [near, nas, rest] }}\n"
    ));
}

#[test]
fn out_of_reach_is_no_damage_and_no_reason_to_leave_the_others() {
    // R77
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        let (sshd, mut rest) = (lab.sshd(), lab.rest(&[]));
        lab.introduce(&sshd);
        elsewhere(&lab);
        lab.apply();
        lab.expect(0, &["run", "web"]);
        lab.expect(0, &["verify", "--drill"]);
        rest.server.stop();
        drop(sshd);
        let ran = lab.expect(9, &["verify", "--drill"]);
        let what = format!("{}: {ran:?}", version.version);
        assert!(ran.stdout.contains("near: no damage found"), "{what}");
        assert!(
            ran.stderr.contains("error: rest: unreachable: ") && ran.stderr.contains("connection refused"),
            "{what}"
        );
        assert!(ran.stderr.contains("error: nas: unreachable: "), "{what}");
        assert!(!ran.stderr.contains("damaged") && ran.stderr.contains("error: 2 of 3: not well"), "{what}");
        let outcome = |name: &str| {
            let kept = records(&lab);
            kept.iter().rev().find(|it| it["destination"] == name).unwrap()["outcome"].clone()
        };
        assert_eq!(
            (outcome("near"), outcome("nas"), outcome("rest")),
            ("well".into(), "unreachable".into(), "unreachable".into())
        );
    }
}
