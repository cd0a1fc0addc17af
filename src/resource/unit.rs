//! A systemd unit of rlvm: a timer, or a service that a timer or the boot starts.
//!
//! rlvm writes the file, systemctl makes the link that enables it, and the manager runs the timer. Each of the three
//! is observed separately, so that the next apply finishes one that was killed in between (R48). rlvm never starts or
//! stops a service: that would begin or end a run at the wrong time.

mod look;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Attribute, Cost, Diff, Edit, FileSeen, Finding, Kind, Look, ManagedFile, Removal, Severity};
use crate::{
    effect::{Arg, Cmd, Op, Owner},
    model::{Address, HostPath, Mode, Personal, UserName},
};

/// A unit's file, and what is to become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    file: ManagedFile,
    /// Whether it is enabled.
    enabled: bool,
    /// Boxed: there are more of all other kinds, and each is as large as the largest.
    #[serde(flatten)]
    run: Box<Running>,
}

/// What has a unit run, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    /// The target that it is pulled in by when it is enabled.
    target: String,
    /// The service that it starts, if it is a timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// What is scheduled by it, if it is what does that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    /// Where systemd notes when the timer went off last.
    stamp: HostPath,
    /// The user whose manager it is, if not the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<OwnManager>,
}

/// A user's own manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnManager {
    /// The user.
    pub user: UserName,
    /// Where it is reached, `$XDG_RUNTIME_DIR`.
    pub runtime: HostPath,
}

/// What was seen of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSeen {
    /// Its file.
    pub file: FileSeen,
    /// The link that enables it.
    pub wants: Wants,
    /// Why nothing may be written, if so: it is masked, or a package brought one of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// What the manager says.
    pub manager: Manager,
    /// Whether it is noted when it went off last; looked at only when it is no longer declared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stamp: bool,
    /// Whether the user's manager runs without the user being logged in; looked at only for a user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lingers: Option<bool>,
}

/// The link that enables a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wants {
    /// There is none.
    Absent,
    /// It leads to the unit.
    Ours,
    /// It leads elsewhere, or is no link: what.
    Other(String),
}

/// What the manager of units says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// This is a tree: there is none to ask.
    Tree,
    /// systemd does not run here.
    Absent,
    /// It cannot be asked: why.
    Unreachable(String),
    /// What it says of the unit.
    Runs(Loaded),
}

/// What the manager has of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the manager says each by itself")]
pub struct Loaded {
    /// Whether it knows it.
    pub known: bool,
    /// Whether its file has changed since it was read.
    pub stale: bool,
    /// Whether it waits for its time. Only asked of timers: whether a service runs is no difference.
    pub active: bool,
    /// Whether it is kept as failed; looked at only when it is no longer declared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// What a unit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Timer,
    Service,
}

impl Unit {
    /// Names a service. It is enabled if the boot starts it, for what is scheduled so.
    ///
    /// # Errors
    ///
    /// If the name is no file's.
    pub fn service(name: &str, text: String, at_boot: bool, own: Option<&Personal>) -> Result<Self> {
        let target = if own.is_some() { "default.target" } else { "multi-user.target" };
        let schedule = at_boot.then(|| name.to_owned());
        Self::new(&format!("{name}.service"), text, target, schedule, own)
    }

    /// Names the timer of a service of the same name.
    ///
    /// # Errors
    ///
    /// If the name is no file's.
    pub fn timer(name: &str, text: String, own: Option<&Personal>) -> Result<Self> {
        let mut it = Self::new(&format!("{name}.timer"), text, "timers.target", Some(name.into()), own)?;
        it.run.service = Some(format!("{name}.service"));
        Ok(it)
    }

    fn new(
        file: &str,
        text: String,
        target: &str,
        schedule: Option<String>,
        own: Option<&Personal>,
    ) -> Result<Self> {
        let directory = Self::directory(own)?;
        let owner =
            own.map_or_else(Owner::root, |own| Owner { user: own.user.clone(), group: own.group.clone() });
        let state = own.map_or_else(|| HostPath::fixed("/var/lib"), |own| own.data.clone());
        Ok(Self {
            file: ManagedFile { path: directory.join(file)?, owner, mode: Mode::new(0o644), text },
            enabled: schedule.is_some(),
            run: Box::new(Running {
                target: target.into(),
                service: None,
                schedule,
                stamp: format!("{state}/systemd/timers/stamp-{file}").parse()?,
                own: own.map(|own| OwnManager { user: own.user.clone(), runtime: own.runtime.clone() }),
            }),
        })
    }

