//! What a client that can only add may forge, so that a prune of the server removes good data: each is refused, with each
//! real restic. The same prune by restic alone loses the data.

use std::fs;

use serde_json::{Value, json};

use super::{PASSWORD, backups, days, prepared, restic, state};
use crate::{
    lab::{Lab, WORM, WORM_USER, restics},
    repository::{Key, put, random},
    support::sha256,
};

/// A copy of the repository, for restic alone.
const COPY: &str = "/srv/nas/copy";

/// Reads the master key, as a client that knows the password can.
fn master(lab: &Lab) -> Key {
    let keys = lab.at(&format!("{WORM}/keys"));
    let key = fs::read_dir(keys).unwrap().next().unwrap().unwrap().path();
    Key::from_key_file(&fs::read_to_string(key).unwrap(), "hunter22")
}

/// Adds a file as a client can.
fn add(lab: &Lab, kind: &str, content: &[u8]) -> String {
    let name = sha256(content);
    let first = if kind == "data" { format!("{}/", &name[..2]) } else { String::new() };
    put(&lab.at(&format!("{WORM}/{kind}/{first}{name}")), content, WORM_USER.1);
    name
}

/// Adds an index file that says which blobs are in which pack.
fn add_index(lab: &Lab, key: &Key, pack: &str, blobs: &[Value]) -> String {
    let index = json!({ "packs": [{ "id": pack, "blobs": blobs }] });
    add(lab, "index", &key.seal(index.to_string().as_bytes()))
}

/// Adds a pack, and an index file, that say that they have a blob of data.
fn add_forged(lab: &Lab, blob: &str) -> (String, String) {
    let key = master(lab);
    let sealed = key.seal(&random::<64>());
    let length = u32::try_from(sealed.len()).unwrap();
    let id: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&blob[2 * at..2 * at + 2], 16).unwrap()).collect();
    let header = key.seal(&[&[0][..], &length.to_le_bytes(), &id].concat());
    let end = u32::try_from(header.len()).unwrap().to_le_bytes();
    let pack = add(lab, "data", &[&sealed[..], &header, &end].concat());
    let entry = json!({ "id": blob, "type": "data", "offset": 0, "length": length });
    let index = add_index(lab, &key, &pack, &[entry]);
    (pack, index)
}

/// Adds what says the same as the newest index file does: an interrupted prune leaves that behind.
fn add_same_index(lab: &Lab) {
    let key = master(lab);
    let all = fs::read_dir(lab.at(&format!("{WORM}/index"))).unwrap();
    let old = all.map(|it| it.unwrap().path()).next().unwrap();
    let index = key.open(&fs::read(old).unwrap());
    add(lab, "index", &key.seal(&index));
}

/// Makes a repository with an old backup of two files, and one of the second file alone, which stays. Returns the digest
/// of the second, which is one blob.
fn two_files(lab: &Lab) -> String {
    backups(lab, &[]);
    // Below the size of the smallest chunk, and too large for restic to pack it anew for its size alone.
    lab.ok(&["sh", "-c", "for it in a b; do head -c 500000 /dev/urandom >/srv/$it; done"]);
    restic(lab, &["backup", "--time", "2025-05-25 00:00:00", "--host", "web01", "/srv/a", "/srv/b"]);
    restic(lab, &["backup", "--time", "2025-06-20 00:00:00", "--host", "web01", "/srv/b"]);
    digest(lab, "cat /srv/b").unwrap()
}

/// Returns the digest of what a command prints; nothing if it fails.
fn digest(lab: &Lab, command: &str) -> Option<String> {
    let ran = lab.run(&["sh", "-c", &format!("{command} >/srv/printed && sha256sum /srv/printed")]);
    (ran.code == Some(0)).then(|| ran.stdout[..64].to_owned())
}

fn declared(lab: &Lab) {
    state(lab, "24d");
    lab.apply();
}

