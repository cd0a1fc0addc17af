//! Finds the known name that a misspelt name probably means, for "did you mean" hints.

/// Finds the name that was probably meant.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase().replace('-', "_");
    let names: Vec<&str> = names.into_iter().collect();
    // restic's name of a rule is `keep-daily`, borgmatic's `keep_daily`.
    let plain = |known: &&str| {
        name == *known
            || name.strip_prefix("keep_") == Some(*known)
            || known.strip_prefix("keep_") == Some(name.as_str())
    };
    if let Some(known) = names.iter().find(|known| plain(known)) {
        return Some(known);
    }
    names
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name, known), known))
        .filter(|(likeness, known)| *likeness > 0.8 || strsim::damerau_levenshtein(&name, known) <= 1)
        // Of equals the first, so that the answer is always the same.
        .fold(None, |best: Option<(f64, &str)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        })
        .map(|(_, known)| known)
}

/// Says what to write in place of a name that names nothing.
pub(super) fn remedy<'a>(name: &str, names: impl IntoIterator<Item = &'a str>, section: &str) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => format!("declare it below `{section}:`"),
        None => format!("declared below `{section}:`: {}", list(names.iter().take(12).copied(), "and")),
    }
}

/// Lists names as text: "`a`, `b` and `c`".
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>, and: &str) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => "none".into(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} {and} {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_restic_and_borgmatic_are_known() {
        let keys = ["daily", "hourly", "keep_within", "last", "monthly", "weekly", "yearly"];
        for (written, meant) in [
            ("keep_daily", "daily"),
            ("keep_hourly", "hourly"),
            ("keep_weekly", "weekly"),
            ("keep_monthly", "monthly"),
            ("keep_yearly", "yearly"),
            ("keep_last", "last"),
            ("keep-daily", "daily"),
            ("keep-hourly", "hourly"),
            ("keep-weekly", "weekly"),
            ("keep-monthly", "monthly"),
            ("keep-yearly", "yearly"),
            ("keep-last", "last"),
            ("keep-within", "keep_within"),
            ("within", "keep_within"),
            ("dayly", "daily"),
        ] {
            assert_eq!(nearest(written, keys), Some(meant), "{written}");
        }
    }

    #[test]
    fn near_and_far() {
        let keys = ["exclude", "schedule", "sources", "to"];
        assert_eq!(nearest("excldue", keys), Some("exclude"));
        assert_eq!(nearest("excldue_paths", keys), Some("exclude"));
        assert_eq!(nearest("Schedule", keys), Some("schedule"));
        assert_eq!(nearest("source", keys), Some("sources"));
        assert_eq!(nearest("too", keys), Some("to"));
        assert_eq!(nearest("banana", keys), None);
        assert_eq!(list(["a", "b", "c"], "and"), "`a`, `b` and `c`");
    }
}