    /// Returns where units of the host's own stand, or a user's.
    ///
    /// # Errors
    ///
    /// If that is no path.
    pub fn directory(own: Option<&Personal>) -> Result<HostPath> {
        Ok(match own {
            None => HostPath::fixed("/etc/systemd/system"),
            Some(own) => own.config.join("systemd")?.join("user")?,
        })
    }

    fn name(&self) -> &str {
        self.file.path.name()
    }

    fn is(&self) -> Is {
        if self.run.service.is_some() { Is::Timer } else { Is::Service }
    }

    /// Prepares a call of the unit's manager.
    fn systemctl(&self, words: &[&str]) -> Cmd {
        let cmd = Cmd::new("systemctl").rooted();
        let cmd = match &self.run.own {
            None => cmd,
            Some(own) => cmd.arg("--user").env("XDG_RUNTIME_DIR", Arg::Path(own.runtime.clone())),
        };
        cmd.args(words.iter().copied())
    }

    fn run(&self, words: &[&str]) -> Op {
        Op::Run(self.systemctl(words))
    }

    /// Says what enables it, and, for a timer, has it wait for its time.
    fn enabling(&self, enabled: bool, waits: bool, edit: &mut Edit) {
        if !waits {
            // Else it would at once make up for what it thinks it missed: a run at noon, since the schedule was changed.
            // Where there is no such file systemd makes one, and counts from now (252, timer_start).
            edit.ops.push(Op::Run(Cmd::new("touch").arg("-c").path(&self.run.stamp)));
        }
        match (enabled, waits) {
            (true, true) => {}
            (false, true) => edit.ops.push(self.run(&["enable", self.name()])),
            (false, false) => edit.ops.push(self.run(&["enable", "--now", self.name()])),
            (true, false) => edit.ops.push(self.run(&["start", self.name()])),
        }
    }

    /// Lists what is to be done beside the file being written, on a system whose manager runs.
    fn on_running(&self, loaded: Loaded, enabled: bool, edit: &mut Edit) {
        // Where its file was missing it may be known as missing, so it is read again whenever it was written.
        let stale = loaded.stale || !edit.ops.is_empty();
        let restart = self.is() == Is::Timer && loaded.active && stale;
        if restart {
            // First of all: one that waits while its file is read again counts from its last run, and goes off at once
            // if the new schedule lies between that and now.
            edit.ops.insert(0, self.run(&["stop", self.name()]));
        }
        if stale {
            edit.ops.push(self.run(&["daemon-reload"]));
        }
        if loaded.stale {
            edit.attributes.push(Attribute::new("loaded", "as it was", "as it is"));
        }
        if self.is() == Is::Timer && !loaded.active {
            edit.attributes.push(Attribute::new("active", false, true));
        }
        if self.enabled {
            let waits = self.is() == Is::Service || (loaded.active && !restart);
            self.enabling(enabled, waits, edit);
        }
    }
}

impl Kind for Unit {
    const NAME: &'static str = "unit";
    type Seen = UnitSeen;

