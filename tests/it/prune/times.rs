//! Forged times of a client that can only add: restic counts ages from the newest snapshot, so one more could make all
//! honest ones old. With each real restic.

use serde_json::Value;

use super::{PASSWORD, days, prepared, restic, state};
use crate::lab::{Lab, WORM, WORM_USER, restics};

/// Returns a time so many minutes before now.
fn before(lab: &Lab, minutes: i64) -> String {
    lab.ok(&["date", "--date", &format!("{minutes} minutes ago"), "+%F %T"]).trim().to_owned()
}

/// Stores an empty backup of web01.
fn store(lab: &Lab, minutes: i64, tag: &str) {
    let time = before(lab, minutes);
    restic(lab, &["backup", "--time", &time, "--host", "web01", "--tag", tag, "/srv/what"]);
}

/// Makes the repository of a client that stored a backup on each of three days, up to 95 days ago.
fn idle(version: &crate::lab::Restic) -> Lab {
    let mut lab = prepared();
    lab.use_restic(version);
    lab.file_of(PASSWORD, "hunter22\n", 0, 0o600);
    lab.dir("/etc/rlvm/secrets", 0, 0o700);
    lab.repository_of(WORM, "hunter22", WORM_USER.1);
    lab.file("/srv/what", "");
    for day in [97, 96, 95] {
        store(&lab, day * 24 * 60, "x");
    }
    lab.ok(&["sh", "-c", &format!("touch -d '95 days ago' {WORM}/snapshots/*")]);
    state(&lab, "90d");
    lab.apply();
    lab
}

#[test]
fn one_forged_snapshot_time_is_refused() {
    const MINUTES_OF_A_DAY: i64 = 24 * 60;
    for version in restics() {
        for (forged, words) in [
            // Of now, of half an hour to come, and of long after; and dense enough to fill the gap.
            (&[1][..], "host web01, tags x: no snapshot has a time between "),
            (&[-30], "host web01, tags x: no snapshot has a time between "),
            (&[-100 * MINUTES_OF_A_DAY], "(host web01, tags x) has the time "),
            (
                &[
                    1,
                    20 * MINUTES_OF_A_DAY,
                    40 * MINUTES_OF_A_DAY,
                    60 * MINUTES_OF_A_DAY,
                    80 * MINUTES_OF_A_DAY,
                ],
                "host web01, tags x: no snapshot was stored on this server between ",
            ),
        ] {
            let lab = idle(&version);
            lab.expect(0, &["prune"]);
            // Another group looks as it should.
            store(&lab, 1, "other");
            for minutes in forged {
                store(&lab, *minutes, "x");
            }
            let before = days(&lab);
            let ran = lab.expect(6, &["prune"]);
            let said = &ran.stderr;
            assert!(said.contains(words) && said.contains("nothing was removed"), "{said}");
            assert!(said.contains("run `rlvm prune --client backup-web01-worm --clock-is-right`"), "{said}");
            assert_eq!(days(&lab), before, "restic {}", version.version);
            let json: Value = serde_json::from_str(&lab.expect(6, &["prune", "--json"]).stdout).unwrap();
            assert!(json["clients"][0]["refused"].is_string(), "{json}");
            let status = lab.rlvm(&["status"]);
            assert!(
                (status.stdout.clone() + &status.stderr).contains("of client backup-web01-worm"),
                "{status:?}"
            );
            if forged == [1] {
                lab.expect(0, &["prune", "--client", "backup-web01-worm", "--clock-is-right"]);
                assert_eq!(days(&lab).len(), before.len() - 3);
            }
        }
    }
}
