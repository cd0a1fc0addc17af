//! Installs a program: downloads it, checks its digest, unpacks it, tries it, and moves it into place.
//!
//! Until the digest matches the declared one, the download exists only in memory. So no unchecked file that could be
//! run or mistaken for the program is ever on the disk.

use std::{io::Read, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use sha2::Digest;

use super::{
    Real,
    fetch::MOST,
    leaf::{Existing, Leaf, NewFile},
    process,
    walk::Cursor,
};
use crate::{
    effect::{Cmd, Install, Receipt, temporary},
    host::Output,
    model::{Mode, Sha256},
};

impl Real {
    /// Installs a program.
    pub(super) fn install(&self, cursor: &mut Cursor, install: &Install) -> Result<()> {
        let url = &install.url;
        // Asked first: nobody waits for a download that could not be put anywhere.
        Leaf::of(cursor, self, &install.path)?;
        let fetched = self.fetch(url)?;
        let digest = digest(&fetched);
        ensure!(
            digest == install.sha256,
            "{url} is not what is pinned; nothing was installed\n  its sha256 is     {digest}\n  \
             the state says    {}\nhelp: compare both with the published SHA256SUMS",
            install.sha256
        );
        let program = if install.is_packed() {
            unpack(&fetched, MOST).with_context(|| format!("cannot unpack {url}"))?
        } else {
            fetched
        };
        self.place(cursor, install, &program)?;
        let receipt = Receipt { fetched: install.sha256.clone(), installed: self::digest(&program) };
        let (path, text) = (Receipt::path_of(&install.path)?, receipt.text(install));
        self.put(cursor, &path, text.as_bytes(), &install.owner, Mode::new(0o644), Existing::Replace)
    }

    /// Writes the program new, lets it say which version it is, and renames it into place.
    fn place(&self, cursor: &mut Cursor, install: &Install, program: &[u8]) -> Result<()> {
        let (ids, mode) = (self.ids(&install.owner)?, install.mode);
        let check = || self.try_out(install);
        let new = NewFile { bytes: program, ids, mode, existing: Existing::Replace, check: &check };
        Leaf::of(cursor, self, &install.path)?.put(&new)
    }

    /// Lets the program say which version it is, before it takes the place of one that works.
    fn try_out(&self, install: &Install) -> Result<()> {
        let url = &install.url;
        let cmd = Cmd::at(&temporary(&install.path).parse()?).arg("version").timeout(10);
        let Output { code, timed_out, stdout, stderr } = self.unless_busy(&cmd)?;
        let help = "nothing was installed";
        match code {
            Some(0) => {}
            _ if timed_out => bail!("what {url} gave does not say its version within 10 s; {help}"),
            Some(code) => bail!(
                "what {url} gave is no program that runs here (exit code {code}); {help}:\n{}",
                stderr.trim_end()
            ),
            None => bail!("what {url} gave was ended by a signal; {help}"),
        }
        let said: Vec<&str> = stdout.split_whitespace().take(install.says.len()).collect();
        ensure!(
            said == install.says,
            "what {url} gave says that it is `{}`, and `{}` is declared; {help}",
            said.join(" ").escape_debug(),
            install.says.join(" ")
        );
        Ok(())
    }

    /// Runs a program that was written just now. A child that another thread started meanwhile holds all that was
    /// open until it runs its own program: so long the kernel says that the file is being written (ETXTBSY).
    fn unless_busy(&self, cmd: &Cmd) -> Result<Output> {
        for _ in 0..20 {
            let output = process::run(self, cmd)?;
            if !output.stderr.contains("Text file busy") {
                return Ok(output);
            }
            thread::sleep(Duration::from_millis(50));
        }
        process::run(self, cmd)
    }
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256::of_digest(&sha2::Sha256::digest(bytes))
}

/// Unpacks what bzip2 packed, also in several pieces; no more than a limit, however small the packed file is.
fn unpack(packed: &[u8], most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bzip2::read::MultiBzDecoder::new(packed).take(most + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= most, "it holds more than {} MB", most >> 20);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn what_is_packed_comes_out_whole_or_not_at_all() {
        let most = 1 << 20;
        let unpack = |packed: &[u8]| unpack(packed, most);
        assert_eq!(unpack(&packed(b"one")).unwrap(), b"one");
        assert_eq!(unpack(&[packed(b"one"), packed(b"two")].concat()).unwrap(), b"onetwo");
        let whole = packed(&[7; 10_000]);
        assert!(unpack(&whole[..whole.len() - 5]).is_err() && unpack(b"#!/bin/sh\n").is_err());
        // A bomb.
        let bomb = packed(&vec![0; 1 << 20]).repeat(2);
        assert!(bomb.len() < 1000);
        assert_eq!(unpack(&bomb).unwrap_err().to_string(), "it holds more than 1 MB");
    }
}