    fn key(&self) -> Cow<'_, str> {
        self.name().into()
    }

    fn path(&self) -> Option<&HostPath> {
        Some(&self.file.path)
    }

    fn needs(&self) -> Vec<Address> {
        self.run.service.iter().map(|service| Address::new(Self::NAME, service)).collect()
    }

    fn cost(&self) -> Cost {
        // The manager is asked by a program.
        Cost::Work
    }

    fn is_alone(&self) -> bool {
        // Between `enable` and the reading that ends it the manager calls every unit stale (systemd 257), so one that is
        // looked at after its own change would look unfinished.
        true
    }

    fn observe(&self, look: &Look<'_, UnitSeen>) -> Result<UnitSeen> {
        self.look(look.host, look.leaving)
    }

    fn exists(&self, seen: &UnitSeen) -> bool {
        seen.file != FileSeen::Absent || self.is_left(seen)
    }

    fn diff(&self, seen: &UnitSeen) -> Diff {
        if let (Some(why), _) | (_, Wants::Other(why)) = (&seen.taken, &seen.wants) {
            return Diff::Refuse(why.clone());
        }
        let (mut edit, is_new) = match self.file.diff(&seen.file) {
            Diff::Refuse(why) => return Diff::Refuse(why),
            Diff::Same | Diff::Unmanaged => (Edit::default(), false),
            Diff::Create(edit) => (edit, true),
            Diff::Update(edit) => (edit, false),
        };
        let enabled = seen.wants == Wants::Ours;
        if enabled != self.enabled {
            edit.attributes.push(Attribute::new("enabled", enabled, self.enabled));
        }
        match seen.manager {
            Manager::Runs(loaded) => self.on_running(loaded, enabled, &mut edit),
            _ if self.enabled => self.enabling(enabled, true, &mut edit),
            _ => {}
        }
        if enabled && !self.enabled {
            edit.ops.push(self.run(&["disable", self.name()]));
        }
        match (edit.ops.is_empty(), is_new) {
            (true, _) => Diff::Same,
            (false, true) => Diff::Create(edit),
            (false, false) => Diff::Update(edit),
        }
    }

    fn checks(&self, seen: &UnitSeen, _: Option<&UnitSeen>) -> Vec<Finding> {
        // Said once, not of each unit.
        let say = |severity, message: String| Finding::new(severity, "scheduler", message);
        let mut findings = Vec::new();
        match (&seen.manager, &self.run.own) {
            (Manager::Absent, _) => {
                let message = "`scheduler: systemd`, and systemd does not run here".to_owned();
                let remedy = "write `scheduler: cron`, or boot with systemd";
                findings.push(say(Severity::Error, message).remedy(remedy));
            }
            (Manager::Unreachable(why), Some(OwnManager { user, .. })) => {
                let message = format!("the systemd of {user} cannot be asked: {why}");
                let remedy = format!("log in as {user}, or `loginctl enable-linger {user}`; then plan again");
                findings.push(say(Severity::Error, message).remedy(remedy));
            }
            (Manager::Unreachable(why), None) => {
                let message = format!("systemd cannot be asked: {why}");
                findings.push(say(Severity::Error, message).remedy("look at `systemctl status`"));
            }
            (Manager::Tree, Some(_)) => {
                let message = "timers of a user cannot be enabled below --root".to_owned();
                findings.push(say(Severity::Error, message).remedy("apply on the running system"));
            }
            (Manager::Tree, None) if self.enabled && seen.wants != Wants::Ours => {
                let message = "deferred: timers start at the first boot".to_owned();
                findings.push(say(Severity::Notice, message));
            }
            _ => {}
        }
        if let (Some(OwnManager { user, .. }), Some(false)) = (&self.run.own, seen.lingers) {
            let message = format!("its timers run only while {user} is logged in");
            let remedy = format!("`loginctl enable-linger {user}`");
            findings.push(say(Severity::Warning, message).remedy(remedy));
        }
        findings
    }

    fn removal(&self, seen: &UnitSeen, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        if let FileSeen::Other(what) = &seen.file {
            return Removal::Forget(what.clone());
        }
        let there = seen.file != FileSeen::Absent;
        if !there && !self.is_left(seen) {
            return Removal::Quiet;
        }
        let (mut ops, mut text) = (Vec::new(), None);
        let loaded = if let Manager::Runs(loaded) = seen.manager { loaded } else { Loaded::default() };
        if seen.wants == Wants::Ours || loaded.active {
            if !there && let Diff::Create(edit) = self.file.diff(&seen.file) {
                // systemctl disables only what it can read (tried with 252): it is put back for that.
                ops.extend(edit.ops);
            }
            let now: &[&str] = if loaded.active { &["disable", "--now"] } else { &["disable"] };
            ops.push(self.run(&[now, &[self.name()]].concat()));
        }
        if seen.stamp {
            // Else one of this name would later make up for what it missed in between.
            ops.push(Op::RemoveFile { path: self.run.stamp.clone() });
        }
        let held = if let FileSeen::File { text, .. } = &seen.file { text } else { &self.file.text };
        if there || !ops.is_empty() {
            let (path, before) = (self.file.path.clone(), Some(held.clone()));
            ops.push(Op::EditFile { path, before, after: None });
        }
        if there {
            text = Some((held.clone(), String::new()));
        }
        if loaded.known || loaded.stale {
            ops.push(self.run(&["daemon-reload"]));
        }
        if loaded.failed {
            // Else it would be listed as failed, and the system as degraded, until the next boot. Nobody may have
            // said so meanwhile, which is an error then.
            ops.push(Op::Run(self.systemctl(&["reset-failed", self.name()]).ok(&[0, 1])));
        }
        Removal::Delete(Edit { attributes: Vec::new(), text, ops })
    }

    fn is_asked_for(&self) -> bool {
        // A timer's service comes and goes with the timer.
        self.run.schedule.is_some()
    }

    fn slots(&self) -> Vec<String> {
        // R45: a file in /etc/cron.d takes its place, or it takes that file's.
        self.run.schedule.as_ref().map(|name| format!("schedule/{name}")).into_iter().collect()
    }
}
