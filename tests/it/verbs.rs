//! What verbs and the words of the state do: targets, adoption, renames, guards that outlive their block, plans made
//! elsewhere, pipes that close.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{fs, io, process::Command};

use crate::support::{RLVM, Scratch};

const STATE: &str = r#"
destinations:
  vault: { local: { path: /srv/vault }, password_file: /etc/rlvm/secrets/vault, generate_password: true }
jobs:
  system: { sources: [{ path: /etc }], to: [vault], schedule: "30 2 * * *" }
cron:
  trim: { schedule: "@weekly", command: "true" }
  sync: { schedule: "@weekly", command: "true" }
"#;

fn machine(yaml: &str) -> Scratch {
    let on = Scratch::new();
    on.state(yaml);
    on
}

fn addresses(plan: &serde_json::Value, action: &str) -> Vec<String> {
    let changes = plan["changes"].as_array().unwrap().iter();
    let with = changes.filter(|it| it["actions"].as_array().unwrap().iter().any(|it| it == action));
    with.map(|change| change["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_saved_plan_is_applied_as_it_was_shown() {
    let on = machine(STATE);
    let saved = on.beside("night.plan");
    let saved = saved.to_str().unwrap();
    let shown = on.expect(0, &["plan", "--out", saved]).stdout;
    // The state may go on; the plan carries its own.
    on.state("directories: {}\n");
    let into = on.beside("into.json");
    let applied = on.expect(0, &["apply", saved, "--json-into", into.to_str().unwrap()]);
    assert!(applied.stdout.starts_with(&shown), "{}\n{shown}", applied.stdout);
    on.state(STATE);
    on.plan_is_empty();
    let lines: Vec<serde_json::Value> =
        fs::read_to_string(into).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["type"], "version");
    assert_eq!(lines.last().unwrap()["type"], "change_summary");
    let count = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
    let changes = count("planned_change");
    assert!(changes > 5);
    assert_eq!([count("apply_start"), count("apply_complete")], [changes, changes]);
    assert_eq!(count("apply_errored") + count("apply_skipped"), 0);
}

#[test]
fn a_definition_that_changes_is_a_change_of_the_plan() {
    let all = "notify:\n  hook: { webhook: { url: https://x.lan/ }, on: [failure] }\n";
    let state = format!("{STATE}{all}metrics: {{ textfile: /srv/x.prom }}\n");
    let on = machine(&state);
    let first = on.plan_json(&[]);
    for address in ["job:system", "destination:vault", "notifier:hook"] {
        assert!(addresses(&first, "create").contains(&address.into()), "{address}");
    }
    on.apply();
    on.plan_is_empty();
    // Nothing of these can be seen on the host, and each of them changes what the next run does.
    for (from, to, sign) in [
        ("{ path: /etc }", "{ path: /usr }", "~ job:system"),
        ("to: [vault],", "to: [vault], exclude: ['*.iso'],", "~ job:system"),
        ("to: [vault],", "to: [vault], retention: { daily: 7 },", "~ job:system"),
        ("to: [vault],", "to: [vault], hooks: { before: [{ run: \"true\" }] },", "~ job:system"),
        ("jobs:\n", "jobs:\n  other: { sources: [{ path: /usr }], to: [vault] }\n", "+ job:other"),
        ("generate_password: true", "generate_password: true, compression: max", "~ destination:vault"),
        ("on: [failure]", "on: [failure, recovery]", "~ notifier:hook"),
        ("records: 400d", "records: 800d", "~ setting:log"),
    ] {
        let before = if from.starts_with("records") { "log: { records: 400d }\n" } else { "" };
        let before = format!("{before}{state}");
        let after = before.replace(from, to);
        assert_ne!(before, after);
        for (now, sign) in [(&after, sign.to_owned()), (&before, sign.replace('+', "×"))] {
            on.state(now);
            let plan = on.expect(2, &["plan", "--detailed-exitcode"]);
            assert!(plan.stdout.lines().any(|line| line.starts_with(&sign)), "{sign}: {}", plan.stdout);
            let asked = on.expect(64, &["apply"]);
            assert!(asked.stderr.contains("no terminal"), "{asked:?}");
            on.expect(2, &["plan", "--detailed-exitcode"]);
            let applied = on.expect(0, &["apply", "--yes"]);
            assert!(
                applied.stderr.contains(&format!("done {}", sign.split_once(' ').unwrap().1)),
                "{applied:?}"
            );
            on.plan_is_empty();
        }
    }
}

#[test]
fn what_only_rlvm_remembers_is_a_change_of_the_plan() {
    let block = |words: &str| format!("directories: {{ /srv/a: {{ mode: \"0700\"{words} }} }}\n{STATE}");
    let on = machine(&block(""));
    on.apply();
    // These decide what the next apply removes, and what it refuses to remove.
    for (words, attribute) in [
        (", protect: true", "protect"),
        (", on_remove: delete", "on_remove"),
        (", on_remove: forget", "on_remove"),
    ] {
        for now in [block(words), block("")] {
            on.state(&now);
            let plan = on.plan_json(&[]);
            assert_eq!(addresses(&plan, "update"), ["directory:/srv/a"], "{words}");
            assert!(plan["changes"][0]["after"].get(attribute).is_some(), "{plan}");
            on.expect(2, &["plan", "--detailed-exitcode"]);
            on.apply();
            on.plan_is_empty();
        }
    }
}

#[test]
fn a_definition_is_applied_as_it_was_shown_or_not_at_all() {
    let on = machine(STATE);
    on.apply();
    let (first, second) = (STATE.replace("/etc }", "/usr }"), STATE.replace("/etc }", "/opt }"));
    on.state(&first);
    let saved = on.beside("night.plan");
    let saved = saved.to_str().unwrap();
    on.expect(2, &["plan", "--detailed-exitcode", "--out", saved]);
    on.state(&second);
    on.apply();
    let stale = on.expect(5, &["apply", saved]);
    assert!(stale.stderr.contains("another state was applied since"), "{stale:?}");
    on.plan_is_empty();
    // What is asked for in part leaves the jobs as they are, and says nothing of them.
    on.state(&first);
    on.expect(0, &["plan", "--detailed-exitcode", "--target", "repository:vault"]);
    on.expect(0, &["apply", "--yes", "--target", "repository:vault"]);
    on.expect(2, &["plan", "--detailed-exitcode"]);
    // An error elsewhere does not hide it.
    on.file("/srv/blocked", "x");
    on.state(&format!("directories: {{ /srv/blocked/x: {{}} }}\n{first}"));
    let plan = on.plan_json(&[]);
    assert!(addresses(&plan, "update").contains(&"job:system".into()), "{plan}");
}

#[test]
fn a_target_takes_what_it_needs_and_no_more() {
    let on = machine(STATE);
    let target = ["--target", "repository:vault"];
    let plan = on.plan_json(&target);
    assert_eq!(
        addresses(&plan, "create"),
        [
            "directory:/etc/rlvm",
            "directory:/etc/rlvm/secrets",
            "directory:/srv/vault",
            "secret:/etc/rlvm/secrets/vault",
            "repository:vault"
        ]
    );
    on.expect(0, &[&["apply", "--yes"][..], &target].concat());
    assert!(on.at("/srv/vault/config").exists() && !on.at("/etc/cron.d/trim").exists());
    // The night does not run by a part.
    assert!(!on.at("/var/lib/rlvm/state.json").exists());
    on.expect(0, &[&["plan", "--detailed-exitcode"][..], &target].concat());
    on.expect(2, &["plan", "--detailed-exitcode"]);
    let unknown = on.expect(1, &["plan", "--target", "repository:vualt"]);
    assert!(unknown.stderr.contains("did you mean repository:vault?"), "{unknown:?}");
}

#[test]
fn adopted_by_flag_or_by_word() {
    let there = |on: &Scratch| on.file("/etc/cron.d/trim", "somebody's\n");
    let on = machine(STATE);
    there(&on);
    on.expect(6, &["apply", "--yes"]);
    assert_eq!(on.read("/etc/cron.d/trim"), "somebody's\n");
    on.expect(0, &["apply", "--yes", "--adopt"]);
    assert!(on.read("/etc/cron.d/trim").ends_with("@weekly root true\n"));
    on.plan_is_empty();
    let on = machine(&STATE.replace("trim: {", "trim: { adopt: true,"));
    there(&on);
    assert_eq!(addresses(&on.plan_json(&[]), "adopt"), ["cron:trim"]);
    on.apply();
    assert!(on.read("/etc/cron.d/trim").ends_with("@weekly root true\n"));
    on.plan_is_empty();
}

#[test]
fn what_was_there_as_declared_is_forgotten_and_not_deleted() {
    // R46
    let made = machine(STATE);
    made.apply();
    let on = machine(STATE);
    on.file("/etc/cron.d/trim", &made.read("/etc/cron.d/trim"));
    on.dir("/srv/own", 0, 0o700);
    on.state(&format!("directories: {{ /srv/own: {{}} }}\n{STATE}"));
    assert_eq!(addresses(&on.plan_json(&[]), "adopt"), ["cron:trim", "directory:/srv/own"]);
    on.apply();
    on.state(&STATE.replace("  trim:", "  other:"));
    let plan = on.plan_json(&[]);
    assert_eq!(addresses(&plan, "delete"), [""; 0]);
    on.apply();
    assert!(on.at("/etc/cron.d/trim").exists() && on.at("/srv/own").exists());
    on.plan_is_empty();
}

#[test]
fn words_of_a_block_outlive_the_block() {
    let block = |words: &str| format!("directories: {{ /srv/a: {{ {words} }}, /srv/b: {{}} }}\n{STATE}");
    let on = machine(&block("on_remove: forget"));
    on.apply();
    on.state(STATE);
    let plan = on.plan_json(&[]);
    assert_eq!(
        (addresses(&plan, "forget"), addresses(&plan, "delete")),
        (vec!["directory:/srv/a".into()], vec!["directory:/srv/b".into()])
    );
    on.apply();
    assert!(on.at("/srv/a").exists() && !on.at("/srv/b").exists());
    on.plan_is_empty();

    let on = machine(&block("protect: true"));
    on.apply();
    on.state(STATE);
    let refused = on.expect(6, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(refused.stdout.contains("protect: true") && on.at("/srv/a").exists() && on.at("/srv/b").exists());
    on.state(&block("protect: false"));
    on.apply();
    on.state(STATE);
    on.apply();
    assert!(!on.at("/srv/a").exists());
}

#[test]
fn a_renamed_destination_keeps_its_repository() {
    let on = machine(STATE);
    on.apply();
    let before = on.tree();
    on.state(&STATE.replace("vault: {", "safe: { was: [vault],").replace("to: [vault]", "to: [safe]"));
    let plan = on.plan_json(&[]);
    assert_eq!(addresses(&plan, "update"), ["destination:safe", "job:system"]);
    assert_eq!(plan["changes"].as_array().unwrap().len(), 2, "the repository stays");
    on.apply();
    let managed = on.managed();
    assert!(managed.contains(&"repository:safe".into()) && !managed.contains(&"repository:vault".into()));
    let own = |path: &str| path.starts_with("/var/lib/rlvm") || path.starts_with("/run");
    let rest =
        |tree: crate::support::Tree| tree.into_iter().filter(|(path, _)| !own(path)).collect::<Vec<_>>();
    assert_eq!(rest(before), rest(on.tree()));
}

#[test]
fn a_renamed_host_keeps_its_ledger() {
    let on = machine(STATE);
    on.apply();
    let state = on.beside("state/hosts/web02.yaml");
    fs::write(&state, format!("version: 1\nhost: web02\n{STATE}")).unwrap();
    assert_eq!(on.ran(&mut on.command_as("web02", &["plan"])).code, Some(6));
    fs::write(&state, format!("version: 1\nhost: web02\nwas: [web01]\n{STATE}")).unwrap();
    let applied = on.ran(&mut on.command_as("web02", &["apply", "--yes"]));
    assert_eq!(applied.code, Some(0), "{applied:?}");
    let list = on.ran(&mut on.command_as("web02", &["ledger", "list", "--json"]));
    assert!(list.stdout.contains("\"host\": \"web02\""), "{}", list.stdout);
    let again = on.ran(&mut on.command_as("web02", &["plan", "--detailed-exitcode"]));
    assert_eq!(again.code, Some(0), "{again:?}");
    // Back is a rename too.
    on.expect(6, &["plan"]);
}

#[test]
fn a_plan_made_elsewhere_is_the_same_plan() {
    let on = machine(STATE);
    on.apply();
    on.state(&STATE.replace("@weekly", "@daily"));
    on.file("/etc/cron.d/sync", "edited\n");
    let elsewhere = machine(&STATE.replace("@weekly", "@daily"));
    let file = elsewhere.beside("web01.json");
    fs::write(&file, on.expect(0, &["observe"]).stdout).unwrap();
    let before = elsewhere.tree_hash();
    let observed = ["plan", "--detailed-exitcode", "--observed", file.to_str().unwrap()];
    for form in [&[][..], &["--json"], &["--summary"]] {
        let here = on.expect(2, &[&["plan", "--detailed-exitcode"][..], form].concat());
        assert_eq!(elsewhere.expect(2, &[&observed[..], form].concat()).stdout, here.stdout);
    }
    assert_eq!(elsewhere.tree_hash(), before);
    // What was not looked at is not guessed.
    elsewhere.state(&STATE.replace("sync:", "other:"));
    let lacks = elsewhere.expect(1, &observed);
    assert!(lacks.stderr.contains("says nothing of cron:other"), "{lacks:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let on = machine(STATE);
    let closed = |args: &[&str]| {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        on.ran(on.command(args).stdout(writer))
    };
    for verb in
        [&["plan"][..], &["plan", "--json"], &["show"], &["observe"], &["schema"], &["ledger", "list"]]
    {
        let ran = closed(verb);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{verb:?}");
    }
    // What was asked for is done, whether somebody reads about it or not.
    for verb in [&["apply", "--yes", "--json"][..], &["apply", "--yes"]] {
        on.state(&STATE.replace("@weekly", if verb.len() == 3 { "@daily" } else { "@hourly" }));
        let ran = closed(verb);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        on.plan_is_empty();
    }
}

#[test]
fn colours_only_where_they_are_wanted() {
    let on = machine(STATE);
    assert!(!on.expect(0, &["plan"]).stdout.contains('\x1b'));
    assert!(on.expect(0, &["--color", "always", "plan"]).stdout.contains('\x1b'));
    let terminal = |no_color: &str| {
        let call = on.command(&["plan"]);
        let words: Vec<_> = std::iter::once(call.get_program()).chain(call.get_args()).collect();
        let line: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &line.join(" "), "/dev/null"]).env_clear();
        on.ran(script.env("PATH", on.search_path()).env("TERM", "xterm").env("NO_COLOR", no_color)).stdout
    };
    crate::support::require(on.search_path(), "script", "bsdutils");
    assert!(terminal("").contains("\x1b[32m"));
    assert!(!terminal("1").contains("\x1b[3"));
}

#[test]
fn ledger_forget_stops_managing_and_touches_nothing() {
    let on = machine(STATE);
    on.apply();
    on.expect(0, &["ledger", "forget", "cron:trim"]);
    assert!(on.at("/etc/cron.d/trim").exists() && !on.managed().contains(&"cron:trim".into()));
    on.expect(1, &["ledger", "forget", "cron:trim"]);
    on.state(&STATE.replace("  trim: { schedule: \"@weekly\", command: \"true\" }\n", ""));
    on.plan_is_empty();
}

#[test]
fn what_is_in_a_users_way_is_put_right() {
    // R40: the same plan that gives a directory back must not end on its being given away.
    let yaml = r"
directories: { /srv/repo: { owner: backup } }
destinations:
  vault: { local: { path: /srv/repo }, password_file: /etc/rlvm/vault, generate_password: true }
jobs:
  home: { sources: [{ path: /home }], user: backup, to: [vault] }
";
    let on = machine(yaml);
    on.apply();
    let id = on.read("/srv/repo/config");
    for path in ["/srv/repo", "/etc/rlvm/vault"] {
        for owner in [0, 33] {
            let mode = if path == "/srv/repo" { 0o700 } else { 0o600 };
            on.own(path, owner, mode);
            let plan = on.plan_json(&["--refresh"]);
            assert_eq!(
                (addresses(&plan, "update").len(), addresses(&plan, "create").len()),
                (1, 0),
                "{plan}"
            );
            on.expect(0, &["apply", "--yes", "--refresh"]);
            on.plan_is_empty();
            assert_eq!(on.read("/srv/repo/config"), id);
        }
    }
    // Nothing is put right here: that is an error still.
    on.own("/srv/repo/keys/key", 0, 0o600);
    let denied = on.expect(1, &["plan", "--refresh"]);
    assert!(denied.stdout.contains("error: repository:vault: unreachable"), "{denied:?}");
}

#[test]
fn a_generated_password_that_is_lost_is_not_made_anew_over_its_repository() {
    let scratch = Scratch::new();
    scratch.state(
        "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n",
    );
    scratch.apply();
    fs::remove_file(scratch.at("/etc/rlvm/v")).unwrap();
    for (code, args) in [(1, &["plan"][..]), (7, &["apply", "--yes"])] {
        let said = scratch.expect(code, args).stdout;
        assert!(said.contains("is gone since the last apply: a new one opens nothing"), "{said}");
    }
    assert!(!scratch.at("/etc/rlvm/v").exists());
    // Quietly, too.
    let ran = scratch.expect(7, &["apply", "--yes", "-q"]);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("error: secret:/etc/rlvm/v: "), "{ran:?}");
}

