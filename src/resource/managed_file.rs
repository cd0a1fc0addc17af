//! Shared code of the kinds that are a text file: observe, exists, diff and removal.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Attribute, Diff, Edit, Removal, look::names_of};
use crate::{
    effect::{Content, Op, Owner},
    host::{Entry, Observe},
    model::{HostPath, Mode},
};

/// Writes the methods of a [`Kind`](super::Kind) that is one file, or one block of lines in a file. `$part` is its field with
/// the [`ManagedFile`] or `ManagedBlock`. `$seen` is the field of what was seen, for a kind that looks at more.
macro_rules! kind_is {
    ($part:tt $(, $seen:ident)?) => {
        fn path(&self) -> Option<&$crate::model::HostPath> {
            Some(&self.$part.path)
        }

        fn exists(&self, seen: &Self::Seen) -> bool {
            self.$part.exists(&seen$(.$seen)?)
        }

        fn diff(&self, seen: &Self::Seen) -> $crate::resource::Diff {
            self.$part.diff(&seen$(.$seen)?)
        }

        fn removal(
            &self,
            seen: &Self::Seen,
            _: &dyn Fn(&$crate::model::HostPath) -> bool,
        ) -> $crate::resource::Removal {
            self.$part.removal(&seen$(.$seen)?)
        }
    };
}
pub(super) use kind_is;

/// A file with the text given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedFile {
    /// Where.
    pub path: HostPath,
    /// To whom it belongs.
    pub owner: Owner,
    /// Its permission bits.
    pub mode: Mode,
    /// The whole content.
    pub text: String,
}

/// What was seen of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSeen {
    /// Nothing.
    Absent,
    /// A regular file with one name.
    File {
        /// The user's name, or number.
        owner: String,
        /// The group's name, or number.
        group: String,
        /// Permission bits.
        mode: Mode,
        /// The whole content; what is no UTF-8 in it is replaced by U+FFFD.
        text: String,
    },
    /// Something that is never written over: what.
    Other(String),
}

impl ManagedFile {
    /// Names a file of root's that everybody may read.
    pub fn of_root(path: HostPath, text: String) -> Self {
        Self::of(path, Owner::root(), text)
    }

    /// Names a file of somebody's that everybody may read.
    pub fn of(path: HostPath, owner: Owner, text: String) -> Self {
        Self { path, owner, mode: Mode::new(0o644), text }
    }

    /// Looks at it.
    pub(super) fn observe(&self, host: &dyn Observe) -> Result<FileSeen> {
        FileSeen::look(host, &self.path, &self.owner, |text| {
            Ok(String::from_utf8(text)
                .unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned()))
        })
    }

    /// Says whether there is anything.
    pub(super) fn exists(&self, seen: &FileSeen) -> bool {
        *seen != FileSeen::Absent
    }

    /// Says what to do so that it is as declared.
    pub(super) fn diff(&self, seen: &FileSeen) -> Diff {
        let Self { owner, mode, text, .. } = self;
        let (now_owner, now_group, now_mode, now_text) = match seen {
            FileSeen::Absent => return Diff::Create(self.creation()),
            FileSeen::Other(what) => return Diff::Refuse(what.clone()),
            FileSeen::File { owner, group, mode, text } => (owner.as_str(), group.as_str(), *mode, text),
        };
        let mut attributes = Vec::new();
        let (user, group) = (owner.user.as_str(), owner.group.as_str());
        if now_owner != user {
            attributes.push(Attribute::new("owner", now_owner, user));
        }
        if now_group != group {
            attributes.push(Attribute::new("group", now_group, group));
        }
        if now_mode != *mode {
            attributes.push(Attribute::new("mode", now_mode.to_string(), mode.to_string()));
        }
        if now_text != text {
            return Diff::Update(Edit {
                attributes,
                text: Some((now_text.clone(), text.clone())),
                ops: vec![self.write(Some(now_text))],
            });
        }
        if attributes.is_empty() {
            return Diff::Same;
        }
        // Written anew rather than changed in place: what others could write was theirs until it is replaced.
        Diff::Update(Edit { attributes, text: None, ops: vec![self.write(Some(now_text))] })
    }

    /// Says how it goes.
    pub(super) fn removal(&self, seen: &FileSeen) -> Removal {
        match seen {
            FileSeen::Absent => Removal::Quiet,
            FileSeen::Other(what) => Removal::Forget(what.clone()),
            FileSeen::File { text, .. } => {
                let (path, before) = (self.path.clone(), Some(text.clone()));
                let ops = vec![Op::EditFile { path, before, after: None }];
                Removal::Delete(Edit {
                    attributes: Vec::new(),
                    text: Some((text.clone(), String::new())),
                    ops,
                })
            }
        }
    }

    fn creation(&self) -> Edit {
        let attributes = vec![
            Attribute::new("owner", (), self.owner.user.as_str()),
            Attribute::new("group", (), self.owner.group.as_str()),
            Attribute::new("mode", (), self.mode.to_string()),
        ];
        Edit { attributes, text: Some((String::new(), self.text.clone())), ops: vec![self.write(None)] }
    }

    /// Replaces what was shown, and nothing else. Where nothing was, nothing is replaced.
    fn write(&self, before: Option<&String>) -> Op {
        let Self { path, text, owner, mode } = self.clone();
        Op::EditFile { path, before: before.cloned(), after: Some(Content { text, owner, mode }) }
    }
}

