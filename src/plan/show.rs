//! Prints a plan as text.

use std::fmt::Write;

use similar::TextDiff;

use super::{Action, Change, Plan};
use crate::resource::{Attribute, Finding, Severity};

/// How text is made to stand out: not at all, or by a terminal's colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colours.
    pub colour: bool,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Something new.
    Added,
    /// Something that changes.
    Changed,
    /// Something that goes, or is wrong.
    Removed,
    /// Something that stands out.
    Strong,
    /// Something that stays behind.
    Faint,
}

impl Style {
    /// Paints a text.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Added => "32",
            Paint::Changed => "33",
            Paint::Removed => "31",
            Paint::Strong => "1",
            Paint::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Writes a whole plan: changes, findings, the closing line.
pub fn text(plan: &Plan, style: Style) -> String {
    let mut out = String::new();
    for change in plan.all_changes() {
        write_change(&mut out, change, style);
        out.push('\n');
    }
    write_findings(&mut out, &plan.findings, style);
    out.push_str(&closing(plan, style));
    out
}

/// Writes only how many of each there are, by kind.
pub fn summary(plan: &Plan, style: Style) -> String {
    let mut out = String::new();
    for change in plan.all_changes() {
        let (sign, paint) = sign(change);
        let _ = writeln!(out, "{} {}", style.paint(paint, sign), change.address);
    }
    if !plan.is_empty() {
        out.push('\n');
    }
    write_findings(&mut out, &plan.findings, style);
    out.push_str(&closing(plan, style));
    out
}

/// Writes one change: its sign, its address, why, and what changes.
pub fn write_change(out: &mut String, change: &Change, style: Style) {
    let (sign, paint) = sign(change);
    let drift =
        if change.drift { format!(" {}", style.paint(Paint::Changed, "(drift)")) } else { String::new() };
    let refused =
        if change.refused { format!(" {}", style.paint(Paint::Removed, "(refused)")) } else { String::new() };
    let (sign, address) = (style.paint(paint, sign), style.paint(Paint::Strong, change.address.as_str()));
    let _ = writeln!(
        out,
        "{sign} {address}{drift}{refused}  {}",
        style.paint(Paint::Faint, &visible(&change.reason))
    );
    let creating = change.actions.contains(&Action::Create);
    if creating {
        let all: Vec<String> =
            change.attributes.iter().map(|it| format!("{}: {}", it.name, value(it, creating))).collect();
        if !all.is_empty() {
            let _ = writeln!(out, "    {}", all.join("  "));
        }
        write_text(out, change, style);
        return;
    }
    let width = change.attributes.iter().map(|it| it.name.len()).max().unwrap_or_default();
    for attribute in &change.attributes {
        let _ = writeln!(out, "    {:width$}  {}", attribute.name, value(attribute, creating));
    }
    write_text(out, change, style);
}

/// Writes a file's text as a diff.
fn write_text(out: &mut String, change: &Change, style: Style) {
    if let Some(diff) = change.unified() {
        for line in diff.lines() {
            let paint = match line.as_bytes().first() {
                Some(b'+') => Some(Paint::Added),
                Some(b'-') => Some(Paint::Removed),
                Some(b'@') => Some(Paint::Faint),
                _ => None,
            };
            let line = visible(line);
            let _ = writeln!(out, "    {}", paint.map_or(line.clone(), |paint| style.paint(paint, &line)));
        }
    }
}

/// Writes findings, the worst first.
pub fn write_findings(out: &mut String, findings: &[Finding], style: Style) {
    for finding in findings {
        let (word, paint) = match finding.severity {
            Severity::Error => ("error", Paint::Removed),
            Severity::Refusal => ("refused", Paint::Removed),
            Severity::Warning => ("warning", Paint::Changed),
            Severity::Notice => ("note", Paint::Faint),
        };
        let (word, message) = (style.paint(paint, word), visible(&finding.message));
        let _ = writeln!(out, "{word}: {}: {message}", finding.address);
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(out, "  help: {}", visible(remedy));
        }
    }
    if !findings.is_empty() {
        out.push('\n');
    }
}

