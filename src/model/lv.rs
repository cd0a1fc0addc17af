//! Names of logical volumes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text::{BadText, word};

/// A logical volume: its group and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LvName {
    group: String,
    name: String,
}

word!(LvName, "rlvm-lv", "A logical volume, as VG/LV.", "vg0/root");

impl LvName {
    /// Returns the volume group's name.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Returns the logical volume's own name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for LvName {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        // lvm(8), "Valid names"; a name never begins with a hyphen, so it is never an option.
        let inner = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
        let plain = |name: &str| {
            let dots = name == "." || name == "..";
            !name.is_empty() && !dots && !name.starts_with('-') && name.len() < 128 && name.chars().all(inner)
        };
        match text.split_once('/') {
            Some((group, name)) if plain(group) && plain(name) => {
                Ok(Self { group: group.into(), name: name.into() })
            }
            _ if text.starts_with("/dev/") => {
                Err(BadText::new(text, "is a device").remedy("write the volume as VG/LV, like vg0/root"))
            }
            _ => Err(BadText::new(text, "is no logical volume").remedy("write it as VG/LV, like vg0/root")),
        }
    }
}

impl fmt::Display for LvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_and_a_name() {
        let volume: LvName = "vg0/root-a.b_c+".parse().unwrap();
        assert_eq!((volume.group(), volume.name()), ("vg0", "root-a.b_c+"));
        for bad in
            ["", "root", "vg0/", "/root", "/dev/vg0/root", "vg0/a/b", "-x/a", "vg0/-f", "vg0/a b", "vg0/.."]
        {
            assert!(bad.parse::<LvName>().is_err(), "{bad:?}");
        }
    }
}
