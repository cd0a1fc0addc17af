//! Installing a program, as data: where it comes from, what it must be, and what is written down beside it.

use std::fmt;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Owner, quote, temporary};
use crate::model::{BadText, FetchUrl, HostPath, Mode, Sha256};

/// A program to be fetched and installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// Where it goes.
    pub path: HostPath,
    /// Where it comes from.
    pub url: FetchUrl,
    /// The digest of what is fetched, before it is unpacked.
    pub sha256: Sha256,
    /// To whom it shall belong.
    pub owner: Owner,
    /// Its permission bits.
    pub mode: Mode,
    /// The words with which it answers `version`.
    pub says: Vec<String>,
}

impl Install {
    /// Says whether what is fetched has to be unpacked.
    pub fn is_packed(&self) -> bool {
        is_packed(&self.url)
    }
}

/// Says whether a name is that of a file packed by bzip2, as restic publishes it.
pub(crate) fn is_packed(url: &FetchUrl) -> bool {
    url.to_string().rsplit_once('.').is_some_and(|(_, last)| last == "bz2")
}

/// Writes a line that has the same effect, but for the answer to `version`, which is asked before the program is put
/// in place.
impl fmt::Display for Install {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, url, sha256, owner: Owner { user, group }, mode, .. } = self;
        let protocol = if matches!(url, FetchUrl::Web(_)) { "https" } else { "file" };
        let (path, new) = (path.as_str(), temporary(path));
        let (url, fetched, checked) =
            (quote(&url.to_string()), quote(&new), quote(&format!("{sha256}  {new}")));
        write!(
            f,
            "curl -fsSL --proto ={protocol} -o {fetched} {url} && echo {checked} | sha256sum -c --quiet"
        )?;
        let unpack = if self.is_packed() { "bunzip2" } else { "cat" };
        write!(
            f,
            " && {unpack} < {fetched} | install -o {user} -g {group} -m {mode} /dev/stdin {}",
            quote(path)
        )?;
        write!(f, " && rm {fetched}")
    }
}

/// What is written down beside a program that was installed, so that it can be told, by looking at the host alone,
/// from one that somebody changed since or put there: the digest that is published is not that of the program, but
/// of the packed file. sha256sum(1) reads it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The digest of what was fetched.
    pub fetched: Sha256,
    /// The digest of the program.
    pub installed: Sha256,
}

impl Receipt {
    /// Returns where the receipt of a program stands.
    pub fn path_of(program: &HostPath) -> Result<HostPath, BadText> {
        format!("{program}.sha256").parse()
    }

    /// Writes the receipt of a program.
    pub fn text(&self, install: &Install) -> String {
        let Self { fetched, installed } = self;
        let (url, name) = (&install.url, install.path.name());
        format!(
            "# Written by rlvm. To check the program: sha256sum -c {name}.sha256\n\
             # fetched from {url}\n\
             # fetched sha256 {fetched}\n\
             {installed}  {name}\n"
        )
    }

    /// Reads a receipt; `None` if it is none.
    pub fn read(text: &str) -> Option<Self> {
        let fetched = text.lines().find_map(|line| line.strip_prefix("# fetched sha256 "))?;
        let installed = text.lines().find(|line| !line.starts_with('#'))?.split_whitespace().next()?;
        Some(Self { fetched: fetched.parse().ok()?, installed: installed.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(url: &str) -> Install {
        Install {
            path: "/usr/local/lib/r".parse().unwrap(),
            url: url.parse().unwrap(),
            sha256: "a".repeat(64).parse().unwrap(),
            owner: Owner::root(),
            mode: Mode::new(0o755),
            says: vec!["r".into(), "1.0.0".into()],
        }
    }

    #[test]
    fn shown_as_a_line_to_paste() {
        let digest = "a".repeat(64);
        assert_eq!(
            install("https://a.lan/r.bz2").to_string(),
            format!(
                "curl -fsSL --proto =https -o '/usr/local/lib/r.rlvm-new~' https://a.lan/r.bz2 \
                 && echo '{digest}  /usr/local/lib/r.rlvm-new~' | sha256sum -c --quiet \
                 && bunzip2 < '/usr/local/lib/r.rlvm-new~' \
                 | install -o root -g root -m 0755 /dev/stdin /usr/local/lib/r && rm '/usr/local/lib/r.rlvm-new~'"
            )
        );
        let plain = install("file:///srv/r").to_string();
        assert!(plain.contains("--proto =file -o") && plain.contains("&& cat < "), "{plain}");
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let receipt =
            Receipt { fetched: "a".repeat(64).parse().unwrap(), installed: "b".repeat(64).parse().unwrap() };
        let text = receipt.text(&install("https://a.lan/r.bz2"));
        assert!(text.ends_with(&format!("\n{}  r\n", "b".repeat(64))), "{text}");
        for (text, expected) in
            [(text.as_str(), Some(receipt)), ("", None), ("x\n", None), (&text[20..200], None)]
        {
            assert_eq!(Receipt::read(text), expected, "{text}");
        }
    }
}
