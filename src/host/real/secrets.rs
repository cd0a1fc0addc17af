//! Reads secrets for the environment of a program when the program is started, and keeps them nowhere else.

use std::{
    ffi::OsString,
    fs::File,
    io::Read,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use anyhow::{Context, Result, ensure};

use super::{
    Real,
    leaf::Leaf,
    process, trusted,
    walk::{Cursor, Way},
};
use crate::{
    effect::{Cmd, Private, is_credential},
    model::{HostPath, Name, SecretFile, UserName},
};

/// Where systemd keeps credentials that are not encrypted (systemd.exec(5)).
const PLAIN_STORES: [&str; 2] = ["/etc/credstore", "/run/credstore"];
/// Where it keeps those that are.
const ENCRYPTED_STORE: &str = "/etc/credstore.encrypted";
/// How long a secret may be, in bytes.
const LONGEST: u64 = 1 << 16;

/// Reads what goes into a child's environment.
pub(super) fn variables(
    real: &Real,
    secrets: &[Private],
    user: Option<&UserName>,
) -> Result<Vec<(String, OsString)>> {
    let user = user.map(|user| real.accounts.user(user)).transpose()?.flatten();
    let read = |path: &HostPath| read(real, path, user);
    let mut variables = Vec::new();
    for secret in secrets {
        match secret {
            Private::All(file) => {
                let bytes = read(&file.0)?;
                let lines = parse(&bytes).map_err(|(line, why)| {
                    anyhow::anyhow!("{}:{line}: {why} (the line is not shown)", file.0)
                })?;
                variables.extend(lines);
            }
            Private::File { name, file } => {
                variables.push((name.clone(), one_line(read(&file.0)?, file.0.as_str())?));
            }
            Private::Url { name, before, user, password, after } => {
                let user = percent(&one_line(read(&user.0)?, user.0.as_str())?);
                let password = percent(&one_line(read(&password.0)?, password.0.as_str())?);
                variables.push((name.clone(), format!("{before}{user}:{password}@{after}").into()));
            }
            Private::Credential { name, credential } => {
                variables
                    .push((name.clone(), one_line(credential_of(real, credential)?, credential.as_str())?));
            }
        }
    }
    Ok(variables)
}

/// Reads the one line that a secret's file holds.
pub(super) fn line(real: &Real, file: &SecretFile) -> Result<String> {
    let line = one_line(read(real, &file.0, None)?, file.0.as_str())?;
    line.into_string().ok().with_context(|| format!("{} holds no text", file.0))
}

/// Writes what may stand in the user's part of an address (RFC 3986, section 3.2.1).
fn percent(text: &std::ffi::OsStr) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let letter =
        |byte: &u8| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    text.as_bytes().iter().map(letter).collect()
}

/// Takes the newline off the end that every editor puts there.
fn one_line(mut bytes: Vec<u8>, of: &str) -> Result<OsString> {
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    ensure!(!bytes.is_empty(), "{of} is empty");
    ensure!(!bytes.iter().any(|byte| matches!(byte, b'\n' | 0)), "{of} holds more than one line");
    Ok(OsString::from_vec(bytes))
}

/// Reads a secret of this tree: a plain file at the end of a way that nobody else could have laid. It is root's, the
/// caller's or that user's who gets it, with one name, and nobody else can write it: what it says is done.
fn read(real: &Real, path: &HostPath, user: Option<u32>) -> Result<Vec<u8>> {
    let mut cursor = Cursor::default();
    let (file, stat) = Leaf::of(&mut cursor, real, path)?.open_file()?;
    let owner = stat.st_uid;
    ensure!(
        trusted(owner) || user == Some(owner),
        "{path} belongs to {}, who is not the one to say what is done",
        real.accounts.user_name(owner)
    );
    ensure!(stat.st_mode & 0o022 == 0, "{path} can be written by others: chmod go-w {path}");
    all_of(file, path.as_str())
}

fn all_of(file: File, shown: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {shown}"))?;
    ensure!(bytes.len() as u64 <= LONGEST, "{shown} is too long for a secret");
    Ok(bytes)
}

/// Finds a credential: what systemd gave this very process, else where systemd would take it from.
fn credential_of(real: &Real, name: &Name) -> Result<Vec<u8>> {
    if let Some(dir) = &real.credentials {
        #[expect(clippy::disallowed_methods, reason = "host reads what systemd put there for this process")]
        let given = File::open(Path::new(dir).join(name.as_str()));
        if let Ok(file) = given {
            return all_of(file, name.as_str());
        }
    }
    for store in PLAIN_STORES {
        let path: HostPath = format!("{store}/{name}").parse()?;
        if present(real, &path)? {
            return read(real, &path, None);
        }
    }
    let sealed: HostPath = format!("{ENCRYPTED_STORE}/{name}").parse()?;
    ensure!(
        present(real, &sealed)?,
        "there is no credential {name}\nhelp: systemd-creds encrypt - {sealed}, or put it into {}/{name}",
        PLAIN_STORES[0]
    );
    let open =
        Cmd::new("systemd-creds").args(["decrypt", "--name"]).arg(name.as_str()).path(&sealed).arg("-");
    let output = process::must(real, &open.timeout(10)).context("cannot open the credential")?;
    Ok(output.stdout.into_bytes())
}

