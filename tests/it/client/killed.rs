//! Killed at any moment while it sets a client up, applied again: the same end (R48).

use std::{thread, time::Duration};

use super::{give_passwords, says, ssh::state};
use crate::lab::{Lab, NAS};

/// Kills rlvm, and waits until nothing that it started is left.
const KILL: &str = "for it in /proc/[0-9]*; do
    [ \"$(cat \"$it/comm\" 2>/dev/null)\" != rlvm ] || kill -KILL \"${it#/proc/}\"
done
for turn in $(seq 100); do
    left=0
    for it in /proc/[0-9]*; do
        # The laboratory's first process buries nobody.
        grep -qs '^State:.Z' \"$it/status\" && continue
        case $(cat \"$it/comm\" 2>/dev/null) in rlvm | restic | ssh | ssh-keygen) left=1 ;; esac
    done
    [ $left = 1 ] || exit 0
    sleep 0.1
done
exit 1
";

#[test]
fn a_client_that_was_half_set_up_is_finished() {
    let lab = Lab::new();
    give_passwords(&lab);
    let sshd = lab.sshd();
    lab.state(&state(&sshd.host_key()));
    for moment in [30, 400, 900, 1500, 2200, 3000] {
        let fresh = format!(
            "rm -rf {NAS}/repo/r /srv/nas/worm/repo/* /root/.ssh /var/lib/rlvm /etc/cron.d/rlvm-home"
        );
        lab.ok(&["sh", "-c", &fresh]);
        let mut apply = lab.command(&["apply", "--yes"]).spawn().unwrap();
        thread::sleep(Duration::from_millis(moment));
        lab.ok(&["sh", "-c", KILL]);
        apply.wait().unwrap();
        let ran = lab.rlvm(&["apply", "--yes"]);
        if ran.code != Some(0) {
            // restic has written a key and not the configuration: only a person can know that it is of no use.
            let said = ran.stdout + &ran.stderr;
            assert!(
                said.contains("its configuration is missing, and its keys are there"),
                "{moment} ms: {said}"
            );
            assert!(said.contains("remove its keys/ over there, and apply again"), "{moment} ms: {said}");
            lab.ok(&["sh", "-c", &format!("rm {NAS}/repo/r/keys/*")]);
            lab.apply();
        }
        says(&lab, &["plan", "--detailed-exitcode"], 0, &["No changes."]);
        for made in ["ssh_key:/root/.ssh/id_rlvm", "repository:nas", "repository:worm", "cron:rlvm-home"] {
            assert!(lab.managed().contains(&made.to_owned()), "{moment} ms: {made} is an orphan");
        }
    }
}
