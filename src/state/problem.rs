//! A problem of a state, as a value and as text.

use std::fmt::{self, Write};

use serde::Serialize;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The state cannot be used.
    Error,
    /// The state can be used, and is probably not what was meant.
    Warning,
}

/// One thing that is wrong, where it stands, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters are meant, at least 1.
    pub length: u32,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// The line as it stands in the file, of a long one only the part around the place, passwords in addresses masked;
    /// empty if the file could not be read.
    pub source_line: String,
    /// How many characters of the line stand before that part.
    #[serde(skip)]
    pub skipped: u32,
}

/// Everything that is wrong, in the order of the files' lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

/// How problems look on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With the terminal's colours.
    Color,
}

impl Problems {
    /// Sorts the problems by place; the same one found on two ways is listed once.
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }

    /// Lists the problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Writes them as text: place, message, the line with a caret, what to do.
    pub fn render(&self, style: Style) -> String {
        let mut text = String::new();
        for problem in &self.0 {
            if !text.is_empty() {
                text.push('\n');
            }
            // Writing into a String cannot fail.
            let _ = problem.write(&mut text, style);
        }
        text
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// How much of a line is shown, in characters.
const WIDEST: usize = 160;

impl Problem {
    fn write(&self, to: &mut impl Write, style: Style) -> fmt::Result {
        let (strong, bad, help, end) = match (style, self.severity) {
            (Style::Plain, _) => ("", "", "", ""),
            (Style::Color, Severity::Error) => ("\x1b[1m", "\x1b[1;31m", "\x1b[1;36m", "\x1b[0m"),
            (Style::Color, Severity::Warning) => ("\x1b[1m", "\x1b[1;33m", "\x1b[1;36m", "\x1b[0m"),
        };
        let Self { file, line, column, message, .. } = self;
        let file = file.escape_debug();
        let warning = if self.severity == Severity::Warning { "warning: " } else { "" };
        writeln!(to, "{strong}{file}:{line}:{column}:{end} {bad}{warning}{end}{strong}{message}{end}")?;
        if !self.source_line.trim().is_empty() {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            let (shown, before) = self.shown_line();
            let carets = "^".repeat((self.length as usize).clamp(1, WIDEST / 2));
            writeln!(to, " {number} | {shown}\n {margin} | {before}{bad}{carets}{end}")?;
        }
        if let Some(remedy) = &self.remedy {
            writeln!(to, " {help}help:{end} {remedy}")?;
        }
        Ok(())
    }

    /// Returns the line as it can be printed, and the white space before the caret: a tab stays a tab in both, and
    /// what would move the cursor is replaced.
    fn shown_line(&self) -> (String, String) {
        // A private key on one line: it would be in a log for ever.
        if self.source_line.contains("PRIVATE KEY") {
            return ("\u{2026}".into(), String::new());
        }
        // A long line, as of JSON, is shown around the place.
        let column = self.column.saturating_sub(1).saturating_sub(self.skipped) as usize;
        let skipped =
            if self.source_line.chars().count() > WIDEST { column.saturating_sub(WIDEST / 2) } else { 0 };
        let safe = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
        let shown: String = self.source_line.chars().skip(skipped).take(WIDEST).map(safe).collect();
        let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
        let before = shown.chars().map(blank).take(column - skipped).collect();
        (shown, before)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(Style::Plain).trim_end())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_below_the_word() {
        let problem = Problem {
            file: "web01.yaml".into(),
            line: 12,
            column: 5,
            length: 7,
            severity: Severity::Error,
            message: "unknown key `excldue`".into(),
            remedy: Some("did you mean `exclude`?".into()),
            source_line: "    excldue: []\x1b".into(),
            skipped: 0,
        };
        let text = Problems::new(vec![problem.clone(), problem]).to_string();
        assert_eq!(
            text,
            "web01.yaml:12:5: unknown key `excldue`\n 12 |     excldue: []\u{fffd}\n    |     ^^^^^^^\n \
             help: did you mean `exclude`?"
        );
    }
}