/// Writes the closing line. It is made of the same numbers as the exit code.
fn closing(plan: &Plan, style: Style) -> String {
    let summary = plan.summary();
    let worst = plan.findings.first().map(|finding| finding.severity);
    let line = if plan.is_empty() && worst.is_none_or(|worst| worst > Severity::Refusal) {
        "No changes. The host matches the state.".to_owned()
    } else if plan.is_empty() {
        "No changes can be planned.".to_owned()
    } else {
        let mut parts =
            vec![format!("{} to create", summary.create), format!("{} to change", summary.update)];
        if summary.adopt > 0 {
            parts.push(format!("{} to adopt", summary.adopt));
        }
        parts.push(format!("{} to remove", summary.delete));
        if summary.forget > 0 {
            parts.push(format!("{} to forget", summary.forget));
        }
        format!("Plan: {}.", parts.join(", "))
    };
    let unchanged = if summary.unchanged > 0 && !plan.is_empty() {
        format!(" ({} unchanged)", summary.unchanged)
    } else {
        String::new()
    };
    let is_refused = plan.has(Severity::Refusal);
    let tail = match worst {
        Some(Severity::Error) if plan.stopped => "\nNothing can be applied until the errors are fixed.\n",
        Some(Severity::Error) if is_refused => "\nIt is not applied as long as something is refused.\n",
        Some(Severity::Error) if plan.is_empty() => "\n",
        Some(Severity::Error) => {
            "\nrlvm apply leaves out what has an error and what needs it, and then exits with code 7.\n"
        }
        Some(Severity::Refusal) => "\nIt is not applied as long as something is refused.\n",
        _ => "\n",
    };
    format!("{}{}{tail}", style.paint(Paint::Strong, &line), style.paint(Paint::Faint, &unchanged))
}

fn sign(change: &Change) -> (&'static str, Paint) {
    let has = |action| change.actions.contains(&action);
    match () {
        () if has(Action::Delete) => ("-", Paint::Removed),
        () if has(Action::Create) => ("+", Paint::Added),
        () if has(Action::Update) => ("~", Paint::Changed),
        () if has(Action::Adopt) => ("=", Paint::Added),
        () => ("×", Paint::Faint),
    }
}

fn value(attribute: &Attribute, creating: bool) -> String {
    let shown = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => visible(text),
        serde_json::Value::Null => "none".into(),
        other => other.to_string(),
    };
    match attribute {
        Attribute { sensitive: true, .. } if creating => "(sensitive: generated, never shown)".into(),
        Attribute { sensitive: true, .. } => "(sensitive: changed, never shown)".into(),
        Attribute { after, .. } if creating => shown(after),
        Attribute { before, after, .. } => format!("{} → {}", shown(before), shown(after)),
    }
}

/// Writes a unified diff. A side that is not there is /dev/null, as in git.
pub fn unified(name: &str, before: &str, after: &str) -> String {
    let side = |text: &str| if text.is_empty() { "/dev/null".to_owned() } else { name.to_owned() };
    TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(3)
        .header(&side(before), &side(after))
        .to_string()
}

/// Takes the power out of control characters: what stands in a file must not drive the terminal.
pub fn visible(text: &str) -> String {
    if !text.contains(|c: char| c.is_control() && c != '\t') {
        return text.to_owned();
    }
    text.chars()
        .map(|c| if c.is_control() && c != '\t' { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_cannot_drive_the_terminal() {
        assert_eq!(visible("a\x1b[31mb\tc\r"), "a\\u{1b}[31mb\tc\\r");
    }

    #[test]
    fn colours_only_when_asked_for() {
        assert_eq!(Style::default().paint(Paint::Added, "x"), "x");
        assert_eq!(Style { colour: true }.paint(Paint::Added, "x"), "\x1b[32mx\x1b[0m");
    }

    #[test]
    fn a_side_that_is_not_there_is_dev_null() {
        let diff = unified("web", "", "a\n");
        assert!(diff.starts_with("--- /dev/null\n+++ web\n"), "{diff}");
    }
}
