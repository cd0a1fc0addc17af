//! "Did you mean": the nearest of some names.

/// Finds the name that was probably meant.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
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
