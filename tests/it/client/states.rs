//! R22: what plan says of a repository in each state, in each kind of place, with each restic.

#![expect(clippy::disallowed_methods, reason = "RLVM_TABLE asks for the table itself")]

use rlvm::restic::Version;

use super::{give_passwords, says};
use crate::lab::{Lab, Restic, restics};

const STATE: &str = "destinations:
  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/vault.pass }
  nas: { sftp: { user: backup-web01, host: nas.lan, path: /repo/r }, password_file: /etc/rlvm/nas.pass }
  offsite: { s3: { endpoint: \"http://s3.lan:3900\", bucket: web, prefix: r, path_style: true, plain_http: true }, password_file: /etc/rlvm/offsite.pass, env_file: /etc/rlvm/s3.env }
  rest: { rest: { url: \"http://rest.lan:8000/r\", plain_http: true, user_file: /etc/rlvm/rest.user, password_file: /etc/rlvm/rest.login }, password_file: /etc/rlvm/rest.pass }
ssh:
  keys: { /root/.ssh/id_rlvm: {} }
  hosts: { nas.lan: { identity: /root/.ssh/id_rlvm, host_keys: [HOST_KEY] } }
jobs:
  home: { sources: [{ path: /home }], to: [vault, nas, offsite, rest], schedule: \"@daily\" }
";

/// Each place: the destination, and where its files are kept while they are harmed.
const PLACES: [(&str, &str); 4] = [
    ("vault", "/srv/r"),
    ("nas", "/srv/nas/backup-web01/repo/r"),
    ("offsite", "/srv/s3"),
    ("rest", "/srv/rest/r"),
];

/// Each state: what is done to a good repository, and what plan says of a local one and of one elsewhere.
const STATES: &[(&str, &str, [&str; 2])] = &[
    ("ready", "true", [""; 2]),
    ("locked", "leave_a_lock", ["notice: locked: something works on it, or died working on it"; 2]),
    ("absent", "find . -mindepth 1 -delete", ["error: the repository ID is gone from "; 2]),
    ("config garbled", "garble config", ["error: damaged: "; 2]),
    ("config cut short", "truncate -s 77 config", ["error: damaged: "; 2]),
    ("key cut short", "truncate -s 200 keys/*", ["error: damaged: "; 2]),
    (
        "keys gone",
        "rm keys/*",
        ["error: damaged: it has no keys", "error: damaged: its keys were changed, or are gone: "],
    ),
    // Empty as it is, a local one may have been cut short when it was made: made again, were its id not known.
    ("config gone", "rm config", ["error: the repository ID is gone from ", "error: "]),
    ("another one", "remake", ["error: this is another repository: its id is ID, and was ID"; 2]),
];

/// Puts each place's good repository back and does this to it.
const HARM: &str = r#"
garble() { printf 'UUUU' | dd of="$1" bs=1 seek=40 conv=notrunc status=none; }
remake() {
    find . -mindepth 1 -delete
    restic init --no-cache -r . --password-file "$password" >/dev/null
}
leave_a_lock() {
    restic backup --no-cache -r . --password-file "$password" --stdin </dev/zero >/dev/null 2>&1 & pid=$!
    # Written under another name first.
    while [ -z "$(find locks -type f ! -perm /222)" ]; do sleep 0.02; done
    kill -KILL $pid
    rm -rf data index
}
while read -r name place; do
    password=/etc/rlvm/$name.pass
    mkdir -p "$place" && cd "$place"
    find . -mindepth 1 -delete
    cp -a "/srv/good/$name/." .
    # A bucket knows no empty directories.
    mkdir -p data index keys locks snapshots
    chmod -R u+w .
    eval "$1"
done
chown -R backup-web01:backup-web01 /srv/nas/backup-web01/repo
"#;

/// Has all places in one state.
fn harm(lab: &Lab, how: &str) {
    let list = PLACES.iter().fold(String::new(), |all, (name, place)| format!("{all}{name} {place}\n"));
    lab.file("/srv/places", &list);
    lab.ok(&["bash", "-euc", &format!("exec </srv/places\n{HARM}"), "harm", how]);
    lab.rclone(&["sync", "/srv/s3", ":s3:web/r", "--transfers", "16", "--checksum"]);
}

/// What plan says of each repository, the worst first, ids left out.
fn said_of(destination: &str, plan: &serde_json::Value) -> String {
    let address = format!("repository:{destination}");
    let said = plan["findings"].as_array().unwrap().iter().filter(|it| it["address"] == address.as_str());
    let line = |it: &serde_json::Value| {
        let (severity, message) = (it["severity"].as_str().unwrap(), it["message"].as_str().unwrap());
        let words = message.split(' ').map(|word| {
            let bare = word.trim_end_matches(',');
            let is_id = bare.len() == 10 && bare.bytes().all(|b| b.is_ascii_hexdigit());
            if is_id { word.replace(bare, "ID") } else { word.to_owned() }
        });
        format!("{severity}: {}", words.collect::<Vec<_>>().join(" "))
    };
    said.map(line).collect::<Vec<_>>().join("; ")
}

/// Holds what plan says against what it has to say.
fn judge(lab: &Lab, restic: &Restic, state: &str, expected: [&str; 2], wrong: &mut Vec<String>) {
    let plan = lab.plan_json(&["--refresh"]);
    for (place, (destination, _)) in PLACES.iter().enumerate() {
        let expected = expected[usize::from(place > 0)];
        let said = said_of(destination, &plan);
        // RLVM_TABLE=1 cargo test … -- --nocapture: the table itself.
        if std::env::var_os("RLVM_TABLE").is_some() {
            println!("{} | {state} | {destination} | {said}", restic.version);
        }
        if !said.starts_with(expected) || (expected.is_empty() && !said.is_empty()) {
            wrong.push(format!("{} {state} {destination}: `{said}`, not `{expected}`", restic.version));
        }
    }
    // Nothing is made over what is there, or in the place of what is gone.
    let changes = plan["changes"].as_array().unwrap().len();
    assert!(changes == 0 || plan["errored"] == true, "{state}: {plan}");
}

#[test]
fn every_state_has_its_own_words_with_restic_0_14() {
    every_state_has_its_own_words(Version(0, 14, 0));
}

#[test]
fn every_state_has_its_own_words_with_restic_0_18() {
    every_state_has_its_own_words(Version(0, 18, 0));
}

#[test]
fn every_state_has_its_own_words_with_restic_0_19() {
    every_state_has_its_own_words(Version(0, 19, 0));
}

/// R22, R33
fn every_state_has_its_own_words(of: Version) {
    let mut lab = Lab::new();
    let restic = restics().into_iter().find(|it| (it.version.0, it.version.1) == (of.0, of.1)).unwrap();
    lab.use_restic(&restic);
    give_passwords(&lab);
    lab.file_of("/etc/rlvm/s3.env", "AWS_ACCESS_KEY_ID=web\nAWS_SECRET_ACCESS_KEY=web\n", 0, 0o600);
    lab.file_of("/etc/rlvm/rest.user", "web01\n", 0, 0o600);
    lab.file_of("/etc/rlvm/rest.login", "rest-passes\n", 0, 0o600);
    let mut wrong = Vec::new();
    table(&lab, &restic, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn table(lab: &Lab, restic: &Restic, wrong: &mut Vec<String>) {
    lab.ok(&[
        "sh",
        "-c",
        "rm -rf /srv/r /srv/good /srv/s3 /srv/rest /srv/nas/backup-web01/repo/r /var/lib/rlvm /root/.ssh",
    ]);
    let mut sshd = lab.sshd();
    // Else it goes on serving what it has listed once.
    let mut rest = lab.rest(&["--cache-objects=false"]);
    let mut s3 = lab.s3();
    lab.bucket("web");
    lab.state(&STATE.replace("HOST_KEY", &sshd.host_key()));
    // Absent, and nobody knew of one: made.
    let plan = lab.expect(0, &["plan"]).stdout;
    for (destination, _) in PLACES {
        assert!(plan.contains(&format!("+ repository:{destination}  ")), "{plan}");
    }
    lab.apply();
    lab.plan_is_empty();
    lab.rclone(&["copy", ":s3:web/r", "/srv/s3", "--transfers", "16"]);
    for (name, place) in PLACES {
        lab.make_key_cheap(place, &format!("/etc/rlvm/{name}.pass"));
        lab.ok(&["sh", "-euc", &format!("mkdir -p /srv/good && cp -a {place} /srv/good/{name}")]);
    }
    for (state, how, expected) in STATES {
        harm(lab, how);
        judge(lab, restic, state, *expected, wrong);
    }
    harm(lab, "true");
    for (name, _) in PLACES {
        lab.file_of(&format!("/etc/rlvm/{name}.pass"), "another one\n", 0, 0o600);
    }
    judge(lab, restic, "wrong password", ["error: wrong password: "; 2], wrong);
    give_passwords(lab);
    sshd.stop();
    s3.stop();
    rest.server.stop();
    judge(lab, restic, "unreachable", ["", "error: unreachable: "], wrong);
    says(lab, &["plan", "--offline"], 0, &["No changes."]);
}
