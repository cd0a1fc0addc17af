//! Checks whether a user other than root can create and keep something at the declared path, before apply fails
//! half-way.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Diff, Finding, Kind, Look, Removal, Severity};
use crate::{
    host::Entry,
    model::{Address, HostPath, UserName},
};

/// A place where a user's own thing shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writable {
    /// What shall be there.
    pub of: Address,
    /// Where.
    pub path: HostPath,
    /// Whose it shall be.
    pub user: UserName,
    /// Whether what is there already is left as it is, whoever owns it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
}

impl Kind for Writable {
    const NAME: &'static str = "writable";
    /// What only root could do; nothing, if all is well.
    type Seen = Option<String>;

    fn key(&self) -> Cow<'_, str> {
        self.of.to_string().into()
    }

    fn path(&self) -> Option<&HostPath> {
        None
    }

    fn observe(&self, look: &Look<'_, Option<String>>) -> Result<Option<String>> {
        let Self { path, user, .. } = self;
        Ok(match look.host.entry(path)? {
            Entry::Directory(meta) | Entry::File(meta) if !self.left && meta.owner != user.as_str() => {
                Some(format!("{path} belongs to {}, and {user} cannot change it", meta.owner))
            }
            Entry::Absent => {
                let Some(dir) = path.parent() else { return Ok(None) };
                // Where the directory is missing too, that is told of the directory.
                match look.host.entry(&dir)? {
                    Entry::Directory(meta) if !look.host.writable(&dir)? => {
                        Some(format!("{dir} belongs to {}, and {user} cannot make {path} there", meta.owner))
                    }
                    _ => None,
                }
            }
            _ => None,
        })
    }

    fn exists(&self, _: &Option<String>) -> bool {
        true
    }

    fn diff(&self, _: &Option<String>) -> Diff {
        Diff::Same
    }

    fn checks(&self, seen: &Option<String>, _: Option<&Option<String>>) -> Vec<Finding> {
        let say = |why: &String| {
            let finding = Finding::new(Severity::Error, &self.of, format!("it needs root: {why}"));
            finding.remedy("declare it where you can write, below your home, or in the host's own state")
        };
        seen.iter().map(say).collect()
    }

    fn removal(&self, _: &Option<String>, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        Removal::Quiet
    }

    fn is_managed(&self, _: &Option<String>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_root_is_told_of_the_thing_itself() {
        let of = Address::new("directory", "/srv/a");
        let it = Writable { of, path: "/srv/a".parse().unwrap(), user: "me".parse().unwrap(), left: false };
        assert!(it.checks(&None, None).is_empty());
        let found = it.checks(&Some("/srv belongs to root".into()), None);
        assert_eq!(found[0].severity, Severity::Error);
        assert_eq!(found[0].message, "it needs root: /srv belongs to root");
        assert!(!it.is_managed(&None));
    }
}
