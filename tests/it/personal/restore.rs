//! A user's own files given back.

use super::{STATE, apply, lab, mine, says, state};

#[test]
fn below_a_target_and_in_place() {
    // R75
    let lab = lab();
    state(&lab, STATE);
    mine(&lab, "/home/me/docs/a", "a\n");
    mine(&lab, "/home/me/docs/b c", "b\n");
    apply(&lab);
    says(&lab, &["run", "docs"], 0, &[]);
    says(&lab, &["restore", "docs", "--target", "/home/me/back"], 0, &["Restore complete: 2 files"]);
    assert_eq!(lab.read("/home/me/back/home/me/docs/a"), "a\n");
    assert_eq!(lab.ok(&["stat", "-c", "%a %u %g", "/home/me/back"]), "700 4100 4200\n");
    lab.ok(&["rm", "/home/me/docs/a"]);
    says(&lab, &["restore", "docs", "--in-place", "--yes"], 0, &["1 missing file (2 B) will be created"]);
    assert_eq!(lab.ok(&["stat", "-c", "%u %g", "/home/me/docs/a"]), "4100 4200\n");
    says(&lab, &["restore", "docs", "--target", "/srv/x"], 1, &["/srv/x"]);
    assert_eq!(lab.ok(&["find", "/home/me", "-name", ".rlvm*"]), "");
}
