//! A path that a caller asks to restore. It can have any bytes that a shell can pass.

use std::ffi::OsStr;

use crate::{host::lossy, model::HostPath};

/// A path that was asked for, as it stood when it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Its bytes.
    pub(super) raw: Vec<u8>,
    /// The same as restic's list has it, and as it is shown.
    pub(super) text: String,
}

impl Wish {
    /// Reads what a shell hands over. A `/` at the end is taken off.
    pub(super) fn read(raw: &[u8]) -> Result<Self, String> {
        let shown = || format!("`{}`", super::one_line(&lossy(raw)));
        if raw.first() != Some(&b'/') {
            return Err(format!("{} must be an absolute path, starting with `/`", shown()));
        }
        let end = raw.iter().rposition(|byte| *byte != b'/').map_or(1, |last| last + 1);
        let raw = &raw[..end];
        let odd = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
        if raw != b"/" && raw[1..].split(|byte| *byte == b'/').any(odd) {
            return Err(format!("{} must have no empty, `.` or `..` part", shown()));
        }
        Ok(Self { raw: raw.to_vec(), text: lossy(raw) })
    }

    /// Reads paths that are separated by NUL, as `find -print0` writes them.
    pub(super) fn list(bytes: &[u8]) -> Result<Vec<Self>, String> {
        bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(Self::read).collect()
    }

    /// Splits it: the directory that holds it, as far as the names on the way can be written as a path of the host, and
    /// the names from there on.
    pub(super) fn split(&self) -> (HostPath, Vec<Vec<u8>>) {
        let parts: Vec<&[u8]> =
            self.raw.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
        let mut way = HostPath::fixed("/");
        let mut names = parts.as_slice();
        while let [name, rest @ ..] = names {
            let next = std::str::from_utf8(name).ok().and_then(|name| way.join(name).ok());
            match next {
                Some(next) if !rest.is_empty() => (way, names) = (next, rest),
                _ => break,
            }
        }
        (way, names.iter().map(|name| name.to_vec()).collect())
    }

    /// Returns it as a path of the host; nothing if it cannot be written as one.
    pub(super) fn path(&self) -> Option<HostPath> {
        std::str::from_utf8(&self.raw).ok()?.parse().ok()
    }
}

impl From<&HostPath> for Wish {
    fn from(path: &HostPath) -> Self {
        Self { raw: path.as_str().into(), text: path.as_str().into() }
    }
}

/// Reads a word of the command line, of any bytes.
#[derive(Clone, Debug)]
pub(super) struct WishParser;

impl clap::builder::TypedValueParser for WishParser {
    type Value = Wish;

    fn parse_ref(
        &self,
        cmd: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        // On Unix these are the bytes that the kernel handed over.
        let raw = value.as_encoded_bytes();
        Wish::read(raw).map_err(|why| {
            let arg = arg.map_or_else(|| "--path".into(), ToString::to_string);
            let text = format!("invalid value '{}' for '{arg}': {why}\n", super::one_line(&lossy(raw)));
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, text).with_cmd(cmd)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_shell_hands_them_over() {
        for (raw, expected) in [
            (&b"/srv/www"[..], Ok("/srv/www")),
            (b"/srv/www/", Ok("/srv/www")),
            (b"/srv/www///", Ok("/srv/www")),
            (b"/", Ok("/")),
            (b"///", Ok("/")),
            (b"/new\nline", Ok("/new\nline")),
            (b"/lat\xe9", Ok("/lat\u{fffd}")),
            (b"srv", Err("absolute")),
            (b"", Err("absolute")),
            (b"/a//b", Err("no empty")),
            (b"/a/../b", Err("no empty")),
        ] {
            match (Wish::read(raw), expected) {
                (Ok(wish), Ok(text)) => assert_eq!(wish.text, text),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (other, _) => panic!("{raw:?}: {other:?}"),
            }
        }
        let all = Wish::list(b"/a\nb\0/lat\xe9/\0").unwrap();
        assert_eq!(all.iter().map(|it| it.raw.as_slice()).collect::<Vec<_>>(), [&b"/a\nb"[..], b"/lat\xe9"]);
        assert!(Wish::list(b"/a\0b").is_err());
    }

    #[test]
    fn the_way_ends_where_it_cannot_be_written() {
        for (raw, way, names) in [
            (&b"/srv/www/x"[..], "/srv/www", &[&b"x"[..]][..]),
            (b"/srv", "/", &[b"srv"]),
            (b"/", "/", &[]),
            (b"/srv/lat\xe9/in/x", "/srv", &[b"lat\xe9", b"in", b"x"]),
            (b"/srv/new\nline", "/srv", &[b"new\nline"]),
        ] {
            let (at, rest) = Wish::read(raw).unwrap().split();
            assert_eq!((at.as_str(), rest), (way, names.iter().map(|it| it.to_vec()).collect()), "{raw:?}");
        }
    }
}
