//! A ledger that is damaged, another's, or could have been altered is an error with a way out, never an empty one.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, lchown, symlink},
};

use serde_json::Value;

use super::{OTHER, says};
use crate::support::{BACKUP, Scratch};

const SNAPSHOT: &str = "/var/lib/rlvm/ledger.json";
const LOG: &str = "/var/lib/rlvm/ledger.log";

/// A machine on which a directory and a cron entry were applied.
fn applied() -> Scratch {
    let scratch = Scratch::new();
    scratch
        .state("directories:\n  /srv/x: {}\ncron:\n  night: { schedule: \"@daily\", command: \"true\" }\n");
    scratch.apply();
    scratch
}

/// Every verb that reads the ledger says this, and apply does nothing.
#[track_caller]
fn broken(scratch: &Scratch, code: i32, words: &[&str]) {
    let before = scratch.tree_hash();
    for args in [&["plan"][..], &["ledger", "list"], &["observe"]] {
        if code == 6 && args[0] == "ledger" {
            continue; // It takes no side: it lists whose ledger it is.
        }
        says(scratch, args, code, words);
    }
    assert_eq!(scratch.tree_hash(), before);
    let contents = scratch.contents();
    says(scratch, &["apply", "--yes"], code, words);
    assert_eq!(scratch.contents(), contents);
}

/// Changes the snapshot's JSON.
fn alter(scratch: &Scratch, alter: impl FnOnce(&mut Value)) {
    let mut ledger: Value = serde_json::from_str(&scratch.read(SNAPSHOT)).unwrap();
    alter(&mut ledger);
    fs::write(scratch.at(SNAPSHOT), ledger.to_string()).unwrap();
}

fn append(scratch: &Scratch, text: &str) {
    let log = scratch.read(LOG) + text;
    fs::write(scratch.at(LOG), log).unwrap();
}

/// A record of the log that stops managing something.
fn record(scratch: &Scratch, lineage: Option<&str>, ahead: u64) -> String {
    let ledger: Value = serde_json::from_str(&scratch.read(SNAPSHOT)).unwrap();
    let (own, serial) = (ledger["lineage"].as_str().unwrap(), ledger["serial"].as_u64().unwrap());
    let lineage = lineage.unwrap_or(own);
    let serial = serial + ahead;
    format!("{{\"lineage\":\"{lineage}\",\"serial\":{serial},\"address\":\"cron:night\",\"entry\":null}}\n")
}

const WAY_OUT: &[&str] = &["the ledger cannot be used: ", "help: ", "rlvm apply --adopt"];

#[test]
fn a_snapshot_cut_short_is_an_error_with_a_way_out() {
    let scratch = applied();
    let whole = scratch.read(SNAPSHOT);
    for part in [0, 1, 3, 7] {
        fs::write(scratch.at(SNAPSHOT), &whole[..whole.len() * part / 8]).unwrap();
        broken(&scratch, 1, &[WAY_OUT, &["/var/lib/rlvm/ledger.json"]].concat());
    }
    // The way out is one: what is there is taken over, nothing is made anew.
    fs::rename(scratch.at("/var/lib/rlvm"), scratch.at("/var/lib/rlvm.old")).unwrap();
    scratch.expect(0, &["apply", "--adopt", "--yes"]);
    scratch.plan_is_empty();
    assert!(scratch.managed().contains(&"cron:night".to_owned()));
}

#[test]
fn a_snapshot_that_is_gone_while_the_log_is_not_is_an_error() {
    let scratch = applied();
    append(&scratch, &record(&scratch, None, 1));
    fs::remove_file(scratch.at(SNAPSHOT)).unwrap();
    broken(&scratch, 1, &[WAY_OUT, &["/var/lib/rlvm/ledger.json is gone"]].concat());
}

#[test]
fn a_log_that_does_not_belong_is_an_error_that_names_the_line() {
    let place = "/var/lib/rlvm/ledger.log, line ";
    let scratch = applied();
    append(&scratch, "rubbish\n");
    broken(&scratch, 1, &[WAY_OUT, &[place, "line 1"]].concat());

    let scratch = applied();
    append(&scratch, &record(&scratch, Some("somebody-elses"), 1));
    broken(&scratch, 1, &[WAY_OUT, &[place, "it is of another ledger"]].concat());

    let scratch = applied();
    append(&scratch, &record(&scratch, None, 2));
    broken(&scratch, 1, &[WAY_OUT, &[place, "should be"]].concat());
}

#[test]
fn a_last_line_cut_short_by_a_crash_is_no_error() {
    let scratch = applied();
    let line = record(&scratch, None, 1);
    append(&scratch, &line[..line.len() / 2]);
    scratch.plan_is_empty();
    // And it does not stand in the way of the next line.
    scratch.state("cron:\n  night: { schedule: \"@daily\", command: \"true\" }\n");
    scratch.apply();
    assert!(!scratch.managed().contains(&"directory:/srv/x".to_owned()));
    scratch.plan_is_empty();
    // A whole record counts: what it forgets is adopted again, not made.
    append(&scratch, &record(&scratch, None, 1));
    let plan = scratch.plan_json(&[]);
    assert_eq!(plan["summary"]["adopt"], 1, "{plan}");
}

