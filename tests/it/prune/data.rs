//! What a prune of jobs does with data that no backup needs any more.

use jiff::{Timestamp, ToSpan};

use super::jobs::{KEEP_ONE, OFFSITE, PASSWORD, VAULT, limited, prepared, restic, state, there, three};
use crate::{
    lab::{Lab, WORM, WORM_USER, restics},
    support::BACKUP,
};

/// Counts the bytes of the packs in a repository.
fn packs(lab: &Lab, repository: &str) -> u64 {
    let said = lab.ok(&["du", "-sb", &format!("{repository}/data")]);
    said.split_whitespace().next().unwrap().parse().unwrap()
}

/// A restic that removes no data while a file is there, and which is the real one otherwise.
const FAILING_PRUNE: &str = "#!/bin/sh\nfails() { [ ! -e /srv/fails ] || { echo 'Fatal: connection reset' >&2; exit 1; }; }\n\
    for word; do\n  shift\n  case $word in\n    prune) fails ;;\n    --prune) [ ! -e /srv/fails ] || { restic \"$@\"; fails; } ;;\n  esac\n  \
    set -- \"$@\" \"$word\"\ndone\n";

/// Puts it in restic's place.
fn failing(lab: &mut Lab) {
    let path = lab.search_path().to_owned();
    lab.file(
        "/srv/bin/restic",
        &format!("{}exec restic \"$@\"\n", FAILING_PRUNE.replacen('\n', &format!("\nPATH={path}\n"), 1)),
    );
    lab.ok(&["chmod", "755", "/srv/bin/restic"]);
    lab.find_by(&format!("/srv/bin:{path}"));
    lab.file("/srv/fails", "");
}

#[test]
fn a_prune_that_did_not_finish_is_finished_by_the_next_one() {
    let mut lab = prepared();
    lab.use_restic(&restics()[0]);
    state(&lab, KEEP_ONE);
    lab.apply();
    for days in [3, 2, 1] {
        lab.file("/srv/what", &format!("{days}").repeat(100_000));
        let time = (Timestamp::now() - (24 * days).hours()).strftime("%F %T").to_string();
        restic(
            &lab,
            VAULT,
            &["backup", "--time", &time, "--host", "web01", "--tag", "rlvm:job=system", "/srv/what"],
        );
    }
    let full = packs(&lab, VAULT);
    failing(&mut lab);
    let said = lab.expect(1, &["prune", "system"]);
    assert!(
        said.stderr.contains("the next prune at this destination removes the unneeded data"),
        "{}",
        said.stderr
    );
    assert_eq!(there(&lab, VAULT).len(), 1);
    assert_eq!(packs(&lab, VAULT), full);
    let remark = "a prune of vault did not finish";
    assert!(lab.rlvm(&["status"]).stdout.contains(remark));
    lab.ok(&["rm", "/srv/fails"]);
    // Nothing is to be forgotten any more.
    let said = lab.expect(0, &["prune", "system"]).stdout;
    assert!(said.contains("system at vault: 0 removed, 1 kept\n"), "{said}");
    assert!(packs(&lab, VAULT) < full);
    assert!(!lab.rlvm(&["status"]).stdout.contains(remark));
    restic(&lab, VAULT, &["check", "--read-data"]);
}

#[test]
fn a_clients_prune_that_did_not_finish_is_finished_by_the_next_one() {
    let mut lab = super::prepared();
    lab.use_restic(&restics()[0]);
    super::backups(
        &lab,
        &[("2025-06-01", "web01", "x"), ("2025-06-20", "web01", "x"), ("2025-07-10", "web01", "x")],
    );
    super::state(&lab, "10d");
    lab.apply();
    let full = packs(&lab, WORM);
    failing(&mut lab);
    lab.expect(1, &["prune", "--client", WORM_USER.0, "--clock-is-right"]);
    assert_eq!((super::days(&lab).len(), packs(&lab, WORM)), (1, full));
    let remark = "did not finish: data of removed backups";
    assert!(lab.rlvm(&["status"]).stdout.contains(remark));
    lab.ok(&["rm", "/srv/fails"]);
    lab.expect(0, &["prune", "--client", WORM_USER.0]);
    assert!(packs(&lab, WORM) < full);
    assert!(!lab.rlvm(&["status"]).stdout.contains(remark));
}

#[test]
fn a_full_file_system_gets_room_by_a_prune() {
    // Both ways of restic to say it: 0.14's, and the newest one's.
    let all = restics();
    for version in [&all[0], &all[all.len() - 1]] {
        let mut lab = Lab::new();
        lab.use_restic(version);
        lab.dir("/srv/backup", BACKUP, 0o755);
        lab.ok(&["mount", "-t", "tmpfs", "-o", "mode=0755,uid=4000,size=60m", "tmpfs", "/srv/backup"]);
        for name in ["vault", "offsite"] {
            lab.file_of(&format!("/etc/rlvm/{name}.pass"), &format!("{PASSWORD}\n"), BACKUP, 0o600);
        }
        lab.repository(VAULT, "/etc/rlvm/vault.pass");
        lab.repository(OFFSITE, "/etc/rlvm/offsite.pass");
        state(&lab, KEEP_ONE);
        lab.apply();
        // Packs of which a part is needed are repacked; the large file has packs of its own.
        for days in [3_i64, 2, 1] {
            let made = format!(
                "rm -rf /srv/all; mkdir -p /srv/all; for i in $(seq 1 30); do if [ $((i % 3)) = {days} ] || [ ! -e /srv/kept$i ]; \
                 then head -c 90000 /dev/urandom >/srv/kept$i; fi; cp /srv/kept$i /srv/all/$i; done; head -c 12000000 \
                 /dev/urandom >/srv/all/large"
            );
            lab.ok(&["sh", "-c", &made]);
            let time = (Timestamp::now() - (24 * days).hours()).strftime("%F %T").to_string();
            let words = [
                "backup",
                "--pack-size",
                "4",
                "--time",
                &time,
                "--host",
                "web01",
                "--tag",
                "rlvm:job=system",
                "/srv/all",
            ];
            restic(&lab, VAULT, &words);
        }
        let full = packs(&lab, VAULT);
        lab.run(&["sh", "-c", "cat /dev/zero >/srv/backup/filler; truncate -s -64K /srv/backup/filler"]);
        let said = lab.expect(0, &["prune", "system"]).stdout;
        assert!(said.contains("system at vault: 2 removed, 1 kept\n"), "{}: {said}", version.version);
        let left = packs(&lab, VAULT);
        assert!(left + 15_000_000 < full, "{}: {left} of {full}", version.version);
        restic(&lab, VAULT, &["check", "--read-data"]);
    }
}

#[test]
fn limits_of_a_destination_reach_restic() {
    for version in restics() {
        let mut lab = prepared();
        lab.use_restic(&version);
        for (limits, words) in [
            ("max_unused: unlimited", "--max-unused=unlimited"),
            ("max_unused: 0.5%, max_repack_size: 1.5G", "--max-unused=0.5% --max-repack-size=1610612736"),
            ("max_unused: \"0\"", "--max-unused=0"),
        ] {
            limited(&lab, KEEP_ONE, &format!(", prune: {{ {limits} }}"));
            lab.apply();
            three(&lab, VAULT);
            let shown = lab.expect(0, &["prune", "system", "--dry-run"]).stdout;
            assert!(shown.contains(words), "{shown}");
            let said = lab.expect(0, &["prune", "system"]).stdout;
            assert!(said.contains("system at vault: "), "{said}");
        }
    }
}
