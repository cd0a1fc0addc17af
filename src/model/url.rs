//! URLs and server names.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    HostName, HostPath,
    text::{BadText, word},
};

/// An `http` or `https` address. It never carries a user or password: those stand in files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url(String);

word!(Url, "rlvm-url", "An address that starts with https:// or http://.", "https://s3.lan:3900");

/// Where a file is fetched from: an `https` address, or a file of this host. Plain `http` would tell everybody on the
/// way what this host runs, and let them keep it from getting anything newer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FetchUrl {
    /// From the network.
    Web(Url),
    /// From the host's own disk.
    File(HostPath),
}

word!(
    FetchUrl,
    "rlvm-fetch-url",
    "An address that starts with https:// or file:///.",
    "https://mirror.lan/restic/restic_0.18.0_linux_amd64.bz2"
);

/// Another machine: a host name, an IP address, or an alias in ssh's configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Server(String);

word!(Server, "rlvm-server", "A host name or IP address.", "nas.lan");

impl Server {
    /// Returns the name or address as text, an IPv6 address without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether it is an IPv6 address, which must stand in brackets where a port can follow.
    pub fn is_ipv6(&self) -> bool {
        self.0.contains(':')
    }
}

impl Url {
    /// Returns the address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Splits it into scheme, host with port, and path, which starts with `/` or is empty.
    pub fn split(&self) -> (&str, &str, &str) {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        (scheme, host, path)
    }
}

/// Says whether a text is a host, with or without a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) if host.parse::<Ipv6Addr>().is_ok() => ("v6", rest),
        Some(_) => return false,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|p| p > 0));
    port && host.parse::<HostName>().is_ok()
}

impl FromStr for Url {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        // The text is not repeated where it holds a password.
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let Some(rest) = rest else {
            return Err(BadText::new(text, "must start with https:// or http://"));
        };
        let host = &rest[..rest.find('/').unwrap_or(rest.len())];
        if host.contains('@') {
            return Err(BadText::new("…@…", "must hold no user or password")
                .remedy("put them into the file that `env_file` names"));
        }
        if rest.contains(|c: char| c.is_whitespace() || c.is_control() || "?#\\\"'<>`".contains(c)) {
            return Err(BadText::new(text, "must have no white space, quotes, `?` or `#`"));
        }
        if !is_host(host) {
            return Err(BadText::new(text, "has no host that could be reached"));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for FetchUrl {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        if let Some(path) = text.strip_prefix("file://") {
            // Other programs read `%41` as a letter, and cut at `?` and `#`.
            if path.contains(|c: char| c.is_whitespace() || "?#%\\\"'<>`".contains(c)) {
                return Err(BadText::new(text, "must have no white space, quotes, `%`, `?` or `#`"));
            }
            let file = path.parse().ok().filter(|path: &HostPath| path.as_str() != "/");
            let bad = || BadText::new(text, "names no file").remedy("write file:///srv/mirror/restic.bz2");
            return file.map(Self::File).ok_or_else(bad);
        }
        if text.starts_with("https://") {
            return text.parse().map(Self::Web);
        }
        Err(BadText::new(text, "must start with https:// or file:///"))
    }
}

impl FromStr for Server {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        if text.parse::<Ipv6Addr>().is_ok() || text.parse::<HostName>().is_ok() {
            return Ok(Self(text.into()));
        }
        Err(BadText::new(text, "is no host name or IP address"))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web(url) => url.fmt(f),
            Self::File(path) => write!(f, "file://{path}"),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["https://s3.lan:3900", "http://10.0.0.1/a/b", "https://[::1]:80/x", "https://s3.lan/"] {
            assert!(good.parse::<Url>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "s3.lan",
            "ftp://a",
            "https://",
            "https:///a",
            "https://a:0",
            "https://a:x",
            "https://a b",
            "https://a?b",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad:?}");
        }
        let parts: Url = "https://s3.lan:3900/a/".parse().unwrap();
        assert_eq!(parts.split(), ("https", "s3.lan:3900", "/a/"));
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let bad = "https://me:hunter2@s3.lan".parse::<Url>().unwrap_err();
        assert!(!bad.to_string().contains("hunter2"));
    }

    #[test]
    fn what_is_fetched_comes_safely_or_from_the_disk() {
        for good in ["https://mirror.lan/restic.bz2", "file:///srv/mirror/restic.bz2"] {
            assert_eq!(good.parse::<FetchUrl>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "http://mirror.lan/restic",
            "ftp://mirror.lan/restic",
            "https://me:pw@mirror.lan/restic",
            "/srv/restic",
            "file://srv/restic",
            "file:///",
            "file:///srv/../etc/x",
            "file:///a%20b",
            "file:///a b",
        ] {
            assert!(bad.parse::<FetchUrl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn servers() {
        for good in ["nas.lan", "nas", "10.0.0.1", "fe80::1"] {
            assert!(good.parse::<Server>().is_ok(), "{good}");
        }
        for bad in ["", "-oProxyCommand=id", "a b", "a:22", "user@nas", "[::1]"] {
            assert!(bad.parse::<Server>().is_err(), "{bad:?}");
        }
    }
}
