//! What plan says before the night, of things that it does not manage.

use crate::{lab::Lab, support::Scratch};

const HOME: &str = "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n\
    jobs:\n  home: { sources: [{ path: /home }], to: [vault], schedule: \"@daily\" }\n";

#[test]
fn what_else_backs_up_is_said_and_left_alone() {
    // R30
    let scratch = Scratch::new();
    scratch.file(
        "/etc/cron.d/old-backup",
        "SHELL=/bin/sh\n0 3 * * * root TOKEN=hunter2 borgmatic --verbosity 0\n",
    );
    scratch.file("/var/spool/cron/crontabs/root", "0 4 * * * /usr/local/bin/rlvm backup /home\n");
    scratch.file("/etc/cron.daily/dump", "#!/bin/sh\nrestic backup /home\n");
    scratch.file("/etc/systemd/system/timers.target.wants/resticprofile-backup@x.timer", "");
    scratch.state(HOME);
    for _ in 0..2 {
        let plan = scratch.expect(0, &["plan"]);
        for words in [
            "warning: other_backups:schedules: /etc/cron.d/old-backup:2 runs borgmatic",
            "/etc/cron.daily/dump:2 runs restic on /home, which a job of this state backs up",
            "/var/spool/cron/crontabs/root:1 runs rlvm on /home",
            "resticprofile-backup@x.timer runs restic",
        ] {
            assert!(plan.stdout.contains(words), "{words}\n{}", plan.stdout);
        }
        assert!(!plan.stdout.contains("hunter2") && !plan.stdout.contains("rlvm-home:"), "{}", plan.stdout);
        scratch.apply();
    }
    scratch.plan_is_empty();
    scratch.state("directories:\n  /srv/x: {}\n");
    assert!(!scratch.rlvm(&["plan"]).stdout.contains("borgmatic"), "without jobs it is nobody's business");
}

#[test]
fn in_a_tree_what_needs_the_running_system_is_left_to_it() {
    let scratch = Scratch::new();
    scratch.file_of("/etc/rlvm/p", "x\n", 0, 0o600);
    scratch.state("destinations:\n  far: { s3: { bucket: b }, password_file: /etc/rlvm/p }\n");
    for args in [&["plan"][..], &["plan", "--offline"]] {
        let plan = scratch.expect(0, args);
        assert!(
            plan.stdout.contains("repository:far: not looked at: it is left to the running system"),
            "{plan:?}"
        );
    }
    scratch.apply();
    scratch.plan_is_empty();
    assert!(scratch.restic_calls().is_empty() && !scratch.managed().contains(&"repository:far".to_owned()));
}

#[test]
fn a_secret_that_a_person_writes_gets_its_directory() {
    let jobs = "jobs:\n  home: { sources: [{ path: /home }], to: [vault], user: backup }\n";
    for (words, holds, mode) in [
        (
            "s3: { bucket: b }, password_file: /p, env_file: /etc/rlvm/secrets/e",
            "the variables of `vault`",
            "0711",
        ),
        (
            "local: { path: /r }, password_file: /etc/rlvm/secrets/p",
            "the password of the repository at `vault`",
            "0711",
        ),
        (
            "s3: { bucket: b }, password_file: /p, credentials: { AWS_SECRET_ACCESS_KEY: { file: /etc/rlvm/secrets/c } }",
            "the credential of `vault`",
            "0711",
        ),
        ("local: { path: /r }, password_file: /etc/rlvm/secrets/p", "the password of the repository", "0700"),
    ] {
        let scratch = Scratch::new();
        let jobs = if mode == "0711" { jobs } else { "" };
        scratch.state(&format!("destinations:\n  vault: {{ {words} }}\n{jobs}"));
        let plan = scratch.rlvm(&["plan"]).stdout;
        let made = format!(
            "+ directory:/etc/rlvm/secrets  it is not there\n    owner: root  group: root  mode: {mode}"
        );
        assert!(plan.contains(&made), "{made}\n{plan}");
        assert!(plan.contains(holds) && plan.contains("alone (mode 0600)"), "{plan}");
    }
}

