//! Checks whether what has a schedule will be started. It is looked at, not installed.
//!
//! An entry in /etc/cron.d is a file like any other: it is there and as declared, and nothing runs where no cron daemon
//! reads it, or where the entry's PATH leads to no restic. What systemd says of its timers is in `unit`.

use std::{borrow::Cow, collections::BTreeMap};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{CRON_PATH, Finding, Look, Severity, check::Check};
use crate::{
    host::{Entry, Observe},
    model::{Address, HostPath},
};

/// What starts the schedules of a state, and what they need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduling {
    /// What starts them.
    pub starter: Starter,
    /// The programs that entries find by their PATH, each with the package that brings it.
    pub programs: BTreeMap<String, String>,
}

/// What starts schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Starter {
    /// A cron daemon that reads `/etc/cron.d`.
    CronFiles,
    /// A cron daemon that reads the crontab of a user.
    Crontab {
        /// Whether a command has a `%`.
        percent: bool,
    },
    /// systemd.
    Systemd,
}

/// What was seen of what starts schedules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulingSeen {
    /// The cron daemon.
    pub cron: CronDaemon,
    /// Programs that are on the caller's PATH and not on that of entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callers_alone: Vec<String>,
}

/// What was seen of a host's cron daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CronDaemon {
    /// None is installed.
    Absent,
    /// BusyBox's, which reads crontabs of users alone and does not know `\%` (tried with 1.37).
    BusyBox,
    /// One that reads `/etc/cron.d`; it does not run.
    Stopped,
    /// One that reads `/etc/cron.d`; it runs, or whether it runs cannot be told here.
    Ready,
}

/// Debian's cron, cronie's, and bcron's: each reads `/etc/cron.d`.
const DAEMONS: [&str; 3] = ["cron", "crond", "bcron-sched"];
/// Turns /etc/cron.d into timers at boot and whenever it changes (systemd-cron); no process is left of it.
const GENERATORS: [&str; 2] = [
    "/usr/lib/systemd/system-generators/systemd-crontab-generator",
    "/lib/systemd/system-generators/systemd-crontab-generator",
];
/// Programs that start a host's daemons. Where process 1 is another program, as in a container, whether a daemon runs
/// says nothing: it may be started later.
const INITS: [&str; 4] = ["systemd", "init", "runit", "s6-svscan"];

impl CronDaemon {
    /// Looks for the cron daemon of a host.
    ///
    /// # Errors
    ///
    /// If the host cannot be looked at.
    pub fn look(host: &dyn Observe) -> Result<Self> {
        for generator in GENERATORS {
            if is_program(host, &HostPath::fixed(generator))? {
                return Ok(Self::Ready);
            }
        }
        let mut seen = Self::Absent;
        for name in DAEMONS {
            let Some(at) = on_entries_path(host, name)? else { continue };
            if !host.link(&at)?.is_some_and(|target| target.ends_with("busybox")) {
                return Ok(if runs(host)? { Self::Ready } else { Self::Stopped });
            }
            seen = Self::BusyBox;
        }
        Ok(seen)
    }
}

