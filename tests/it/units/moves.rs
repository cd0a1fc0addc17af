//! From cron to systemd and back; what leaves, what was changed by hand, what is in the way.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::{tree, units};
use crate::support::{Scratch, Tree};

const ETC: &str = "/etc/systemd/system";

/// Two jobs and two entries, by this scheduler.
fn state(scheduler: &str) -> String {
    format!(
        "scheduler: {scheduler}\n\
         destinations:\n  vault: {{ local: {{ path: /srv/r }}, password_file: /etc/rlvm/v, generate_password: true }}\n\
         jobs:\n  home: {{ sources: [{{ path: /home }}], to: [vault], schedule: \"30 2 * * *\" }}\n  \
         boot: {{ sources: [{{ path: /etc }}], to: [vault], schedule: \"@reboot\" }}\n\
         cron:\n  trim: {{ schedule: \"@weekly\", command: \"/sbin/fstrim --all\" }}\n"
    )
}

const NAMES: [&str; 4] = ["rlvm-boot", "rlvm-home", "rlvm_sweep", "trim"];
const UNITS: [&str; 8] = [
    "multi-user.target.wants",
    "rlvm-boot.service",
    "rlvm-home.service",
    "rlvm-home.timer",
    "rlvm_sweep.service",
    "timers.target.wants",
    "trim.service",
    "trim.timer",
];

/// A machine on which it was applied by systemd.
fn applied() -> Scratch {
    let scratch = tree();
    scratch.state(&state("systemd"));
    scratch.apply();
    scratch
}

/// What schedules something.
fn schedules(scratch: &Scratch) -> Tree {
    let mut tree = scratch.tree();
    tree.retain(|path, _| ["/etc/cron.d", ETC, "/var/lib/systemd"].iter().any(|dir| path.starts_with(dir)));
    tree
}

fn cron_files(scratch: &Scratch) -> Vec<String> {
    let dir = fs::read_dir(scratch.at("/etc/cron.d")).unwrap();
    let mut names: Vec<String> = dir.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn from_cron_to_systemd_and_back_leaves_nothing_of_the_other() {
    let scratch = tree();
    scratch.state(&state("cron"));
    scratch.apply();
    let by_cron = schedules(&scratch);
    assert_eq!(cron_files(&scratch), NAMES);
    for _ in 0..2 {
        scratch.state(&state("systemd"));
        let plan = scratch.expect(2, &["plan", "--detailed-exitcode"]).stdout;
        assert_eq!(plan.matches("deferred: timers start at the first boot").count(), 1, "{plan}");
        scratch.apply();
        scratch.plan_is_empty();
        assert!(cron_files(&scratch).is_empty());
        assert_eq!(units(&scratch), UNITS);
        let links = [
            "timers.target.wants/trim.timer",
            "multi-user.target.wants/rlvm-boot.service",
            "multi-user.target.wants/rlvm_sweep.service",
        ];
        for link in links {
            let path = fs::read_link(scratch.at(&format!("{ETC}/{link}"))).unwrap();
            assert_eq!(path.file_name(), scratch.at(link).file_name(), "{}", path.display());
        }
        // As a boot leaves it.
        scratch.file("/var/lib/systemd/timers/stamp-trim.timer", "");
        scratch.state(&state("cron"));
        scratch.apply();
        scratch.plan_is_empty();
        fs::remove_dir_all(scratch.at("/var/lib/systemd")).unwrap();
        assert_eq!(schedules(&scratch), by_cron);
    }
}

#[test]
fn the_old_stays_until_the_new_is_there() {
    // R45. Something is in the way, which plan sees.
    let scratch = tree();
    scratch.state(&state("cron"));
    scratch.apply();
    scratch.dir(&format!("{ETC}/rlvm-home.timer"), 0, 0o755);
    scratch.state(&state("systemd"));
    let ran = scratch.expect(7, &["apply", "--yes"]);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("is a directory, no file"), "{ran:?}");
    assert_eq!(cron_files(&scratch), ["rlvm-home"]);
    fs::remove_dir(scratch.at(&format!("{ETC}/rlvm-home.timer"))).unwrap();
    // Something goes wrong, which nobody could see before: one of the timers cannot be enabled.
    let stand_in = scratch.beside("bin/systemctl");
    let real = "#!/bin/sh\ncase $* in *home.timer) echo no luck >&2; exit 1;; esac\nexec /usr/bin/systemctl \"$@\"\n";
    fs::write(&stand_in, real).unwrap();
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = scratch.expect(7, &["apply", "--yes"]);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("no luck"), "{ran:?}");
    assert_eq!(cron_files(&scratch), ["rlvm-home"]);
    fs::remove_file(&stand_in).unwrap();
    scratch.apply();
    assert!(cron_files(&scratch).is_empty());
    scratch.plan_is_empty();
    // And back: /etc/cron.d holds what is in the way.
    scratch.dir("/etc/cron.d/trim", 0, 0o755);
    scratch.state(&state("cron"));
    scratch.expect(7, &["apply", "--yes"]);
    assert_eq!(units(&scratch), ["timers.target.wants", "trim.service", "trim.timer"]);
}

