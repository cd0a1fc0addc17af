//! What people and programs read, as it is: plans as text and JSON, help, apply's stream. Each is a snapshot in
//! `snapshots/`; `INSTA_UPDATE=always cargo test --test it cli` writes them anew, to be looked at.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::fs;

use crate::support::{BACKUP, Ran, Scratch};

/// A state with every kind.
const SHOP: &str = r#"
directories:
  /srv/backup: { group: adm, mode: "0750" }
destinations:
  vault: { local: { path: /srv/backup/web01 }, password_file: /etc/rlvm/secrets/vault, generate_password: true }
jobs:
  system: { sources: [{ path: /etc }], to: [vault], schedule: "30 2 * * *" }
cron:
  trim: { schedule: "@weekly", command: "/sbin/fstrim --all" }
logrotate:
  shop: { paths: [/var/log/shop/*.log], keep: 7, su: { user: www-data, group: adm } }
"#;

/// Everything that is seen of a call, without what differs each time.
fn shown(on: &Scratch, ran: &Ran) -> String {
    let code = ran.code.map_or("a signal".to_owned(), |code| code.to_string());
    let mut text = format!("exit: {code}\n");
    for (name, stream) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        if !stream.is_empty() {
            text.extend(["--- ", name, "\n", stream]);
        }
    }
    let text = text.replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    let ledger = fs::read_to_string(on.at("/var/lib/rlvm/ledger.json")).unwrap_or_default();
    match serde_json::from_str::<serde_json::Value>(&ledger) {
        Ok(ledger) => text.replace(ledger["lineage"].as_str().unwrap(), "[LINEAGE]"),
        Err(_) => text,
    }
}

/// Runs rlvm and holds what it shows against the snapshot.
macro_rules! snap {
    ($on:expr, $name:expr, $args:expr) => {{
        let ran = $on.rlvm($args);
        insta::assert_snapshot!($name, shown(&$on, &ran));
    }};
}

fn applied(yaml: &str) -> Scratch {
    let on = Scratch::new();
    on.state(yaml);
    on.apply();
    on
}

#[test]
fn from_nothing_to_nothing_to_do() {
    let on = Scratch::new();
    on.state(SHOP);
    snap!(on, "plan_create", &["plan"]);
    snap!(on, "plan_create_summary", &["plan", "--summary"]);
    snap!(on, "plan_create_json", &["plan", "--json"]);
    snap!(on, "ledger_none", &["ledger", "list"]);
    snap!(on, "apply_text", &["apply", "--yes"]);
    snap!(on, "apply_nothing", &["apply", "--yes"]);
    snap!(on, "plan_nothing", &["plan"]);
    snap!(on, "ledger_list", &["ledger", "list"]);
    snap!(on, "ledger_list_json", &["ledger", "list", "--json"]);
    snap!(on, "show", &["show"]);
    snap!(on, "validate", &["validate"]);
}

#[test]
fn the_stream_of_apply() {
    let on = Scratch::new();
    on.state(SHOP);
    // What is skipped and what fails stands there too.
    on.file("/srv/backup.rlvm-new~/keep", "not rlvm's");
    snap!(on, "apply_json", &["apply", "--yes", "--json"]);
}

#[test]
fn changed_in_the_state_and_on_the_host() {
    let on = applied(SHOP);
    on.state(&SHOP.replace("30 2", "0 3").replace("0750", "0700"));
    snap!(on, "plan_update", &["plan"]);
    snap!(on, "plan_update_json", &["plan", "--json"]);
    snap!(on, "plan_colours", &["--color", "always", "plan"]);
    on.state(SHOP);
    on.file("/etc/cron.d/trim", "@hourly root /bin/true\n");
    on.own("/srv/backup", BACKUP, 0o777);
    fs::remove_file(on.at("/etc/logrotate.d/shop")).unwrap();
    on.own("/etc/rlvm/secrets/vault", 0, 0o644);
    snap!(on, "plan_drift", &["plan"]);
}

#[test]
fn adopted_or_refused() {
    let on = Scratch::new();
    on.state(SHOP);
    on.dir("/srv/backup", 0, 0o750);
    std::os::unix::fs::chown(on.at("/srv/backup"), None, Some(4)).unwrap();
    on.file("/etc/cron.d/trim", "@hourly root /bin/true\n");
    snap!(on, "plan_refused", &["plan", "--summary"]);
    snap!(on, "plan_adopt", &["plan", "--adopt"]);
}

#[test]
fn removed_and_forgotten() {
    let on = applied(SHOP);
    on.state("cron:\n  other: { schedule: \"@daily\", command: \"true\" }\n");
    snap!(on, "plan_mass_removal", &["plan", "--summary"]);
    snap!(on, "plan_delete", &["plan", "--allow-mass-removal"]);
}

#[test]
fn errors_and_findings() {
    let on = Scratch::new();
    let given =
        SHOP.replace(", generate_password: true", "").replace("group: adm, mode", "group: nobody, mode");
    on.state(&given);
    snap!(on, "plan_errors", &["plan"]);
    on.state(
        "directories:\n  /srv: { mounted: true }\n  /srv/a: { mode: 0750 }\njobs:\n  j: { to: [vualt] }\n",
    );
    snap!(on, "validate_invalid", &["validate"]);
    snap!(on, "plan_invalid", &["plan"]);
    on.state("directories:\n  /srv: { mounted: true }\n  /srv/a: {}\n");
    snap!(on, "plan_not_mounted", &["plan"]);
}

#[test]
fn keys_and_hosts() {
    let on = Scratch::new();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKlJ4yTzGq3x0m2bq5vT8yq7lq1m4E3v1xw0XcQ9mZpQ";
    on.state(&format!(
        "ssh:\n  keys: {{ /root/.ssh/id_rlvm: {{}} }}\n  hosts:\n    nas.lan: {{ user: backup-web01, port: 2222, \
         identity: /root/.ssh/id_rlvm, host_keys: [{key}] }}\n    db.lan: {{ identity: /root/none, host_keys: [{key}] }}\n"
    ));
    on.file_of("/root/.ssh/config", "Host *\n  Compression yes\n", 0, 0o600);
    on.file_of("/root/.ssh/known_hosts", &format!("*.lan,10.* {other}\n"), 0, 0o644);
    snap!(on, "plan_ssh", &["plan"]);
    snap!(on, "show_ssh", &["show"]);
}

#[test]
fn help_of_every_verb() {
    let on = Scratch::new();
    let verbs: &[&[&str]] = &[
        &[],
        &["validate"],
        &["plan"],
        &["apply"],
        &["observe"],
        &["show"],
        &["ledger", "list"],
        &["ledger", "forget"],
        &["schema"],
        &["list"],
        &["prune"],
        &["restore"],
        &["mount"],
        &["notify"],
        &["notify", "test"],
        &["notify", "watch"],
        &["report"],
        &["rescue-kit"],
        &["run"],
        &["sweep"],
        &["why"],
        &["status"],
        &["snapshots"],
        &["secret", "show"],
        &["ssh", "scan"],
        &["ssh-agent"],
        &["ssh-agent", "start"],
        &["ssh-agent", "status"],
        &["ssh-agent", "add"],
        &["ssh-agent", "stop"],
        &["restic", "version"],
        &["restic", "list"],
        &["restic", "install"],
        &["completions"],
        &["man"],
    ];
    for verb in verbs {
        let name = format!("help_{}", verb.join("_"));
        snap!(on, name.trim_end_matches('_'), &[verb, &["--help"][..]].concat());
    }
}
