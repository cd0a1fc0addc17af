//! Schedules by systemd, as systemd's own tools see them; no manager runs here. That timers go off is tried elsewhere,
//! on a machine that was booted.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

mod moves;

use std::{fs, os::unix::fs::symlink, process::Command};

use rlvm::{
    expand::{UserFacts, expand},
    model::{HostPath, Personal, Scope},
    resource::{Diff, Edit, FileSeen, Kind, Manager, Resource, UnitSeen, Wants},
};

use crate::{
    lab::Lab,
    support::{Scratch, require},
};

/// A destination, as a block of YAML, and rlvm where it really is, so that systemd finds it too.
fn head() -> String {
    format!(
        "scheduler: systemd\nrlvm_path: {}\n\
         destinations:\n  vault: {{ local: {{ path: /srv/r }}, password_file: /etc/rlvm/v, generate_password: true }}\n",
        env!("CARGO_BIN_EXE_rlvm")
    )
}

/// A machine with systemd's directories as Debian has them, not booted.
fn tree() -> Scratch {
    let scratch = Scratch::new();
    let path = std::env::var("PATH").unwrap();
    for program in ["systemctl", "systemd-analyze"] {
        require(&path, program, "systemd");
    }
    scratch.dir("/etc/systemd/system", 0, 0o755);
    scratch.file("/usr/lib/systemd/system/logrotate.timer", "[Timer]\nOnCalendar=daily\n");
    symlink("usr/lib", scratch.at("/lib")).unwrap();
    scratch
}

