//! What restic does besides looking, as rlvm relies on it or guards against it: each version, tried.

use super::{Lab, restics};
use crate::support::Ran;

const PASSWORD: &str = "/etc/rlvm/v";

/// Calls one restic on a local repository.
fn restic(lab: &Lab, dir: &str, repo: &str, words: &[&str]) -> Ran {
    let restic = format!("{dir}/restic");
    lab.run(&[&[restic.as_str(), "--no-cache", "-r", repo, "-p", PASSWORD], words].concat())
}

fn chunker(lab: &Lab, dir: &str, repo: &str) -> serde_json::Value {
    let config = restic(lab, dir, repo, &["cat", "config", "--no-lock"]).stdout;
    serde_json::from_str::<serde_json::Value>(&config).unwrap()["chunker_polynomial"].clone()
}

#[test]
fn init_leaves_what_is_there_alone_and_0_14_does_not_see_an_old_one_without_its_configuration() {
    // R41
    let lab = Lab::new();
    lab.file_of(PASSWORD, "right\n", 0, 0o600);
    for it in restics() {
        let (dir, version) = (it.dir.as_str(), it.version);
        let (first, second) = (format!("/srv/{version}"), format!("/srv/{version}-second"));
        assert_eq!(restic(&lab, dir, &first, &["init"]).code, Some(0));
        let before = lab.tree_hash();
        let again = restic(&lab, dir, &first, &["init"]);
        assert_eq!(again.code, Some(1), "{version}: {again:?}");
        assert!(again.stderr.contains("config file already exists"), "{version}: {again:?}");
        assert_eq!(lab.tree_hash(), before, "{version}");

        // One for copies, cut the same way: 0.14 has the words too, and does not tell that it did.
        let like = ["init", "--copy-chunker-params", "--from-repo", &first, "--from-password-file", PASSWORD];
        let copy = restic(&lab, dir, &second, &like);
        assert_eq!(copy.code, Some(0), "{version}: {copy:?}");
        assert_eq!(chunker(&lab, dir, &first), chunker(&lab, dir, &second), "{version}");

        // Its configuration lost, its keys and data there: 0.14 makes another one over it.
        lab.ok(&["rm", "-f", &format!("{second}/config")]);
        let over = restic(&lab, dir, &second, &["init"]);
        if version.1 < 17 {
            assert_eq!(over.code, Some(0), "{version}: {over:?}");
        } else {
            assert_eq!(over.code, Some(1), "{version}: {over:?}");
            assert!(over.stderr.contains("repository already contains keys"), "{version}: {over:?}");
        }
    }
}

#[test]
fn malformed_exclude_patterns_are_refused_by_restic_too() {
    let lab = Lab::new();
    lab.file_of(PASSWORD, "right\n", 0, 0o600);
    lab.repository("/srv/r", PASSWORD);
    let patterns = [
        "*.tmp",
        "[a-z]*",
        "[^a]",
        "\\\\[x",
        "[",
        "a[",
        "[a",
        "[a-",
        "[a-]",
        "[-a]",
        "[]",
        "[]x]",
        "x\\",
        "[a/b]",
        "/srv/[x/y",
        "[a]]",
    ];
    for it in restics() {
        for pattern in patterns {
            let exclude = format!("--exclude={pattern}");
            let ran = restic(&lab, &it.dir, "/srv/r", &["backup", "--dry-run", &exclude, "--", "/etc/rlvm"]);
            let refused = ran.code != Some(0);
            let expected = rlvm::model::malformed_exclude(pattern).is_some();
            assert_eq!(refused, expected, "{} {pattern}: {ran:?}", it.version);
        }
    }
}