impl FileSeen {
    /// Looks at a file that is to be an owner's. `read` makes a text of its bytes, or says why it cannot.
    pub(super) fn look(
        host: &dyn Observe,
        path: &HostPath,
        owner: &Owner,
        read: fn(Vec<u8>) -> Result<String, String>,
    ) -> Result<Self> {
        Ok(match host.text(path)? {
            (Entry::Absent, _) => match host.not_made(path, owner)? {
                Some(why) => FileSeen::Other(why),
                None => FileSeen::Absent,
            },
            (Entry::File(meta), _) if meta.links > 1 => {
                FileSeen::Other(format!("{path} has {} names (hard links)", meta.links))
            }
            (Entry::File(meta), Some(text)) => match read(text) {
                Ok(text) => {
                    let (owner, group) = names_of(host, &meta, owner)?;
                    FileSeen::File { owner, group, mode: meta.mode, text }
                }
                Err(why) => FileSeen::Other(format!("{path} {why}")),
            },
            (Entry::File(meta), None) => {
                FileSeen::Other(format!("{path} is far too large: {} bytes", meta.stamp.size))
            }
            (Entry::Blocked(why), _) => FileSeen::Other(why),
            (other, _) => FileSeen::Other(format!("{path} is {}, no file", other.noun())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ManagedFile {
        ManagedFile::of_root("/etc/cron.d/a".parse().unwrap(), "new\n".into())
    }

    fn seen(owner: &str, group: &str, mode: u32, text: &str) -> FileSeen {
        let mode = Mode::new(mode);
        FileSeen::File { owner: owner.into(), group: group.into(), mode, text: text.into() }
    }

    #[test]
    fn every_difference_is_named_and_written_anew() {
        for (seen, changed, text) in [
            (seen("root", "root", 0o644, "old\n"), &[][..], true),
            (seen("root", "root", 0o666, "new\n"), &["mode"], false),
            (seen("daemon", "root", 0o644, "new\n"), &["owner"], false),
            (seen("root", "adm", 0o600, "x"), &["group", "mode"], true),
        ] {
            let Diff::Update(edit) = file().diff(&seen) else { panic!("{seen:?}") };
            assert_eq!(edit.attributes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), changed);
            assert_eq!(edit.text.is_some(), text);
            let FileSeen::File { text: shown, .. } = &seen else { unreachable!() };
            assert_eq!(edit.ops, [file().write(Some(shown))]);
        }
        assert_eq!(file().diff(&seen("root", "root", 0o644, "new\n")), Diff::Same);
        assert!(
            matches!(file().diff(&FileSeen::Absent), Diff::Create(edit) if edit.ops == [file().write(None)])
        );
        assert_eq!(file().diff(&FileSeen::Other("x".into())), Diff::Refuse("x".into()));
    }

    #[test]
    fn it_goes_only_if_it_is_a_file() {
        let there = seen("daemon", "root", 0o600, "edited");
        let Removal::Delete(edit) = file().removal(&there) else { panic!("not removed") };
        let before = Some("edited".into());
        assert_eq!(edit.ops, [Op::EditFile { path: file().path, before, after: None }]);
        assert_eq!(edit.text, Some(("edited".into(), String::new())));
        assert_eq!(file().removal(&FileSeen::Absent), Removal::Quiet);
        assert!(matches!(file().removal(&FileSeen::Other("a FIFO".into())), Removal::Forget(_)));
    }
}
