//! `rlvm run` on a machine whose `/` is on a logical volume: what it stores, and what it leaves.
//!
//! What is about bytes has the real restic, what is about order, failure and being killed the stand-in.

mod afterwards;
mod bytes;
mod ends;
mod freeze;
mod killed;
mod others;
mod refusals;
mod space;
mod whole;

use serde_json::Value;

use super::{Vm, clean::Before, standin};
use crate::support::Ran;

/// One local destination on a disk of its own. The words of the others follow it.
const VAULT: &str = "
destinations:
  vault: { local: { path: /vault/web01 }, password_file: /etc/rlvm/vault.pass, generate_password: true }
";

/// The sources of a job: two logical volumes, one of them thin, and a plain path.
const SOURCES: &str = "[{ lvm: { volume: vg0/srv } }, { lvm: { volume: vg0/home } }, { path: /data }]";

/// Makes a machine with a state applied, and looks at it.
#[track_caller]
fn machine(state: &str) -> (Vm, Before) {
    let vm = Vm::lvm();
    // rlvm makes repositories in `vm::first_boot` and `vm::services`.
    for line in state.lines() {
        let Some((_, password_file)) = line.split_once("password_file: ") else { continue };
        let word = |text: &str| text.split([',', ' ', '}']).next().unwrap().to_owned();
        let path = word(line.split_once("path: ").unwrap().1);
        // The home of the account that `sftp` reaches.
        let path = if line.contains("sftp:") { format!("/vault/store/{path}") } else { path };
        vm.repository(&path, &word(password_file));
    }
    applied(vm, state)
}

/// Makes one whose restic is the stand-in.
#[track_caller]
fn quick(state: &str) -> (Vm, Before) {
    let vm = Vm::lvm();
    standin::install(&vm);
    applied(vm, state)
}

#[track_caller]
fn applied(vm: Vm, state: &str) -> (Vm, Before) {
    vm.state(state);
    vm.apply();
    vm.plan_is_empty();
    let before = Before::of(&vm);
    (vm, before)
}

/// Returns a state with one job, `all`, of the usual sources, and these words in it.
fn one_job(more: &str) -> String {
    format!("{VAULT}jobs:\n  all: {{ sources: {SOURCES}, to: [vault]{more} }}\n")
}

/// Starts a run as cron would: with signals as they are by default, and nobody who waits. Its exit code goes into
/// /run/code, what it prints into /run/out.
fn start(vm: &Vm, words: &str) {
    vm.put(
        "/run/start",
        format!("rlvm run {words} >/run/out 2>&1; echo $? >/run/code.new; mv /run/code.new /run/code")
            .as_bytes(),
        0o644,
    );
    // What is left behind shall be seen, not killed by systemd.
    vm.ok("rm -f /run/code; systemd-run -q --collect -p KillMode=process --unit=night sh /run/start");
}

/// Waits until it has ended.
#[track_caller]
fn ended(vm: &Vm) -> Ran {
    vm.until(180, "test -e /run/code");
    let code = vm.ok("cat /run/code").trim().parse().ok();
    vm.until(120, "! systemctl is-active -q night");
    let said = vm.ok("rm /run/start; cat /run/out");
    Ran { code, stdout: said, stderr: String::new() }
}

/// Calls the real restic for the vault.
#[track_caller]
fn restic(vm: &Vm, words: &str) -> String {
    vm.ok(&format!("/usr/bin/restic -q -r /vault/web01 --password-file /etc/rlvm/vault.pass {words}"))
}

/// Lists the snapshots of the vault.
#[track_caller]
fn snapshots(vm: &Vm) -> Vec<Value> {
    serde_json::from_str(&restic(vm, "snapshots --json")).unwrap()
}

/// Counts the volumes that were made since the machine was: LVM keeps each version of a group, with the command that came
/// after it, several of one command.
fn made(vm: &Vm) -> usize {
    let list = "grep -h '^description' /etc/lvm/archive/* | grep 'before.*lvcreate' | sort -u | wc -l";
    vm.ok(list).trim().parse().unwrap()
}
