//! How a user's own backups are.

use std::os::unix::fs::MetadataExt;

use super::{ME, STATE, apply, lab, mine, says, state};

#[test]
fn ones_own_backups_are_looked_at_by_oneself() {
    // R76
    let lab = lab();
    state(&lab, &format!("{STATE}metrics: {{ textfile: /home/me/metrics.prom }}\n"));
    apply(&lab);
    mine(&lab, "/home/me/docs/a", "a");
    says(&lab, &["status"], 9, &["critical  docs  vault", "nothing was ever stored", "warning: secret: "]);
    says(&lab, &["run", "docs"], 0, &["stored at vault"]);
    let meta = std::fs::metadata(lab.at("/home/me/metrics.prom")).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (ME.0, 0o644));
    crate::monitoring::lints(&lab.read("/home/me/metrics.prom"));
    says(&lab, &["status"], 0, &["ok     docs  vault", "stored ", "Status: 0 critical, 1 warning, 1 ok."]);
    says(&lab, &["snapshots"], 0, &["docs  vault        web01", "/home/me/docs"]);
    says(
        &lab,
        &["status", "--metrics", "/etc/rlvm.prom"],
        1,
        &["cannot write the metrics to /etc/rlvm.prom"],
    );
}
