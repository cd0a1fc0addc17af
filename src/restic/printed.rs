//! Reads JSON from restic while restic prints it, so that a list may have any length.

use std::io::{BufRead, BufReader, Read};

use serde::de::DeserializeOwned;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 << 10;

/// A value that restic prints.
pub struct Printed<T>(Answer<T>);

enum Answer<T> {
    /// Nothing was printed.
    Empty,
    /// A value, or `null`.
    Value(Option<T>),
    /// It makes no sense.
    Bad(serde_json::Error),
}

impl<T> Default for Printed<T> {
    fn default() -> Self {
        Self(Answer::Empty)
    }
}

impl<T: DeserializeOwned> Printed<T> {
    /// Reads it to its end; of what makes no sense only so much as says so.
    pub fn read(&mut self, from: &mut dyn Read) {
        let mut from = BufReader::with_capacity(CHUNK, from);
        self.0 = match is_blank(&mut from) {
            Ok(true) => Answer::Empty,
            Ok(false) => serde_json::from_reader(from).map_or_else(Answer::Bad, Answer::Value),
            Err(err) => Answer::Bad(serde_json::Error::io(err)),
        };
    }

    /// Returns it; nothing if restic printed `null`. `restic snapshots` of 0.14 to 0.19 prints `[]` where there is nothing to
    /// list, so an empty output is not a list.
    ///
    /// # Errors
    ///
    /// Says what makes no sense.
    pub(super) fn value(self) -> Result<Option<T>, String> {
        match self.0 {
            Answer::Empty => Err("restic exited with 0 and printed no list".into()),
            answer => Self(answer).value_if_any(),
        }
    }

    /// Returns it; nothing if nothing was printed: `restic forget` of 0.14 to 0.19 prints nothing where there is nothing to
    /// list (tried).
    ///
    /// # Errors
    ///
    /// Says what makes no sense.
    pub(super) fn value_if_any(self) -> Result<Option<T>, String> {
        match self.0 {
            Answer::Empty => Ok(None),
            Answer::Value(value) => Ok(value),
            Answer::Bad(err) => {
                let cut = if err.is_eof() { ", or is not whole" } else { "" };
                Err(format!("restic's list makes no sense{cut}: {err}"))
            }
        }
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
        let none = Err("restic exited with 0 and printed no list".to_owned());
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
