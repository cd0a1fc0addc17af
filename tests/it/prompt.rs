//! The host changes while apply waits for an answer: nothing is done that was not shown.

#![expect(clippy::disallowed_methods, reason = "tests change the machine themselves")]

use std::{fs, process::Command};

use crate::{
    lab::Lab,
    support::{Ran, Scratch},
};

const BEFORE: &str = r#"
directories:
  /srv/keep: { mode: "0755" }
  /srv/gone: {}
destinations:
  vault: { local: { path: /srv/vault }, password_file: /etc/rlvm/secrets/vault, generate_password: true }
cron:
  keep: { schedule: "@weekly", command: "true" }
  gone: { schedule: "@weekly", command: "true" }
logrotate:
  keep: { paths: [/var/log/x.log], frequency: weekly }
  gone: { paths: [/var/log/y.log], frequency: weekly }
"#;

const AFTER: &str = r#"
directories:
  /srv/keep: { mode: "0750" }
  /srv/new: {}
destinations:
  vault: { local: { path: /srv/vault }, password_file: /etc/rlvm/secrets/vault, generate_password: true }
  second: { local: { path: /srv/second }, password_file: /etc/rlvm/secrets/second, generate_password: true }
cron:
  keep: { schedule: "@daily", command: "true" }
  new: { schedule: "@weekly", command: "true" }
logrotate:
  keep: { paths: [/var/log/x.log], frequency: daily }
  new: { paths: [/var/log/z.log], frequency: weekly }
"#;

/// Applies on a terminal; this shell command runs at the prompt, and then the answer is `yes`.
fn apply_while(on: &Scratch, command: &str) -> Ran {
    let rlvm = on.command(&["apply"]);
    let mut talk = Command::new("python3");
    let answers = if command.is_empty() { "yes".into() } else { format!("!{command}|yes") };
    talk.args(["-c", include_str!("terminal.py"), &answers]).arg(rlvm.get_program()).args(rlvm.get_args());
    talk.env("PATH", on.search_path()).current_dir(on.root());
    on.ran(&mut talk)
}

/// What happens at the prompt, how it is taken back, and the resource that must be named.
const CHANGES: &[(&str, &str, &str)] = &[
    ("mkdir srv/new", "rmdir srv/new", "directory:/srv/new"),
    ("ln -s /etc srv/new", "rm srv/new", "directory:/srv/new"),
    ("chmod 0711 srv/keep", "chmod 0755 srv/keep", "directory:/srv/keep"),
    ("touch srv/gone/x", "rm srv/gone/x", "directory:/srv/gone"),
    ("rmdir srv/gone", "mkdir -m 0700 srv/gone", "directory:/srv/gone"),
    ("echo mine >etc/cron.d/new", "rm etc/cron.d/new", "cron:new"),
    ("echo mine >>etc/cron.d/keep", "sed -i /mine/d etc/cron.d/keep", "cron:keep"),
    ("rm etc/cron.d/keep", "", "cron:keep"),
    ("echo mine >>etc/cron.d/gone", "sed -i /mine/d etc/cron.d/gone", "cron:gone"),
    ("echo mine >etc/logrotate.d/new", "rm etc/logrotate.d/new", "logrotate:new"),
    ("echo mine >>etc/logrotate.d/keep", "sed -i /mine/d etc/logrotate.d/keep", "logrotate:keep"),
    ("echo mine >>etc/logrotate.d/gone", "sed -i /mine/d etc/logrotate.d/gone", "logrotate:gone"),
    ("echo word >etc/rlvm/secrets/second", "rm etc/rlvm/secrets/second", "secret:/etc/rlvm/secrets/second"),
    ("mkdir -p srv/second/data", "rm -r srv/second", "repository:second"),
];

#[test]
fn apply_refuses_when_the_host_changes_at_the_prompt() {
    let on = Scratch::new();
    on.state(BEFORE);
    on.apply();
    on.state(AFTER);
    let sh = |command: &str| {
        let done = Command::new("sh").args(["-c", command]).current_dir(on.root()).status().unwrap();
        assert!(done.success(), "{command}");
    };
    let keep = fs::read(on.at("/etc/cron.d/keep")).unwrap();
    for (change, back, address) in CHANGES {
        // What the change alone does to the machine.
        sh(change);
        let changed = on.tree();
        let undo = || {
            sh(back);
            fs::write(on.at("/etc/cron.d/keep"), &keep).unwrap();
        };
        undo();
        let ran = apply_while(&on, change);
        let said = ran.stdout.split("error: the host changed since the plan was shown: ").nth(1);
        let named = said.is_some_and(|said| said.lines().next().unwrap().contains(address));
        assert!(ran.code == Some(5) && named, "{change}: {ran:?}");
        let now = on.tree();
        let differs = now.iter().filter(|(path, what)| changed.get(*path) != Some(what));
        let differs: Vec<_> = differs.filter(|(path, _)| !path.starts_with("/run/rlvm")).collect();
        assert!(differs.is_empty(), "{change}: {differs:?}");
        undo();
    }
    let ran = apply_while(&on, "");
    assert!(ran.code == Some(0) && ran.stdout.contains("Apply complete"), "{ran:?}");
    on.plan_is_empty();
}

#[test]
fn apply_refuses_when_a_declared_mount_goes_at_the_prompt() {
    let lab = Lab::new();
    lab.run(&["mkdir", "-p", "/srv/usb"]);
    lab.run(&["mount", "-t", "tmpfs", "none", "/srv/usb"]);
    lab.state(
        "directories:\n  /srv/usb: { mounted: true, mode: \"1777\" }\n\
         destinations:\n  \
           usb: { local: { path: /srv/usb/r }, password_file: /etc/rlvm/p, generate_password: true }\n",
    );
    let umount = lab.program(&["umount", "/srv/usb"]);
    let words = std::iter::once(umount.get_program()).chain(umount.get_args());
    let umount = words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    let ran = apply_while(&lab, &umount);
    assert!(ran.code == Some(5) && ran.stdout.contains("directory:/srv/usb"), "{ran:?}");
    assert_eq!(lab.run(&["ls", "-A", "/srv/usb"]).stdout, "", "nothing is made on the disk below");
}