#[test]
fn a_copy_that_no_call_could_make_is_told() {
    // R41: restic has one environment and each option once.
    let scratch = Scratch::new();
    scratch.file_of("/etc/rlvm/p", "x\n", 0, 0o600);
    scratch.file_of("/etc/rlvm/q", "x\n", 0, 0o600);
    let state = |from: &str, to: &str| {
        format!(
            "destinations:\n  one: {{ s3: {{ bucket: one{from} }}, password_file: /etc/rlvm/p }}\n  \
             two: {{ s3: {{ bucket: two{to} }}, password_file: /etc/rlvm/q }}\n\
             jobs:\n  home: {{ sources: [{{ path: /home }}], to: [one], copy: {{ two: {{ from: one }} }} }}\n"
        )
    };
    scratch.state(&state(", region: here", ", region: there"));
    let plan = scratch.expect(1, &["plan"]).stdout;
    assert!(
        plan.contains("error: destinations.two: copies come from one, and s3.region differs there"),
        "{plan}"
    );
    for (from, to) in [("", ", region: here"), (", region: here", ", region: here")] {
        scratch.state(&state(from, to));
        scratch.expect(0, &["plan"]);
    }
}

#[test]
fn credentials_are_checked_like_passwords() {
    // R25
    let scratch = Scratch::new();
    scratch.file_of("/etc/rlvm/p", "x\n", 0, 0o600);
    scratch.file_of("/etc/rlvm/key", "hunter2\n", 33, 0o640);
    scratch.file_of("/etc/rlvm/ca.pem", "x\n", 0, 0o666);
    scratch.state(
        "destinations:\n  far:\n    s3: { bucket: b, ca_file: /etc/rlvm/ca.pem }\n    password_file: /etc/rlvm/p\n    \
         credentials:\n      AWS_SECRET_ACCESS_KEY: { file: /etc/rlvm/key }\n      AWS_ACCESS_KEY_ID: { file: /etc/rlvm/id }\n",
    );
    let plan = scratch.expect(1, &["plan"]);
    for words in [
        "error: secret:/etc/rlvm/id: /etc/rlvm/id is not there",
        "error: secret:/etc/rlvm/key: /etc/rlvm/key belongs to www-data, but root works with it",
        "warning: secret:/etc/rlvm/key: /etc/rlvm/key can be read by others",
        "warning: secret:/etc/rlvm/ca.pem: /etc/rlvm/ca.pem can be written by others than root (mode 0666)",
    ] {
        assert!(plan.stdout.contains(words), "{words}\n{}", plan.stdout);
    }
}

#[test]
fn what_stands_beside_what_is_declared_is_named() {
    let on = Scratch::new();
    for repository in ["/srv/backup/old", "/srv/clients/gone/repo"] {
        on.file(&format!("{repository}/config"), "");
        on.dir(&format!("{repository}/keys"), 0, 0o700);
    }
    on.dir("/srv/backup/no-repository/keys", 0, 0o755);
    on.file("/etc/passwd", &(on.read("/etc/passwd") + "gone:x:900:900::/srv/clients/gone:/bin/sh\n"));
    on.file("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n");
    on.state(
        "destinations:\n  vault: { local: { path: /srv/backup/web01 }, password_file: /p, generate_password: true }\n\
         ssh:\n  users:\n    a: { directory: /srv/clients/a, authorized_keys: [{ key: \"ssh-ed25519 \
         AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0\" }] }\n",
    );
    let said = |plan: &str| -> Vec<String> {
        plan.lines().filter(|line| line.contains("unknown: ")).map(ToOwned::to_owned).collect()
    };
    let all = [
        "note: undeclared:/srv/backup: unknown: /srv/backup/old is a repository that is not declared; rlvm leaves it alone",
        "note: undeclared:/srv/clients: unknown: /srv/clients/gone/repo is a repository that is not declared; rlvm leaves it alone",
        "note: undeclared:/srv/clients: unknown: the account gone with the home /srv/clients/gone is not declared; rlvm leaves it alone",
    ];
    assert_eq!(said(&on.expect(0, &["plan"]).stdout), all);
    on.apply();
    // What is said of them is no change: neither is what is declared taken for unknown once it is there.
    on.plan_is_empty();
    assert_eq!(said(&on.expect(0, &["plan"]).stdout), all);
}

