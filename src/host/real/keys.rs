//! Reads public properties of private SSH keys, and creates key pairs.

use std::{fs::File, io::Read};

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    unistd::{UnlinkatFlags, unlinkat},
};

use super::{Real, process};
use crate::{
    effect::Cmd,
    host::{KeyHead, lock::Lock, private::PrivateDir},
    model::{HostPath, KeyType, Line, PublicKey, public_key::field},
};

/// How long a key's file may be, in bytes; RSA of 16384 bits has 13 kB.
const LONGEST: u64 = 1 << 16;
/// Where a pair is made before it is put in place, in the directory where nobody else gets.
const WORKSHOP: &str = "keys";
/// What the two halves are called there.
const HALVES: [&str; 2] = ["new", "new.pub"];

/// Both halves of a key.
pub(super) struct Pair {
    /// To be zeroed by whoever has put it in place.
    pub(super) private: Vec<u8>,
    pub(super) public: Vec<u8>,
}

/// Reads what a private key shows without its passphrase; `None` if the file holds no private key.
///
/// ssh-keygen could tell it too, but not of a key with a passphrase, nor of one that others may read, and it opens
/// the file by its name.
pub(super) fn head(file: &File) -> Result<Option<KeyHead>> {
    // Whole at once: a buffer that grew would leave a copy behind.
    let mut bytes = Vec::with_capacity(usize::try_from(LONGEST)?);
    let read = file.take(LONGEST).read_to_end(&mut bytes);
    let head = read.map(|_| parse(&bytes));
    bytes.fill(0);
    Ok(head?)
}

fn parse(bytes: &[u8]) -> Option<KeyHead> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (label, rest) = text.split_once("-----BEGIN ")?.1.split_once("-----")?;
    let body = rest.split_once("-----END ")?.0;
    match label {
        "OPENSSH PRIVATE KEY" => {
            let mut encoded: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let head = Base64::decode_in_place(&mut encoded).ok().and_then(openssh);
            encoded.fill(0);
            head
        }
        // PKCS#8 says it in its name, the older form in a line of its own.
        "ENCRYPTED PRIVATE KEY" => Some(KeyHead { public: None, encrypted: true }),
        _ if label.ends_with("PRIVATE KEY") => {
            Some(KeyHead { public: None, encrypted: body.contains("ENCRYPTED") })
        }
        _ => None,
    }
}

/// Reads OpenSSH's own form: cipher, key derivation, its options, how many keys, the public one (PROTOCOL.key).
fn openssh(bytes: &[u8]) -> Option<KeyHead> {
    let (cipher, rest) = field(bytes.strip_prefix(b"openssh-key-v1\0")?)?;
    let (_, rest) = field(rest)?;
    let (_, rest) = field(rest)?;
    let (public, _) = field(rest.strip_prefix(&1_u32.to_be_bytes())?)?;
    Some(KeyHead { public: PublicKey::of_blob(public), encrypted: cipher != b"none" })
}

/// Makes a pair with ssh-keygen, which knows best how. What an earlier making that was cut short left is removed.
pub(super) fn make(real: &Real, kind: KeyType, comment: &Line) -> Result<Pair> {
    let path = real.private.join(WORKSHOP)?;
    drop(PrivateDir::make(real, &real.private)?);
    let dir = PrivateDir::make(real, &path)?;
    let lock = dir.file("lock", OFlag::O_RDWR | OFlag::O_CREAT)?;
    let _lock = Lock::take(lock.with_context(|| format!("cannot make {}", dir.show("lock")))?, "")?;
    clear(&dir)?;
    let made = generate(real, &dir, &path.join(HALVES[0])?, kind, comment);
    let cleared = clear(&dir);
    let pair = made?;
    cleared.map(|()| pair)
}

fn generate(real: &Real, dir: &PrivateDir, at: &HostPath, kind: KeyType, comment: &Line) -> Result<Pair> {
    let keygen = Cmd::new("ssh-keygen").arg("-q").args(kind.flags().iter().copied());
    let keygen = keygen.args(["-N", "", "-C"]).arg(comment.as_str()).arg("-f").path(at).timeout(120);
    process::must(real, &keygen).context("cannot make a key (ssh-keygen is in openssh-client)")?;
    let [private, public] = HALVES.map(|name| read(dir, name));
    let mut pair = Pair { private: private?, public: Vec::new() };
    match public {
        Ok(public) if !public.is_empty() => pair.public = public,
        other => {
            pair.private.fill(0);
            other?;
        }
    }
    ensure!(!pair.private.is_empty() && !pair.public.is_empty(), "ssh-keygen made no key");
    Ok(pair)
}

fn read(dir: &PrivateDir, name: &str) -> Result<Vec<u8>> {
    let file = dir.file(name, OFlag::O_RDONLY)?;
    let file = file.with_context(|| format!("ssh-keygen made no {}", dir.show(name)))?;
    let mut bytes = Vec::with_capacity(usize::try_from(LONGEST)?);
    file.take(LONGEST).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", dir.show(name)))?;
    Ok(bytes)
}

fn clear(dir: &PrivateDir) -> Result<()> {
    for name in HALVES {
        match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).with_context(|| format!("cannot remove {}", dir.show(name))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_private_key_has_no_head() {
        for text in [
            "",
            "ssh-ed25519 AAAA",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN OPENSSH PRIVATE KEY-----\n",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"\xff\xfe"), None);
    }

    #[test]
    fn older_forms_tell_whether_they_have_a_passphrase() {
        let pem = |label: &str, body: &str| {
            parse(format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").as_bytes()).unwrap()
        };
        assert!(!pem("RSA PRIVATE KEY", "MIIE").encrypted);
        assert!(pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nMIIE").encrypted);
        assert!(!pem("PRIVATE KEY", "MIIE").encrypted && pem("ENCRYPTED PRIVATE KEY", "MIIE").encrypted);
    }
}
