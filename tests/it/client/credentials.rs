//! Credentials reach restic's environment and nothing else (R25, R66).

#![expect(clippy::disallowed_methods, reason = "tests look at the machine and change it themselves")]

use std::fs;

use super::{give_passwords, says};
use crate::lab::{Lab, REST_PASSWORD, REST_USER};

/// A restic that tells with which words and which environment it is called, and then is itself.
const RELOADING: &str = "#!/bin/sh\ntold=$(printf '%s\\n' \"$*\"; env)\nprintf '%s\\n\\n' \"$told\" >> /srv/told\n\
    exec /usr/bin/restic \"$@\"\n";

/// Has rlvm call [`RELOADING`].
fn tell(lab: &Lab) {
    lab.file_of("/usr/local/sbin/restic", RELOADING, 0, 0o755);
    lab.file_of("/srv/told", "", 0, 0o666);
}

#[test]
fn a_rest_server_asks_for_a_user_and_a_password() {
    let lab = Lab::new();
    give_passwords(&lab);
    tell(&lab);
    let rest = lab.rest_with_tls(&[]);
    let authority = rest.authority.clone().unwrap();
    lab.file_of("/etc/rlvm/rest.user", &format!("{REST_USER}\n"), 0, 0o600);
    lab.file_of("/etc/rlvm/rest.login", &format!("{REST_PASSWORD}\n"), 0, 0o600);
    let state = |ca: &str| {
        format!(
            "destinations:\n  rest:\n    rest: {{ url: \"https://rest.lan:8000/web01\", user_file: /etc/rlvm/rest.user, password_file: /etc/rlvm/rest.login{ca} }}\n    password_file: /etc/rlvm/rest.pass\n"
        )
    };
    lab.state(&state(""));
    says(&lab, &["plan"], 1, &["error: repository:rest: unreachable: ", "certificate"]);
    lab.state(&state(&format!(", ca_file: {authority}")));
    let ran = lab.expect(0, &["-vv", "apply", "--yes"]);
    lab.plan_is_empty();
    let told = lab.read("/srv/told");
    assert!(told.contains(&format!(
        "RESTIC_REPOSITORY=rest:https://{REST_USER}:{REST_PASSWORD}@rest.lan:8000/web01"
    )));
    let mut said = ran.stdout + &ran.stderr;
    said.push_str(&lab.read("/var/lib/rlvm/ledger.json"));
    said.extend(told.lines().filter(|line| !line.starts_with("RESTIC_REPOSITORY=")));
    assert!(!said.contains(REST_PASSWORD), "{said}");
    // The wrong one is told from an absent repository, and not shown either.
    lab.file_of("/etc/rlvm/rest.login", "wrong-canary\n", 0, 0o600);
    let said = says(&lab, &["plan"], 1, &["error: repository:rest: unreachable: ", "401"]);
    assert!(!said.contains("wrong-canary"), "{said}");
}

