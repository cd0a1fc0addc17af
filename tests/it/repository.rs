//! Makes restic repositories that open in 20 ms, where those of `restic init` take half a second.
//!
//! restic reads the parameters of scrypt from the key file, and accepts any. `restic init` chooses them so that each
//! open is slow on purpose. A test whose subject is not `init` puts a finished repository on the machine
//! (`Scratch::repository`), or replaces the key of a repository that rlvm has made (`Scratch::make_key_cheap`).
//!
//! The format is described in restic's doc/design.rst. The tests below hold it against each restic.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::Command,
};

use aes::{Aes128, Aes256};
use base64ct::{Base64, Encoding};
use ctr::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use poly1305::Poly1305;
use serde_json::{Value, json};

use crate::{
    lab::{Lab, restics},
    support::{Scratch, sha256},
};

/// The parameters of scrypt in cheap key files: N, r and p.
const CHEAP: [u64; 3] = [2, 1, 1];

/// The password that is written where a password file is missing.
pub(crate) const PASSWORD: &str = "hunter22hunter22hunter22hunter22";

/// A symmetric key as restic uses it: AES-256 in counter mode, authenticated by Poly1305-AES.
pub(crate) struct Key {
    encrypt: [u8; 32],
    mac_k: [u8; 16],
    mac_r: [u8; 16],
}

impl Key {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let (encrypt, mac) = bytes.split_at(32);
        let (mac_k, mac_r) = mac.split_at(16);
        Self {
            encrypt: encrypt.try_into().unwrap(),
            mac_k: mac_k.try_into().unwrap(),
            mac_r: mac_r.try_into().unwrap(),
        }
    }

    /// Derives a key from a password, by scrypt with these N, r and p.
    fn derive(password: &str, salt: &[u8], [n, r, p]: [u64; 3]) -> Self {
        let narrow = |number: u64| u32::try_from(number).unwrap();
        let params = scrypt::Params::new(u8::try_from(n.ilog2()).unwrap(), narrow(r), narrow(p)).unwrap();
        let mut bytes = [0; 64];
        scrypt::scrypt(password.as_bytes(), salt, &params, &mut bytes).unwrap();
        Self::new(&bytes)
    }

    /// Encrypts a text: 16 bytes of nonce, the ciphertext, 16 bytes of authentication.
    pub(crate) fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let nonce = random::<16>();
        let mut cipher = plain.to_vec();
        self.apply_keystream(nonce, &mut cipher);
        let tag = self.tag(nonce, &cipher);
        [&nonce[..], &cipher, &tag].concat()
    }

    /// Decrypts what [`Key::seal`] or restic has encrypted.
    pub(crate) fn open(&self, sealed: &[u8]) -> Vec<u8> {
        let (nonce, rest) = sealed.split_first_chunk::<16>().unwrap();
        let (cipher, tag) = rest.split_last_chunk::<16>().unwrap();
        assert_eq!(&self.tag(*nonce, cipher), tag, "the password is wrong, or the file is damaged");
        let mut plain = cipher.to_vec();
        self.apply_keystream(*nonce, &mut plain);
        plain
    }

    fn apply_keystream(&self, nonce: [u8; 16], text: &mut [u8]) {
        ctr::Ctr128BE::<Aes256>::new(&self.encrypt.into(), &nonce.into()).apply_keystream(text);
    }

    fn tag(&self, nonce: [u8; 16], cipher: &[u8]) -> [u8; 16] {
        let mut pad = nonce.into();
        Aes128::new(&self.mac_k.into()).encrypt_block(&mut pad);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&self.mac_r);
        key[16..].copy_from_slice(&pad);
        Poly1305::new(&key.into()).compute_unpadded(cipher).into()
    }

    /// Returns the key as restic writes a master key: JSON, its parts in base64.
    fn to_json(&self) -> Vec<u8> {
        let [encrypt, k, r] = [&self.encrypt[..], &self.mac_k, &self.mac_r].map(Base64::encode_string);
        json!({ "mac": { "k": k, "r": r }, "encrypt": encrypt }).to_string().into_bytes()
    }

    fn from_json(text: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(text).unwrap();
        let parts = [&json["encrypt"], &json["mac"]["k"], &json["mac"]["r"]];
        Self::new(&parts.map(decode).concat())
    }

    /// Returns a cheap key file that gives a master key to whoever has the password.
    ///
    /// It is written as restic writes it, fraction of a second included: tests damage key files at a given byte.
    pub(crate) fn key_file(&self, password: &str) -> String {
        let salt = random::<64>();
        let data = Self::derive(password, &salt, CHEAP).seal(&self.to_json());
        let ([n, r, p], salt, data) = (CHEAP, Base64::encode_string(&salt), Base64::encode_string(&data));
        format!(
            "{{\"created\":\"2026-01-01T00:00:00.123456789Z\",\"username\":\"root\",\"hostname\":\"web01\",\"kdf\":\"scrypt\",\
             \"N\":{n},\"r\":{r},\"p\":{p},\"salt\":\"{salt}\",\"data\":\"{data}\"}}"
        )
    }

    /// Reads the master key out of any key file.
    pub(crate) fn from_key_file(text: &str, password: &str) -> Self {
        let file: Value = serde_json::from_str(text).unwrap();
        let parameters = ["N", "r", "p"].map(|name| file[name].as_u64().unwrap());
        let user = Self::derive(password, &decode(&file["salt"]), parameters);
        Self::from_json(&user.open(&decode(&file["data"])))
    }
}

fn decode(text: &Value) -> Vec<u8> {
    Base64::decode_vec(text.as_str().unwrap()).unwrap()
}

pub(crate) fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

