//! The `from=` patterns that say from where a key may be used, as sshd reads them.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text::{BadText, word};

/// Addresses, networks and patterns with commas between, as sshd's `from=` reads them: `10.0.0.12`, `10.0.0.0/24`,
/// `*.lan,!guest.lan`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FromPatterns(String);

word!(
    FromPatterns,
    "rlvm-from",
    "Addresses, networks or patterns, with commas, as in sshd's `from=`.",
    "10.0.0.12,10.1.0.0/16"
);

impl FromPatterns {
    /// Returns the list as written, no quote and no blank in it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Lists the patterns of host names, each as written: sshd compares them only if it looks up names (`UseDNS yes`).
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let is_name =
            |pattern: &&str| !pattern.contains(':') && pattern.contains(|c: char| c.is_ascii_alphabetic());
        self.0.split(',').filter(is_name)
    }
}

impl FromStr for FromPatterns {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let bad = |why: &str| BadText::new(text, why).remedy("write it like `10.0.0.12,10.1.0.0/16,*.lan`");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:*?%".contains(c);
        for pattern in text.split(',') {
            let name = pattern.strip_prefix('!').unwrap_or(pattern);
            if let Some((address, bits)) = name.split_once('/') {
                // sshd then lets nobody in by this key.
                if !is_network(address, bits) {
                    return Err(bad(
                        "names no network: an address, how many bits of it count, the rest being 0",
                    ));
                }
            } else if !name.is_empty()
                && name.chars().all(|c| c.is_ascii_digit() || c == '.')
                && name.parse::<IpAddr>().is_err()
            {
                return Err(bad("has what looks like an address and is none"));
            } else if name.is_empty() || !name.chars().all(plain) {
                return Err(bad("is no list of addresses, networks and patterns with commas between"));
            }
        }
        if text.split(',').all(|pattern| pattern.starts_with('!')) {
            return Err(bad("accepts nobody: it only excludes clients"));
        }
        Ok(Self(text.into()))
    }
}

/// Says whether sshd takes this for a network: it refuses bits beyond the mask (`addrmatch.c` of OpenSSH 9.2).
fn is_network(address: &str, bits: &str) -> bool {
    let Ok(bits) = bits.parse::<u32>() else { return false };
    match address.parse() {
        Ok(IpAddr::V4(address)) if bits <= 32 => {
            u32::MAX.checked_shr(bits).is_none_or(|rest| u32::from(address) & rest == 0)
        }
        Ok(IpAddr::V6(address)) if bits <= 128 => {
            u128::MAX.checked_shr(bits).is_none_or(|rest| u128::from(address) & rest == 0)
        }
        _ => false,
    }
}

impl fmt::Display for FromPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_addresses() {
        let list: FromPatterns = "10.0.0.12,10.1.*,*,fe80::/10,::a,*.lan,web01,!guest.lan".parse().unwrap();
        assert_eq!(list.names().collect::<Vec<_>>(), ["*.lan", "web01", "!guest.lan"]);
    }

    #[test]
    fn what_sshd_understands() {
        let good = [
            "10.0.0.12",
            "10.0.0.0/24",
            "0.0.0.0/0",
            "10.0.0.1/32",
            "fe80::/10",
            "::1/128",
            "*.lan,!guest.lan",
            "web01",
        ];
        for good in good {
            assert_eq!(good.parse::<FromPatterns>().map(|it| it.to_string()).as_deref(), Ok(good));
        }
        let networks = ["10.0.0.1/24", "10.0.0.0/33", "fe80::1/10", "::/129", "a/8", "10.0.0.0/"];
        let texts = [
            "10.0.0.",
            "10.0.0.256",
            "10.0.0,12",
            "",
            ",",
            "a,",
            "!",
            "!a",
            "a b",
            "a\"",
            "a\",command=\"id",
            "a\n",
            "a\\",
            "a'",
            "ä",
        ];
        for bad in networks.iter().chain(&texts) {
            assert!(bad.parse::<FromPatterns>().is_err(), "{bad:?}");
        }
    }
}
