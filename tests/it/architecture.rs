//! Which module may use which, and who may touch the machine. Reads the source, so that a shortcut fails the build.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read the source")]

mod documents;
mod reference;

use std::{fs, path::Path};

/// The longest a file may be, in lines; about 300 is meant.
const LONGEST: usize = 450;

/// A file of src/.
struct Source {
    /// The top module it is part of; `main` and `lib` are their own.
    module: String,
    /// Its path, from the repository's root.
    file: String,
    text: String,
}

impl Source {
    /// Returns the code without comments and without what only tests see.
    fn code(&self) -> String {
        if self.file.ends_with("/tests.rs") {
            return String::new();
        }
        let tests = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        let lines = self.text[..tests].lines();
        lines
            .filter(|line| !line.trim_start().starts_with("//"))
            .fold(String::new(), |all, line| all + line + "\n")
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 50, "src/ was found");
    found
}

fn walk(dir: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
            continue;
        }
        // Snapshots of tests lie beside them.
        if path.extension().is_none_or(|it| it != "rs") {
            continue;
        }
        let file = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        let module = file.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        found.push(Source { module, file: file.display().to_string(), text });
    }
}

/// The top modules in the order of lib.rs, which is the order of flow.
fn order() -> Vec<String> {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let names = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(Into::into).collect()
}

/// Says whether a text names a module of the crate: as `crate::name`, or in a `use crate::{…}` list.
fn names(code: &str, module: &str) -> bool {
    if code.contains(&format!("crate::{module}::")) || code.contains(&format!("crate::{module};")) {
        return true;
    }
    code.split("use crate::{").skip(1).any(|list| {
        let mut depth = 1_usize;
        let mut at_top = String::new();
        for letter in list.chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ if depth == 1 => at_top.push(letter),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        at_top.split(',').any(|part| part.trim().split("::").next() == Some(module))
    })
}

#[test]
fn modules_use_only_those_above_them() {
    let order = order();
    assert!(order.first().is_some_and(|first| first == "model") && order.len() > 8, "{order:?}");
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = order.iter().position(|it| *it == source.module) else {
            assert!(["main", "lib"].contains(&source.module.as_str()), "{} is in no `pub mod`", source.file);
            continue;
        };
        let code = source.code();
        let below = order[own + 1..].iter().filter(|used| names(&code, used));
        wrong.extend(below.map(|used| format!("{} uses {used}", source.file)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_test_of_the_order_sees_every_way_to_name_a_module() {
    for (code, expected) in [
        ("use crate::plan::Plan;", true),
        ("use crate::{\n    host::Real,\n    plan::{Plan, show},\n};", true),
        ("use crate::{host, plan};", true),
        ("let x = crate::plan::decide();", true),
        ("use crate::plan;", true),
        ("use crate::{host::plan::X, cli};", false),
        ("use crate::planning::Plan;", false),
        ("use super::plan;", false),
    ] {
        assert_eq!(names(code, "plan"), expected, "{code}");
    }
}

#[test]
fn only_host_touches_the_machine() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module != "host") {
        let code = source.code();
        for word in [
            "std::fs",
            "std::process",
            "std::env",
            "std::net::Tcp",
            "std::net::Udp",
            "std::os::unix::fs",
            "nix::",
            "ureq::",
            "env::var",
        ] {
            let lines = code.lines().filter(|line| line.contains(word));
            // Its number, and how it ends, touch nothing; the environment is main's to read.
            let touching = lines.filter(|line| {
                !line.contains("std::process::id()")
                    && !(source.module == "main" && (word.contains("env") || line.contains("ExitCode")))
            });
            wrong.extend(touching.map(|line| format!("{}: {}", source.file, line.trim())));
        }
        // `use std::{fs, …}`
        for list in code.split("use std::{").skip(1) {
            let list = list.split(';').next().unwrap_or_default();
            let parts =
                list.split([',', '{', '}']).map(|part| part.trim().split("::").next().unwrap_or_default());
            let bad = parts.filter(|part| ["fs", "env"].contains(part));
            wrong.extend(bad.map(|part| format!("{}: use std::{{{part}}}", source.file)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_unsafe_and_no_lint_is_silenced_without_a_reason() {
    let mut wrong = Vec::new();
    for Source { file, text, .. } in sources() {
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            let silenced = code.contains("[allow(") || code.contains(", allow(");
            let unsafe_code = ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| code.contains(word));
            if !code.starts_with("//") && (silenced || unsafe_code) {
                wrong.push(format!("{file}:{}: {code}", number + 1));
            }
        }
        for expect in text.split("[expect(").skip(1) {
            let whole = expect.split(")]").next().unwrap_or_default();
            if !whole.contains("reason = ") {
                wrong.push(format!("{file}: expect({whole}) gives no reason"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let cargo = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(cargo.contains("unsafe_code = \"forbid\""));
}

#[test]
fn files_stay_short_and_say_what_they_are_for() {
    let mut wrong = Vec::new();
    for Source { file, text, .. } in sources() {
        let lines = text.lines().count();
        if lines > LONGEST {
            wrong.push(format!("{file} has {lines} lines"));
        }
        if !text.starts_with("//! ") {
            wrong.push(format!("{file} does not open with what it is for"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_kind_is_in_the_list_of_kinds() {
    let all = sources();
    let list = all.iter().find(|source| source.file == "src/resource/mod.rs").unwrap();
    let list = list.text.rsplit("kinds! {").next().unwrap();
    let listed: Vec<&str> = list.split('}').next().unwrap().split(',').map(str::trim).collect();
    let mut seen = 0;
    for source in all.iter().filter(|source| source.module == "resource") {
        let text = source.text.replace("impl Check for ", "impl Kind for ");
        for kind in text.split("impl Kind for ").skip(1) {
            let kind = kind.split([' ', '<']).next().unwrap();
            assert!(listed.contains(&kind), "{}: {kind} is not in the `kinds!` list", source.file);
            seen += 1;
        }
    }
    assert_eq!(seen, listed.iter().filter(|kind| !kind.is_empty()).count(), "{listed:?}");
}

/// Nobody but the library's `main` may end the process, and nobody may ask how the run was started.
#[test]
fn nowhere_is_a_dry_run_decided() {
    for Source { file, text, .. } in sources() {
        assert!(!text.contains("if dry_run") && !text.contains("if self.dry_run"), "{file}");
    }
}

/// Adds the text of all files of Rust below a directory.
fn texts(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, all);
        } else if path.extension().is_some_and(|it| it == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn each_row_of_the_table_of_failures_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    texts(&root.join("src"), &mut code);
    texts(&root.join("tests/it"), &mut code);
    let text = fs::read_to_string(root.join("docs/failures.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.contains("---"));
    for row in rows.filter(|row| !row.ends_with("| shown by |")) {
        let shown = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap();
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test shows it: {row}");
        for name in names {
            let function = name.rsplit("::").next().unwrap();
            assert!(code.contains(&format!("fn {function}(")), "there is no test {name}");
        }
    }
}
