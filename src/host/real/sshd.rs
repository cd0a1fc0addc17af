//! Changes rlvm's file in sshd's configuration: has sshd check a copy first, writes the file, has sshd check it
//! again, and makes sshd read it. A mistake could lock everybody out, so rlvm restores the old file if sshd reports
//! an error.

use std::{io::Write, thread, time::Duration};

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
    sshd_processes::{Listener, MAIN, end_logins_in_progress, listeners},
    walk::{Cursor, Way},
};
use crate::{
    effect::{Cmd, ConfigureSshd, Login, Op, Owner, sshd_mark, sshd_path, sshd_reloaded},
    host::{Act, Host, Output, private::PrivateDir},
    model::{HostPath, Mode},
};

/// Where a new text is tried before anything is put in place: nobody but root gets there.
const WORKSHOP: &str = "/run/rlvm/sshd";
/// Becomes [`sshd_reloaded`] when every sshd was told.
const RELOADING: &str = "sshd-reloading";
/// What the units are called: Debian's, and the others'.
const UNITS: [&str; 2] = ["ssh.service", "sshd.service"];
/// Where there is systemd (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";
/// How long an sshd that was told may still accept a connection with its former configuration: it is asked twice.
const FORKED: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
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
            self.try_beside(text).context("cannot use the new configuration, so nothing was changed")?;
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
            undone.with_context(|| format!("{why:#}; and rlvm cannot restore {path}"))?;
            if !was_marked {
                unmark().with_context(|| format!("cannot remove {name}"))?;
            }
            return Err(why.context(format!("rlvm restored the previous {path}")));
        }
        self.settle()?;
        let narrows =
            has_changed_blocks(before.as_deref().unwrap_or_default(), after.as_deref().unwrap_or_default());
        // Times of files are compared with this one: it is older than what any sshd reads now.
        mark.remove(RELOADING)?;
        mark.file(RELOADING, OFlag::O_WRONLY | OFlag::O_CREAT)?;
        // If the text stays, an sshd may have used any older configuration.
        self.tell(narrows || before == *after).context("cannot have sshd read its new configuration")?;
        mark.rename(RELOADING, sshd_reloaded().name())?;
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
                    "sshd would use `{word} {now}` instead of `{meant}` for {}: another file of its configuration takes \
                     precedence\nhelp: grep -ri {word} {MAIN} {MAIN}.d",
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

    /// Has each running sshd read its configuration again, also one with a file of its own, which may include rlvm's.
    /// Sessions live on, and its process stays the same. Logins that have not ended yet are cut off if what an account may do
    /// has changed (`cut`): they would go on by the former rules.
    ///
    /// Processes are looked for, and no pid file is read: with `PidFile none`, or with a second sshd, it would name none or
    /// the wrong one, and an account that was shut could still log in.
    fn tell(&self, cut: bool) -> Result<()> {
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
        let mut not_told = Vec::new();
        for it in listeners()?.into_iter().filter(|it| !told.contains(&it.pid)) {
            let Listener { pid, program, config } = it;
            let Some(config) = config else {
                let program = program.unwrap_or_default();
                not_told.push(format!(
                    "process {pid}: {program}: rlvm cannot tell from its command line and its mounts which configuration \
                     it reads"
                ));
                continue;
            };
            // One that cannot read its configuration ends when it is told to.
            let try_it = Cmd::at(&sshd_path()).args(["-t", "-f"]).arg(config.as_str());
            if let Err(why) = self.sshd(&try_it) {
                not_told.push(format!("process {pid}, started with -f {config}: {why:#}"));
                continue;
            }
            match kill(Pid::from_raw(pid), Signal::SIGHUP) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => not_told.push(format!("process {pid}: {errno}")),
            }
        }
        // A connection that was accepted before has the former configuration, and may still log in with it.
        for wait in FORKED.into_iter().filter(|_| cut) {
            thread::sleep(wait);
            end_logins_in_progress()?;
        }
        ensure!(
            not_told.is_empty(),
            "an sshd still uses its old configuration: {}\nhelp: correct its configuration, then run rlvm apply again",
            not_told.join("; ")
        );
        Ok(())
    }
}

/// Says whether the block of an account is another one afterwards, or none. An account that had no block is new here: nobody
/// who logs in to it meanwhile is cut off.
fn has_changed_blocks(before: &str, after: &str) -> bool {
    let after: Vec<&str> = after.split("Match ").collect();
    before.split("Match ").skip(1).any(|block| !after.contains(&block))
}

#[cfg(test)]
mod tests {
    use super::has_changed_blocks;

    #[test]
    fn logins_are_cut_off_only_where_rules_of_an_account_change() {
        let of = |blocks: &[&str]| format!("# head\n{}Match all\n", blocks.concat());
        let (a, b, other) = ("Match User a\n  X no\n", "Match User b\n  X no\n", "Match User a\n  X yes\n");
        for (before, after, expected) in [
            ("", of(&[a]).as_str(), false),
            (&of(&[a]), &of(&[a]), false),
            (&of(&[a]), &of(&[a, b]), false),
            (&of(&[a, b]), &of(&[a]), true),
            (&of(&[a]), &of(&[other]), true),
            (&of(&[a]), "", true),
        ] {
            assert_eq!(has_changed_blocks(before, after), expected, "{before:?} {after:?}");
        }
    }
}
