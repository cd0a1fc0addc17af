//! A rest-server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Reach, clean};
use crate::{
    effect::Private,
    model::{HostPath, SecretFile, Url, field::is_default},
};

/// A rest-server, restic's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// The repository's address, `https://backup.lan:8000/web01`.
    pub url: Url,
    /// The file that holds the user for the server, in one line. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_file: Option<SecretFile>,
    /// The file that holds that user's password, in one line. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<SecretFile>,
    /// The certificate that signed the server's, in PEM: an absolute path. Default: the system's certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<HostPath>,
    /// Allows an `http://` address. Anybody on the network path can then read user and password. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub plain_http: bool,
}

impl Rest {
    pub(super) fn repository(&self) -> String {
        format!("rest:{}", self.url)
    }

    pub(super) fn reach(&self) -> Reach {
        let mut reach = Reach::default();
        reach.ca(self.ca_file.as_ref());
        if let (Some(user), Some(password)) = (&self.user_file, &self.password_file) {
            // In the address, which is in the environment: restic 0.14 knows no variables for them.
            let (scheme, host, path) = self.url.split();
            reach.secrets.push(Private::Url {
                name: "RESTIC_REPOSITORY".into(),
                before: format!("rest:{scheme}://"),
                user: user.clone(),
                password: password.clone(),
                after: format!("{host}{path}"),
            });
        }
        reach
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
        let rest = |url: &str| Rest {
            url: url.parse().unwrap(),
            user_file: None,
            password_file: None,
            ca_file: None,
            plain_http: false,
        };
        assert_eq!(rest("https://b.lan/web01//").repository(), "rest:https://b.lan/web01//");
        assert_eq!(rest("https://b.lan/web01/").identity(), rest("https://B.lan//web01").identity());
        assert_eq!(rest("https://b.lan").identity(), rest("https://b.lan/").identity());
    }
}
