//! R44: logrotate itself accepts each rule, and complains of what rlvm warns of.

use super::{inside, said};
use crate::support::{BACKUP, Ran, Scratch, require};

/// A rule of every sort.
const STATE: &str = "version: 1
host: web01
logrotate:
  plain: { paths: [/var/log/plain.log] }
  every: { paths: [/var/log/a/*.log, '/var/log/b b/?.log'], frequency: weekly, keep: 3, compress: false, missing_ok: false, copy_truncate: true }
  hours: { paths: [/var/log/a/x], frequency: hourly, delay_compress: true, create: { mode: \"0640\", user: backup, group: adm } }
  years: { paths: [/var/log/y], frequency: yearly, keep: 0 }
  months: { paths: [/var/log/m], frequency: monthly }
  open: { paths: [/var/log/open/*.log], su: { user: backup, group: adm } }
";

fn machine(state: &str) -> Scratch {
    let scratch = Scratch::new();
    require("/usr/sbin:/usr/bin", "logrotate", "logrotate");
    scratch.file("/etc/rlvm/state/hosts/web01.yaml", state);
    for log in ["/var/log/plain.log", "/var/log/a/one.log", "/var/log/b b/1.log", "/var/log/open/o.log"] {
        scratch.file(log, "a line\n");
    }
    scratch.file("/var/log/rlvm/web.log", "a line\n");
    scratch
}

fn apply(scratch: &Scratch) -> Ran {
    inside(scratch, "", &["/rlvm", "--host", "web01", "apply", "--yes"])
}

/// What logrotate says of a directory of rules, without doing anything.
fn debug(scratch: &Scratch, rules: &str) -> String {
    let ran = inside(scratch, "", &["/usr/sbin/logrotate", "-d", "-s", "/var/lib/status", rules]);
    format!("exit {:?}\n{}{}", ran.code, ran.stdout, ran.stderr)
}

fn complaints(said: &str) -> Vec<&str> {
    let bad = |line: &&str| line.contains("error") || line.starts_with("warning");
    said.lines().filter(bad).filter(|line| !line.contains("logrotate in debug mode")).collect()
}

#[test]
fn every_rule_is_accepted_by_logrotate() {
    // R44
    let scratch = machine(STATE);
    scratch.dir("/var/log/open", 0, 0o775);
    std::os::unix::fs::chown(scratch.at("/var/log/open"), Some(BACKUP), Some(4)).unwrap();
    said(&apply(&scratch), 0, &["logrotate:rlvm", "logrotate:every"]);
    let said = debug(&scratch, "/etc/logrotate.d");
    assert!(said.starts_with("exit Some(0)"), "{said}");
    assert_eq!(complaints(&said), Vec::<&str>::new(), "{said}");
    for log in ["/var/log/plain.log", "/var/log/a/one.log", "/var/log/b b/1.log", "/var/log/open/o.log"] {
        assert!(said.contains(&format!("considering log {log}")), "{log}\n{said}");
    }
    assert!(said.contains("considering log /var/log/rlvm/web.log"), "{said}");
    assert!(said.contains("switching euid"), "{said}");
}

#[test]
fn what_rlvm_warns_of_is_what_logrotate_refuses() {
    // R44
    let state = "version: 1\nhost: web01\nlogrotate:\n  open: { paths: [/var/log/open/*.log] }\n";
    for (group, mode, bad) in [(4, 0o775, true), (0, 0o777, true), (0, 0o775, false), (4, 0o755, false)] {
        let scratch = machine(state);
        scratch.dir("/var/log/open", 0, mode);
        std::os::unix::fs::chown(scratch.at("/var/log/open"), Some(0), Some(group)).unwrap();
        let warning = "logrotate will skip it: others than root may write /var/log/open";
        let ran = apply(&scratch);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.stdout.contains(warning), bad, "{group} {mode:o}: {ran:?}");
        let said = debug(&scratch, "/etc/logrotate.d/open");
        let refuses = said.contains("because parent directory has insecure permissions");
        assert_eq!(refuses, bad, "{group} {mode:o}: {said}");
    }
}

#[test]
fn the_remedy_that_is_said_is_one() {
    let scratch =
        machine("version: 1\nhost: web01\nlogrotate:\n  open: { paths: [/var/log/open/*.log], SU }\n");
    scratch.dir("/var/log/open", 0, 0o775);
    std::os::unix::fs::chown(scratch.at("/var/log/open"), Some(BACKUP), Some(4)).unwrap();
    let file = "/etc/rlvm/state/hosts/web01.yaml";
    let state = scratch.read(file);
    scratch.file(file, &state.replace(", SU", ""));
    let warned = said(&apply(&scratch), 0, &["logrotate will skip it"]);
    let remedy = warned.split("say as whom to rotate: `").nth(1).unwrap().split('`').next().unwrap();
    scratch.file(file, &state.replace("SU", remedy));
    let quiet = said(&apply(&scratch), 0, &["logrotate:open"]);
    assert!(!quiet.contains("logrotate will skip it"), "{quiet}");
    let said = debug(&scratch, "/etc/logrotate.d/open");
    assert_eq!(complaints(&said), Vec::<&str>::new(), "{said}");
}

#[test]
fn a_managed_log_directory_that_a_group_may_write_gets_its_su_without_being_asked() {
    let state = "version: 1\nhost: web01\ndirectories:\n  /var/log/rlvm: { owner: backup, group: adm, mode: \"0770\", adopt: true }\n";
    let scratch = machine(state);
    said(&apply(&scratch), 0, &["logrotate:rlvm"]);
    let said = debug(&scratch, "/etc/logrotate.d/rlvm");
    assert_eq!(complaints(&said), Vec::<&str>::new(), "{said}");
    assert!(said.contains("considering log /var/log/rlvm/web.log"), "{said}");
}

#[test]
fn a_rule_that_is_being_written_is_left_alone_by_logrotate() {
    let scratch = machine(STATE);
    said(&apply(&scratch), 0, &[]);
    scratch.file("/etc/logrotate.d/half.rlvm-new~", "\"/var/log/half\" {\n    da");
    let said = debug(&scratch, "/etc/logrotate.d");
    assert!(said.starts_with("exit Some(0)") && !said.contains("/var/log/half"), "{said}");
    assert!(said.contains("half.rlvm-new~"), "it says that it leaves it: {said}");
}