fn present(real: &Real, path: &HostPath) -> Result<bool> {
    let mut cursor = Cursor::default();
    let Way::There(leaf) = Leaf::reach(&mut cursor, real, path)? else { return Ok(false) };
    Ok(!matches!(leaf.stat()?, Way::Absent))
}

/// Reads `NAME=value` lines as systemd does an environment file: `#` and `;` open a comment, quotes around a value
/// are taken off. `export` before a name is passed over. An error is a line's number and what is wrong with it.
fn parse(bytes: &[u8]) -> Result<Vec<(String, OsString)>, (usize, &'static str)> {
    let mut variables = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") || line.starts_with(b";") {
            continue;
        }
        let bad = |why| (number + 1, why);
        let line = line.strip_prefix(b"export ").unwrap_or(line).trim_ascii_start();
        let equals = line.iter().position(|byte| *byte == b'=').ok_or(bad("no `=`: write NAME=value"))?;
        let (name, value) = (&line[..equals], &line[equals + 1..]);
        let is_name = |name: &[u8]| {
            !name.first().is_none_or(u8::is_ascii_digit)
                && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        };
        if !is_name(name) {
            return Err(bad("what stands before `=` is no variable's name"));
        }
        let name = String::from_utf8_lossy(name).into_owned();
        if !is_credential(&name) {
            return Err(bad(
                "no variable that restic, rclone or a proxy takes, or one that rlvm sets itself",
            ));
        }
        let value = match value {
            [quote @ (b'"' | b'\''), inner @ .., last] if last == quote => inner,
            [b'"' | b'\'', ..] => return Err(bad("a quote that is not closed")),
            value => value,
        };
        if value.contains(&0) {
            return Err(bad("a zero byte"));
        }
        variables.push((name, std::ffi::OsStr::from_bytes(value).to_owned()));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_files_are_read_as_systemd_does() {
        let text =
            b"# keys\n; more\n\nAWS_A=1\nexport B2_B=\"two words\"\n  OS_C='x=y'  \nST_D=\nAWS_E=a\"b\n";
        let read = parse(text).unwrap();
        let read: Vec<(&str, &str)> =
            read.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            read,
            [("AWS_A", "1"), ("B2_B", "two words"), ("OS_C", "x=y"), ("ST_D", ""), ("AWS_E", "a\"b")]
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_alone() {
        for (text, line) in [
            ("AWS_A=1\nsecret", 2),
            ("1A=secret", 1),
            ("=secret", 1),
            ("AWS_A='secret", 1),
            ("\n\nA B=secret", 3),
            // setpriv, which runs as root before it becomes the user, would load this.
            ("AWS_A=1\nLD_PRELOAD=/home/bob/secret.so", 2),
            ("PATH=/home/bob/secret", 1),
        ] {
            let (number, why) = parse(text.as_bytes()).unwrap_err();
            assert_eq!(number, line, "{text}");
            assert!(!why.contains("secret"));
        }
    }

    #[test]
    fn only_variables_that_a_store_or_a_proxy_needs() {
        for good in ["AWS_ACCESS_KEY_ID", "RESTIC_REST_PASSWORD", "https_proxy", "SSL_CERT_FILE"] {
            assert!(is_credential(good), "{good}");
        }
        for bad in [
            "LD_PRELOAD",
            "GLIBC_TUNABLES",
            "PATH",
            "HOME",
            "AWS-KEY",
            "TMPDIR",
            "RESTIC_REPOSITORY",
            "RESTIC_FROM_PASSWORD",
            "",
        ] {
            assert!(!is_credential(bad), "{bad}");
        }
    }

    #[test]
    fn a_password_in_an_address_divides_nothing() {
        assert_eq!(percent("a-1.~_".as_ref()), "a-1.~_");
        assert_eq!(percent("p:w/@%é".as_ref()), "p%3Aw%2F%40%25%C3%A9");
    }

    #[test]
    fn a_secret_in_a_file_is_one_line() {
        assert_eq!(one_line(b"abc\r\n".to_vec(), "f").unwrap(), "abc");
        assert!(one_line(b"\n".to_vec(), "f").is_err() && one_line(b"a\nb\n".to_vec(), "f").is_err());
    }
}
