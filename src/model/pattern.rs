//! Paths that stand for several.

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

#[cfg(test)]
mod tests {
    use super::*;

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