#[test]
fn a_private_key_in_the_place_of_a_public_one_is_not_written_over() {
    let scratch = Scratch::new();
    scratch.state("ssh:\n  keys: { /root/.ssh/id: {} }\n");
    scratch.apply();
    let key = scratch.read("/root/.ssh/id");
    scratch.file("/root/.ssh/id.pub", &key);
    for (code, args) in [(1, &["plan"][..]), (7, &["apply", "--yes", "--adopt"])] {
        let said = scratch.expect(code, args).stdout;
        assert!(said.contains("/root/.ssh/id.pub holds a private key, and is not written over"), "{said}");
    }
    assert_eq!(scratch.read("/root/.ssh/id.pub"), key);
}

#[test]
fn jobs_are_listed_as_applied_and_as_declared() {
    let on = machine(STATE);
    // As a machine calls it: no state is named.
    let called = |args: &[&str], zone: &str| {
        let mut command = Command::new(RLVM);
        command.args(["--host", "web01", "--root"]).arg(on.root()).args(args).env_clear().env("TZ", zone);
        on.ran(command.env("PATH", on.search_path()))
    };
    let unapplied = called(&["list"], "UTC");
    assert_eq!(unapplied.code, Some(1));
    assert!(unapplied.stderr.contains("nothing was applied here yet"), "{unapplied:?}");
    on.apply();
    let zoned = |zone: &str| {
        let listed: serde_json::Value =
            serde_json::from_str(&called(&["list", "--json"], zone).stdout).unwrap();
        assert_eq!(listed["jobs"][0]["sources"][0], "/etc", "{listed}");
        listed["jobs"][0]["next"].as_str().unwrap().to_owned()
    };
    // The host's own half past two, whatever the zone.
    for (zone, offset) in [("UTC", "+00:00"), ("Asia/Tokyo", "+09:00")] {
        let _ = fs::remove_file(on.at("/etc/localtime"));
        std::os::unix::fs::symlink(format!("/usr/share/zoneinfo/{zone}"), on.at("/etc/localtime")).unwrap();
        // cron and systemd start jobs by the host's zone, and know nothing of the caller's.
        for callers in ["UTC", "America/New_York", zone] {
            let next = zoned(callers);
            assert!(next.ends_with(&format!("T02:30:00{offset}")), "{callers}: {next}");
        }
    }
    on.state(&STATE.replace("system:", "other:"));
    let listed = on.expect(0, &["list"]).stdout;
    assert!(listed.lines().count() == 2 && listed.contains("\nother  yes "), "{listed}");
}
