//! Observes a unit: its file, the link that enables it, and its state in the manager.

use anyhow::{Result, bail};

use super::{Is, Loaded, Manager, Unit, UnitSeen, Wants};
use crate::{
    effect::{Cmd, Query},
    host::{Entry, Observe, Output},
    model::HostPath,
    resource::FileSeen,
};

/// Where packages put units of the system's manager. Where /lib is no link to /usr/lib both are read (systemd.unit(5)).
const SYSTEM: &[&str] = &["/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Where packages and root put units of users' managers.
const USER: &[&str] = &["/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"];
/// What is asked of a manager.
const PROPERTIES: &str = "LoadState,ActiveState,NeedDaemonReload,FragmentPath";

impl Unit {
    pub(super) fn look(&self, host: &dyn Observe, leaving: bool) -> Result<UnitSeen> {
        let path = &self.file.path;
        let file = self.file.observe(host)?;
        let (manager, from) = self.ask(host, &file, leaving)?;
        let masked = host.link(path)?.is_some_and(|target| target == "/dev/null");
        let name = self.name();
        let taken = if masked {
            Some(format!(
                "{path} is a link to /dev/null: it is masked, and `systemctl unmask {name}` ends that"
            ))
        } else {
            let by = match from {
                Some(from) => Some(from),
                None => self.shipped(host)?,
            };
            by.map(|by| {
                format!(
                    "{by} is there already, from a package or a script: give yours another name than {name}"
                )
            })
        };
        let lingers = match &self.run.own {
            Some(own) if !host.is_tree() => {
                let path: HostPath = format!("/var/lib/systemd/linger/{}", own.user).parse()?;
                Some(matches!(host.entry(&path)?, Entry::File(_)))
            }
            _ => None,
        };
        let stamp =
            leaving && self.is() == Is::Timer && matches!(host.entry(&self.run.stamp)?, Entry::File(_));
        Ok(UnitSeen { file, wants: self.wants(host)?, taken, manager, stamp, lingers })
    }

    /// Looks at the link that enables it.
    fn wants(&self, host: &dyn Observe) -> Result<Wants> {
        let (path, name) = (&self.file.path, self.name());
        let Some(directory) = path.parent() else { return Ok(Wants::Absent) };
        let at = directory.join(&format!("{}.wants", self.run.target))?.join(name)?;
        Ok(match host.link(&at)? {
            Some(target) if target == path.as_str() || target == format!("../{name}") => Wants::Ours,
            Some(target) => Wants::Other(format!("{at} is a link to {target}, not to {path}")),
            None => match host.entry(&at)? {
                Entry::Absent => Wants::Absent,
                Entry::Blocked(why) => Wants::Other(why),
                other => Wants::Other(format!("{at} is {}, no link to {path}", other.noun())),
            },
        })
    }

    /// Finds one of this name that a package brought.
    fn shipped(&self, host: &dyn Observe) -> Result<Option<String>> {
        let directories = if self.run.own.is_some() { USER } else { SYSTEM };
        for directory in directories {
            let path = directory.parse::<HostPath>()?.join(self.name())?;
            if !matches!(host.entry(&path)?, Entry::Absent | Entry::Blocked(_)) {
                return Ok(Some(path.to_string()));
            }
        }
        Ok(None)
    }

    /// Asks the manager; and where it has one of this name from, if from elsewhere.
    fn ask(&self, host: &dyn Observe, file: &FileSeen, leaving: bool) -> Result<(Manager, Option<String>)> {
        if host.is_tree() {
            return Ok((Manager::Tree, None));
        }
        // sd_booted(3)
        if !matches!(host.entry(&HostPath::fixed("/run/systemd/system"))?, Entry::Directory(_)) {
            return Ok((Manager::Absent, None));
        }
        let cmd: Cmd = self.systemctl(&["show", "-p", PROPERTIES, "--", self.name()]).timeout(30);
        let output = host.query(&Query::new(cmd)?)?;
        if output.code != Some(0) {
            return Ok((Manager::Unreachable(why(&output)), None));
        }
        let said = said(&output.stdout)?;
        let elsewhere =
            !said.from.is_empty() && said.from != self.file.path.as_str() && *file == FileSeen::Absent;
        let active = self.is() == Is::Timer && said.active;
        let loaded = Loaded {
            known: said.known && !elsewhere,
            stale: said.stale && !elsewhere,
            active: active && !elsewhere,
            failed: leaving && said.failed && !elsewhere,
        };
        Ok((Manager::Runs(loaded), elsewhere.then(|| said.from.to_owned())))
    }

    /// Says whether anything of it is left beside its file.
    pub(super) fn is_left(&self, seen: &UnitSeen) -> bool {
        let loaded =
            matches!(seen.manager, Manager::Runs(loaded) if loaded.active || loaded.stale || loaded.failed);
        seen.wants == Wants::Ours || seen.stamp || loaded
    }
}

/// What a manager said of a unit.
#[expect(clippy::struct_excessive_bools, reason = "systemctl says each by itself")]
pub(super) struct Said<'a> {
    pub(super) known: bool,
    pub(super) active: bool,
    pub(super) failed: bool,
    pub(super) stale: bool,
    pub(super) from: &'a str,
}

/// Reads what `systemctl show` prints: a name and a value each line.
pub(super) fn said(text: &str) -> Result<Said<'_>> {
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.split_once('=').filter(|(it, _)| *it == name).map(|(_, value)| value))
    };
    let (Some(load), Some(active), Some(stale)) =
        (value("LoadState"), value("ActiveState"), value("NeedDaemonReload"))
    else {
        bail!("systemctl show printed something else than was asked for: {}", text.escape_debug());
    };
    Ok(Said {
        known: load != "not-found",
        active: matches!(active, "active" | "activating" | "reloading"),
        failed: active == "failed",
        stale: stale == "yes",
        from: value("FragmentPath").unwrap_or_default(),
    })
}

/// Says why a manager did not answer, in one line.
fn why(output: &Output) -> String {
    match output.stderr.lines().last() {
        Some(line) => line.to_owned(),
        None if output.timed_out => "it does not answer".into(),
        None => "systemctl failed".into(),
    }
}