/// Packs an empty repository that [`PASSWORD`] opens, for tar(1).
pub(crate) fn packed() -> Vec<u8> {
    let scratch = Scratch::bare();
    scratch.repository_of("/r", PASSWORD, 0);
    let tar = Command::new("tar").args(["-c", "."]).current_dir(scratch.at("/r")).output().unwrap();
    assert!(tar.status.success(), "{tar:?}");
    tar.stdout
}

impl Scratch {
    /// Puts an empty repository on the machine that the password in a file opens. It belongs to the file's owner.
    ///
    /// A password file that is missing is made: root's, as rlvm would make it for `generate_password`.
    pub(crate) fn repository(&self, path: &str, password_file: &str) {
        if !self.at(password_file).exists() {
            self.file_of(password_file, &format!("{PASSWORD}\n"), 0, 0o600);
        }
        let owner = fs::metadata(self.at(password_file)).unwrap().uid();
        self.repository_of(path, self.read(password_file).trim(), owner);
        // As rlvm makes a repository's directory.
        chown(self.at(path), None, Some(0)).unwrap();
    }

    /// Puts an empty repository with this password on the machine, and gives it to an owner (user and group).
    pub(crate) fn repository_of(&self, path: &str, password: &str, owner: u32) {
        let at = |name: &str| format!("{path}/{name}");
        self.dir(path, owner, 0o700);
        for name in ["data", "index", "keys", "locks", "snapshots"] {
            self.dir(&at(name), owner, 0o700);
        }
        for number in 0..=255 {
            self.dir(&at(&format!("data/{number:02x}")), owner, 0o700);
        }
        let master = Key::new(&random::<64>());
        let id = sha256(&random::<32>());
        // Each repository here has the same polynomial, as an original and its copies need it.
        let config = json!({ "version": 2, "id": id, "chunker_polynomial": "25b468838dcb75" });
        put(&self.at(&at("config")), &master.seal(config.to_string().as_bytes()), owner);
        put_key(&self.at(&at("keys")), &master, password, owner);
    }

    /// Replaces the key of a repository that restic has made by a cheap one. The password stays the same.
    pub(crate) fn make_key_cheap(&self, path: &str, password_file: &str) {
        let (keys, password) = (self.at(&format!("{path}/keys")), self.read(password_file));
        let old: Vec<_> = fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [old] = &old[..] else { panic!("{path} has more keys than one: {old:?}") };
        let master = Key::from_key_file(&fs::read_to_string(old).unwrap(), password.trim());
        put_key(&keys, &master, password.trim(), fs::metadata(old).unwrap().uid());
        fs::remove_file(old).unwrap();
    }
}

fn put_key(keys: &Path, master: &Key, password: &str, owner: u32) {
    let file = master.key_file(password);
    put(&keys.join(sha256(file.as_bytes())), file.as_bytes(), owner);
}

/// Writes a file as restic does: nobody can write it any more.
pub(crate) fn put(at: &Path, content: &[u8], owner: u32) {
    fs::write(at, content).unwrap();
    chown(at, Some(owner), Some(owner)).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o400)).unwrap();
}

/// Lists directories and files of a repository with owner and mode, without their names by digest.
fn layout(lab: &Lab, path: &str) -> Vec<String> {
    let script = format!("cd {path} && find . -printf '%y %u:%g %m %p\\n'");
    let listed = lab.ok(&["sh", "-euc", &script]);
    let shorten = |line: &str| {
        line.rsplit_once('/').map_or(line.to_owned(), |(dir, name)| {
            let name = if name.len() == 64 { "DIGEST" } else { name };
            format!("{dir}/{name}")
        })
    };
    let mut lines: Vec<String> = listed.lines().map(shorten).collect();
    lines.sort();
    lines
}

#[test]
fn a_planted_repository_is_like_one_that_each_restic_makes() {
    let lab = Lab::new();
    lab.file_of("/etc/rlvm/p", "right\n", 0, 0o600);
    lab.file_of("/etc/rlvm/wrong", "wrong\n", 0, 0o600);
    lab.file("/srv/www/index.html", "hello\n");
    for it in restics() {
        let restic = format!("{}/restic", it.dir);
        let [made, planted] = ["made", "planted"].map(|name| format!("/srv/{}/{name}", it.version));
        let call = |repository: &str, password: &str, words: &[&str]| {
            let start = [&restic, "-q", "--no-cache", "--repo", repository, "--password-file", password];
            lab.run(&[&start[..], words].concat())
        };
        let ok = |repository: &str, words: &[&str]| {
            let ran = call(repository, "/etc/rlvm/p", words);
            assert_eq!(ran.code, Some(0), "{restic} {words:?}: {ran:?}");
            ran.stdout
        };
        ok(&made, &["init"]);
        let made_by_restic = layout(&lab, &made);
        lab.make_key_cheap(&made, "/etc/rlvm/p");
        lab.repository(&planted, "/etc/rlvm/p");
        for repository in [&made, &planted] {
            assert_eq!(layout(&lab, repository), made_by_restic, "{repository}");
            let config: Value = serde_json::from_str(&ok(repository, &["cat", "config"])).unwrap();
            assert_eq!(config["version"], 2, "{config}");
            ok(repository, &["backup", "/srv/www"]);
            ok(repository, &["check", "--read-data"]);
            ok(repository, &["restore", "latest", "--target", &format!("{repository}-out")]);
            assert_eq!(lab.read(&format!("{repository}-out/srv/www/index.html")), "hello\n");
            let wrong = call(repository, "/etc/rlvm/wrong", &["cat", "config"]);
            assert!(wrong.stderr.contains("wrong password or no key found"), "{wrong:?}");
        }
    }
}
