//! Absolute paths of the managed host.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};

use super::text::{BadText, plain_word};

/// An absolute path as the managed host sees it, without `.`, `..`, `//` or a trailing `/`.
///
/// It is no `AsRef<Path>`: only `host` can open it, below the root in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPath(String);

plain_word!(
    HostPath,
    check_path,
    "rlvm-path",
    "An absolute path on the host, without `.`, `..` or a trailing `/`.",
    "/srv/backup"
);

impl HostPath {
    /// Makes a path of a word in the source, which a test has to check.
    pub(crate) fn fixed(text: &'static str) -> Self {
        debug_assert!(text.parse::<Self>().is_ok(), "{text}");
        Self(text.into())
    }

    /// Returns the directory that holds it; `None` for `/`.
    pub fn parent(&self) -> Option<Self> {
        self.parent_str().map(|dir| Self(dir.into()))
    }

    /// Returns the directory that holds it as text; `None` for `/`.
    pub fn parent_str(&self) -> Option<&str> {
        above(&self.0)
    }

    /// Lists the directories above it, nearest first, without `/`.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        self.ancestors_str().map(|dir| Self(dir.into()))
    }

    /// Lists the directories above it as text, nearest first, without `/`.
    pub fn ancestors_str(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(above(&self.0), |dir| above(dir)).filter(|dir| *dir != "/")
    }

    /// Returns its last part; empty for `/`.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// Returns the path without the leading `/`, to be opened below a root; `.` for `/`.
    pub fn relative(&self) -> &str {
        if self.0 == "/" { "." } else { &self.0[1..] }
    }

    /// Lists its parts from the root down.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// Says whether it is `other` or lies below it, by whole parts: `/home2` is not in `/home`.
    pub fn is_within(&self, other: &Self) -> bool {
        other.0 == "/"
            || self
                .0
                .strip_prefix(other.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns the path whose last part ends in `.pub` too: where the public half of a key is.
    #[must_use]
    pub fn public_half(&self) -> Self {
        Self(format!("{}.pub", self.0))
    }

    /// Returns the path of an entry of this directory.
    ///
    /// # Errors
    ///
    /// If the name is empty, is `.` or `..`, or holds a `/` or a control character.
    pub fn join(&self, name: &str) -> Result<Self, BadText> {
        if name.contains('/') {
            return Err(BadText::new(name, "must be one name, without `/`"));
        }
        let dir = if self.0 == "/" { "" } else { &self.0 };
        [dir, "/", name].concat().try_into()
    }
}

/// Returns the directory that holds a path; `None` for `/`.
fn above(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        (_, "") => None,
        ("", _) => Some("/"),
        (dir, _) => Some(dir),
    }
}

/// A map by paths can be asked with text.
impl Borrow<str> for HostPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn check_path(text: &str) -> Result<(), BadText> {
    let bad = |why| Err(BadText::new(text, why));
    if text == "/" {
        return Ok(());
    }
    if text.is_empty() {
        return bad("must not be empty: an absolute path is needed");
    }
    let Some(rest) = text.strip_prefix('/') else {
        return bad("must be an absolute path, starting with `/`");
    };
    if text.contains(|c: char| c.is_control()) {
        return bad("must have no control character");
    }
    if let Some(clean) = rest.strip_suffix('/').filter(|clean| !clean.ends_with('/')) {
        let remedy = format!("write `/{clean}`");
        return Err(BadText::new(text, "must not end in `/`").remedy(remedy));
    }
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return bad("must have no empty, `.` or `..` part");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> HostPath {
        text.parse().unwrap()
    }

    #[test]
    fn only_plain_absolute_paths() {
        for good in ["/", "/a", "/a/b.c", "/..a", "/a b"] {
            assert_eq!(path(good).as_str(), good);
        }
        for bad in ["", "a", "./a", "//", "/a/", "/a//b", "/a/../b", "/.", "/a\0", "/a\nb", "/a\x1b[0m"] {
            assert!(bad.parse::<HostPath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_trailing_slash_is_told_apart() {
        let bad = "/srv/backup/".parse::<HostPath>().unwrap_err();
        assert_eq!(bad.remedy.as_deref(), Some("write `/srv/backup`"));
    }

    #[test]
    fn within_means_whole_parts() {
        for (inner, outer, expected) in [
            ("/home", "/home", true),
            ("/home/a", "/home", true),
            ("/home2", "/home", false), // R27
            ("/home", "/home/a", false),
            ("/a", "/", true),
            ("/", "/", true),
            ("/", "/a", false),
        ] {
            assert_eq!(path(inner).is_within(&path(outer)), expected, "{inner} in {outer}");
        }
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(path("/").parent(), None);
        assert_eq!(path("/a").parent(), Some(path("/")));
        assert_eq!(path("/a/b").name(), "b");
        assert_eq!(path("/a/b/c").ancestors().collect::<Vec<_>>(), [path("/a/b"), path("/a")]);
        assert_eq!(path("/").relative(), ".");
        assert_eq!(path("/").join("a").unwrap(), path("/a"));
        assert!(
            path("/a").join("..").is_err() && path("/a").join("b/c").is_err() && path("/a").join("").is_err()
        );
    }
}