#[test]
fn what_leaves_the_state_leaves_the_machine() {
    // R46
    let scratch = applied();
    scratch.file(&format!("{ETC}/mine.timer"), "[Timer]\nOnCalendar=daily\n");
    scratch.file("/var/lib/systemd/timers/stamp-trim.timer", "");
    scratch.file("/var/lib/systemd/timers/stamp-mine.timer", "");
    scratch.state(&state("systemd").split("cron:\n").next().unwrap().replace("@reboot", "@daily"));
    scratch.apply();
    scratch.plan_is_empty();
    let left = [
        "mine.timer",
        "multi-user.target.wants",
        "rlvm-boot.service",
        "rlvm-boot.timer",
        "rlvm-home.service",
        "rlvm-home.timer",
        "rlvm_sweep.service",
        "timers.target.wants",
    ];
    assert_eq!(units(&scratch), left);
    let stamps = fs::read_dir(scratch.at("/var/lib/systemd/timers")).unwrap();
    assert_eq!(stamps.map(|it| it.unwrap().file_name()).collect::<Vec<_>>(), ["stamp-mine.timer"]);
    // What is gone already is no trouble, nor is a link that leads nowhere.
    scratch.state(&state("systemd"));
    scratch.apply();
    fs::remove_file(scratch.at(&format!("{ETC}/trim.timer"))).unwrap();
    fs::remove_file(scratch.at(&format!("{ETC}/trim.service"))).unwrap();
    scratch.state(state("systemd").split("cron:\n").next().unwrap());
    scratch.apply();
    scratch.plan_is_empty();
    assert!(!units(&scratch).iter().any(|name| name.contains("trim")));
    assert!(!scratch.at(&format!("{ETC}/timers.target.wants/trim.timer")).is_symlink());
}

#[test]
fn what_was_changed_by_hand_is_drift() {
    // R47
    let scratch = applied();
    let whole = schedules(&scratch);
    let at = |path: &str| scratch.at(&format!("{ETC}/{path}"));
    let hands: [(&str, &dyn Fn()); 6] = [
        ("-OnCalendar=*:0/1", &|| {
            scratch.file(&format!("{ETC}/trim.timer"), "[Timer]\nOnCalendar=*:0/1\n");
        }),
        ("+Description=rlvm: job home of web01", &|| fs::write(at("rlvm-home.service"), "").unwrap()),
        ("enabled", &|| fs::remove_file(at("timers.target.wants/trim.timer")).unwrap()),
        ("enabled", &|| fs::remove_dir_all(at("multi-user.target.wants")).unwrap()),
        ("it is gone since the last apply", &|| fs::remove_file(at("trim.timer")).unwrap()),
        ("mode", &|| fs::set_permissions(at("trim.service"), fs::Permissions::from_mode(0o666)).unwrap()),
    ];
    for (said, hand) in hands {
        hand();
        let plan = scratch.expect(2, &["plan", "--detailed-exitcode"]).stdout;
        assert!(plan.contains("since the last apply") && plan.contains(said), "{said}\n{plan}");
        scratch.apply();
        assert_eq!(schedules(&scratch), whole, "{said}");
        scratch.plan_is_empty();
    }
}

#[test]
fn what_is_masked_or_a_packages_is_refused() {
    // R46
    let scratch = tree();
    let refused = |name: &str, said: &str| {
        scratch.state(&format!(
            "scheduler: systemd\ncron:\n  {name}: {{ schedule: \"@daily\", command: \"true\", adopt: true }}\n"
        ));
        let timers = || {
            let mut all = scratch.contents();
            all.retain(|path, _| path.contains(".timer"));
            all
        };
        let before = timers();
        let ran = scratch.expect(7, &["apply", "--yes"]);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(told.contains(said), "{said}:\n{told}");
        assert_eq!(timers(), before, "{name}");
    };
    symlink("/dev/null", scratch.at(&format!("{ETC}/trim.timer"))).unwrap();
    refused("trim", "`systemctl unmask trim.timer` ends that");
    refused("logrotate", "/usr/lib/systemd/system/logrotate.timer is there already, from a package");
    // A link that leads elsewhere is somebody's.
    scratch.dir(&format!("{ETC}/timers.target.wants"), 0, 0o755);
    symlink("/opt/own.timer", scratch.at(&format!("{ETC}/timers.target.wants/own.timer"))).unwrap();
    refused("own", "is a link to /opt/own.timer");
}

#[test]
fn one_that_is_there_already_is_taken_over_only_if_that_is_said() {
    // R46
    let scratch = tree();
    scratch.file(&format!("{ETC}/trim.service"), "[Service]\nExecStart=/bin/true\n");
    scratch.state("scheduler: systemd\ncron:\n  trim: { schedule: \"@daily\", command: \"true\" }\n");
    let ran = scratch.expect(6, &["apply", "--yes"]);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("was not made by rlvm"), "{ran:?}");
    assert_eq!(units(&scratch), ["trim.service"]);
    scratch.expect(0, &["apply", "--yes", "--adopt"]);
    scratch.plan_is_empty();
    assert_eq!(units(&scratch), ["timers.target.wants", "trim.service", "trim.timer"]);
}
