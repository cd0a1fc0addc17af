//! rlvm killed at every step of a run: whatever it had open, `sweep` closes.

use std::fmt::Write;

use super::{Before, VAULT, Vm, standin};

/// Stands before each program that rlvm calls. Counts the calls of each, and kills rlvm at the one that /run/killed/at
/// says: `before` it, `amid` it or `after` it. What rlvm has begun that shall go on to its end goes on so much later than
/// rlvm ended, so that a sweep is quicker.
const WRAPPER: &str = r#"#!/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
name=${0##*/}
up=$PPID
read -r comm <"/proc/$up/comm"
[ "$comm" = rlvm ] || { read -r _ _ _ up _ <"/proc/$up/stat" && read -r comm <"/proc/$up/comm"; }
[ "$comm" = rlvm ] || exec "$name" "$@"
n=1
set -C
until true >"/run/killed/calls/$name.$n"; do n=$((n + 1)); done 2>/dev/null
set +C
echo "$name $n $*" >>/run/killed/all
read -r at when </run/killed/at
[ "$name.$n" = "$at" ] || exec "$name" "$@"
case $when in
before) kill -9 "$up"; sleep 3; exec "$name" "$@" ;;
amid) { sleep 0.03; kill -9 "$up"; } & exec "$name" "$@" ;;
after) "$name" "$@"; code=$?; kill -9 "$up"; exit $code ;;
esac
"#;

/// The programs that it stands before; `hook` is nobody's.
const PROGRAMS: &str = "lvs lvcreate lvremove mount umount fsfreeze systemctl restic hook btrfs findmnt blkid dmsetup udevadm vgs";

/// Two destinations, a hook on each side, a service that is down meanwhile, two volumes and a path.
fn state() -> String {
    let hooks = "hooks: { before: [{ run: hook before }], after: [{ run: hook after }], finally: [{ run: hook finally }] }";
    format!(
        "{VAULT}  other: {{ local: {{ path: /vault/other }}, password_file: /etc/rlvm/other.pass, generate_password: true }}\n\
         jobs:\n  all: {{ sources: {}, to: [vault, other], stop: [{{ systemd: up.service }}], {hooks} }}\n",
        super::SOURCES
    )
}

/// Makes the machine.
fn machine() -> (Vm, Before) {
    let vm = Vm::lvm();
    standin::install(&vm);
    vm.put("/usr/local/wrap/hook", WRAPPER.as_bytes(), 0o755);
    vm.put("/usr/local/bin/hook", b"#!/bin/sh\n:\n", 0o755);
    vm.ok(&format!("cd /usr/local/wrap; for name in {PROGRAMS}; do ln -sf hook $name; done"));
    let unit = "[Service]\nExecStart=/usr/bin/tail -f /dev/null\n";
    vm.put("/etc/systemd/system/up.service", unit.as_bytes(), 0o644);
    vm.ok("systemctl daemon-reload; systemctl start up");
    super::applied(vm, &state())
}

/// Runs the job, with rlvm killed at that call: `lvcreate.2`. Returns its exit code.
fn run(vm: &Vm, at: &str, when: &str) -> Option<i32> {
    let script = format!(
        "rm -rf /run/killed; mkdir -p /run/killed/calls; echo {at} {when} >/run/killed/at\nPATH=/usr/local/wrap:$PATH rlvm run all\nexit $?"
    );
    vm.run(&script).code
}

/// A call that rlvm made: the program and its number (`lvcreate.2`), and all its words.
type Call = (String, String);

/// Has the job run undisturbed, and lists the calls.
#[track_caller]
fn calls(vm: &Vm, before: &Before) -> Vec<Call> {
    assert_eq!(run(vm, "none", "never"), Some(0));
    before.is_back(vm);
    let all = vm.ok("cat /run/killed/all");
    let call = |line: &str| {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let (name, number) = (words.next().unwrap(), words.next().unwrap());
        (format!("{name}.{number}"), format!("{name} {}", words.next().unwrap()))
    };
    all.lines().map(call).collect()
}

