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
    says(&lab, &["restore", "docs", "--target", "/srv/x"], 6, &["cannot create /srv/x"]);
    assert_eq!(lab.ok(&["find", "/home/me", "-name", ".rlvm*"]), "");
}

#[test]
fn files_of_another_owner_are_listed_and_not_taken() {
    // R75
    let lab = lab();
    state(&lab, STATE);
    mine(&lab, "/home/me/docs/a", "a\n");
    mine(&lab, "/home/me/docs/roots", "r\n");
    lab.ok(&["chown", "0:0", "/home/me/docs/roots"]);
    apply(&lab);
    says(&lab, &["run", "docs"], 0, &[]);
    let said = ["all restored files will belong to me"];
    says(&lab, &["restore", "docs", "--target", "/home/me/back"], 0, &said);
    lab.ok(&["rm", "/home/me/docs/a", "/home/me/docs/roots"]);
    let said = ["not restored: /home/me/docs/roots: it belongs to 4100:4200 instead of 0:0"];
    says(&lab, &["restore", "docs", "--in-place", "--yes"], 8, &said);
    assert_eq!(lab.ok(&["ls", "/home/me/docs"]), "a\n");
}

#[test]
fn a_password_file_in_a_closed_directory_is_not_called_missing() {
    // R75
    let lab = lab();
    state(&lab, STATE);
    mine(&lab, "/home/me/docs/a", "a\n");
    apply(&lab);
    says(&lab, &["run", "docs"], 0, &[]);
    lab.ok(&["chmod", "000", "/home/me/.secrets"]);
    let said = says(&lab, &["restore", "docs", "--target", "/home/me/back"], 1, &[]);
    assert!(
        said.contains("its password file /home/me/.secrets/vault cannot be reached: no permission"),
        "{said}"
    );
    lab.ok(&["chmod", "700", "/home/me/.secrets"]);
    lab.ok(&["mv", "/home/me/.secrets/vault", "/home/me/away"]);
    let said = ["its password file /home/me/.secrets/vault is not there"];
    says(&lab, &["restore", "docs", "--target", "/home/me/back"], 1, &said);
    lab.ok(&["mkdir", "/home/me/.secrets/vault"]);
    let said = ["its password file /home/me/.secrets/vault is a directory, not a file"];
    says(&lab, &["restore", "docs", "--target", "/home/me/back"], 1, &said);
}
