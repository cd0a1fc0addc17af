//! What the documents promise: requirement numbers are defined, links lead somewhere, sizes stay within limits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Parser as _, error::ErrorKind};

use super::reference::anchor;
use crate::support::Scratch;

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

#[test]
fn readme_and_architecture_stay_short() {
    for (name, most) in [("README.md", 12_288), ("ARCHITECTURE.md", 15_360)] {
        let bytes = fs::metadata(top().join(name)).unwrap().len();
        assert!(bytes <= most, "{name} has {bytes} bytes; the limit is {most}");
    }
}

#[test]
fn architecture_names_files_that_exist() {
    let text = fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    let named = text.split('`').skip(1).step_by(2);
    let files = named.filter(|word| word.starts_with("src/") || word.starts_with("tests/"));
    let files: Vec<_> = files.filter(|word| !word.contains("NAME")).collect();
    assert!(files.len() > 40, "{files:?}");
    let missing: Vec<_> = files.iter().filter(|file| !top().join(file).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names files that do not exist: {missing:?}");
}

/// Returns the pages that people read: Markdown at the top, in docs/ and in examples/.
fn pages() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for dir in ["docs", "examples"] {
        texts(&top().join(dir), &mut found);
    }
    for entry in fs::read_dir(top()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.extension().is_some_and(|it| it == "md") {
            found.push((path.strip_prefix(top()).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
    found.retain(|(path, _)| path.extension().is_some_and(|it| it == "md"));
    found
}

/// Returns a page's lines outside code blocks.
fn prose(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !fence && !in_code
    });
    lines.collect()
}

/// Returns the targets of a page's relative links.
fn links(text: &str) -> Vec<String> {
    let text = prose(text).join("\n");
    // What stands between backquotes is code.
    let text: String = text.split('`').step_by(2).collect();
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://")).map(Into::into).collect()
}

#[test]
fn links_are_found_and_code_is_passed_over() {
    let page =
        "[a](a.md) and [b](../b.md#c-d), `[c](c.md)`\n```\n[d](d.md)\n```\n[`e`](e.md) [f](https://f.lan)\n";
    assert_eq!(links(page), ["a.md", "../b.md#c-d", "e.md"]);
}

#[test]
fn every_relative_link_resolves() {
    let pages = pages();
    assert!(pages.len() > 30, "{}", pages.len());
    let mut wrong = Vec::new();
    for (page, text) in &pages {
        for link in links(text) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let Ok(text) = fs::read_to_string(top().join(&target)) else {
                wrong.push(format!("{}: {link} leads nowhere", page.display()));
                continue;
            };
            let lines = prose(&text);
            let mut headings = lines.iter().filter(|line| line.starts_with('#'));
            if !heading.is_empty()
                && !headings.any(|line| anchor(line.trim_start_matches('#').trim()) == heading)
            {
                wrong.push(format!("{}: {link}: {} has no such heading", page.display(), target.display()));
            }
            // The book has no pages but those in docs/.
            let real = fs::canonicalize(top().join(&target)).unwrap();
            if page.starts_with("docs") && !real.starts_with(fs::canonicalize(top().join("docs")).unwrap()) {
                wrong.push(format!("{}: {link} leads out of the book", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = fs::read_to_string(top().join("docs/SUMMARY.md")).unwrap();
    let listed: BTreeSet<String> = links(&summary).into_iter().collect();
    let pages = pages();
    let there = pages.iter().filter_map(|(page, _)| page.strip_prefix("docs").ok());
    let there: BTreeSet<String> = there.map(|page| page.display().to_string()).collect();
    let missing: Vec<_> =
        there.iter().filter(|page| *page != "SUMMARY.md" && !listed.contains(*page)).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not list {missing:?}");
}

/// Returns the blocks of a page that are code of a language, without their indentation.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(word)) if word == language => open = Some(String::new()),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.extend([line, "\n"]),
            (None, _) => {}
        }
    }
    found
}

#[test]
fn every_complete_state_in_a_page_is_valid() {
    let scratch = Scratch::new();
    let mut count = 0;
    for (page, text) in pages() {
        for block in blocks(&text, "yaml").iter().filter(|block| block.starts_with("version: 1\n")) {
            let host = block.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            let file = scratch.beside("page.yaml");
            fs::write(&file, block).unwrap();
            let ran = scratch.ran(&mut scratch.command_as(host, &["validate", file.to_str().unwrap()]));
            assert_eq!(ran.code, Some(0), "{}:\n{block}\n{ran:?}", page.display());
            count += 1;
        }
    }
    assert!(count > 10, "{count} complete states were found");
}

#[test]
fn the_readme_shows_the_quickstart_and_what_plan_prints() {
    let readme = fs::read_to_string(top().join("README.md")).unwrap();
    let quickstart = fs::read_to_string(top().join("examples/quickstart/web01.yaml")).unwrap();
    assert!(readme.contains(&format!("```yaml\n{quickstart}```")), "README.md shows another state");
    let scratch = Scratch::new();
    scratch.state(quickstart.strip_prefix("version: 1\nhost: web01\n").unwrap());
    let plan = scratch.expect(0, &["plan", "--summary"]).stdout;
    assert!(readme.contains(&format!("```text\n{plan}```")), "README.md shows another plan than\n{plan}");
    scratch.apply();
    let entry = scratch.read("/etc/cron.d/rlvm-home");
    fs::write(scratch.at("/etc/cron.d/rlvm-home"), entry.replace("\n30 2 ", "\n30 14 ")).unwrap();
    fs::set_permissions(scratch.at("/srv/dumps"), fs::Permissions::from_mode(0o777)).unwrap();
    let plan = scratch.expect(0, &["plan"]).stdout;
    let drift = plan.split("\nwarning: ").next().unwrap().split("\nPlan: ").next().unwrap();
    assert!(drift.contains("(drift)"), "{plan}");
    assert!(readme.contains(&format!("```text\n{drift}```")), "README.md shows another drift than\n{drift}");
}

/// Splits a command line into words as a shell does, up to a pipe, a redirection, or two blanks before a comment.
fn words(line: &str) -> Vec<String> {
    let line = line.split("  ").next().unwrap();
    let mut found = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (None, '|' | '>' | ';' | '&') => break,
            (None, ' ') => found.push(String::new()),
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (_, letter) => found.last_mut().unwrap().push(letter),
        }
    }
    found.retain(|word| !word.is_empty());
    found
}

/// Returns the calls of rlvm in a page: those that a reader copies, and those that the prose only names.
fn calls(text: &str) -> (Vec<String>, Vec<String>) {
    let blocks = blocks(text, "console");
    let lines = blocks.iter().flat_map(|block| block.lines()).map(str::trim_start);
    let lines = lines.filter_map(|line| line.strip_prefix("$ ").or(line.strip_prefix("# ")));
    let copied = lines.flat_map(|line| line.split("&& ")).map(str::trim_start);
    let prose = prose(text).join("\n");
    let named = prose.split('`').skip(1).step_by(2);
    // What stands for something else is no call.
    let named = named.filter(|call| !call.contains(['[', '…']) && !call.contains("VERB"));
    let of_rlvm = |call: &&str| call.starts_with("rlvm ");
    (copied.filter(of_rlvm).map(Into::into).collect(), named.filter(of_rlvm).map(Into::into).collect())
}

#[test]
fn every_call_of_rlvm_in_a_page_is_understood() {
    // Prose names a verb without all that it needs: `rlvm restore`.
    let short = [
        ErrorKind::MissingRequiredArgument,
        ErrorKind::InvalidValue,
        ErrorKind::ValueValidation,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    let (mut count, mut wrong) = (0, Vec::new());
    for (page, text) in pages().iter().filter(|(page, _)| !page.ends_with("CHANGELOG.md")) {
        let (copied, named) = calls(text);
        let all =
            copied.iter().map(|call| (call, &[][..])).chain(named.iter().map(|call| (call, &short[..])));
        for (call, may) in all {
            count += 1;
            if let Err(err) = rlvm::cli::Cli::try_parse_from(words(call))
                && err.kind() != ErrorKind::DisplayHelp
                && !may.contains(&err.kind())
            {
                let why = err.to_string();
                wrong.push(format!("{}: `{call}`: {}", page.display(), why.lines().next().unwrap()));
            }
        }
    }
    assert!(count > 60, "{count} calls were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