/// A machine without LVM, whatever the one is that the test runs on.
fn without_lvm() -> Lab {
    let lab = Lab::new();
    lab.ok(&[
        "sh",
        "-euc",
        "for at in /usr/sbin/lvs /sbin/lvs /usr/bin/lvs; do test ! -e $at || mount --bind /dev/null $at; done",
    ]);
    lab.file_of("/etc/rlvm/vault.pass", "one\n", 0, 0o600);
    lab
}

fn storing(sources: &str) -> String {
    format!(
        "destinations:\n  vault: {{ local: {{ path: /srv/r }}, password_file: /etc/rlvm/vault.pass }}\n\
         jobs:\n  home: {{ sources: [{sources}], to: [vault] }}\n"
    )
}

#[test]
fn sources_that_are_not_there_yet_are_told_and_keep_nothing_from_being_applied() {
    // R27, R59
    let lab = without_lvm();
    lab.dir("/home/me", 0, 0o755);
    lab.state(&storing("{ path: /home/me }, { path: /home/me/gone }, { lvm: { volume: vg0/root } }"));
    let words = [
        "warning: jobs.home.sources: /home/me/gone is not there",
        "warning: jobs: there is no lvs to ask for logical volumes",
    ];
    let plan = lab.expect(0, &["plan"]).stdout;
    assert!(words.iter().all(|word| plan.contains(word)) && !plan.contains("/home/me is not"), "{plan}");
    assert!(!plan.contains("sources:jobs"), "it is looked at, and no change: {plan}");
    // Two plans of one machine are the same bytes, and a saved one is not stale.
    lab.expect(0, &["plan", "--out", "/var/lib/night.plan"]);
    assert_eq!(lab.expect(0, &["plan"]).stdout, plan);
    lab.expect(0, &["apply", "/var/lib/night.plan"]);
    lab.plan_is_empty();
    let offline = lab.expect(0, &["plan", "--offline"]).stdout;
    assert!(!offline.contains("jobs.home.sources"), "{offline}");
    // What came meanwhile is no longer told.
    lab.file("/home/me/gone/a", "a\n");
    lab.state(&storing("{ path: /home/me }, { path: /home/me/gone }"));
    let plan = lab.expect(0, &["plan"]).stdout;
    assert!(!plan.contains("warning: jobs"), "{plan}");
    // Nothing can be below a file.
    lab.file("/home/me/file", "");
    lab.state(&storing("{ path: /home/me/file/x }"));
    assert!(lab.expect(0, &["plan"]).stdout.contains("/home/me/file/x is not there"));
}

#[test]
fn a_path_that_lies_on_another_volume_is_an_error() {
    // R27, R28
    let lab = without_lvm();
    let lvs = |script: &str| lab.file_of("/usr/local/sbin/lvs", &format!("#!/bin/sh\n{script}\n"), 0, 0o755);
    lvs("echo asked >> /var/lib/asked; echo 'no such command' >&2; exit 5");
    lab.state(&storing("{ lvm: { volume: vg0/home } }, { path: /gone }"));
    let plan = lab.expect(0, &["plan"]).stdout;
    for words in
        ["warning: jobs: lvs failed: no such command", "warning: jobs.home.sources: /gone is not there"]
    {
        assert!(plan.contains(words), "{words}\n{plan}");
    }
    lab.dir("/srv/home", 0, 0o755);
    lab.ok(&["mount", "-t", "tmpfs", "tmpfs", "/srv/home"]);
    lab.dir("/srv/home2", 0, 0o755);
    lvs("echo asked >> /var/lib/asked\n\
        device=$(while read -r _ _ device _ at _; do test $at != /srv/home || echo $device; done </proc/self/mountinfo)\n\
        cat <<E\n{ \"report\": [ { \"lv\": [ {\"vg_name\":\"vg0\", \"lv_name\":\"home\", \"lv_size\":\"10737418240\", \
        \"lv_attr\":\"-wi-ao----\", \"lv_tags\":\"\", \"pool_lv\":\"\", \"data_percent\":\"\", \
        \"lv_kernel_major\":\"${device%:*}\", \"lv_kernel_minor\":\"${device#*:}\", \"vg_free\":\"1073741824\", \
        \"vg_extent_size\":\"4194304\"} ] } ] }\nE");
    let jobs = "  two: { sources: [{ lvm: { volume: vg0/home, snapshot_size: 3G } }], to: [vault] }\n";
    lab.state(&(storing("{ lvm: { volume: vg0/home, snapshot_size: 100M, paths: [/srv/home2] } }") + jobs));
    lab.file("/var/lib/asked", "");
    let plan = lab.expect(1, &["plan"]).stdout;
    for words in [
        "error: jobs.home.sources: /srv/home2 does not lie on vg0/home, which is mounted at /srv/home",
        "warning: jobs.two.sources: the snapshots do not fit into vg0: 1024 MiB free, 3072 MiB needed",
    ] {
        assert!(plan.contains(words), "{words}\n{plan}");
    }
    assert_eq!(lab.read("/var/lib/asked"), "asked\n", "volumes are asked for once, whatever is backed up");
}

