//! Old backups of a user's own jobs.

use super::{STATE, apply, as_me, crontab, lab, says, state};

#[test]
fn ones_own_jobs_are_pruned_by_oneself() {
    // R63
    let lab = lab();
    state(
        &lab,
        &STATE.replace(
            "schedule: \"30 2 * * *\"",
            "retention: { last: 1 }, prune: { schedule: \"0 5 * * 0\" }",
        ),
    );
    apply(&lab);
    let entries = crontab(&lab).unwrap();
    let entry = entries.lines().find(|line| line.ends_with("; /usr/local/bin/rlvm --quiet prune docs"));
    assert!(entry.is_some_and(|line| line.starts_with("0 5 * * 0 ")), "{entries}");
    let restic = |words: &[&str]| {
        let start =
            ["restic", "-q", "--no-cache", "-r", "/home/me/backups/vault", "-p", "/home/me/.secrets/vault"];
        let ran = lab.ran(&mut as_me(&lab, &[&start[..], words].concat()));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout
    };
    for _ in 0..3 {
        restic(&["backup", "--host", "web01", "--tag", "rlvm:job=docs", "/home/me/.config"]);
    }
    says(&lab, &["prune"], 0, &["docs at vault: 2 removed, 1 kept"]);
    assert_eq!(restic(&["snapshots", "--json"]).matches("short_id").count(), 1);
    says(&lab, &["prune", "docs"], 0, &["docs at vault: 0 removed, 1 kept"]);
    restic(&["check"]);
}
