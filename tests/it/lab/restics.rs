//! The restics that rlvm works with: this system's, and what tests/lab.sh fetched of other Debians.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rlvm::restic::Version;

use crate::support::require;

/// One restic.
#[derive(Clone, Debug)]
pub(crate) struct Restic {
    /// Which one it is.
    pub(crate) version: Version,
    /// The directory that it is in, inside the laboratory.
    pub(crate) dir: String,
}

/// Where tests/lab.sh puts them, outside.
pub(super) fn place() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_rlvm")).ancestors().nth(2).unwrap();
    let place = target.join("restics");
    assert!(place.is_dir(), "this test needs Debian's other restics in {}: tests/lab.sh", place.display());
    place
}

/// Lists this system's restic and the others, the oldest first; Debian 12's, 13's and unstable's must be among them.
pub(crate) fn restics() -> Vec<Restic> {
    require("/usr/bin", "restic", "restic");
    let mut all = vec![restic(Path::new("/usr/bin/restic"), "/usr/bin")];
    for entry in fs::read_dir(place()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with(|letter: char| letter.is_ascii_digit()) {
            all.push(restic(&place().join(&name).join("restic"), &format!("/opt/restics/{name}")));
        }
    }
    all.sort_by_key(|restic| restic.version);
    all.dedup_by_key(|restic| restic.version);
    // 0.14 says nothing by its exit code, 0.18 does, and 0.19 words it anew.
    for Version(major, minor, _) in [Version(0, 14, 0), Version(0, 18, 0), Version(0, 19, 0)] {
        let has = all.iter().any(|it| (it.version.0, it.version.1) == (major, minor));
        assert!(has, "this test needs restic {major}.{minor} below {}: tests/lab.sh", place().display());
    }
    all
}

fn restic(at: &Path, dir: &str) -> Restic {
    let output = Command::new(at).arg("version").output().unwrap();
    let version = Version::read(&String::from_utf8_lossy(&output.stdout)).unwrap();
    Restic { version, dir: dir.to_owned() }
}
