//! A rest-server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clean;
use crate::model::Url;

/// A rest-server, restic's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// The repository's address, `https://backup.lan:8000/web01`. User and password go into `env_file`, as
    /// `RESTIC_REST_USERNAME` and `RESTIC_REST_PASSWORD`.
    pub url: Url,
}

impl Rest {
    pub(super) fn repository(&self) -> String {
        format!("rest:{}", self.url)
    }

    pub(super) fn identity(&self) -> String {
        let (scheme, host, path) = self.url.split();
        format!("rest:{scheme}://{}{}", host.to_ascii_lowercase(), clean(path).trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_end_do_not_count() {
        // R07
        let rest = |url: &str| Rest { url: url.parse().unwrap() };
        assert_eq!(rest("https://b.lan/web01//").repository(), "rest:https://b.lan/web01//");
        assert_eq!(rest("https://b.lan/web01/").identity(), rest("https://B.lan//web01").identity());
        assert_eq!(rest("https://b.lan").identity(), rest("https://b.lan/").identity());
    }
}