#[test]
fn another_hosts_ledger_is_refused() {
    let scratch = applied();
    alter(&scratch, |ledger| ledger["host"] = "db01".into());
    broken(&scratch, 6, &["the ledger in /var/lib/rlvm is of host db01", "help: ", "was: [db01]"]);
    // R: the host was renamed.
    scratch.state(
        "was: [db01]\ndirectories:\n  /srv/x: {}\ncron:\n  night: { schedule: \"@daily\", command: \"true\" }\n",
    );
    scratch.apply();
    scratch.plan_is_empty();
}

#[test]
fn a_newer_rlvms_ledger_is_refused() {
    let scratch = applied();
    alter(&scratch, |ledger| {
        ledger["format_version"] = 2.into();
        ledger["rlvm_version"] = "9.1.0".into();
    });
    broken(&scratch, 1, &["format 2", "help: use rlvm 9.1.0 or newer"]);
}

#[test]
fn a_ledger_that_others_could_have_written_is_an_error_with_a_way_out() {
    for path in [SNAPSHOT, LOG] {
        let scratch = applied();
        for mode in [0o660, 0o606] {
            scratch.own(path, 0, mode);
            broken(&scratch, 1, &[path, "only root may write", "help: "]);
        }
        scratch.own(path, OTHER, 0o600);
        broken(&scratch, 1, &[path, "only root may write", "help: "]);
        scratch.own(path, 0, 0o600);
        // A second name is a second way in.
        fs::hard_link(scratch.at(path), scratch.at("/srv/second")).unwrap();
        broken(&scratch, 1, &[path, "only root may write", "help: "]);
        fs::remove_file(scratch.at("/srv/second")).unwrap();
        scratch.plan_is_empty();
    }
}

#[test]
fn a_ledger_file_that_is_a_link_or_a_fifo_is_an_error() {
    let scratch = applied();
    fs::rename(scratch.at(SNAPSHOT), scratch.at("/srv/real.json")).unwrap();
    symlink("/srv/real.json", scratch.at(SNAPSHOT)).unwrap();
    broken(&scratch, 1, &[SNAPSHOT]);
    fs::remove_file(scratch.at(SNAPSHOT)).unwrap();
    nix::unistd::mkfifo(&scratch.at(SNAPSHOT), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    broken(&scratch, 1, &[SNAPSHOT]);
}

#[test]
fn a_directory_that_others_may_write_or_lead_elsewhere_holds_no_ledger() {
    let scratch = applied();
    scratch.own("/var/lib/rlvm", 0, 0o770);
    broken(&scratch, 1, &["/var/lib/rlvm is for rlvm's own files, but others may write it: chown root"]);
    scratch.own("/var/lib/rlvm", OTHER, 0o700);
    broken(&scratch, 1, &["/var/lib/rlvm is for rlvm's own files"]);
    scratch.own("/var/lib/rlvm", 0, 0o700);

    // A link that another user owns, to a ledger that this user made.
    fs::rename(scratch.at("/var/lib/rlvm"), scratch.at("/srv/forged")).unwrap();
    symlink("/srv/forged", scratch.at("/var/lib/rlvm")).unwrap();
    lchown(scratch.at("/var/lib/rlvm"), Some(BACKUP), Some(BACKUP)).unwrap();
    broken(
        &scratch,
        1,
        &["cannot use /var/lib/rlvm", "a symbolic link that others than root could have put"],
    );
    // Root's own is root's word.
    lchown(scratch.at("/var/lib/rlvm"), Some(0), Some(0)).unwrap();
    scratch.plan_is_empty();
}

#[test]
fn rlvm_home_is_honoured_and_keeps_a_lock_of_its_own() {
    let scratch = Scratch::new();
    scratch.state("directories:\n  /srv/x: {}\n");
    let call =
        |home: &str, args: &[&str]| super::soon(&scratch, scratch.command(args).env("RLVM_HOME", home));
    let ran = call("/srv/home", &["apply", "--yes"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let names = |dir: &str| {
        let entries = fs::read_dir(scratch.at(dir)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("/srv/home"), ["ledger.json", "ledger.log", "lock", "state.json"]);
    assert!(!scratch.at("/var/lib/rlvm").exists() && !scratch.at("/run/rlvm").exists());
    assert_eq!(fs::metadata(scratch.at("/srv/home")).unwrap().permissions().mode() & 0o7777, 0o700);
    assert!(call("/srv/home", &["ledger", "list"]).stdout.contains("directory:/srv/x"));
    assert!(call("/var/lib/rlvm", &["ledger", "list"]).stdout.contains("there is no ledger yet"));
    let ran = call("srv/home", &["plan"]);
    assert!(ran.code == Some(64) && ran.stderr.contains("RLVM_HOME"), "{ran:?}");
    // In a directory of somebody else's it is not safe.
    scratch.dir("/srv/theirs", BACKUP, 0o755);
    scratch.dir("/srv/theirs/home", 0, 0o700);
    let ran = call("/srv/theirs/home", &["plan"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("belongs to root, but lies in"), "{ran:?}");
}
