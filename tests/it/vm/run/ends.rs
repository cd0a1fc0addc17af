//! Runs that are ended: by a signal, by a limit, by the power.

use super::{Before, Vm, ended, one_job, quick, standin, start};

/// Starts a run and waits until restic reads.
fn reading(vm: &Vm) {
    standin::knob(vm, "backup * wait\n");
    start(vm, "all");
    standin::until_called(vm, "backup", standin::of_calls(vm, "backup", "argv").len() + 1);
}

/// Wants a whole backup now.
#[track_caller]
fn works(vm: &Vm) {
    standin::knob(vm, "");
    let before = standin::stored(vm, "/vault/web01").len();
    vm.expect(0, &["run", "all"]);
    assert_eq!(standin::stored(vm, "/vault/web01").len(), before + 1);
}

#[test]
fn a_run_that_is_ended_leaves_nothing() {
    let (vm, before) = quick(&one_job(""));
    signals_end_it_clean(&vm, &before);
    restic_killed_fails_its_destination(&vm, &before);
    a_second_start_says_who_holds_it(&vm, &before);
}

/// R56
#[track_caller]
fn signals_end_it_clean(vm: &Vm, before: &Before) {
    for (signal, codes) in [("INT", &[130][..]), ("TERM", &[143]), ("HUP", &[129, 130, 143])] {
        reading(vm);
        vm.ok(&format!("kill -{signal} $(pgrep -ox rlvm)"));
        let ran = ended(vm);
        assert!(ran.code.is_some_and(|code| codes.contains(&code)), "{signal}: {ran:?}");
        before.is_back(vm);
        assert!(standin::stored(vm, "/vault/web01").is_empty(), "{signal}");
    }
    works(vm);
    before.is_back(vm);
}

/// R56
#[track_caller]
fn restic_killed_fails_its_destination(vm: &Vm, before: &Before) {
    reading(vm);
    standin::knob(vm, "backup * fail 1\n");
    vm.ok("kill -9 $(pgrep -ox restic)");
    let ran = ended(vm);
    assert!(ran.code == Some(8) && ran.stdout.contains("vault"), "{ran:?}");
    // Its child, which nobody but rlvm could end, too.
    before.is_back(vm);
    works(vm);
}

#[test]
fn a_limit_ends_all_that_it_started() {
    // R58
    let (vm, before) = quick(&one_job(", timeout: 10s"));
    standin::knob(&vm, "backup * sleep 1000\n");
    let ran = vm.run("rlvm run all");
    assert!(matches!(ran.code, Some(1 | 8)) && ran.stderr.contains("10s"), "{ran:?}");
    before.is_back(&vm);
}

/// What others have and rlvm must leave: a name that is nearly one of its own, a tag without the run.
const OTHERS: &str = "lvcreate -q -y -s -n rlvm-abc-0 -L 8M vg0/srv; lvcreate -q -y -n rlvm-abc-1 -L 8M vg0; lvcreate -q -y -n mine --addtag backup -L 8M vg0";

#[test]
fn killed_the_next_start_sweeps_its_own_and_nothing_else() {
    // R56, R61
    let (vm, _) = quick(&one_job(""));
    vm.ok(OTHERS);
    let before = Before::of(&vm);
    for next in ["sweep", "run all"] {
        reading(&vm);
        vm.ok("kill -9 $(pgrep -x rlvm)");
        vm.until(120, "test -e /run/code");
        assert_ne!(vm.run("lvs --noheadings -o lv_tags | grep rlvm-run").stdout, "", "it had no time");
        standin::knob(&vm, "");
        vm.ok(&format!("rlvm {next}"));
        before.is_back(&vm);
    }
    vm.ok("lvs vg0/rlvm-abc-0 vg0/rlvm-abc-1 vg0/mine");
    // Nothing to do is no error.
    vm.expect(0, &["sweep"]);
    works(&vm);
}

#[test]
fn a_power_cut_leaves_what_the_next_start_sweeps() {
    // R56
    let (vm, _) = quick(&one_job(""));
    vm.ok(OTHERS);
    let before = Before::of(&vm);
    reading(&vm);
    vm.ok("sync");
    let vm = Vm::boot(vm.cut_power());
    assert_ne!(vm.run("lvs --noheadings -o lv_tags | grep rlvm-run").stdout, "", "it had no time");
    vm.expect(0, &["sweep"]);
    // The sweep that cron starts at boot may still be at work.
    vm.until(60, "! pgrep -x rlvm");
    before.is_back(&vm);
    standin::install(&vm);
    works(&vm);
    before.is_back(&vm);
}

/// R61
#[track_caller]
fn a_second_start_says_who_holds_it(vm: &Vm, before: &Before) {
    reading(vm);
    let holder = vm.ok("pgrep -ox rlvm");
    let ran = vm.expect(4, &["run", "all"]);
    assert!(ran.stderr.contains(holder.trim()), "{ran:?}");
    // And a sweep leaves a run that lives.
    vm.run("rlvm sweep");
    assert_ne!(vm.run("lvs --noheadings -o lv_tags | grep rlvm-run").stdout, "");
    standin::let_go(vm);
    let ran = ended(vm);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    before.is_back(vm);
}
