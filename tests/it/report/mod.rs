//! `rlvm report`: the page as a real browser lays it out, and how it is asked for. What it says is in
//! `report/page/tests.rs`.
//!
//! `RLVM_SHOTS=DIR` keeps the pages, and pictures of each in each look.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

mod scenes;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    lab::Lab,
    support::{Scratch, require},
};

/// Writes a page of each scene, by the program.
fn pages(on: &Scratch) -> Vec<PathBuf> {
    let write = |(name, all): (&str, Vec<Value>)| {
        let mut args = vec!["report".to_owned(), "--html".into()];
        let page = on.beside(&format!("{name}.html"));
        args.extend([page.to_str().unwrap().into(), "--from".to_owned()]);
        for (number, status) in all.iter().enumerate() {
            let file = on.beside(&format!("{name}-{number}.json"));
            fs::write(&file, status.to_string()).unwrap();
            args.push(file.to_str().unwrap().into());
        }
        on.expect(0, &args.iter().map(String::as_str).collect::<Vec<_>>());
        page
    };
    scenes::all().into_iter().map(write).collect()
}

/// Opens pages in Chromium, in each look, and returns what it found.
fn browsed(on: &Scratch, pages: &[PathBuf]) -> Value {
    require(on.search_path(), "chromium", "chromium");
    require(on.search_path(), "python3", "python3");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/report/browse.py");
    let profile = on.beside("profile");
    fs::create_dir(&profile).unwrap();
    let keep = std::env::var("RLVM_SHOTS").unwrap_or_default();
    let mut browse = Command::new("python3");
    browse.args([script, "chromium"]).arg(profile).arg(&keep).args(pages);
    browse.env_clear().env("PATH", on.search_path()).env("HOME", on.beside(""));
    let ran = on.ran(&mut browse);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    if !keep.is_empty() {
        for page in pages {
            fs::copy(page, Path::new(&keep).join(page.file_name().unwrap())).unwrap();
        }
    }
    serde_json::from_str(&ran.stdout).unwrap()
}

#[track_caller]
fn none(found: &Value, what: &str, at: &str) {
    assert_eq!(found[what], serde_json::json!([]), "{at}: {what}");
}

#[test]
fn each_look_of_each_page() {
    let on = Scratch::new();
    let pages = pages(&on);
    let found = browsed(&on, &pages);
    let looks = found.as_object().unwrap().iter();
    let looks = looks.flat_map(|(page, looks)| {
        looks.as_object().unwrap().iter().map(move |(look, it)| (page.as_str(), look.as_str(), it))
    });
    let mut seen = 0;
    for (page, look, it) in looks {
        let at = &format!("{page}, {look}");
        // Nothing is fetched but the page, no script is there, and nobody is refused anything.
        assert_eq!(it["requests"], serde_json::json!([page]), "{at}");
        assert_eq!(it["asked"], serde_json::json!([format!("/{page}")]), "{at}");
        assert_eq!(it["scripts"], 0, "{at}");
        for what in ["complaints", "out", "cut", "twice", "lost", "links"] {
            none(it, what, at);
        }
        // The page does not scroll sideways.
        assert!(it["page"][0].as_u64() <= it["page"][1].as_u64(), "{at}: {}", it["page"]);
        // WCAG 2.2, 1.4.3 and 1.4.11.
        assert!(it["contrast"][0][0].as_f64().unwrap() >= 4.5, "{at}: {}", it["contrast"]);
        assert!(it["spark"].as_f64().unwrap() >= 3.0, "{at}: {}", it["spark"]);
        assert!(it["texts"].as_u64().unwrap() > 3, "{at}");
        is_accessible(it, at);
        colours(it, look, at);
        assert_eq!(it["motion"], "auto", "{at}");
        seen += 1;
    }
    assert_eq!(seen, pages.len() * 7);
}