/// Runs one of systemd's programs; its time zone has no summer.
#[track_caller]
fn analyze(scratch: &Scratch, args: &[&str]) -> String {
    let mut command = Command::new("systemd-analyze");
    let ran = scratch.ran(command.args(args).env("TZ", "UTC").env("LC_ALL", "C.UTF-8"));
    assert!(ran.code == Some(0) && ran.stderr.is_empty(), "{args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// Lists the units that are there, by their files.
fn units(scratch: &Scratch) -> Vec<String> {
    let dir = fs::read_dir(scratch.at("/etc/systemd/system")).unwrap();
    let mut names: Vec<String> = dir.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns what stands behind a name in a unit, line by line.
fn values(text: &str, name: &str) -> Vec<String> {
    let of =
        |line: &str| line.split_once('=').filter(|(it, _)| *it == name).map(|(_, value)| value.to_owned());
    text.lines().filter_map(of).collect()
}

#[test]
fn systemd_itself_finds_nothing_wrong() {
    // R43
    let odd =
        r#"printf '%s "%d" \\ 100%%\n' "$HOME" $((1+1)) ${X:-a;b} | sed "s/'/\"/; s/\\t/\t/" ; : ; ä @ | &"#;
    let scratch = tree();
    let yaml = format!(
        "{}jobs:\n  plain: {{ sources: [{{ path: /etc }}], to: [vault], schedule: \"30 2 * * *\", jitter: 5m, \
         retention: {{ daily: 7 }}, prune: {{ schedule: \"0 5 * * 0\" }}, verify: {{ schedule: \"0 6 1 * *\" }} }}\n  \
         more: {{ sources: [{{ path: /etc }}], to: [vault], schedule: \"0 4 13 * FRI\", stop: [{{ systemd: shop.service }}], \
         hooks: {{ before: [{{ run: sync }}] }} }}\n  \
         boot: {{ sources: [{{ path: /etc }}], to: [vault], schedule: \"@reboot\" }}\n\
         cron:\n  odd: {{ schedule: \"*/5 * * * *\", user: backup, command: {} }}\n  \
         start: {{ schedule: \"@reboot\", command: \"/bin/true &\" }}\n",
        head(),
        serde_json::to_string(odd).unwrap(),
    );
    scratch.state(&yaml);
    scratch.apply();
    scratch.plan_is_empty();
    let files: Vec<String> =
        units(&scratch).into_iter().filter(|name| !name.ends_with("target.wants")).collect();
    assert_eq!(files.len(), 13, "{files:?}");
    let at: Vec<String> = files
        .iter()
        .map(|name| scratch.at(&format!("/etc/systemd/system/{name}")).to_str().unwrap().to_owned())
        .collect();
    let words: Vec<&str> = ["verify", "--man=no", "--recursive-errors=no"]
        .into_iter()
        .chain(at.iter().map(String::as_str))
        .collect();
    analyze(&scratch, &words);
    // It can find something: a word that it does not know.
    let wrong = scratch.beside("wrong.service");
    fs::write(&wrong, "[Service]\nExecStart=/bin/true\nProtectSistem=yes\n").unwrap();
    let ran = scratch.ran(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&wrong));
    assert!(ran.stderr.contains("ProtectSistem"), "{}", ran.stderr);

    let timer = scratch.read("/etc/systemd/system/rlvm-plain.timer");
    assert_eq!(values(&timer, "RandomizedDelaySec"), ["300s"]);
    assert_eq!(
        (values(&timer, "Persistent"), values(&timer, "AccuracySec")),
        (vec!["true".into()], vec!["1s".into()])
    );
    // Cron makes up for nothing, and an entry of one's own means the same to both.
    assert!(values(&scratch.read("/etc/systemd/system/odd.timer"), "Persistent").is_empty());
    let service = scratch.read("/etc/systemd/system/odd.service");
    assert_eq!(
        (values(&service, "User"), values(&service, "KillMode")),
        (vec!["backup".into()], vec!["process".into()])
    );
    // What the boot starts has no timer, and the boot does not wait for its end.
    for (name, wants) in [("rlvm-boot", true), ("rlvm_sweep", true), ("start", true), ("odd", false)] {
        let link = scratch.at(&format!("/etc/systemd/system/multi-user.target.wants/{name}.service"));
        assert_eq!(link.is_symlink(), wants, "{name}");
        let kind = if wants { "exec" } else { "oneshot" };
        assert_eq!(values(&scratch.read(&format!("/etc/systemd/system/{name}.service")), "Type"), [kind]);
    }
    assert!(!scratch.at("/etc/systemd/system/start.timer").exists());
}

/// When cron starts what, after Thursday 1 January 2026, 00:00: told by crontab(5).
const WHEN: &[(&str, [&str; 3])] = &[
    ("30 2 * * *", ["2026-01-01 02:30", "2026-01-02 02:30", "2026-01-03 02:30"]),
    ("* * * * *", ["2026-01-01 00:01", "2026-01-01 00:02", "2026-01-01 00:03"]),
    ("*/20 0-6,22,23 1,15 JAN-mar *", ["2026-01-01 00:20", "2026-01-01 00:40", "2026-01-01 01:00"]),
    ("0 4 * * 0", ["2026-01-04 04:00", "2026-01-11 04:00", "2026-01-18 04:00"]),
    ("0 4 * * 7", ["2026-01-04 04:00", "2026-01-11 04:00", "2026-01-18 04:00"]),
    ("0 4 * * 5-7", ["2026-01-02 04:00", "2026-01-03 04:00", "2026-01-04 04:00"]),
    ("0 4 * * 0-1,sat", ["2026-01-03 04:00", "2026-01-04 04:00", "2026-01-05 04:00"]),
    ("0 0 13 * FRI", ["2026-01-02 00:00", "2026-01-09 00:00", "2026-01-13 00:00"]),
    ("0 0 */10 * FRI", ["2026-05-01 00:00", "2026-07-31 00:00", "2026-08-21 00:00"]),
    ("0 0 1-7 * */7", ["2026-01-04 00:00", "2026-02-01 00:00", "2026-03-01 00:00"]),
    ("30 2 29 2 *", ["2028-02-29 02:30", "2032-02-29 02:30", "2036-02-29 02:30"]),
    ("0 0 31 * *", ["2026-01-31 00:00", "2026-03-31 00:00", "2026-05-31 00:00"]),
    ("59 23 31 12 *", ["2026-12-31 23:59", "2027-12-31 23:59", "2028-12-31 23:59"]),
    ("@hourly", ["2026-01-01 01:00", "2026-01-01 02:00", "2026-01-01 03:00"]),
    ("@weekly", ["2026-01-04 00:00", "2026-01-11 00:00", "2026-01-18 00:00"]),
    ("@monthly", ["2026-02-01 00:00", "2026-03-01 00:00", "2026-04-01 00:00"]),
    ("@yearly", ["2027-01-01 00:00", "2028-01-01 00:00", "2029-01-01 00:00"]),
];

#[test]
fn timers_go_off_when_cron_would() {
    // R43
    let scratch = tree();
    let entry = |(index, (schedule, _)): (usize, &(&str, [&str; 3]))| {
        format!("  t{index}: {{ schedule: {schedule:?}, command: \"true\" }}\n")
    };
    let entries: String = WHEN.iter().enumerate().map(entry).collect();
    scratch.state(&format!("scheduler: systemd\ncron:\n{entries}"));
    scratch.apply();
    for (index, (schedule, expected)) in WHEN.iter().enumerate() {
        let timer = scratch.read(&format!("/etc/systemd/system/t{index}.timer"));
        let mut times: Vec<String> = Vec::new();
        for line in values(&timer, "OnCalendar") {
            let base = "--base-time=2026-01-01 00:00:00 UTC";
            let said = analyze(&scratch, &["calendar", "--iterations=3", base, &line]);
            let when = said.lines().filter_map(|line| {
                let (name, when) = line.trim().split_once(": ")?;
                let named = name == "Next elapse" || name.starts_with("Iter");
                // `Fri 2026-02-13 00:00:00 UTC`
                named.then(|| when.trim()[4..20].to_owned())
            });
            times.extend(when);
        }
        times.sort();
        times.dedup();
        assert_eq!(&times[..3], expected, "{schedule}\n{timer}");
    }
}

#[test]
fn where_systemd_does_not_run_that_is_an_error() {
    let lab = Lab::new();
    lab.state("scheduler: systemd\ncron:\n  a: { schedule: \"@daily\", command: \"true\" }\n");
    let ran = lab.rlvm(&["apply", "--yes"]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(7), "{said}");
    assert_eq!(said.matches("systemd does not run here").count(), 1, "{said}");
    assert!(!lab.managed().iter().any(|it| it.starts_with("unit:")), "{:?}", lab.managed());
    lab.state("scheduler: cron\ncron:\n  a: { schedule: \"@daily\", command: \"true\" }\n");
    lab.apply();
}

#[test]
fn own_timers_are_no_other_backups() {
    // R30
    let scratch = tree();
    scratch.file("/usr/lib/systemd/system/borgmatic.timer", "[Timer]\nOnCalendar=daily\n");
    scratch.dir("/etc/systemd/system/timers.target.wants", 0, 0o755);
    let wants = scratch.at("/etc/systemd/system/timers.target.wants");
    symlink("/lib/systemd/system/borgmatic.timer", wants.join("borgmatic.timer")).unwrap();
    // Of this name, and not by rlvm.
    scratch.file("/etc/systemd/system/restic-by-hand.timer", "[Timer]\nOnCalendar=daily\n");
    symlink("/etc/systemd/system/restic-by-hand.timer", wants.join("restic-by-hand.timer")).unwrap();
    scratch.state(&format!(
        "{}jobs:\n  restic: {{ sources: [{{ path: /etc }}], to: [vault], schedule: \"@daily\" }}\n\
         cron:\n  restic-check: {{ schedule: \"@weekly\", command: \"restic check\" }}\n",
        head()
    ));
    let reported = || {
        let plan = scratch.plan_json(&[]);
        let findings = plan["findings"].as_array().unwrap().iter();
        let others = findings.filter(|it| it["address"].as_str().unwrap().starts_with("other_backups:"));
        others
            .map(|it| it["message"].as_str().unwrap().split_once(':').unwrap().0.to_owned())
            .collect::<Vec<_>>()
    };
    let foreign = ["borgmatic.timer runs borgmatic", "restic-by-hand.timer runs restic"]
        .map(|it| format!("/etc/systemd/system/timers.target.wants/{it}"));
    assert_eq!(reported(), foreign);
    scratch.apply();
    assert_eq!(reported(), foreign);
    // Disabling the last of rlvm's leaves the directory to the others.
    scratch.state("scheduler: systemd\n");
    scratch.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    assert_eq!(fs::read_dir(&wants).unwrap().count(), 2);
}

#[test]
fn a_users_units_are_fine_too() {
    let path = |path: &str| path.parse::<HostPath>().unwrap();
    let own = Personal {
        user: "ann".parse().unwrap(),
        group: "ann".parse().unwrap(),
        home: path("/home/ann"),
        config: path("/home/ann/.config"),
        state: path("/home/ann/.local/state"),
        data: path("/home/ann/.local/share"),
        cache: path("/home/ann/.cache"),
        runtime: path("/run/user/1000"),
    };
    let scratch = tree();
    let yaml = format!(
        "version: 1\nhost: web01\n{}jobs:\n  home: {{ sources: [{{ path: /home/ann }}], to: [vault], schedule: \"@daily\" }}\n\
         cron:\n  own: {{ schedule: \"@reboot\", command: \"date +%F\" }}\n",
        head()
    );
    let state = rlvm::state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state;
    let expanded = expand(&state, &UserFacts::default(), &Scope::User(Box::new(own)));
    fs::create_dir(scratch.beside("user")).unwrap();
    let mut files = Vec::new();
    for declared in expanded.resources.values() {
        let Resource::Unit(unit) = &declared.resource else { continue };
        let seen = UnitSeen {
            file: FileSeen::Absent,
            wants: Wants::Absent,
            taken: None,
            manager: Manager::Tree,
            stamp: false,
            lingers: None,
        };
        let Diff::Create(Edit { text: Some((_, text)), .. }) = unit.diff(&seen) else { panic!("{unit:?}") };
        let file = scratch.beside("user").join(&*unit.key());
        fs::write(&file, text).unwrap();
        files.push(file.to_str().unwrap().to_owned());
    }
    assert_eq!(files.len(), 6, "{files:?}");
    let mut command = Command::new("systemd-analyze");
    command.args(["--user", "verify", "--man=no", "--recursive-errors=no"]).args(&files);
    let ran = scratch.ran(command.env("XDG_RUNTIME_DIR", scratch.beside("user")).env("LC_ALL", "C.UTF-8"));
    assert!(ran.code == Some(0) && ran.stderr.is_empty(), "{}{}", ran.stdout, ran.stderr);
}
