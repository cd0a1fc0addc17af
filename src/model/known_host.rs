//! Lines of ssh's `known_hosts` (sshd(8), "`SSH_KNOWN_HOSTS` FILE FORMAT"): which host, which key.

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::PublicKey;

/// A line of `known_hosts`: the key of the hosts whose names it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHost<'a> {
    /// What stands before the names.
    pub marker: Marker,
    hosts: &'a str,
    /// The key.
    pub key: PublicKey,
}

/// What a line says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// It is the host's.
    Host,
    /// It signs the host's.
    Authority,
    /// It is never to be accepted.
    Revoked,
}

/// Returns the name by which ssh looks a host up: with its port, if that is not 22.
pub fn known_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

impl<'a> KnownHost<'a> {
    /// Reads a line; `None` for a comment, and for what ssh passes over too.
    pub fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim_matches([' ', '\t', '\r', '\n']);
        let (marker, line) = match line.split_once([' ', '\t']) {
            Some(("@cert-authority", rest)) => (Marker::Authority, rest.trim_start_matches([' ', '\t'])),
            Some(("@revoked", rest)) => (Marker::Revoked, rest.trim_start_matches([' ', '\t'])),
            _ if line.starts_with(['#', '@']) => return None,
            _ => (Marker::Host, line),
        };
        let (hosts, rest) = line.split_once([' ', '\t'])?;
        let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
        let key = format!("{} {}", words.next()?, words.next()?).parse().ok()?;
        Some(Self { marker, hosts, key })
    }

    /// Says whether ssh takes the line for one of a host by this name (see [`known_name`]).
    pub fn is_of(&self, name: &str) -> bool {
        if let Some(hashed) = self.hosts.strip_prefix("|1|") {
            return is_hash_of(hashed, name).unwrap_or(false);
        }
        let mut found = false;
        for pattern in self.hosts.split(',') {
            match pattern.strip_prefix('!') {
                // One name that is left out leaves the line out, wherever it stands.
                Some(not) if matches(&not.to_ascii_lowercase(), name) => return false,
                Some(_) => {}
                None => found |= matches(&pattern.to_ascii_lowercase(), name),
            }
        }
        found
    }
}

/// Holds a name against `SALT|HASH`.
fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (Base64::decode_vec(salt).ok()?, Base64::decode_vec(hash).ok()?);
    let mut mac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.verify_slice(&hash).is_ok())
}

/// Holds a name against a pattern of ssh's: `*` is any letters, `?` is one.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut of) = (0, 0);
    // Where the last star was, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[of] => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((back, taken)) = star else { return false };
                star = Some((back, taken + 1));
                at = back + 1;
                of = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";

    #[test]
    fn a_line_is_of_the_hosts_that_ssh_takes_it_for() {
        // `ssh-keygen -F NAME` (OpenSSH 9.2) says the same of each.
        for (hosts, name, expected) in [
            ("nas.lan", "nas.lan", true),
            ("NAS.lan", "nas.lan", true),
            ("nas.lan", "nas.lan2", false),
            ("nas.lan", "[nas.lan]:2222", false),
            ("[nas.lan]:2222", "[nas.lan]:2222", true),
            ("a,nas.lan,10.0.0.1", "nas.lan", true),
            ("*.lan", "nas.lan", true),
            ("*", "[nas.lan]:2222", true),
            ("n?s.l*n", "nas.lan", true),
            ("n??s.lan", "nas.lan", false),
            ("*.lan,!nas.lan", "nas.lan", false),
            ("!nas.lan,*.lan", "nas.lan", false),
            ("!nas.lan", "web.lan", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("|1|rubbish", "nas.lan", false),
            ("|1|AAAA|AAAA", "nas.lan", false),
        ] {
            let line = format!("{hosts} {KEY}");
            assert_eq!(KnownHost::parse(&line).unwrap().is_of(name), expected, "{hosts}, {name}");
        }
    }

    #[test]
    fn hashed_names_are_understood() {
        // ssh-keygen -H (OpenSSH 9.2).
        let line = format!("|1|gxVJKATie9vYDbXwBKp/SDM90Qc=|e3vmtflqBc1N1BmcGReoGW1y9yE= {KEY}");
        let known = KnownHost::parse(&line).unwrap();
        assert!(known.is_of("[nas.lan]:2222") && !known.is_of("nas.lan") && !known.is_of("[nas.lan]:2223"));
    }

    #[test]
    fn lines_are_read_as_ssh_does() {
        for (line, marker) in [
            (format!("a {KEY} a comment"), Some(Marker::Host)),
            (format!(" \ta\t{}\r", KEY.replace(' ', "\t ")), Some(Marker::Host)),
            (format!("@revoked  * {KEY}"), Some(Marker::Revoked)),
            (format!("@cert-authority *.lan {KEY}"), Some(Marker::Authority)),
            (format!("@unknown * {KEY}"), None),
            (format!("# a {KEY}"), None),
            (String::new(), None),
            ("a".into(), None),
            ("a ssh-ed25519".into(), None),
            ("a 1024 35 1234".into(), None),
        ] {
            assert_eq!(KnownHost::parse(&line).map(|it| it.marker), marker, "{line}");
        }
    }

    #[test]
    fn a_port_is_part_of_the_name() {
        assert_eq!(known_name("NAS.lan", 22), "nas.lan");
        assert_eq!(known_name("nas.lan", 2222), "[nas.lan]:2222");
    }
}