#[test]
fn each_child_gets_its_own_and_nothing_else() {
    let lab = Lab::new();
    give_passwords(&lab);
    tell(&lab);
    let s3 = lab.s3();
    lab.bucket("web");
    lab.file_of(
        "/etc/rlvm/one.env",
        "AWS_ACCESS_KEY_ID=id-one\nexport AWS_SECRET_ACCESS_KEY='canary-one'\n",
        0,
        0o600,
    );
    lab.file_of("/etc/rlvm/two.id", "id-two\n", 0, 0o600);
    lab.file_of("/etc/credstore/two-key", "canary-two\n", 0, 0o600);
    lab.state(
        "destinations:
  one:
    s3: { endpoint: \"http://s3.lan:3900\", region: garage, bucket: web, prefix: one, path_style: true, plain_http: true }
    password_file: /etc/rlvm/nas.pass
    env_file: /etc/rlvm/one.env
    compression: max
    pack_size: 32M
    options: { s3.connections: \"3\", limit-upload: \"9000\" }
  two:
    s3: { endpoint: \"http://s3.lan:3900\", bucket: web, prefix: two, path_style: true, plain_http: true }
    password_file: /etc/rlvm/worm.pass
    credentials:
      AWS_ACCESS_KEY_ID: { file: /etc/rlvm/two.id }
      AWS_SECRET_ACCESS_KEY: { credential: two-key }
",
    );
    let plan = says(&lab, &["plan", "--json"], 0, &[]);
    lab.apply();
    lab.plan_is_empty();
    let told = lab.read("/srv/told");
    let calls: Vec<&str> = told.split("\n\n").filter(|call| call.contains("--repo ")).collect();
    assert!(calls.len() >= 6, "{told}");
    for call in calls {
        let one = call.lines().next().unwrap().contains("/web/one");
        assert_eq!(call.contains("AWS_SECRET_ACCESS_KEY=canary-one"), one, "{call}");
        assert_eq!(call.contains("AWS_SECRET_ACCESS_KEY=canary-two"), !one, "{call}");
        let words = call.lines().next().unwrap();
        assert!(!words.contains("canary") && words.contains("-o s3.bucket-lookup=path"), "{words}");
        let flags = [
            "-o s3.region=garage",
            "--compression max",
            "--pack-size 32",
            "-o s3.connections=3",
            "--limit-upload=9000",
        ];
        assert!(flags.iter().all(|flag| words.contains(flag) == one), "{words}");
    }
    for kept in [plan, lab.read("/var/lib/rlvm/ledger.json"), lab.read("/var/lib/rlvm/state.json")] {
        assert!(!kept.contains("canary"), "{kept}");
    }
    // What systemd gave this very process comes first.
    lab.file_of("/run/credentials/x/two-key", "canary-three\n", 0, 0o600);
    lab.file("/srv/told", "");
    let ran = lab.ran(lab.command(&["plan"]).env("CREDENTIALS_DIRECTORY", "/run/credentials/x"));
    assert!(ran.code == Some(0) && lab.read("/srv/told").contains("canary-three"), "{ran:?}");
    // And what is encrypted is opened by systemd's own tool; here a stand-in, as no machine key is at hand.
    fs::remove_file(lab.at("/etc/credstore/two-key")).unwrap();
    let creds = "#!/bin/sh\n[ \"$*\" = 'decrypt --name two-key /etc/credstore.encrypted/two-key -' ] && echo canary-four\n";
    lab.file_of("/usr/local/sbin/systemd-creds", creds, 0, 0o755);
    says(&lab, &["plan"], 1, &["there is no credential two-key", "systemd-creds encrypt"]);
    lab.file_of("/etc/credstore.encrypted/two-key", "sealed\n", 0, 0o600);
    says(&lab, &["plan"], 0, &["No changes."]);
    assert!(lab.read("/srv/told").contains("AWS_SECRET_ACCESS_KEY=canary-four"));
    drop(s3);
}

#[test]
fn rclone_has_a_configuration_of_its_own() {
    let lab = Lab::new();
    give_passwords(&lab);
    tell(&lab);
    lab.file_of("/etc/rlvm/rclone.conf", "[drive]\ntype = alias\nremote = /srv/drive\n", 0, 0o600);
    lab.file_of("/root/.config/rclone/rclone.conf", "[home]\ntype = alias\nremote = /srv/home\n", 0, 0o600);
    lab.state(
        "destinations:
  drive: { rclone: { remote: drive, path: web01, config_file: /etc/rlvm/rclone.conf }, password_file: /etc/rlvm/nas.pass }
  home: { rclone: { remote: home, path: web01 }, password_file: /etc/rlvm/nas.pass }
",
    );
    let warning = "warning: repository:drive: this restic makes a repository over what may be left of one";
    says(&lab, &["plan"], 0, &[warning, "+ repository:drive"]);
    lab.apply();
    lab.plan_is_empty();
    assert!(lab.at("/srv/drive/web01/config").is_file() && lab.at("/srv/home/web01/config").is_file());
    assert!(lab.read("/srv/told").contains("RCLONE_CONFIG=/etc/rlvm/rclone.conf"));
}

#[test]
fn what_somebody_else_wrote_is_not_done() {
    // rclone runs what its configuration says, and plan is root's.
    let lab = Lab::new();
    give_passwords(&lab);
    tell(&lab);
    let planted =
        "[drive]\ntype = webdav\nurl = http://rest.lan:8000\nbearer_token_command = touch /srv/planted\n";
    let state = |rest: &str| {
        format!(
            "destinations:\n  drive: {{ rclone: {{ remote: drive, path: r, config_file: /etc/rlvm/rclone.conf }}, password_file: /etc/rlvm/nas.pass{rest} }}\n"
        )
    };
    lab.state(&state(""));
    for (owner, mode, words) in [
        (33, 0o600, "/etc/rlvm/rclone.conf belongs to www-data, but root works with it"),
        (0, 0o666, "/etc/rlvm/rclone.conf can be written by others than root (mode 0666)"),
    ] {
        lab.file_of("/etc/rlvm/rclone.conf", planted, owner, mode);
        says(&lab, &["plan"], 1, &["error: secret:/etc/rlvm/rclone.conf: ", words]);
    }
    lab.file_of("/etc/rlvm/rclone.conf", "[drive]\ntype = alias\nremote = /srv/drive\n", 0, 0o600);
    lab.state(&state(", env_file: /etc/rlvm/e"));
    for (owner, mode) in [(33, 0o600), (0, 0o622)] {
        lab.file_of("/etc/rlvm/e", "RCLONE_CONFIG_DRIVE_REMOTE=/srv/planted\n", owner, mode);
        says(&lab, &["plan"], 1, &["error: secret:/etc/rlvm/e: "]);
    }
    assert!(!lab.at("/srv/planted").exists() && !lab.read("/srv/told").contains("cat config"));
}

#[test]
fn an_environment_file_that_is_not_one_is_told_by_its_line() {
    let lab = Lab::new();
    give_passwords(&lab);
    for (text, words) in [
        ("AWS_ACCESS_KEY_ID=x\ncanary\n", "/etc/rlvm/e:2: no `=`: write NAME=value"),
        ("LD_PRELOAD=/tmp/canary.so\n", "/etc/rlvm/e:1: no variable that restic, rclone or a proxy takes"),
        // The backups would go elsewhere than was printed.
        ("B2_ACCOUNT_ID=x\nRESTIC_REPOSITORY=/srv/canary\n", "/etc/rlvm/e:2: no variable that restic"),
    ] {
        lab.file_of("/etc/rlvm/e", text, 0, 0o600);
        lab.state("destinations:\n  far: { b2: { bucket: web }, password_file: /etc/rlvm/nas.pass, env_file: /etc/rlvm/e }\n");
        // It is that repository's matter alone.
        let said =
            says(&lab, &["plan"], 1, &["error: repository:far: unreachable: ", words, "+ logrotate:rlvm"]);
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn a_copys_repository_has_its_originals_chunker() {
    // R41
    let lab = Lab::new();
    give_passwords(&lab);
    let s3 = lab.s3();
    lab.bucket("web");
    lab.file_of("/etc/rlvm/s3.env", "AWS_ACCESS_KEY_ID=web\nAWS_SECRET_ACCESS_KEY=web\n", 0, 0o600);
    lab.state(
        "destinations:
  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/vault.pass }
  apart: { local: { path: /srv/apart }, password_file: /etc/rlvm/vault.pass }
  offsite: { s3: { endpoint: \"http://s3.lan:3900\", bucket: web, path_style: true, plain_http: true }, password_file: /etc/rlvm/offsite.pass, env_file: /etc/rlvm/s3.env }
jobs:
  home: { sources: [{ path: /home }], to: [vault, apart], copy: { offsite: { from: vault } }, schedule: \"@daily\" }
",
    );
    lab.apply();
    lab.plan_is_empty();
    let chunker = |repo: &str, password: &str| {
        let mut cat = lab.program(&[
            "restic",
            "cat",
            "config",
            "--no-lock",
            "--no-cache",
            "--repo",
            repo,
            "--password-file",
            password,
        ]);
        let ran = lab.ran(cat.env("AWS_ACCESS_KEY_ID", "web").env("AWS_SECRET_ACCESS_KEY", "web"));
        let config: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        config["chunker_polynomial"].as_str().unwrap().to_owned()
    };
    let vault = chunker("/srv/r", "/etc/rlvm/vault.pass");
    assert_eq!(vault, chunker("s3:http://s3.lan:3900/web", "/etc/rlvm/offsite.pass"));
    assert_ne!(vault, chunker("/srv/apart", "/etc/rlvm/vault.pass"));
    drop(s3);
    assert!(fs::metadata(lab.at("/srv/r/config")).is_ok());
}
