//! What the documents promise: requirement numbers are defined.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Returns the top of the repository.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Lists all files below a directory, with what they hold, as far as it is text.
fn texts(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.strip_prefix(top()).unwrap().to_owned(), text));
        }
    }
}

/// Returns the requirement numbers that a text names: `R` and one to three digits, as a word.
fn requirements(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let numbers = words.filter(|word| {
        let digits = word.strip_prefix('R').unwrap_or_default();
        (1..=3).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
    });
    numbers.collect()
}

#[test]
fn every_requirement_number_is_defined() {
    let page = fs::read_to_string(top().join("docs/requirements.md")).unwrap();
    let lines = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let mut defined = BTreeMap::new();
    for (number, meaning) in lines.filter(|(number, _)| requirements(number).contains(number)) {
        assert!(defined.insert(number, meaning).is_none(), "{number} is defined twice");
    }
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches"] {
        texts(&top().join(dir), &mut files);
    }
    let mut used = 0;
    let mut missing = Vec::new();
    for (file, text) in &files {
        for number in requirements(text) {
            used += 1;
            if !defined.contains_key(number) {
                missing.push(format!("{}: docs/requirements.md does not define {number}", file.display()));
            }
        }
    }
    assert!(used > 100, "only {used} files name a requirement");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn requirement_numbers_are_found_in_every_position() {
    let cases: [(&str, &[&str]); 6] = [
        ("// R22", &["R22"]),
        ("(R25, R66).", &["R25", "R66"]),
        ("R07: by a link", &["R07"]),
        ("R1234 and XR22 and R22x and R_22", &[]),
        ("R", &[]),
        ("CAR22", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(requirements(text).into_iter().collect::<Vec<_>>(), expected, "{text}");
    }
}
