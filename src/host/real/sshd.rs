//! A part of sshd's configuration: tried beside its place, put there, tried again, and made known to sshd. A mistake
//! there could lock everybody out, so whatever sshd objects to is undone.

use std::{io::Write, os::unix::fs::MetadataExt};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::signal::{Signal, kill},
    unistd::{Pid, UnlinkatFlags, unlinkat},
};

use super::{
    Real,
    leaf::Existing,
    process,
    walk::{Cursor, Way},
};
use crate::{
    effect::{Cmd, ConfigureSshd, Login, Op, Owner, sshd_mark, sshd_path},
    host::{Act, Host, Output, private::PrivateDir},
    model::{HostPath, Mode},
};

/// Where a new text is tried before anything is put in place: nobody but root gets there.
const WORKSHOP: &str = "/run/rlvm/sshd";
/// What sshd reads if it is told nothing else.
const MAIN: &str = "/etc/ssh/sshd_config";
/// What the units are called: Debian's, and the others'.
const UNITS: [&str; 2] = ["ssh.service", "sshd.service"];
/// Where there is systemd (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";
/// Needed by each sshd, if only to read its configuration. Debian's unit makes it when sshd starts.
const EMPTY: &str = "/run/sshd";
const NO_EMPTY: &str = "Missing privilege separation directory: /run/sshd";

impl Real {
    /// Carries out [`Op::ConfigureSshd`]. In a tree there is no sshd to ask: it reads the file when that tree boots.
    pub(super) fn configure_sshd(&self, cursor: &mut Cursor, new: &ConfigureSshd) -> Result<()> {
        let ConfigureSshd { path, after, .. } = new;
        if !self.is_running_system() {
            return self.set_part(cursor, path, after.as_deref());
        }
        if let Some(text) = after {
            self.try_beside(text).context("nothing was put in place")?;
        }
        let before = self.content_of(path)?;
        let (name, above) = (sshd_mark(), sshd_mark().parent().context("the mark lies in a directory")?);
        let mark = PrivateDir::make(self, &above)?;
        // Before anything moves: a crash from here on leaves it, and the next plan knows that sshd has to be told.
        let was_marked = mark.file(name.name(), OFlag::O_RDONLY)?.is_some();
        mark.file(name.name(), OFlag::O_WRONLY | OFlag::O_CREAT)?;
        let unmark = || unlinkat(&mark, name.name(), UnlinkatFlags::NoRemoveDir);
        let agreed = self.set_part(cursor, path, after.as_deref()).and_then(|()| self.agree(new));
        if let Err(why) = agreed {
            let undone = self.set_part(&mut Cursor::default(), path, before.as_deref());
            undone.with_context(|| format!("{why:#}; and {path} could not be put back"))?;
            if !was_marked {
                unmark().with_context(|| format!("cannot remove {name}"))?;
            }
            return Err(why.context(format!("{path} is as it was before")));
        }
        self.settle()?;
        self.tell().context("sshd has not read its new configuration")?;
        unmark().with_context(|| format!("cannot remove {name}"))
    }

    fn set_part(&self, cursor: &mut Cursor, path: &HostPath, text: Option<&str>) -> Result<()> {
        match text {
            Some(text) => {
                let (owner, mode) = (Owner::root(), Mode::new(0o644));
                self.put(cursor, path, text.as_bytes(), &owner, mode, Existing::Replace)
            }
            None => self.act(&Op::RemoveFile { path: path.clone() }),
        }
    }

    /// Reads what is to be put back; nothing if there is no file.
    fn content_of(&self, path: &HostPath) -> Result<Option<String>> {
        let (_, text) = self.looker().text(path)?;
        text.map(|text| String::from_utf8(text).with_context(|| format!("{path} is no text"))).transpose()
    }