/// Prunes a copy by restic alone; says whether what is left is whole.
fn restic_alone_keeps_all(lab: &Lab) -> bool {
    lab.ok(&["rm", "-rf", COPY]);
    lab.ok(&["cp", "-a", WORM, COPY]);
    let call = |words: &[&str]| {
        // It tries for a quarter of an hour to read a pack that it has just removed.
        let start = ["timeout", "20", "env", "RESTIC_PASSWORD=hunter22", "restic", "-q", "--no-cache"];
        lab.run(&[&start[..], &["--repo", COPY], words].concat())
    };
    call(&["forget", "--keep-within", "24d", "--group-by", "host", "--prune"]);
    call(&["unlock", "--remove-all"]);
    let dump =
        format!("RESTIC_PASSWORD=hunter22 timeout 20 restic -q --no-cache --repo {COPY} dump latest /srv/b");
    digest(lab, &dump) == digest(lab, "cat /srv/b")
}

#[test]
fn forged_copy_of_good_data_is_not_kept_in_its_place() {
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        let blob = two_files(&lab);
        declared(&lab);
        assert!(restic_alone_keeps_all(&lab), "restic {}", version.version);
        let (pack, index) = add_forged(&lab, &blob);
        // 0.14 takes the one that it finds last, in an order drawn by chance.
        let loses = (0..40).any(|_| !restic_alone_keeps_all(&lab));
        assert!(loses, "restic {}: the forged pack is harmless", version.version);
        let before = lab.tree();
        let ran = lab.expect(6, &["prune"]);
        for words in [
            "the index names a blob more than once, and `restic check --read-data` failed: ",
            &format!("{WORM}/data/{}/{pack} (written 20", &pack[..2]),
            &format!("{WORM}/index/{index} (written 20"),
            "nothing was removed",
        ] {
            assert!(ran.stderr.contains(words), "restic {}: {words}: {}", version.version, ran.stderr);
        }
        assert!(!ran.stderr.contains("hunter22"), "{ran:?}");
        let of = |tree: &crate::support::Tree| -> Vec<String> {
            tree.keys().filter(|path| path.starts_with(WORM)).cloned().collect()
        };
        assert_eq!(of(&before), of(&lab.tree()), "restic {}", version.version);
        let json: Value = serde_json::from_str(&lab.expect(6, &["prune", "--json"]).stdout).unwrap();
        assert!(json["clients"][0]["refused"].is_string(), "{json}");
        let status = lab.rlvm(&["status"]);
        let said = "old backups of client backup-web01-worm were not removed at ";
        assert!(
            status.code == Some(9) && (status.stdout.clone() + &status.stderr).contains(said),
            "{status:?}"
        );
        // What the message says to do.
        lab.ok(&["rm", &format!("{WORM}/data/{}/{pack}", &pack[..2]), &format!("{WORM}/index/{index}")]);
        let repair: &[&str] = if version.version.1 == 14 { &["rebuild-index"] } else { &["repair", "index"] };
        restic(&lab, repair);
        lab.expect(0, &["prune"]);
        assert_eq!(days(&lab), ["2025-06-20 web01"]);
        assert!(restic_alone_keeps_all(&lab), "restic {}", version.version);
        let status = lab.rlvm(&["status"]);
        assert!(!status.stdout.contains("old backups of client"), "{status:?}");
    }
}

#[test]
fn index_that_misdescribes_a_good_pack_is_refused() {
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        let blob = two_files(&lab);
        declared(&lab);
        let listed = restic(&lab, &["list", "packs", "--no-lock"]);
        let key = master(&lab);
        for (offset, pack) in listed.lines().map(|it| (1, it)).chain([(0, "ab".repeat(32).as_str())]) {
            let entry = json!({ "id": blob, "type": "data", "offset": offset, "length": 100 });
            let index = add_index(&lab, &key, pack, &[entry]);
            let ran = lab.expect(6, &["prune"]);
            let named = format!("{WORM}/index/{index}");
            assert!(ran.stderr.contains(&named), "restic {}: {pack}: {}", version.version, ran.stderr);
            lab.ok(&["rm", &named]);
        }
        lab.expect(0, &["prune"]);
        restic(&lab, &["check", "--read-data"]);
    }
}

