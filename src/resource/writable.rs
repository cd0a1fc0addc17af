//! Checks whether a user other than root can create and keep something at the declared path, before apply fails
//! half-way.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Finding, Look, Severity, check::Check};
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

impl Check for Writable {
    const NAME: &'static str = "writable";
    /// What only root could do; nothing, if all is well.
    type Seen = Option<String>;

    fn key(&self) -> Cow<'_, str> {
        self.of.to_string().into()
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

    fn findings(&self, seen: &Option<String>) -> Vec<Finding> {
        let say = |why: &String| {
            let finding = Finding::new(Severity::Error, &self.of, format!("it needs root: {why}"));
            finding.remedy("declare it where you can write, below your home, or in the host's own state")
        };
        seen.iter().map(say).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind as _;

    #[test]
    fn what_needs_root_is_told_of_the_thing_itself() {
        let of = Address::new("directory", "/srv/a");
        let it = Writable { of, path: "/srv/a".parse().unwrap(), user: "me".parse().unwrap(), left: false };
        assert!(it.findings(&None).is_empty());
        let found = it.findings(&Some("/srv belongs to root".into()));
        assert_eq!(found[0].severity, Severity::Error);
        assert_eq!(found[0].message, "it needs root: /srv belongs to root");
        assert!(it.diff(&None) == crate::resource::Diff::Unmanaged);
    }
}
