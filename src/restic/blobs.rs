//! Finds out whether the index of a repository names a blob more than once: then restic chooses which copy it keeps.
//!
//! A client that can only add still writes index files. One that knows the password can add an index file that says that
//! a pack of its own holds the data of good backups. `restic prune` reads no data, believes it, and may remove the good
//! pack (tried with 0.14.0, 0.18.0 and 0.19.1). If every blob is named once, there is nothing to choose.

use serde::Deserialize;

use super::{Access, call::PRUNE};
use crate::effect::Cmd;

/// How many blobs are remembered, at most: 512 MiB. An index that names more is taken for one with repeated blobs.
const MOST: usize = 64 << 20;

/// How much of an index file is read, in bytes. Those of restic have some 10 MB.
const LONGEST_INDEX: usize = 256 << 20;

/// The blobs that an index names. Of each 8 bytes are remembered, 80 MB for 10 million. Two blobs with the same 8 bytes
/// only cause a check that was not needed.
#[derive(Debug, Default)]
pub struct NamedBlobs {
    data: Vec<u64>,
    trees: Vec<u64>,
    too_many: bool,
    strange: Option<String>,
}

/// How often the index names its blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Each once.
    Once,
    /// So many of them more than once.
    Repeated(usize),
    /// There are more than rlvm counts.
    TooMany,
}

/// An index file, as far as it tells whether restic can read it. restic 0.14 prints any text that one holds.
#[derive(Default)]
pub struct IndexFile {
    text: String,
    is_too_long: bool,
}

impl IndexFile {
    /// Reads a line of it.
    pub fn line(&mut self, line: &str) {
        if self.text.len() + line.len() > LONGEST_INDEX {
            self.is_too_long = true;
        } else {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    /// Says whether it names one of these packs.
    pub fn names(&self, packs: &[String]) -> bool {
        packs.iter().any(|pack| self.text.contains(pack.as_str()))
    }

    /// Returns whether restic would not write such an index file: restic begins a new one at 50,000 blobs.
    pub fn is_strange(&self) -> bool {
        #[derive(Deserialize)]
        struct Index {
            packs: Option<Vec<Pack>>,
        }
        #[derive(Deserialize)]
        struct Pack {
            id: String,
            blobs: Vec<Blob>,
        }
        #[derive(Deserialize)]
        struct Blob {
            id: String,
            #[serde(rename = "type")]
            kind: String,
            #[serde(rename = "offset")]
            _offset: u32,
            #[serde(rename = "length")]
            _length: u32,
        }
        let is_blob = |blob: &Blob| is_id(&blob.id) && ["data", "tree"].contains(&blob.kind.as_str());
        let is_pack = |pack: &Pack| is_id(&pack.id) && pack.blobs.iter().all(is_blob);
        let read: Result<Index, _> = serde_json::from_str(&self.text);
        self.is_too_long || !read.is_ok_and(|it| it.packs.iter().flatten().all(is_pack))
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit())
}

impl Access<'_> {
    /// Lists each blob as often as the index names it. It takes no lock, and needs a repository that nobody changes.
    pub fn blobs(&self) -> Cmd {
        self.call(&["list", "blobs", "-q", "--no-lock", "--no-cache"]).timeout(PRUNE).stoppable()
    }

    /// Compares all that the index says with what the packs hold.
    pub fn read_all(&self) -> Cmd {
        let cmd = self.call(&["check", "--read-data", "--no-cache"]);
        cmd.ok(&[0, 1, 10, 11, 12]).timeout(PRUNE).stoppable()
    }

    /// Prints an index file.
    pub fn index_file(&self, id: &str) -> Cmd {
        self.call(&["cat", "index", id, "-q", "--no-lock", "--no-cache"]).timeout(600).stoppable()
    }
}

impl NamedBlobs {
    /// Reads a line of the list: `data 0a1b…` or `tree 0a1b…`.
    pub fn line(&mut self, line: &str) {
        let line = line.trim();
        let read = line.split_once(' ').and_then(|(kind, id)| {
            let all = match kind {
                "data" => &mut self.data,
                "tree" => &mut self.trees,
                _ => return None,
            };
            Some((all, u64::from_str_radix(id.get(..16).filter(|_| is_id(id))?, 16).ok()?))
        });
        match read {
            Some((all, _)) if all.len() >= MOST => self.too_many = true,
            Some((all, start)) => all.push(start),
            None if line.is_empty() => {}
            None => {
                self.strange.get_or_insert_with(|| line.chars().take(80).collect());
            }
        }
    }

    /// Says how often each is named.
    ///
    /// # Errors
    ///
    /// If a line was none of a list of blobs: then nothing is known.
    pub fn counted(mut self) -> Result<Named, String> {
        if let Some(line) = self.strange {
            return Err(format!("restic's list of blobs has a line that rlvm does not know: {line:?}"));
        }
        if self.too_many {
            return Ok(Named::TooMany);
        }
        let repeated = repeated(&mut self.data) + repeated(&mut self.trees);
        Ok(if repeated == 0 { Named::Once } else { Named::Repeated(repeated) })
    }
}

/// Counts the values that are there more than once.
fn repeated(all: &mut [u64]) -> usize {
    all.sort_unstable();
    all.chunk_by(|a, b| a == b).filter(|same| same.len() > 1).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(lines: &[String]) -> Result<Named, String> {
        let mut blobs = NamedBlobs::default();
        for line in lines {
            blobs.line(line);
        }
        blobs.counted()
    }

    #[test]
    fn repeated_blobs_are_counted() {
        let line = |kind: &str, byte: &str| format!("{kind} {}", byte.repeat(32));
        let all = [line("data", "0a"), line("data", "0b"), line("tree", "0a"), String::new()];
        // The same id as data and as a tree are two blobs.
        assert_eq!(named(&all), Ok(Named::Once));
        let more = [&all[..], &[line("data", "0a"), line("data", "0a"), line("tree", "0a")]].concat();
        assert_eq!(named(&more), Ok(Named::Repeated(2)));
        assert_eq!(named(&[]), Ok(Named::Once));
    }

    #[test]
    fn index_file_that_restic_does_not_write_is_strange() {
        let id = "0a".repeat(32);
        let index = |text: &str| {
            let mut index = IndexFile::default();
            for line in text.lines() {
                index.line(line);
            }
            index
        };
        let blob = format!(
            "{{\"id\":\"{id}\",\"type\":\"data\",\"offset\":0,\"length\":9,\"uncompressed_length\":7}}"
        );
        let good = format!("{{\"supersedes\":[],\n\"packs\":[{{\"id\":\"{id}\",\"blobs\":[{blob}]}}]}}");
        assert!(!index(&good).is_strange() && index(&good).names(std::slice::from_ref(&id)));
        assert!(!index("{}").is_strange() && !index("{}").names(&[id]));
        let strange = ["", "{}}", "[]", "[{\"id\":1}]", "nonsense"].map(ToOwned::to_owned);
        let edited = [("data", "pack"), ("0a0a", "0a"), ("9,", "99999999999,")];
        for text in strange.into_iter().chain(edited.map(|(from, to)| good.replacen(from, to, 1))) {
            assert!(index(&text).is_strange(), "{text}");
        }
    }

    #[test]
    fn a_line_that_is_no_blob_is_an_error() {
        for strange in ["data 0a", "pack 0a", "repository 1 opened", &format!("data {}", "xy".repeat(32))] {
            assert!(named(&[strange.to_owned()]).is_err(), "{strange}");
        }
    }
}
