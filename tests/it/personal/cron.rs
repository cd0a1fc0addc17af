//! R43, without root: the user's crontab, as crontab(1) has it and cron runs it.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{FOREIGN, STATE, apply, crontab, lab, nothing_to_do, rlvm, says, set_crontab, state};

/// The block of [`STATE`].
const PATH: &str = "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; ";

fn block() -> String {
    format!(
        "# BEGIN rlvm: what is changed by hand from here to END is put back\n\
         # job docs of web01\n\
         30 2 * * * {PATH}/usr/local/bin/rlvm run --scheduled docs\n\
         # sweep of web01 after a boot\n\
         @reboot {PATH}/usr/local/bin/rlvm --quiet sweep\n\
         # cron entry tick of web01\n\
         * * * * * {PATH}date +\\%F > /home/me/ticked\n\
         # logs of web01\n\
         @daily {PATH}/usr/sbin/logrotate --state /home/me/.local/state/rlvm/logrotate.status /home/me/.config/rlvm/logrotate.d\n\
         # END rlvm\n"
    )
}

#[test]
fn foreign_lines_are_kept_to_the_byte_and_the_block_is_put_back() {
    for foreign in [None, Some(""), Some(FOREIGN), Some("# no newline at the end")] {
        let lab = lab();
        if let Some(foreign) = foreign {
            set_crontab(&lab, foreign);
        }
        state(&lab, STATE);
        apply(&lab);
        let rest = foreign.unwrap_or_default();
        assert_eq!(crontab(&lab), Some(format!("{}{rest}", block())), "{foreign:?}");
        nothing_to_do(&lab);
        // R47: a line of the block's that was changed by hand, and one of the user's above it.
        let edited = format!("# above\n{}{rest}", block().replace("30 2", "1 1"));
        set_crontab(&lab, &edited);
        let said =
            says(&lab, &["plan", "--detailed-exitcode"], 2, &["~ crontab:me", "-1 1 * * *", "+30 2 * * *"]);
        assert!(!said.contains("above") && !said.contains("nonsense"), "{said}");
        apply(&lab);
        assert_eq!(crontab(&lab), Some(format!("{}# above\n{rest}", block())), "{foreign:?}");
        // A block that is gone is made again.
        set_crontab(&lab, &format!("# above\n{rest}"));
        says(&lab, &["plan"], 0, &["crontab:me"]);
        apply(&lab);
        nothing_to_do(&lab);
        state(&lab, "");
        says(&lab, &["apply", "--yes", "--allow-mass-removal"], 0, &[]);
        assert_eq!(crontab(&lab), Some(format!("# above\n{rest}")), "{foreign:?}");
    }
}

#[test]
fn variables_set_above_the_block_do_not_hold_for_it() {
    let lab = lab();
    state(&lab, STATE);
    apply(&lab);
    let whole = crontab(&lab).unwrap();
    let foreign = "HOME=/elsewhere\nSHELL=/bin/false\n";
    set_crontab(&lab, &format!("{foreign}{whole}"));
    says(&lab, &["plan", "--detailed-exitcode"], 2, &["~ crontab:me", "above all variables"]);
    apply(&lab);
    assert_eq!(crontab(&lab), Some(format!("{whole}{foreign}")));
    nothing_to_do(&lab);
}

#[test]
fn what_crontab_does_not_list_as_it_is_is_left_alone() {
    let lab = lab();
    set_crontab(&lab, "A=1\r\n");
    let spool = lab.read("/var/spool/cron/crontabs/me");
    state(&lab, STATE);
    says(&lab, &["apply", "--yes"], 7, &["crontab:me", "carriage return", "crontab -e"]);
    assert_eq!(lab.read("/var/spool/cron/crontabs/me"), spool);
}

#[test]
fn nothing_is_left_of_a_crontab_that_was_rlvms_alone() {
    let lab = lab();
    state(&lab, STATE);
    apply(&lab);
    state(&lab, "");
    says(&lab, &["apply", "--yes", "--allow-mass-removal"], 0, &["- crontab:me"]);
    assert_eq!(crontab(&lab), None);
    nothing_to_do(&lab);
}

#[test]
fn what_somebody_changed_since_it_was_looked_at_is_not_lost() {
    let lab = lab();
    state(&lab, STATE);
    set_crontab(&lab, "# before\n");
    says(&lab, &["plan", "--out", "night.plan"], 0, &[]);
    set_crontab(&lab, "# after\n");
    says(&lab, &["apply", "night.plan"], 5, &["crontab:me"]);
    // Between the look and the op: a crontab(1) that changes it when it is asked a second time.
    let trap = "#!/bin/sh
[ \"$1\" = -l ] && { n=$(cat /home/me/n 2>/dev/null || echo 0); echo $((n + 1)) > /home/me/n; }
[ \"$1\" = -l ] && [ \"$n\" = 1 ] && printf '# meanwhile\\n' | /usr/bin/crontab -
exec /usr/bin/crontab \"$@\"
";
    lab.file_of("/usr/local/bin/crontab", trap, 0, 0o755);
    let ran = rlvm(&lab, &["apply", "--yes"]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(ran.stderr.contains("was changed since it was looked at"), "{ran:?}");
    lab.ok(&["rm", "/usr/local/bin/crontab"]);
    assert_eq!(crontab(&lab).as_deref(), Some("# meanwhile\n"));
    apply(&lab);
    assert_eq!(crontab(&lab), Some(format!("{}# meanwhile\n", block())));
}

#[test]
fn cron_itself_runs_what_was_applied() {
    // The one test here that waits for the clock. The user's own SHELL=/bin/false below must not hold for it.
    let lab = lab();
    set_crontab(&lab, FOREIGN);
    state(&lab, &STATE.replace("date +%F", "printf '%s %s 100%%' \\\"$HOME\\\" \\\"$PATH\\\""));
    apply(&lab);
    lab.file("/etc/crontab", "");
    // Where it says that it runs.
    lab.ok(&["ln", "-s", "/run", "/var/run"]);
    let mut cron = lab.program(&["setpriv", "--pdeathsig=KILL", "/usr/sbin/cron", "-f"]).spawn().unwrap();
    let start = Instant::now();
    let ran = loop {
        match fs::read_to_string(lab.at("/home/me/ticked")) {
            Ok(text) if text.ends_with('%') => break text,
            _ => {}
        }
        assert!(cron.try_wait().unwrap().is_none(), "cron ended");
        assert!(start.elapsed() < Duration::from_secs(130), "cron ran nothing: {:?}", crontab(&lab));
        thread::sleep(Duration::from_millis(100));
    };
    cron.kill().unwrap();
    cron.wait().unwrap();
    assert_eq!(ran, "/home/me /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin 100%");
}