    /// Has sshd read a new text together with all that it reads already.
    fn try_beside(&self, text: &str) -> Result<()> {
        let path: HostPath = WORKSHOP.parse()?;
        drop(PrivateDir::make(self, &path.parent().context("it lies in a directory")?)?);
        let dir = PrivateDir::make(self, &path)?;
        let main = format!("Include {WORKSHOP}/part\nInclude {MAIN}\n");
        for (name, text) in [("part", text), ("whole", main.as_str())] {
            let file = dir.file(name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC)?;
            let written = file.context("it was to be made")?.write_all(text.as_bytes());
            written.with_context(|| format!("cannot write {}", dir.show(name)))?;
        }
        let tried = self.sshd(&Cmd::at(&sshd_path()).args(["-t", "-f"]).path(&path.join("whole")?));
        for name in ["part", "whole"] {
            unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir)
                .with_context(|| format!("cannot remove {}", dir.show(name)))?;
        }
        tried.map(drop)
    }

    /// Asks sshd, of the configuration that is in place, whether it is right and comes to what is meant for each user.
    fn agree(&self, new: &ConfigureSshd) -> Result<()> {
        self.sshd(&Cmd::at(&sshd_path()).arg("-t"))?;
        for login in &new.logins {
            let said = self.sshd(&Login::ask(&login.user))?.stdout;
            if let Some((word, meant, now)) = login.differences(&said).first() {
                bail!(
                    "sshd would hold `{word} {now}` for {}, where `{word} {meant}` is meant: another file of its \
                     configuration comes first\nhelp: grep -ri {word} {MAIN} {MAIN}.d",
                    login.user
                );
            }
        }
        Ok(())
    }

    /// Runs an sshd that only reads, and must like what it reads.
    fn sshd(&self, cmd: &Cmd) -> Result<Output> {
        let mut output = process::run(self, cmd)?;
        if output.stderr.contains(NO_EMPTY) {
            // It has not run since the system was started.
            let path = EMPTY.parse()?;
            self.act(&Op::EnsureDir { path, owner: Owner::root(), mode: Mode::new(0o755) })?;
            output = process::run(self, cmd)?;
        }
        let said = output.stderr.trim_end();
        ensure!(output.code == Some(0), "sshd refuses its configuration (`{cmd}`):\n{said}");
        Ok(output)
    }

    /// Has each running sshd read its configuration again. Sessions live on, and its process stays the same.
    ///
    /// Processes are looked for, and no pid file is read: with `PidFile none`, or with a second sshd, it would name none or
    /// the wrong one, and an account that was shut could still log in.
    fn tell(&self) -> Result<()> {
        let mut told = Vec::new();
        if matches!(Cursor::default().go(self, &SYSTEMD.parse()?)?, Way::There(_)) {
            for unit in UNITS {
                let asked = process::run(self, &Cmd::new("systemctl").args(["is-active", "--quiet", unit]))?;
                if asked.code != Some(0) {
                    continue;
                }
                let main = Cmd::new("systemctl").args(["show", "--property=MainPID", "--value", unit]);
                told.extend(process::must(self, &main)?.stdout.trim().parse::<i32>());
                process::must(self, &Cmd::new("systemctl").args(["reload", unit]).timeout(60))?;
            }
        }
        for pid in listeners()?.into_iter().filter(|pid| !told.contains(pid)) {
            match kill(Pid::from_raw(pid), Signal::SIGHUP) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    return Err(errno).with_context(|| format!("cannot signal sshd, process {pid}"));
                }
            }
        }
        Ok(())
    }
}

/// Lists each sshd that listens in this system, not in a container, with the usual configuration.
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn listeners() -> Result<Vec<i32>> {
    let place = |path: &str| std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    let here = place("/proc/self/root");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot list processes")? {
        let entry = entry.context("cannot list processes")?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(program) = std::fs::read_link(format!("/proc/{pid}/exe")) else { continue };
        // After an update the program that it runs is gone.
        let program = program.to_string_lossy();
        if !program.trim_end_matches(" (deleted)").ends_with("/sshd")
            || place(&format!("/proc/{pid}/root")) != here
        {
            continue;
        }
        let called = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if listens(&String::from_utf8_lossy(&called)) {
            found.push((pid, parent(pid)));
        }
    }
    // A session that is just beginning is still called as the listener is that forked it.
    let is_session = |parent: Option<i32>| found.iter().any(|(pid, _)| Some(*pid) == parent);
    Ok(found.iter().filter(|(_, parent)| !is_session(*parent)).map(|(pid, _)| *pid).collect())
}

/// Returns the number of a process's parent (`proc_pid_stat(5)`; the name before it may hold anything).
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Says whether a process called so is an sshd that listens with the usual configuration: not one of its sessions, which
/// are called `sshd: USER …`, and no call that only asks. The options are those of sshd.c.
fn listens(called: &str) -> bool {
    let mut words = called.split(['\0', ' ']).filter(|word| !word.is_empty());
    match words.next() {
        Some("sshd:") if !called.contains("[listener]") => return false,
        Some("sshd:") => drop(words.next()),
        Some(_) => {}
        None => return false,
    }
    while let Some(word) = words.next() {
        let Some(options) = word.strip_prefix('-') else { continue };
        for (at, option) in options.char_indices() {
            if "RitTGV".contains(option) {
                return false;
            }
            if "CEbcfghkopu".contains(option) {
                let value = Some(&options[at + 1..]).filter(|rest| !rest.is_empty()).or_else(|| words.next());
                if option == 'f' && value != Some(MAIN) {
                    return false;
                }
                break;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::listens;

    #[test]
    fn only_listeners_with_the_usual_configuration_are_told() {
        for (called, expected) in [
            ("/usr/sbin/sshd\0-D\0", true),
            ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0\0\0", true),
            ("/usr/sbin/sshd\0-D\0-f\0/etc/ssh/sshd_config\0", true),
            ("/usr/sbin/sshd\0-Df/etc/ssh/sshd_config\0", true),
            ("/usr/sbin/sshd\0-p\x002222\0-o\0PidFile=none\0", true),
            ("/usr/sbin/sshd\0-D\0-f\0/etc/ssh/other\0", false),
            ("sshd: /usr/sbin/sshd -D -f /etc/ssh/other [listener] 0 of 10-100 startups\0", false),
            ("/usr/sbin/sshd\0-D\0-R\0", false),
            ("/usr/sbin/sshd\0-i\0", false),
            ("/usr/sbin/sshd\0-T\0-C\0user=a\0", false),
            ("sshd: web01 [priv]\0", false),
            ("sshd: [accepted]\0", false),
            ("", false),
        ] {
            assert_eq!(listens(called), expected, "{called:?}");
        }
    }
}
