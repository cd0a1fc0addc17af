//! A bucket behind Amazon's S3 protocol.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Reach, clean};
use crate::model::{HostPath, Line, Url, field::is_default};

/// A bucket of Amazon's S3, or of whatever speaks its protocol (Garage, MinIO, Ceph, …).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// The server's address, without the bucket. Default: `https://s3.amazonaws.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Url>,
    /// The region that requests are signed for. Default: restic's own, us-east-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Line>,
    /// The bucket's name, without a path.
    pub bucket: Line,
    /// The repository's place in the bucket: `web01`. Slashes at either end do not count. Default: the bucket itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Line>,
    /// Whether the bucket's name stands in the path of each request (`true`) or in the server's name (`false`).
    /// Default: restic finds out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// The certificate that signed the server's, in PEM: an absolute path. Default: the system's certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<HostPath>,
    /// Allows an `http://` endpoint. Anybody on the network path can then read the requests, but neither keys nor
    /// backups. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub plain_http: bool,
}

const AMAZON: &str = "https://s3.amazonaws.com";

impl S3 {
    fn endpoint(&self) -> &str {
        self.endpoint.as_ref().map_or(AMAZON, Url::as_str)
    }

    pub(super) fn repository(&self) -> String {
        let prefix = self.prefix.as_ref().map(|prefix| format!("/{prefix}")).unwrap_or_default();
        format!("s3:{}/{}{prefix}", self.endpoint().trim_end_matches('/'), self.bucket)
    }

    pub(super) fn reach(&self) -> Reach {
        let mut reach = Reach::default();
        if let Some(region) = &self.region {
            reach.option("s3.region", region.as_str());
        }
        if let Some(path_style) = self.path_style {
            reach.option("s3.bucket-lookup", if path_style { "path" } else { "dns" });
        }
        reach.ca(self.ca_file.as_ref());
        reach
    }

    pub(super) fn identity(&self) -> String {
        let endpoint = self.endpoint().trim_end_matches('/').to_ascii_lowercase();
        let prefix = clean(self.prefix.as_ref().map_or("", Line::as_str));
        format!("s3:{endpoint}/{}/{}", self.bucket, prefix.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(prefix: Option<&str>) -> S3 {
        S3 {
            endpoint: "https://s3.lan:3900/".parse().ok(),
            region: None,
            bucket: "backups".parse().unwrap(),
            prefix: prefix.map(|prefix| prefix.parse().unwrap()),
            path_style: None,
            ca_file: None,
            plain_http: false,
        }
    }

    #[test]
    fn as_restic_writes_it() {
        assert_eq!(s3(Some("web01/")).repository(), "s3:https://s3.lan:3900/backups/web01/");
        assert_eq!(s3(None).repository(), "s3:https://s3.lan:3900/backups");
        let amazon = S3 { endpoint: None, ..s3(None) };
        assert_eq!(amazon.repository(), "s3:https://s3.amazonaws.com/backups");
    }

    #[test]
    fn a_prefix_is_cleaned() {
        // R09
        for same in ["web01/", "/web01", "//web01//", "./web01"] {
            assert_eq!(s3(Some(same)).identity(), s3(Some("web01")).identity(), "{same}");
        }
        assert_eq!(s3(Some("/")).identity(), s3(None).identity());
        assert_ne!(s3(Some("a")).identity(), s3(None).identity());
    }
}