/// A job, and a logrotate rule.
const SCHEDULED: &str = "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n\
    jobs:\n  home: { sources: [{ path: /home }], to: [vault], schedule: \"@daily\" }\n";
const RULE: &str = "logrotate:\n  shop: { paths: [/var/log/shop/*.log] }\n";

/// Takes programs away from a laboratory, wherever they are.
fn without(lab: &Lab, programs: &[&str]) {
    let script = "for name; do for at in /usr/sbin/$name /sbin/$name /usr/bin/$name; do \
        test ! -e $at || mount --bind /dev/null $at; done; done";
    lab.ok(&[&["sh", "-euc", script, "sh"], programs].concat());
}

#[test]
fn a_schedule_that_nothing_starts_is_an_error() {
    let lab = Lab::new();
    let plan = |state: String, code: i32| {
        lab.state(&state);
        lab.expect(code, &["plan"]).stdout
    };
    let has =
        |said: &str, words: &[&str]| words.iter().for_each(|it| assert!(said.contains(it), "{it}\n{said}"));
    let clean = plan(format!("{SCHEDULED}{RULE}"), 0);
    assert!(!clean.contains("scheduler:") && !clean.contains("program:/usr/sbin/logrotate"), "{clean}");
    lab.apply();
    without(&lab, &["cron", "crond", "logrotate"]);
    let cron = "error: scheduler:cron: no cron daemon is installed";
    has(&plan(SCHEDULED.into(), 1), &[cron, "apt-get install cron", "warning: program:/usr/sbin/logrotate"]);
    let rule = "error: program:/usr/sbin/logrotate: no log is rotated";
    has(&plan(format!("{SCHEDULED}{RULE}"), 1), &[cron, rule, "apt-get install logrotate"]);
    has(
        &lab.expect(9, &["status"]).stdout,
        &["critical: scheduler: no cron daemon is installed", "apt-get install cron"],
    );
    // An entry of the state's own is scheduled too; without any schedule there is nothing to start.
    let said = |state: &str| {
        lab.state(state);
        lab.rlvm(&["plan"]).stdout
    };
    has(&said("cron:\n  x: { schedule: \"@daily\", command: \"true\" }\n"), &[cron]);
    assert!(!said("directories:\n  /srv/x: {}\n").contains("scheduler:"));
    // busybox's crond, as a link and nothing else, as Alpine has it.
    lab.ok(&["ln", "-s", "/bin/busybox", "/usr/local/sbin/crond"]);
    has(&plan(SCHEDULED.into(), 1), &["BusyBox crond does not read /etc/cron.d", "install cronie"]);
}

#[test]
fn a_cron_daemon_that_does_not_run_is_an_error() {
    let lab = Lab::new();
    lab.state(SCHEDULED);
    lab.ok(&["ln", "-s", "/run", "/var/run"]);
    lab.dir("/var/spool/cron/crontabs", 0, 0o755);
    // Process 1 is what starts daemons, by its name. Where it is not, as in the laboratory itself, nothing is said.
    lab.ok(&["cp", "/bin/bash", "/usr/local/bin/init"]);
    let state = lab.inside("state").display().to_string();
    let script = format!(
        "plan() {{ rlvm --host web01 --state {state} plan; echo; }}; plan > /var/lib/stopped; cron; \
         until test -e /run/crond.pid; do sleep 0.1; done; plan > /var/lib/running"
    );
    let inside =
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "/usr/local/bin/init", "-c", &script];
    lab.ok(&[&["timeout", "60"], &inside[..]].concat());
    let error = "error: scheduler:cron: the cron daemon does not run";
    assert!(lab.read("/var/lib/stopped").contains(error), "{}", lab.read("/var/lib/stopped"));
    assert!(!lab.read("/var/lib/running").contains("scheduler:"), "{}", lab.read("/var/lib/running"));
    assert!(!lab.expect(0, &["plan"]).stdout.contains("scheduler:"));
}

