//! What a job's service may not do: as far as LVM, mounts and hooks allow (systemd.exec(5) of 252).
//!
//! A backup that fails of a setting is worse than one that could have done more, so each line has to say why it is
//! safe, and each that is left out why it is not. Three things are beyond any list: a hook is any shell at all, `stop`
//! talks to whatever runs there, and a source that is frozen needs devices, modules and mounts.

use crate::{source::Source, state::Job};

/// One line of a service, and why it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) line: &'static str,
    pub(super) why: &'static str,
}

/// Writes a table of settings.
macro_rules! settings {
    ($($line:literal: $why:literal,)*) => { &[$(Setting { line: $line, why: $why },)*] };
}

/// For every job of anybody's.
const ANYBODYS: &[Setting] = settings! {
    "UMask=0077": "what is written for a while, dumps above all, is nobody else's business",
};

/// For every job of the host's: none of them changes what a child may mount, load, or become.
const ALWAYS: &[Setting] = settings! {
    "KeyringMode=private": "no job reads the keys that root's other programs hold",
    "LockPersonality=true": "no program of a backup is of another system's kind",
    "ProtectHostname=true": "a backup is filed under the name of its host, which no hook changes meanwhile",
    "RestrictRealtime=true": "a backup never goes before everything else; `nice` and `ionice` are not concerned",
};

/// For a job of the host's that is plain: restic, and what it calls to reach a repository.
const PLAIN: &[Setting] = settings! {
    "MemoryDenyWriteExecute=true": "restic, rclone and ssh make no code while they run",
    "NoNewPrivileges=true": "another user is only stepped down to, by setpriv, which needs no set-id program",
    "ProtectControlGroups=true": "nothing is stopped or frozen, so no control group is written",
    "ProtectKernelLogs=true": "nothing reads the kernel's messages; as it takes a mount namespace, not with hooks",
    "ProtectKernelTunables=true": "nothing below /proc/sys or /sys is written",
    "RestrictSUIDSGID=true": "nothing is restored, so no set-id file is made",
    "SystemCallArchitectures=native": "each program is of this machine's kind",
    "SystemCallFilter=~@clock @module @reboot @swap": "no device is mapped, so no module is loaded",
    "SystemCallErrorNumber=EPERM": "what is refused is told in words, not by a program's death",
};

/// What no job gets.
#[cfg(test)]
const NEVER: &[Setting] = settings! {
    "CapabilityBoundingSet=": "it reads what belongs to anybody, and makes devices, modules and mounts",
    "DevicePolicy=": "snapshots are new devices, with numbers that nobody knows before",
    "IPAddressDeny=": "where a repository is, the state says, and names may lead elsewhere tomorrow",
    "PrivateDevices=": "the device mapper, and devices that a source may be",
    "PrivateIPC=": "the device mapper waits for udev by a semaphore of the host's",
    "PrivateMounts=": "a hook's mount is to be seen by the host; a run makes a namespace of its own for its own mounts",
    "PrivateNetwork=": "repositories elsewhere",
    "PrivateTmp=": "a source may lie in /tmp, a hook's dump too",
    "PrivateUsers=": "owners and root's rights are what a backup is about",
    "ProcSubset=": "locks and mounts are told from /proc",
    "ProtectClock=": "it implies DeviceAllow=, and so closes the device mapper",
    "ProtectHome=": "homes are what is backed up",
    "ProtectKernelModules=": "it hides /usr/lib/modules, which a backup of /usr would then lack; and snapshots load modules",
    "ProtectProc=": "who holds a file open or a lock is told from /proc",
    "ProtectSystem=": "repositories, dumps and numbers for Prometheus may lie anywhere",
    "RestrictAddressFamilies=": "restic, rclone, ssh and name services choose theirs",
    "RestrictNamespaces=": "a run's mounts are in a namespace of its own; a container engine makes its own",
    "RuntimeMaxSec=": "how long a run may take is the job's `timeout`, which cleans up",
};

/// Lists what holds for a job's service, or that of the sweep, which closes what any job has opened. A user's manager could set the others only with `NoNewPrivileges=true`, and
/// with that a hook's `sudo` ends.
pub(super) fn settings(job: Option<&Job>, of_a_user: bool) -> impl Iterator<Item = &'static Setting> {
    let always = if of_a_user { &[] } else { ALWAYS };
    let plain = if of_a_user || !job.is_some_and(is_plain) { &[] } else { PLAIN };
    ANYBODYS.iter().chain(always).chain(plain)
}

/// Says whether a job is nothing but restic reading files: a notification may go by a mailer, which is set-group-id.
fn is_plain(job: &Job) -> bool {
    let hooks = &job.hooks;
    let hooked =
        [&hooks.before, &hooks.after, &hooks.failed, &hooks.finally].iter().any(|all| !all.is_empty());
    let paths = job.sources.iter().all(|source| matches!(source, Source::Path(_)));
    paths && !hooked && job.stop.is_empty() && job.notify.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(more: &str, of_a_user: bool) -> Vec<&'static str> {
        let yaml = format!(
            "version: 1\nhost: web01\ndestinations:\n  a: {{ local: {{ path: /a }}, password_file: /p }}\n\
            notify:\n  ops: {{ email: {{ to: a@b.c }} }}\njobs:\n  a: {{ to: [a], {more} }}\n"
        );
        let loaded = crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap();
        settings(loaded.state.jobs.values().next(), of_a_user).map(|it| it.line).collect()
    }

    #[test]
    fn more_only_where_nothing_needs_it() {
        let lines = |tables: &[&'static [Setting]]| {
            tables.iter().flat_map(|it| it.iter()).map(|it| it.line).collect::<Vec<_>>()
        };
        let (few, all) = (lines(&[ANYBODYS, ALWAYS]), lines(&[ANYBODYS, ALWAYS, PLAIN]));
        for (job, expected) in [
            ("sources: [{ path: /etc }]", &all),
            ("sources: [{ path: /etc }], user: backup", &all),
            ("sources: [{ path: /etc }], hooks: { finally: [{ run: sudo true }] }", &few),
            ("sources: [{ path: /etc }], stop: [{ systemd: shop.service }]", &few),
            ("sources: [{ path: /etc }], notify: [ops]", &few),
            ("sources: [{ path: /etc }, { lvm: { volume: vg0/root, snapshot_size: 2G, paths: [/] } }]", &few),
        ] {
            assert_eq!(of(job, false), *expected, "{job}");
            assert_eq!(of(job, true), ["UMask=0077"], "{job}");
        }
        assert_eq!(settings(None, false).map(|it| it.line).collect::<Vec<_>>(), few);
    }

    #[test]
    fn each_has_its_reason_and_none_is_left_out_and_in() {
        let used: Vec<&str> = [ANYBODYS, ALWAYS, PLAIN].concat().iter().map(|it| it.line).collect();
        for Setting { line, why } in [ANYBODYS, ALWAYS, PLAIN, NEVER].concat() {
            assert!(why.len() > 12, "{line}");
            let name = line.split_once('=').unwrap().0;
            let times = used.iter().filter(|it| it.split_once('=').unwrap().0 == name).count();
            assert_eq!(times, usize::from(!line.ends_with('=')), "{line}");
        }
    }
}
