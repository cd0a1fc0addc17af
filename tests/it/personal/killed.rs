//! R48, without root: killed at any moment, applied again, the same end, and the user's own lines are there.

use super::{FOREIGN, STATE, apply, as_me, crontab, lab, nothing_to_do, rlvm, set_crontab, state};

#[test]
fn a_set_up_that_was_cut_short_is_finished() {
    let lab = lab();
    state(&lab, STATE);
    apply(&lab);
    let whole = crontab(&lab).unwrap();
    for moment in [5, 20, 60, 150, 400, 800, 1200] {
        lab.ok(&[
            "sh",
            "-c",
            "rm -rf /home/me/.local /home/me/backups /home/me/.secrets /home/me/.config/rlvm/logrotate.d",
        ]);
        set_crontab(&lab, FOREIGN);
        let mut killed = as_me(
            &lab,
            &[
                "sh",
                "-c",
                // Its restic is told to end with it, and has it done a moment later; nobody waits for it.
                "rlvm apply --yes >/dev/null 2>&1 & sleep \"$0\"; kill -KILL $!; wait $!; \
                 while pgrep --runstates D,R,S -x restic >/dev/null; do sleep 0.05; done",
                &format!("{}", f64::from(moment) / 1000.0),
            ],
        );
        killed.status().unwrap();
        assert!(crontab(&lab).unwrap().ends_with(FOREIGN), "{moment} ms");
        let ran = rlvm(&lab, &["apply", "--yes"]);
        assert_eq!(ran.code, Some(0), "{moment} ms: {ran:?}");
        nothing_to_do(&lab);
        assert_eq!(crontab(&lab), Some(format!("{whole}{FOREIGN}")), "{moment} ms");
    }
}
