//! R44, without root: the system's logrotate reads no rule of a user's, so the user's own crontab calls it.

use super::{STATE, apply, as_me, crontab, lab, mine, state};

#[test]
fn a_users_logs_are_rotated() {
    let lab = lab();
    state(&lab, &format!("{STATE}logrotate: {{ shop: {{ paths: [/home/me/shop/*.log], keep: 2 }} }}\n"));
    apply(&lab);
    mine(&lab, "/home/me/.local/state/rlvm/log/run.log", "old\n");
    mine(&lab, "/home/me/shop/a.log", "old\n");
    let entries = crontab(&lab).unwrap();
    let call = entries.lines().find_map(|line| Some(line.split_once("/usr/sbin/logrotate ")?.1)).unwrap();
    let mut words = vec!["/usr/sbin/logrotate"];
    let debug = [&words[..], &["-d"], &call.split(' ').collect::<Vec<_>>()].concat();
    let ran = lab.ran(&mut as_me(&lab, &debug));
    assert!(
        ran.code == Some(0) && !ran.stderr.contains("error") && ran.stderr.contains("run.log"),
        "{ran:?}"
    );
    words.push("--force");
    words.extend(call.split(' '));
    let ran = lab.ran(&mut as_me(&lab, &words));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(lab.read("/home/me/.local/state/rlvm/log/run.log.1"), "old\n");
    assert!(
        lab.at("/home/me/shop/a.log.1.gz").is_file()
            && lab.at("/home/me/.local/state/rlvm/logrotate.status").is_file()
    );
    // What logrotate leaves is no drift.
    super::nothing_to_do(&lab);
}
