//! Patterns that match several paths.

use serde::{Deserialize, Serialize};

use super::text::{BadText, plain_word};

/// An absolute path in which `*`, `?` and `[…]` stand for several, as logrotate reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern(String);

plain_word!(
    PathPattern,
    check_pattern,
    "rlvm-path-pattern",
    "An absolute path; `*` and `?` allowed.",
    "/var/log/shop/*.log"
);

fn check_pattern(text: &str) -> Result<(), BadText> {
    let bad = |why| Err(BadText::new(text, why));
    let Some(rest) = text.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
        return bad("must be an absolute path, starting with `/`");
    };
    // In a rule these would end the name or open a block.
    if text.contains(|c: char| c.is_control() || "\"'{}\\#".contains(c)) {
        return bad("must have no quotes, braces, backslashes, `#` or control characters");
    }
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return bad("must have no empty, `.` or `..` part");
    }
    Ok(())
}

/// Says what is wrong with a pattern of restic's `--exclude`, if so. restic refuses to start with one that is malformed
/// (Go's `path.Match`, for each part between slashes).
pub fn malformed_exclude(pattern: &str) -> Option<&'static str> {
    pattern.split('/').find_map(malformed_part)
}

/// The brackets of a pattern are not closed.
const OPEN: &str = "`[` is never closed by `]` in the same part of the path";

fn malformed_part(part: &str) -> Option<&'static str> {
    let mut rest = part.chars();
    while let Some(c) = rest.next() {
        let taken = match c {
            '\\' => rest.next().map(drop).ok_or("a backslash at its end escapes nothing"),
            '[' => take_brackets(&mut rest),
            _ => Ok(()),
        };
        if let Err(why) = taken {
            return Some(why);
        }
    }
    None
}

/// Takes what stands in brackets, and the closing one.
fn take_brackets(rest: &mut std::str::Chars<'_>) -> Result<(), &'static str> {
    *rest = rest.as_str().strip_prefix('^').unwrap_or(rest.as_str()).chars();
    for count in 0.. {
        if count > 0 && rest.as_str().starts_with(']') {
            rest.next();
            break;
        }
        take_end(rest)?;
        if rest.as_str().starts_with('-') {
            rest.next();
            take_end(rest)?;
        }
    }
    Ok(())
}

/// Takes one end of a range in brackets.
fn take_end(rest: &mut std::str::Chars<'_>) -> Result<(), &'static str> {
    match rest.next().ok_or(OPEN)? {
        ']' => return Err("`[]` holds no letter"),
        '-' => return Err("`-` in brackets needs a letter before and after it"),
        '\\' => drop(rest.next().ok_or(OPEN)?),
        _ => {}
    }
    // The brackets must be closed behind it.
    if rest.as_str().is_empty() { Err(OPEN) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_excludes_are_those_that_restic_refuses() {
        for good in [
            "*.tmp",
            "/home/*/.cache",
            "**/x",
            "[a-z]*",
            "[^a]",
            "a[\\]]b",
            "\\[x",
            "[]x]/y",
            "!keep",
            "ü[ö-ü]",
        ] {
            let known = if good == "[]x]/y" { Some("`[]` holds no letter") } else { None };
            assert_eq!(malformed_exclude(good), known, "{good}");
        }
        for bad in ["[", "a[", "[a", "[a-", "[a-]", "[-a]", "[]", "[^]", "x\\", "[a\\", "[a/b]", "/srv/[x/y"]
        {
            assert!(malformed_exclude(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn patterns_are_absolute_and_plain() {
        for good in ["/var/log/shop/*.log", "/var/log/a b.log", "/var/log/[ab]?.log"] {
            assert!(good.parse::<PathPattern>().is_ok(), "{good}");
        }
        for bad in ["", "/", "var/log", "/a/../b", "/a//b", "/a/", "/a\n", "/a{b}", "/a\"", "/a'b", "/a#"] {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad:?}");
        }
    }
}
