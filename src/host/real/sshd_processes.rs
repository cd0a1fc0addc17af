//! Finds the processes of sshd: which listen, with which configuration, and which serve a login that has not ended yet.
//!
//! Only root's processes count, and that is asked first: another user can give a process any name, and a root directory
//! that never answers.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{effect::sshd_path, host::SshdsWithOtherConfig, model::UserName};

/// What the system's own sshd reads if it is told nothing else.
pub(super) const MAIN: &str = "/etc/ssh/sshd_config";

/// An sshd that listens in this system, not in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) pid: i32,
    /// Its program, if it is not the system's own sshd.
    pub(super) program: Option<String>,
    /// The configuration that it reads. That is not known of another program that was started without `-f`: each build of
    /// sshd has a default of its own (`/usr/local/etc/sshd_config`), and no option prints it.
    pub(super) config: Option<String>,
}

/// How many ancestors of a process are looked at.
const MOST_ANCESTORS: usize = 64;

/// A process of sshd's.
struct Process {
    pid: i32,
    parent: i32,
    /// Its command line, or what it calls itself.
    called: String,
}

/// Lists each sshd that listens.
pub(super) fn listeners() -> Result<Vec<Listener>> {
    let all = processes()?;
    let listener = |it: &Process| {
        let file = configuration(&it.called)?;
        let program = program(it.pid);
        // It has just ended.
        if program.is_empty() {
            return None;
        }
        let program = (!is_systems_own(&program)).then_some(program);
        let default = || program.is_none().then(|| MAIN.to_owned());
        let config = file.0.map(|file| absolute(it.pid, file)).or_else(default);
        Some(Listener { pid: it.pid, program, config })
    };
    let found: Vec<(i32, Listener)> = all.iter().filter_map(|it| Some((it.parent, listener(it)?))).collect();
    // A session that is just beginning is still called as the listener is that forked it.
    let pids: BTreeSet<i32> = found.iter().map(|(_, it)| it.pid).collect();
    Ok(found.into_iter().filter(|(parent, _)| !pids.contains(parent)).map(|(_, it)| it).collect())
}

/// Lists what the sshds read that do not read the usual file.
pub(super) fn beside() -> Result<SshdsWithOtherConfig> {
    let mut found = SshdsWithOtherConfig::default();
    for it in listeners()? {
        match (it.config, it.program) {
            (Some(config), None) if config == MAIN => {}
            (Some(config), None) => drop(found.configurations.entry(config).or_default()),
            (Some(config), program) => drop(found.configurations.insert(config, program)),
            (None, program) => found.programs.extend(program),
        }
    }
    Ok(found)
}

/// Ends connections on which nobody has logged in yet. Whoever wanted to tries again.
pub(super) fn end_logins_in_progress() -> Result<()> {
    for pid in logins_in_progress(&processes()?) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    Ok(())
}

/// Says whether a process runs in a session that a user has opened through sshd: an ancestor is the part of sshd that serves
/// this user's connection. That part is root's, so nobody else gives it its name.
pub(super) fn is_in_session_of(pid: i32, user: &UserName) -> bool {
    let mut pid = pid;
    for _ in 0..MOST_ANCESTORS {
        let Some(parent) = parent(pid).filter(|parent| *parent > 1) else { return false };
        if is_sshd(parent) && serves(&called(parent), user) {
            return true;
        }
        pid = parent;
    }
    false
}

#[expect(clippy::disallowed_methods, reason = "host looks")]
fn parent(pid: i32) -> Option<i32> {
    number(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "PPid:")
}

/// Says whether a process called so serves a user's connection: `sshd: web01 [priv]`.
fn serves(called: &str, user: &UserName) -> bool {
    let served = called.strip_prefix("sshd: ").or_else(|| called.strip_prefix("sshd-session: "));
    served.and_then(|it| it.split([' ', '@', '\0']).next()) == Some(user.as_str())
}

/// Lists the processes that serve a connection before its login: those that are called so, and those with a child that
/// still talks to the other side on its own (`[net]`, sshd.c).
fn logins_in_progress(all: &[Process]) -> Vec<i32> {
    let title =
        |it: &Process| it.called.starts_with("sshd").then(|| it.called.trim_end_matches('\0').to_owned());
    let is_before =
        |it: &&Process| title(it).is_some_and(|it| it.ends_with("[net]") || it.ends_with("[accepted]"));
    let before: Vec<&Process> = all.iter().filter(is_before).collect();
    let monitors = all.iter().filter(|it| {
        title(it).is_some_and(|title| title.ends_with("[priv]"))
            && before.iter().any(|child| child.parent == it.pid)
    });
    monitors.chain(before.iter().copied()).map(|it| it.pid).collect()
}

/// Lists root's processes of sshd's programs in this system.
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn processes() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot list processes")? {
        let entry = entry.context("cannot list processes")?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process may end at any time.
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let Some(parent) = number(&status, "PPid:") else { continue };
        // The half that talks to the other side before a login runs as a user of sshd's own.
        let is_half = || called(pid).starts_with("sshd") && is_sshd(parent);
        if is_sshd(pid) || is_half() {
            found.push(Process { pid, parent, called: called(pid) });
        }
    }
    Ok(found)
}

/// Says whether a process is root's, is in this system, and runs one of sshd's programs. After an update the program that it
/// runs is gone.
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn is_sshd(pid: i32) -> bool {
    let is_roots = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| number(&status, "Uid:") == Some(0));
    let place = |path: &str| std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    if !is_roots || place(&format!("/proc/{pid}/root")) != place("/proc/self/root") {
        return false;
    }
    let program = program(pid);
    let name = Path::new(&program).file_name();
    name.is_some_and(|name| ["sshd", "sshd-session", "sshd-auth"].iter().any(|it| name == *it))
}

