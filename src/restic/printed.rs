//! JSON that restic prints, read while it is printed: a list may be of any length.

use std::io::{BufRead, BufReader, Read};

use serde::de::DeserializeOwned;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 << 10;

/// A value that restic prints.
pub struct Printed<T>(Option<serde_json::Result<Option<Option<T>>>>);

impl<T> Default for Printed<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: DeserializeOwned> Printed<T> {
    /// Reads it to its end; of what makes no sense only so much as says so.
    pub fn read(&mut self, from: &mut dyn Read) {
        let mut from = BufReader::with_capacity(CHUNK, from);
        self.0 = Some(match is_blank(&mut from) {
            Ok(true) => Ok(None),
            Ok(false) => serde_json::from_reader(from).map(Some),
            Err(err) => Err(serde_json::Error::io(err)),
        });
    }

    /// Returns it; nothing if restic printed `null`. `restic snapshots` of 0.14 to 0.19 prints `[]` where there is nothing to
    /// list, so an empty output is not a list.
    ///
    /// # Errors
    ///
    /// Says what makes no sense.
    pub(super) fn value(self) -> Result<Option<T>, String> {
        self.read_value()?.ok_or_else(|| "restic ended well and printed no list".into())
    }

    /// Returns it; nothing if nothing was printed: `restic forget` of 0.14 to 0.19 prints nothing where there is nothing to
    /// list (tried).
    ///
    /// # Errors
    ///
    /// Says what makes no sense.
    pub(super) fn value_if_any(self) -> Result<Option<T>, String> {
        Ok(self.read_value()?.flatten())
    }

    fn read_value(self) -> Result<Option<Option<T>>, String> {
        self.0.transpose().map(Option::flatten).map_err(|err| {
            let cut = if err.is_eof() { ", or is not whole" } else { "" };
            format!("restic's list makes no sense{cut}: {err}")
        })
    }
}

/// Passes over white space; says whether nothing else comes.
fn is_blank(from: &mut impl BufRead) -> std::io::Result<bool> {
    loop {
        let here = from.fill_buf()?;
        let blank = here.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        match here.len() {
            0 => return Ok(true),
            length if blank < length => return Ok(false),
            _ => from.consume(blank),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_read_to_its_end() {
        let read = |text: &str| {
            let mut printed = Printed::<Vec<u32>>::default();
            printed.read(&mut text.as_bytes());
            printed.value()
        };
        for none in ["null", "null\n"] {
            assert_eq!(read(none), Ok(None), "{none:?}");
        }
        let none = Err("restic ended well and printed no list".to_owned());
        for empty in ["", " \n"] {
            assert_eq!(read(empty), none, "{empty:?}");
            let mut printed = Printed::<Vec<u32>>::default();
            printed.read(&mut empty.as_bytes());
            assert_eq!(printed.value_if_any(), Ok(None), "{empty:?}");
        }
        assert_eq!(read("\n[1, 2]\n"), Ok(Some(vec![1, 2])));
        assert_eq!(Printed::<Vec<u32>>::default().value().map(drop), none.map(drop), "nothing was read");
        for (bad, why) in
            [("[1,", "not whole"), ("[1] [2]", "trailing"), ("{}", "invalid type"), ("x", "expected")]
        {
            assert!(read(bad).is_err_and(|it| it.contains(why)), "{bad}: {:?}", read(bad));
        }
    }
}
