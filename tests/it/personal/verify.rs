//! One's own backups, verified by oneself.

use super::{STATE, apply, as_me, crontab, lab, mine, says, state};

#[test]
fn ones_own_backups_are_verified_by_oneself() {
    // R77
    let lab = lab();
    let words = "verify: { schedule: \"0 6 * * 0\", read_data: 50%, drill: { files: 9 } }";
    state(&lab, &STATE.replace("schedule: \"30 2 * * *\"", words));
    mine(&lab, "/home/me/docs/closed/note", "hello\n");
    mine(&lab, "/home/me/docs/letter", "hello\n");
    apply(&lab);
    let entries = crontab(&lab).unwrap();
    let entry = entries.lines().find(|line| line.ends_with("; /usr/local/bin/rlvm --quiet verify docs"));
    assert!(entry.is_some_and(|line| line.starts_with("0 6 * * 0 ")), "{entries}");
    let closed = "chmod 400 docs/closed/note; chmod 500 docs/closed";
    assert_eq!(lab.ran(&mut as_me(&lab, &["sh", "-euc", closed])).code, Some(0));
    says(&lab, &["run", "docs"], 0, &[]);
    let words = [
        "vault: no damage found, part 1 of 2 of its data read",
        "docs at vault: 2 files of ",
        "2 compared with",
    ];
    says(&lab, &["verify"], 0, &words);
    assert!(
        !lab.at("/home/me/.cache/rlvm")
            .read_dir()
            .unwrap()
            .any(|it| { it.unwrap().file_name().to_string_lossy().starts_with(".rlvm-") })
    );
    mine(&lab, "/home/me/.secrets/vault", "another\n");
    says(&lab, &["verify", "docs"], 9, &["error: vault: not verified: wrong password: "]);
}