/// Returns the path of the program that a process runs; after an update, where the program was.
fn program(pid: i32) -> String {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    program.to_string_lossy().trim_end_matches(" (deleted)").to_owned()
}

/// Says whether a program is the system's own sshd. The way to it may lead over links (`/usr/sbin`, alternatives).
fn is_systems_own(program: &str) -> bool {
    let path = sshd_path();
    let own = std::fs::canonicalize(path.as_str()).unwrap_or_else(|_| path.as_str().into());
    Path::new(program) == own
}

#[expect(clippy::disallowed_methods, reason = "host looks")]
fn called(pid: i32) -> String {
    let called = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&called).into_owned()
}

/// Returns the first number of a line of `proc_pid_status(5)`: of `Uid:` that is the real user's.
fn number(status: &str, word: &str) -> Option<i32> {
    status.lines().find_map(|line| line.strip_prefix(word))?.split_whitespace().next()?.parse().ok()
}

/// Returns a path as a process means it.
fn absolute(pid: i32, path: String) -> String {
    if path.starts_with('/') {
        return path;
    }
    let from = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    from.join(path).to_string_lossy().into_owned()
}

/// The file that an sshd was started with (`-f`), if any.
#[derive(Debug, PartialEq, Eq)]
struct StartedWith(Option<String>);

/// Says with which configuration a process called so was started, if it is an sshd that listens: not one of its sessions,
/// which are called `sshd: USER …`, and no call that only asks. The options are those of sshd.c.
fn configuration(called: &str) -> Option<StartedWith> {
    let mut words = called.split(['\0', ' ']).filter(|word| !word.is_empty());
    match words.next()? {
        "sshd:" if !called.contains("[listener]") => return None,
        "sshd:" => drop(words.next()),
        "sshd-session:" | "sshd-auth:" => return None,
        _ => {}
    }
    let mut config = None;
    while let Some(word) = words.next() {
        let Some(options) = word.strip_prefix('-') else { continue };
        for (at, option) in options.char_indices() {
            if "RitTGV".contains(option) {
                return None;
            }
            if "CEbcfghkopu".contains(option) {
                let value = Some(&options[at + 1..]).filter(|rest| !rest.is_empty()).or_else(|| words.next());
                if option == 'f' {
                    config = Some(value?.to_owned());
                }
                break;
            }
        }
    }
    Some(StartedWith(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_from_sessions_and_questions() {
        let default = Some("");
        for (called, expected) in [
            ("/usr/sbin/sshd\0-D\0", default),
            ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0\0\0", default),
            ("/usr/sbin/sshd\0-D\0-f\0/etc/ssh/sshd_config\0", Some(MAIN)),
            ("/usr/sbin/sshd\0-Df/etc/ssh/./sshd_config\0", Some("/etc/ssh/./sshd_config")),
            ("/usr/sbin/sshd\0-p\x002222\0-o\0PidFile=none\0", default),
            ("/usr/sbin/sshd\0-D\0-f\0/etc/ssh/other\0", Some("/etc/ssh/other")),
            ("sshd: /usr/sbin/sshd -D -f lan [listener] 0 of 10-100 startups\0", Some("lan")),
            ("/usr/sbin/sshd\0-D\0-R\0", None),
            ("/usr/sbin/sshd\0-i\0", None),
            ("/usr/sbin/sshd\0-T\0-C\0user=a\0", None),
            ("sshd: web01 [priv]\0", None),
            ("sshd-session: web01 [priv]\0", None),
            ("sshd: [accepted]\0", None),
            ("", None),
        ] {
            let found = configuration(called).map(|it| it.0.unwrap_or_default());
            assert_eq!(found.as_deref(), expected, "{called:?}");
        }
    }

    #[test]
    fn logins_in_progress_are_told_from_sessions() {
        let process = |pid, parent, called: &str| Process { pid, parent, called: called.into() };
        let all = [
            process(1, 0, "sshd: /usr/sbin/sshd -D [listener] 1 of 10-100 startups"),
            process(10, 1, "sshd: web01 [priv]\0\0"),
            process(11, 10, "sshd: web01 [net]\0"),
            process(20, 1, "sshd: [accepted]\0"),
            process(30, 1, "sshd: root [priv]"),
            process(31, 30, "sshd: root@notty"),
            process(40, 1, "sshd-session: unknown [priv]"),
            process(41, 40, "sshd-auth: unknown [net]"),
        ];
        let mut found = logins_in_progress(&all);
        found.sort_unstable();
        assert_eq!(found, [10, 11, 20, 40, 41]);
    }

    #[test]
    fn part_of_sshd_that_serves_a_user_is_known() {
        let user: UserName = "web01".parse().unwrap();
        for (called, expected) in [
            ("sshd: web01 [priv]\0\0", true),
            ("sshd-session: web01 [priv]\0", true),
            ("sshd: web01@notty\0", true),
            ("sshd: web012 [priv]\0", false),
            ("sshd: root@pts/0\0", false),
            ("sshd: /usr/sbin/sshd -D [listener] 1 of 10-100 startups\0", false),
        ] {
            assert_eq!(serves(called, &user), expected, "{called:?}");
        }
    }

    #[test]
    fn the_real_user_of_a_process_is_read() {
        let status = "Name:\tsshd\nPPid:\t7\nUid:\t1000\t0\t0\t0\n";
        assert_eq!((number(status, "Uid:"), number(status, "PPid:")), (Some(1000), Some(7)));
    }
}