/// Keeps one call of each kind: the last, when most is open. What differs only in volume, path or destination is of one
/// kind.
fn one_of_each_kind(calls: &[Call]) -> Vec<&Call> {
    let kind = |(_, words): &Call| {
        let is_general = |word: &&str| !word.contains('/') && !word.contains(|it: char| it.is_ascii_digit());
        words.split(' ').filter(is_general).take(3).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let last = |at: &usize| !calls[at + 1..].iter().any(|later| kind(later) == kind(&calls[*at]));
    (0..calls.len()).filter(last).map(|at| &calls[at]).collect()
}

/// What a sweep has to bring about beside [`Before`]: nothing is held still or suspended, no journal is left, and rlvm may
/// write.
const IS_WELL: &str = r#"
for at in /srv /home /; do ! fsfreeze --unfreeze $at 2>/dev/null || echo "$at was held still"; done
dmsetup info -c --noheadings -o name,suspended | grep -v Active
ls -A /var/lib/rlvm/journal
echo well >/srv/well && echo well >/home/well || echo "cannot write"
exit 0
"#;

/// Sweeps, and says what is not as it was.
fn swept(vm: &Vm, before: &Before) -> String {
    let ran = vm.run("rlvm sweep");
    let mut wrong = String::new();
    if ran.code != Some(0) {
        let _ = writeln!(wrong, "sweep: {ran:?}");
    }
    // What lets file systems go is not rlvm's child any more, and ends by itself.
    vm.until(60, "! pgrep --full [r]lvm-guard");
    vm.ok("udevadm settle");
    wrong += &vm.ok(IS_WELL);
    wrong += &before.differences(vm);
    wrong
}

/// Kills the run there, and sweeps.
#[track_caller]
fn killed(vm: &Vm, before: &Before, (at, words): &Call, when: &str) {
    let code = run(vm, at, when);
    // How full snapshots are is looked at from time to time; what is quick may end before it is killed in the midst.
    let may_end = when == "amid" || (words.starts_with("lvs") && at != "lvs.1");
    assert!(code == Some(137) || may_end && code == Some(0), "{when} `{words}`: {code:?}");
    let wrong = swept(vm, before);
    assert_eq!(wrong, "", "{when} `{words}`");
}

#[test]
fn a_sweep_brings_all_back_after_a_kill_at_each_kind_of_step() {
    // R56, R61
    let (vm, before) = machine();
    let all = calls(&vm, &before);
    let kinds = one_of_each_kind(&all);
    assert!(all.len() > 30 && kinds.len() > 12, "{kinds:?} of {all:?}");
    for call in kinds {
        killed(&vm, &before, call, "after");
    }
    calls(&vm, &before);
}

/// What changes the machine for others too. The view's mounts are nobody else's, and go with the last that sees them:
/// that they are gone after any step is enough.
const CHANGES: [&str; 5] = ["fsfreeze", "lvcreate", "lvremove", "restic backup", "systemctl st"];

#[test]
fn a_sweep_brings_all_back_after_a_kill_before_or_amid_a_change() {
    // R56, R61
    let (vm, before) = machine();
    let all = calls(&vm, &before);
    let mut changes = one_of_each_kind(&all);
    changes.retain(|(_, words)| CHANGES.iter().any(|change| words.starts_with(change)));
    assert!(changes.len() >= CHANGES.len(), "{changes:?}");
    for call in changes {
        killed(&vm, &before, call, "before");
        killed(&vm, &before, call, "amid");
    }
    calls(&vm, &before);
    let held = |start: &str| all.iter().rfind(|(_, words)| words.starts_with(start)).unwrap();
    for call in [held("fsfreeze --freeze"), held("lvcreate")] {
        for when in ["after", "amid"] {
            is_let_go_without_a_sweep(&vm, call, when);
            assert_eq!(swept(&vm, &before), "", "{when} `{}`", call.1);
        }
    }
}

/// Kills the run while file systems are held still, and wants them to be written to before any sweep.
#[track_caller]
fn is_let_go_without_a_sweep(vm: &Vm, (at, words): &Call, when: &str) {
    // There is something to write when it is held still.
    vm.ok("head -c 8M /dev/urandom | tee /srv/dirty >/home/dirty");
    assert_eq!(run(vm, at, when), Some(137), "{when} `{words}`");
    vm.ok("rm -f /run/written; { echo >/srv/well && echo >/home/well && echo >/run/written; } >/dev/null 2>&1 &");
    vm.until(30, "test -e /run/written");
}
