//! Writes times and verdicts as text, and escapes text for HTML.

use jiff::Timestamp;

use crate::report::{
    show::word,
    status::{Level, Verdict},
};

/// Writes text as it stands in HTML, in an element or in a quoted attribute. What is no letter moves nothing.
pub(super) fn esc(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            // Marks of direction would turn what follows round.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}');
            }
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

/// Writes a moment: how long ago it was, and when. What is no time is shown as it is.
pub(super) fn moment(text: &str, now: Timestamp) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => format!(
            "<time datetime=\"{time}\">{} <span class=\"at\">{}</span></time>",
            relative(time, now),
            absolute(time)
        ),
        Err(_) => format!("<bdi>{}</bdi>", esc(text)),
    }
}

/// Writes when something is.
pub(super) fn absolute(time: Timestamp) -> String {
    // The zone does not stand alone in a line.
    time.strftime("%Y-%m-%d %H:%M\u{a0}UTC").to_string()
}

/// Writes how long ago something was, or in how long it will be.
pub(super) fn relative(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(time.as_second());
    let long = span(seconds.unsigned_abs());
    match seconds {
        ..-59 => format!("in {long}"),
        -59..60 => "just now".into(),
        60.. => format!("{long} ago"),
    }
}

/// Writes a length of time, in its largest unit and as a person would.
pub(super) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str, u64); 5] = [
        // Up to two of a unit the smaller one says more.
        (365 * 86_400, "year", 2),
        (30 * 86_400, "month", 3),
        (86_400, "day", 2),
        (3_600, "hour", 2),
        (60, "minute", 1),
    ];
    let (length, unit, _) =
        UNITS.into_iter().find(|(length, _, least)| seconds >= length * least).unwrap_or((1, "second", 1));
    let count = seconds / length;
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{s}")
}

/// Writes a level as a sign and a word: colour alone tells nobody.
pub(super) fn badge(of: Level) -> String {
    let word = word(of);
    let sign = match of {
        Level::Ok => "✓",
        Level::Warning => "!",
        Level::Critical => "✕",
    };
    format!(
        "<span class=\"badge {word}\"><span class=\"sign\" aria-hidden=\"true\">{sign}</span> {word}</span>"
    )
}

/// Names a verdict.
pub(super) const fn verdict(of: Verdict) -> &'static str {
    match of {
        Verdict::Fresh => "fresh",
        Verdict::Due => "due now",
        Verdict::Running => "running",
        Verdict::Unscheduled => "no schedule",
        Verdict::Overdue => "overdue",
        Verdict::NeverStored => "never stored",
        Verdict::Gone => "snapshots gone",
        Verdict::Failing => "failing",
        Verdict::Incomplete => "incomplete",
        Verdict::Shrinking => "shrinking",
        Verdict::Growing => "growing fast",
        Verdict::NeverVerified => "never verified",
        Verdict::VerifyOverdue => "verification overdue",
        Verdict::VerifyFailed => "verification failed",
        Verdict::RetentionUnmet => "not pruned",
        Verdict::FromTheFuture => "from the future",
        Verdict::NotInitialised => "no repository",
        Verdict::Unreachable => "unreachable",
        Verdict::Unreadable => "unreadable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_a_person_says_them() {
        let now: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        for (time, expected) in [
            ("2026-11-21T18:00:00Z", "just now"),
            ("2026-11-21T17:59:01Z", "just now"),
            ("2026-11-21T18:00:59Z", "just now"),
            ("2026-11-21T17:59:00Z", "1 minute ago"),
            ("2026-11-21T16:01:00Z", "119 minutes ago"),
            ("2026-11-21T16:00:00Z", "2 hours ago"),
            ("2026-11-19T18:00:01Z", "47 hours ago"),
            ("2026-11-19T18:00:00Z", "2 days ago"),
            ("2026-08-30T18:00:00Z", "83 days ago"),
            ("2026-08-01T18:00:00Z", "3 months ago"),
            ("2022-11-21T18:00:00Z", "4 years ago"),
            ("2026-11-22T02:30:00Z", "in 8 hours"),
        ] {
            assert_eq!(relative(time.parse().unwrap(), now), expected, "{time}");
        }
        assert_eq!(
            moment("2026-11-21T02:30:00+01:00", now),
            "<time datetime=\"2026-11-21T01:30:00Z\">16 hours ago <span class=\"at\">2026-11-21 01:30\u{a0}UTC</span></time>"
        );
        assert_eq!(moment("<soon>", now), "<bdi>&lt;soon&gt;</bdi>");
    }

    #[test]
    fn nothing_gets_out_of_its_place() {
        assert_eq!(esc("<b a='1'>\"&\u{7}\u{202e}\n"), "&lt;b a=&#39;1&#39;&gt;&quot;&amp;\u{fffd}\u{fffd} ");
    }
}
