//! What a person sees on a terminal, and a look around by mount.

use std::{process::Stdio, time::Duration};

use super::{left, site};
use crate::{
    lab::Lab,
    support::{Ran, require},
};

const TERMINAL: &str = include_str!("../terminal.py");

/// Calls rlvm on a terminal, and answers its questions.
pub(super) fn talk(lab: &Lab, answers: &str, words: &[&str]) -> Ran {
    let call = [&["python3", "-c", TERMINAL, answers, "/usr/local/bin/rlvm"], words].concat();
    lab.run(&call)
}

/// Takes out what differs from one test to the next.
fn steady(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', '\n', ']', '/']) {
        let (core, end) = word.split_at(word.len() - 1);
        let is_id = |it: &str| it.len() == 8 && it.bytes().all(|byte| byte.is_ascii_hexdigit());
        let tail = core.rsplit('-').next().unwrap_or(core);
        let core = match () {
            () if is_id(core) => "[ID]".into(),
            () if is_id(tail) => core.replace(tail, "[ID]"),
            () if core.len() == 10 && core.bytes().filter(|it| *it == b'-').count() == 2 => "[DATE]".into(),
            () if core.len() == 8 && core.bytes().filter(|it| *it == b':').count() == 2 => "[TIME]".into(),
            () if ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&core) => "[DAY]".into(),
            () if core.len() == 3
                && core.starts_with(|it: char| it.is_ascii_digit())
                && core.contains('.') =>
            {
                "[N]".into()
            }
            () => core.to_owned(),
        };
        out += &core;
        out += end;
    }
    out
}

#[test]
fn a_person_is_led_to_it() {
    let lab = site();
    // The two places have it of moments that come in any order.
    let ran = talk(&lab, "1|2|.|/srv/out", &["restore", "--from", "near"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    insta::assert_snapshot!(steady(&ran.stdout));
    assert_eq!(lab.ok(&["ls", "/srv/out/srv/www"]), "shop\n");

    lab.ok(&["sh", "-c", "echo changed > /srv/www/index.html"]);
    let ran = talk(&lab, "no", &["restore", "web", "--in-place"]);
    assert_eq!((ran.code, lab.read("/srv/www/index.html")), (Some(1), "changed\n".into()), "{}", ran.stdout);
    insta::assert_snapshot!(steady(&ran.stdout));
    let ran = talk(&lab, "yes", &["restore", "web", "--in-place"]);
    assert_eq!((ran.code, lab.read("/srv/www/index.html")), (Some(0), "hello\n".into()), "{}", ran.stdout);
    // Ctrl-C at a question leaves nothing.
    for answers in ["^C", "1|^C", "1|.|^C"] {
        let ran = talk(&lab, answers, &["restore"]);
        assert_ne!(ran.code, Some(0), "{}", ran.stdout);
    }
    assert_eq!(left(&lab), "");
}

#[test]
fn a_look_around_is_unmounted_at_the_end() {
    let lab = site();
    lab.dir("/srv/mnt", 0, 0o755);
    let ran = lab.expect(6, &["mount", "/srv/www"]);
    assert!(ran.stderr.contains("/srv/www is not empty"), "{ran:?}");
    if !std::path::Path::new("/dev/fuse").exists() {
        let ran = lab.expect(1, &["mount", "/srv/mnt"]);
        assert!(ran.stderr.contains("there is no FUSE here"), "{ran:?}");
        return;
    }
    require("/usr/bin:/bin", "fusermount", "fuse3");
    require("/usr/bin", "pgrep", "procps");
    let mut command = lab.command(&["mount", "/srv/mnt"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let file = "/srv/mnt/hosts/web01/latest/srv/www/index.html";
    let mut seen = String::new();
    for _ in 0..600 {
        seen = lab.run(&["cat", file]).stdout;
        if !seen.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(seen, "hello\n");
    lab.ok(&["sh", "-c", "kill -INT $(pgrep -x rlvm)"]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(lab.run(&["mountpoint", "-q", "/srv/mnt"]).code, Some(32));
    assert_eq!(left(&lab), "");
}