/// What is read out is the same in each look.
fn is_accessible(it: &Value, at: &str) {
    assert_eq!((&it["lang"], &it["unscoped"]), (&"en".into(), &0.into()), "{at}");
    assert!(it["title"].as_str().unwrap().contains(": Backups of "), "{at}");
    let headings: Vec<u64> =
        it["headings"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
    assert_eq!(
        (headings[0], headings.iter().filter(|level| **level == 1).count()),
        (1, 1),
        "{at}: {headings:?}"
    );
    assert!(headings.windows(2).all(|two| two[1] <= two[0] + 1), "{at}: {headings:?}");
    let count = |role: &str| it["roles"]["count"][role].as_u64().unwrap_or(0);
    assert_eq!(
        (count("main"), count("banner"), count("contentinfo")),
        (1, 1, 1),
        "{at}: {}",
        it["roles"]["count"]
    );
    let tables = u64::from(it["heads"] != 0);
    assert!(
        count("table") >= tables && count("columnheader") >= tables && count("rowheader") >= tables,
        "{at}"
    );
    assert_eq!(count("columnheader") + count("rowheader"), it["heads"].as_u64().unwrap(), "{at}");
    for name in it["roles"]["names"].as_array().unwrap() {
        assert!(name[1].as_str().is_some_and(|name| !name.is_empty()), "{at}: {name}");
    }
    // What the keyboard comes to is marked, and the way past the top is seen.
    for (place, focus) in it["focus"].as_array().into_iter().flatten().enumerate() {
        assert!(focus["outline"].as_f64().unwrap() >= 2.0 || focus["tag"] == "BODY", "{at}: {focus}");
        assert!(
            place > 0 || (focus["seen"] == true && focus["text"] == "Skip to the backups"),
            "{at}: {focus}"
        );
    }
}

fn colours(it: &Value, look: &str, at: &str) {
    let ground = it["ground"].as_str().unwrap();
    match look {
        "dark" | "phone-dark" => assert_eq!(ground, "rgb(20, 23, 28)", "{at}"),
        // Paper is white, whatever the screen is.
        _ => assert_eq!(ground, "rgb(255, 255, 255)", "{at}"),
    }
    let has_table = it["heads"] != 0;
    let narrow = ["phone", "phone-dark", "narrow"].contains(&look);
    assert!(!has_table || (it["collapsed"] == "block") == narrow, "{at}: {}", it["collapsed"]);
}

#[test]
fn files_that_are_no_statuses_are_refused_with_their_place() {
    let on = Scratch::new();
    let page = on.beside("page.html");
    let ask = |text: &str| {
        let file = on.beside("status.json");
        fs::write(&file, text).unwrap();
        let args = ["report", "--html", page.to_str().unwrap(), "--from", file.to_str().unwrap()];
        on.rlvm(&args)
    };
    for (text, expected) in [
        ("{\"a\": \n", "status.json: no JSON: EOF while parsing a value at line 2"),
        ("{}", "status.json: no status: it has no `format_version`"),
        (
            "{\"format_version\": \"2.0\", \"rlvm_version\": \"3.1.4\"}",
            "status.json: a status of version 2.0",
        ),
        ("{\"format_version\": \"1.9\"}", "status.json: no status: missing field"),
    ] {
        let ran = ask(text);
        assert!(ran.code == Some(1) && ran.stderr.contains(expected), "{ran:?}");
        assert!(!page.exists());
    }
    let ran = on.rlvm(&["report"]);
    assert!(ran.code == Some(64) && ran.stderr.contains("--html"), "{ran:?}");
}

#[test]
fn the_file_is_the_owners_and_no_link_is_followed() {
    let on = Scratch::new();
    let (page, target) = (on.beside("page.html"), on.beside("target"));
    let status = on.beside("status.json");
    fs::write(&status, scenes::all()[0].1[0].to_string()).unwrap();
    fs::write(&target, "another's").unwrap();
    std::os::unix::fs::symlink(&target, &page).unwrap();
    let from = ["--from", status.to_str().unwrap()];
    on.expect(0, &[&["report", "--html", page.to_str().unwrap()][..], &from].concat());
    let meta = fs::symlink_metadata(&page).unwrap();
    assert!(meta.is_file() && meta.permissions().mode() & 0o7777 == 0o600, "{meta:?}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "another's");
    let ran = on.expect(0, &[&["report", "--html", "-"][..], &from].concat());
    assert!(ran.stdout.starts_with("<!DOCTYPE html>"), "{ran:?}");
    // As root only what nobody else could have written is read.
    fs::set_permissions(&status, fs::Permissions::from_mode(0o666)).unwrap();
    on.expect(6, &[&["report", "--html", "-"][..], &from].concat());
}

#[test]
fn a_page_of_the_host_itself() {
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    lab.state(
        "destinations:\n  \
           near: { local: { path: /srv/near }, password_file: /etc/rlvm/near.pass, generate_password: true }\n  \
           far: { local: { path: /srv/far }, password_file: /etc/rlvm/far.pass, generate_password: true }\n\
         jobs:\n  \
           web: { sources: [{ path: /srv/www }], to: [near, far], schedule: \"@daily\" }\n",
    );
    lab.apply();
    lab.make_key_cheap("/srv/near", "/etc/rlvm/near.pass");
    lab.make_key_cheap("/srv/far", "/etc/rlvm/far.pass");
    lab.expect(0, &["run", "web"]);
    lab.ok(&["mv", "/srv/far", "/srv/gone"]);
    let page = lab.expect(0, &["report", "--html", "-"]).stdout;
    let has = |word: &str| assert!(page.contains(word), "{word}:\n{page}");
    has("critical</span> 2 backups: 1 critical, 1 ok");
    has("<strong>web at far</strong>");
    has("<code>rlvm why web</code>");
    assert_eq!(page.matches("<article").count(), 2, "{page}");
    // What another rlvm reads of it is the same page.
    let status = lab.rlvm(&["status", "--json"]).stdout;
    lab.file_of("/root/status.json", &status, 0, 0o600);
    let again = lab.expect(0, &["report", "--html", "-", "--from", "/root/status.json"]).stdout;
    let matrix =
        |page: &str| page.split("<tbody").nth(1).unwrap().split("</table>").next().unwrap().to_owned();
    assert_eq!(matrix(&again), matrix(&page));
    // Below --root there is nothing to ask.
    let on = Scratch::new();
    on.expect(64, &["report", "--html", "-"]);
}