#[test]
fn files_that_restic_takes_for_good_packs_are_refused() {
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        two_files(&lab);
        declared(&lab);
        let listed = restic(&lab, &["list", "packs", "--no-lock"]);
        let packs: Vec<&str> = listed.lines().collect();
        let mut lost = 0;
        for (pack, directory) in
            packs.iter().flat_map(|it| [(*it, None), (*it, Some("zz")), (*it, Some("\u{1}"))])
        {
            let good = format!("{WORM}/data/{}/{pack}", &pack[..2]);
            let copy = match directory {
                None => format!("{WORM}/data/{}/{}", &pack[..2], pack.to_uppercase()),
                Some(other) => format!("{WORM}/data/{other}/{pack}"),
            };
            lab.dir(copy.rsplit_once('/').unwrap().0, WORM_USER.1, 0o700);
            lab.ok(&["cp", "-p", &good, &copy]);
            lost += usize::from(directory.is_none() && !restic_alone_keeps_all(&lab));
            let ran = lab.expect(6, &["prune"]);
            let words = "have names or places that restic never uses";
            assert!(ran.stderr.contains(words), "restic {}: {}", version.version, ran.stderr);
            assert!(directory == Some("\u{1}") || ran.stderr.contains(&copy), "{}", ran.stderr);
            lab.ok(&["rm", &copy]);
            if directory.is_some() {
                lab.ok(&["rmdir", copy.rsplit_once('/').unwrap().0]);
            }
        }
        assert!(lost > 0, "restic {}: such a file is harmless", version.version);
        lab.expect(0, &["prune"]);
        restic(&lab, &["check", "--read-data"]);
    }
}

#[test]
fn index_that_names_true_copies_is_no_reason_to_refuse() {
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        two_files(&lab);
        declared(&lab);
        add_same_index(&lab);
        lab.expect(0, &["prune"]);
        assert_eq!(days(&lab), ["2025-06-20 web01"]);
        restic(&lab, &["check", "--read-data"]);
    }
}

#[test]
fn index_that_cannot_be_read_is_named() {
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        two_files(&lab);
        declared(&lab);
        let nonsense = b"nonsense that is longer than a nonce and a tag together".to_vec();
        for content in [nonsense, master(&lab).seal(b"{}}"), master(&lab).seal(b"[{\"id\":1}]")] {
            let index = add(&lab, "index", &content);
            let ran = lab.rlvm(&["prune"]);
            let named = format!("{WORM}/index/{index}");
            assert!(
                ran.code == Some(6) && ran.stderr.contains(&named),
                "restic {}: {ran:?}",
                version.version
            );
            assert_eq!(days_of_files(&lab), 2);
            lab.ok(&["rm", &named]);
        }
        lab.expect(0, &["prune"]);
        lab.file_of(PASSWORD, "hunter22\n", 0, 0o600);
    }
}

#[test]
fn key_of_another_repository_is_named() {
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        two_files(&lab);
        declared(&lab);
        let other = Key::new(&random::<64>());
        let keys: Vec<String> =
            (0..30).map(|_| add(&lab, "keys", other.key_file("hunter22").as_bytes())).collect();
        let ran = lab.rlvm(&["prune"]);
        let is_named = keys.iter().any(|key| ran.stderr.contains(&format!("{WORM}/keys/{key}")));
        assert!(ran.code == Some(6) && is_named, "restic {}: {ran:?}", version.version);
        for key in keys {
            lab.ok(&["rm", &format!("{WORM}/keys/{key}")]);
        }
        lab.expect(0, &["prune"]);
    }
}

fn days_of_files(lab: &Lab) -> usize {
    fs::read_dir(lab.at(&format!("{WORM}/snapshots"))).unwrap().count()
}