/// Finds a program on the PATH that entries have.
fn on_entries_path(host: &dyn Observe, name: &str) -> Result<Option<HostPath>> {
    for directory in CRON_PATH.split(':') {
        let at = directory.parse::<HostPath>()?.join(name)?;
        if is_program(host, &at)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Says whether a program is at a path. A package's link to another place is as good.
pub(super) fn is_program(host: &dyn Observe, at: &HostPath) -> Result<bool> {
    match host.entry(at)? {
        Entry::File(meta) => Ok(meta.mode.bits() & 0o111 != 0),
        Entry::Absent => Ok(false),
        _ => Ok(host.link(at)?.is_some()),
    }
}

/// Says whether a cron daemon runs, or that cannot be told.
fn runs(host: &dyn Observe) -> Result<bool> {
    let name = |process: &str| -> Result<String> {
        let (_, text) = host.text(&format!("/proc/{process}/comm").parse()?)?;
        Ok(String::from_utf8_lossy(&text.unwrap_or_default()).trim_end().to_owned())
    };
    if host.is_tree() || !INITS.contains(&name("1")?.as_str()) {
        return Ok(true);
    }
    for process in host.names(&HostPath::fixed("/proc"))? {
        // A process may end between the two looks.
        let is_number = process.bytes().all(|it| it.is_ascii_digit());
        if is_number && name(&process).is_ok_and(|name| DAEMONS.contains(&name.as_str())) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Scheduling {
    /// Says what is wrong with the cron daemon, and what to do.
    fn daemon(&self, seen: CronDaemon) -> Option<(&'static str, &'static str)> {
        let is_crontab = matches!(self.starter, Starter::Crontab { .. });
        match (seen, self.starter) {
            (_, Starter::Systemd)
            | (CronDaemon::Ready, _)
            | (CronDaemon::BusyBox, Starter::Crontab { percent: false }) => None,
            (CronDaemon::Absent, _) => Some((
                "no cron daemon is installed, so no schedule of this state starts anything",
                "apt-get install cron (elsewhere: cronie), or write `scheduler: systemd`",
            )),
            (CronDaemon::Stopped, _) => Some((
                "the cron daemon does not run, so no schedule of this state starts anything",
                "systemctl enable --now cron (elsewhere: crond, cronie), or write `scheduler: systemd`",
            )),
            (CronDaemon::BusyBox, _) if is_crontab => Some((
                "BusyBox crond passes `\\%` to the shell as it is, so a command with `%` means something else",
                "put the command into a script, or install cronie in place of BusyBox crond",
            )),
            (CronDaemon::BusyBox, _) => Some((
                "BusyBox crond does not read /etc/cron.d, so no schedule of this state starts anything",
                "install cronie in place of BusyBox crond (apk add cronie)",
            )),
        }
    }
}

impl Check for Scheduling {
    const NAME: &'static str = "scheduler";
    type Seen = SchedulingSeen;

    fn key(&self) -> Cow<'_, str> {
        if self.starter == Starter::Systemd { "systemd".into() } else { "cron".into() }
    }

    fn observe(&self, look: &Look<'_, SchedulingSeen>) -> Result<SchedulingSeen> {
        let (host, mut callers_alone) = (look.host, Vec::new());
        // What another root holds gets its programs later.
        if look.leaving || host.is_tree() {
            return Ok(SchedulingSeen { cron: CronDaemon::Ready, callers_alone });
        }
        for program in self.programs.keys() {
            // That it is nowhere is said where it is used.
            if host.program(program)?.is_some() && on_entries_path(host, program)?.is_none() {
                callers_alone.push(program.clone());
            }
        }
        Ok(SchedulingSeen { cron: CronDaemon::look(host)?, callers_alone })
    }

    fn findings(&self, seen: &SchedulingSeen) -> Vec<Finding> {
        let address = Address::new(Self::NAME, &self.key());
        let say =
            |message: String, remedy: String| Finding::new(Severity::Error, &address, message).remedy(remedy);
        let daemon = self.daemon(seen.cron).map(|(message, remedy)| say(message.into(), remedy.into()));
        let programs = seen.callers_alone.iter().map(|program| {
            let package = self.programs.get(program).unwrap_or(program);
            let pin = if program == "restic" { ", or pin one: `restic:`" } else { "" };
            say(
                format!("{program} is on your PATH, but not on the PATH of scheduled entries: {CRON_PATH}"),
                format!("link {program} into /usr/local/bin, or apt-get install {package}{pin}"),
            )
        });
        daemon.into_iter().chain(programs).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_start_nothing_is_an_error_with_a_remedy() {
        let crontab = |percent| Starter::Crontab { percent };
        for (starter, cron, words) in [
            (Starter::CronFiles, CronDaemon::Ready, ""),
            (Starter::CronFiles, CronDaemon::Absent, "no cron daemon is installed"),
            (Starter::CronFiles, CronDaemon::Stopped, "does not run"),
            (Starter::CronFiles, CronDaemon::BusyBox, "does not read /etc/cron.d"),
            (crontab(false), CronDaemon::BusyBox, ""),
            (crontab(true), CronDaemon::BusyBox, "a command with `%`"),
            (crontab(true), CronDaemon::Ready, ""),
            (crontab(false), CronDaemon::Absent, "no cron daemon is installed"),
            (Starter::Systemd, CronDaemon::Absent, ""),
        ] {
            let it = Scheduling { starter, programs: BTreeMap::new() };
            let found = it.findings(&SchedulingSeen { cron, callers_alone: Vec::new() });
            assert_eq!(found.is_empty(), words.is_empty(), "{starter:?} {cron:?}");
            let told = |it: &Finding| {
                it.severity == Severity::Error && it.message.contains(words) && it.remedy.is_some()
            };
            assert!(found.iter().all(told), "{found:?}");
        }
    }

    #[test]
    fn a_program_that_only_the_caller_finds_is_an_error() {
        let programs = [("restic", "restic"), ("ssh", "openssh-client")];
        let programs = programs.map(|(program, package)| (program.into(), package.into())).into();
        let it = Scheduling { starter: Starter::Systemd, programs };
        let seen =
            SchedulingSeen { cron: CronDaemon::Absent, callers_alone: vec!["restic".into(), "ssh".into()] };
        let found = it.findings(&seen);
        assert!(found[0].message.contains("restic is on your PATH, but not on the PATH of scheduled"));
        assert_eq!(
            found[1].remedy.as_deref(),
            Some("link ssh into /usr/local/bin, or apt-get install openssh-client")
        );
    }
}
