//! What is shipped for Prometheus and Grafana, by promtool's own opinion.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rlvm::report::{metrics, status::Verdict};
use serde_json::Value;

use crate::support::require;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring").join(name)
}

/// Runs promtool, which must find nothing wrong, and returns what it says.
#[track_caller]
fn promtool(args: &[&str], input: &str) -> String {
    require("/usr/bin", "promtool", "prometheus");
    let mut command = Command::new("promtool");
    command.args(args).current_dir(shipped("")).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {}: {said}", args.join(" "));
    said.into_owned()
}

/// Has promtool lint a file of metrics.
#[track_caller]
pub(crate) fn lints(text: &str) {
    let said = promtool(&["check", "metrics"], text);
    assert_eq!(said, "", "{text}");
}

/// Lists the metrics of rlvm's that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("rlvm_")).map(ToOwned::to_owned).collect()
}

fn all() -> BTreeSet<String> {
    metrics::names().map(ToOwned::to_owned).collect()
}

#[test]
fn rules_fire_when_they_should() {
    promtool(&["check", "rules", "alerts.yml"], "");
    let said = promtool(&["test", "rules", "alerts_test.yml"], "");
    assert!(said.contains("SUCCESS"), "{said}");
    let (rules, tests) = (shipped("alerts.yml"), shipped("alerts_test.yml"));
    let (rules, tests) = (fs::read_to_string(rules).unwrap(), fs::read_to_string(tests).unwrap());
    let strange: Vec<String> = named(&rules).difference(&all()).cloned().collect();
    assert!(strange.is_empty(), "no such metrics: {strange:?}");
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(alert), "{alert} is not tested");
    }
}

/// Lists all that a dashboard asks for, wherever it stands.
fn asked(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("expr", Value::String(text)) => found.push(text.clone()),
                    // `label_values(SERIES, LABEL)` is Grafana's own.
                    ("query", Value::String(text)) if text.starts_with("label_values(") => {
                        let inner = text.trim_start_matches("label_values(");
                        found.push(inner.rsplit_once(',').unwrap().0.to_owned());
                    }
                    (_, value) => asked(value, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| asked(value, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(shipped("dashboard.json")).unwrap()).unwrap();
    let mut found = Vec::new();
    asked(&dashboard, &mut found);
    assert!(found.len() > 15, "{found:?}");
    let rule = |(number, expr): (usize, &String)| {
        let metrics = named(expr);
        assert!(!metrics.is_empty() && metrics.is_subset(&all()), "{expr}");
        format!("{{ record: 'x{number}', expr: {} }}, ", serde_json::to_string(expr).unwrap())
    };
    let rules: String = found.iter().enumerate().map(rule).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("groups: [{{ name: x, rules: [{rules}] }}]\n")).unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()], "");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
}

#[test]
fn each_metric_is_explained() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    for name in metrics::names() {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
    let verdicts = Verdict::ALL.iter().map(|verdict| format!("`{}`", verdict.word()));
    for verdict in verdicts {
        assert!(page.contains(&verdict), "{verdict}");
    }
    assert_eq!(named(&page), all(), "and no other");
}
