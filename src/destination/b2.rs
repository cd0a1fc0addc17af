//! A bucket of Backblaze B2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clean;
use crate::model::Line;

/// A bucket of Backblaze B2. `env_file` holds `B2_ACCOUNT_ID` and `B2_ACCOUNT_KEY`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct B2 {
    /// The bucket's name, without a path.
    pub bucket: Line,
    /// The repository's place in the bucket: `web01`. Slashes at either end do not count. Default: the bucket itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Line>,
}

impl B2 {
    pub(super) fn repository(&self) -> String {
        let prefix = self.prefix.as_ref().map(|prefix| format!(":{prefix}")).unwrap_or_default();
        format!("b2:{}{prefix}", self.bucket)
    }

    pub(super) fn identity(&self) -> String {
        let prefix = clean(self.prefix.as_ref().map_or("", Line::as_str));
        format!("b2:{}:{}", self.bucket, prefix.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_follows_a_colon() {
        let b2 = |prefix: Option<&str>| B2 {
            bucket: "backups".parse().unwrap(),
            prefix: prefix.map(|prefix| prefix.parse().unwrap()),
        };
        assert_eq!(b2(Some("web01")).repository(), "b2:backups:web01");
        assert_eq!(b2(None).repository(), "b2:backups");
        assert_eq!(b2(Some("web01/")).identity(), b2(Some("web01")).identity());
    }
}