#[test]
fn the_scheduler_that_is_not_named_is_the_one_that_the_host_has() {
    let lab = Lab::new();
    lab.state(SCHEDULED);
    let shown = || lab.expect(0, &["show"]).stdout;
    assert!(shown().contains("scheduler: cron"), "{}", shown());
    lab.dir("/run/systemd/system", 0, 0o755);
    assert!(shown().contains("scheduler: cron"), "cron goes first: {}", shown());
    without(&lab, &["cron", "crond"]);
    assert!(shown().contains("scheduler: systemd"), "{}", shown());
    let plan = lab.rlvm(&["plan"]).stdout;
    assert!(plan.contains("unit:rlvm-home.timer") && !plan.contains("scheduler:cron"), "{plan}");
    // What a state says counts, whatever there is.
    lab.state(&format!("scheduler: cron\n{SCHEDULED}"));
    assert!(lab.expect(1, &["plan"]).stdout.contains("error: scheduler:cron: no cron daemon is installed"));
    // A tree is looked at as what it will be.
    let tree = Scratch::new();
    tree.state(SCHEDULED);
    assert!(tree.expect(0, &["show"]).stdout.contains("scheduler: cron"));
    tree.file_of("/usr/lib/systemd/systemd", "", 0, 0o755);
    assert!(tree.expect(0, &["show"]).stdout.contains("scheduler: systemd"));
    tree.file_of("/usr/sbin/cron", "", 0, 0o755);
    assert!(tree.expect(0, &["show"]).stdout.contains("scheduler: cron"));
}

#[test]
fn a_program_that_scheduled_entries_do_not_find_is_an_error() {
    let mut lab = Lab::new();
    lab.state(SCHEDULED);
    lab.dir("/opt/own", 0, 0o755);
    lab.ok(&["cp", "/usr/bin/restic", "/opt/own/restic"]);
    without(&lab, &["restic"]);
    let path = format!("/opt/own:{}", lab.search_path());
    lab.find_by(&path);
    let plan = lab.expect(1, &["plan"]).stdout;
    assert!(plan.contains("error: scheduler:cron: restic is on your PATH, but not on the PATH of"), "{plan}");
    lab.ok(&["ln", "-s", "/opt/own/restic", "/usr/local/bin/restic"]);
    lab.apply();
}

#[test]
fn a_setpriv_that_cannot_start_programs_is_named() {
    let lab = Lab::new();
    lab.state(SCHEDULED);
    // The words of busybox 1.37, and of util-linux 2.32.
    for said in
        ["setpriv: unrecognized option: pdeathsig=KILL", "setpriv: unrecognized option '--pdeathsig=KILL'"]
    {
        let script = format!("#!/bin/sh\necho \"{said}\" >&2\nexit 1\n");
        lab.file_of("/usr/local/sbin/setpriv", &script, 0, 0o755);
        let ran = lab.rlvm(&["plan"]);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, Some(1), "{told}");
        assert!(
            told.contains("setpriv on PATH does not know --pdeathsig") && told.contains("util-linux 2.33"),
            "{told}"
        );
    }
}

#[test]
fn what_is_scheduled_finds_the_home_that_rlvm_was_called_with() {
    let lab = Lab::new();
    lab.state(&format!("rlvm_path: /usr/local/bin/rlvm\n{SCHEDULED}"));
    lab.file("/home/me/a", "a\n");
    let ran = lab.ran(lab.command(&["apply", "--yes"]).env("RLVM_HOME", "/srv/rlvm home"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let entry = lab.read("/etc/cron.d/rlvm-home");
    let command = entry.lines().next_back().unwrap().split_once("root ").unwrap().1;
    // As cron calls it; another host's name is no part of this.
    lab.ok(&["env", "-i", "HOME=/root", "PATH=/usr/bin:/bin", "sh", "-c", command]);
    assert!(lab.at("/srv/rlvm home/state.json").exists() && !lab.at("/var/lib/rlvm/state.json").exists());
}
