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
        let program = program(it.pid);
        // It has just ended.
        if program.is_empty() {
            return None;
        }
        let known = match configuration(&it.called) {
            Started::With(file) => file.map(|file| absolute(it.pid, file)),
            Started::NotToListen if !(is_called_by_path(&it.called) && listens(it.pid)) => return None,
            Started::NotToListen | Started::Unclear => {
                return Some(Listener { pid: it.pid, program: Some(program), config: None });
            }
        };
        let program = (!is_systems_own(&program)).then_some(program);
        let config = known.or_else(|| program.is_none().then(|| MAIN.to_owned()));
        match config.filter(|file| sees_the_same(it.pid, file)) {
            None if program.is_none() => {
                Some(Listener { pid: it.pid, program: Some(sshd_path().to_string()), config: None })
            }
            config => Some(Listener { pid: it.pid, program, config }),
        }
    };
    let found: Vec<(&Process, Listener)> = all.iter().filter_map(|it| Some((it, listener(it)?))).collect();
    // A session that is just beginning is still called as the listener is that forked it.
    let begins = |it: &Process| {
        let parent = found.iter().find(|(other, _)| other.pid == it.parent);
        parent.is_some_and(|(parent, _)| parent.called == it.called || !listens(it.pid))
    };
    Ok(found.iter().filter(|(it, _)| !begins(it)).map(|(_, it)| it.clone()).collect())
}

/// Says whether a process is called by a program's path, as a listener is, and not by a user's name, as a session is.
fn is_called_by_path(called: &str) -> bool {
    called.strip_prefix("sshd: ").unwrap_or(called).starts_with('/')
}

/// Says whether a process has a socket that takes connections (`proc(5)`: state 0A, the inode is the tenth column).
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn listens(pid: i32) -> bool {
    let tables = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/{pid}/net/{name}")));
    let tables: String = tables.into_iter().flatten().collect();
    let inode = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        (columns.get(3) == Some(&"0A")).then(|| format!("socket:[{}]", columns.get(9).unwrap_or(&"")))
    };
    let sockets: BTreeSet<String> = tables.lines().filter_map(inode).collect();
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let target = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).ok();
    open.flatten().filter_map(target).any(|to| sockets.contains(&*to.to_string_lossy()))
}

/// Says whether a process sees the files of its configuration that rlvm sees: it may have mounts of its own.
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn sees_the_same(pid: i32, file: &str) -> bool {
    let place = |path: &str| std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    let mut all = [file, "/etc/ssh", "/etc/ssh/sshd_config.d"].into_iter();
    all.all(|path| place(&format!("/proc/{pid}/root{path}")) == place(path))
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

/// How an sshd was started.
#[derive(Debug, PartialEq, Eq)]
enum Started {
    /// To listen, with this file (`-f`), if any.
    With(Option<String>),
    /// To listen; its words can be read in more than one way.
    Unclear,
    /// It serves a login, only asks, or is none.
    NotToListen,
}

/// Says with which configuration a process called so was started, if it is an sshd that listens: not one of its sessions,
/// which are called `sshd: USER …`, and no call that only asks. The options are those of sshd.c.
///
/// A listener calls itself by its words with blanks between them, so that a value with a blank cannot be told from two words.
fn configuration(called: &str) -> Started {
    let called = called.trim_end_matches('\0');
    let words: Vec<&str> = match called.strip_prefix("sshd: ") {
        Some(title) => match title.split_once(" [listener]") {
            Some((words, _)) => words.split(' ').collect(),
            None => return Started::NotToListen,
        },
        None if called.starts_with('/') => called.split('\0').collect(),
        None => return Started::NotToListen,
    };
    let mut config = None;
    let mut words = words.into_iter().skip(1);
    while let Some(word) = words.next() {
        let Some(options) = word.strip_prefix('-') else { return Started::Unclear };
        for (at, option) in options.char_indices() {
            if "RitTGV".contains(option) {
                return Started::NotToListen;
            }
            if "CEbcfghkopu".contains(option) {
                let rest = Some(&options[at + 1..]).filter(|rest| !rest.is_empty());
                let Some(value) = rest.or_else(|| words.next()) else { return Started::Unclear };
                match option {
                    'f' => config = Some(value.to_owned()),
                    // `-o "Port 22"` is two words here.
                    'o' if !value.contains(['=', ' '])
                        && words.next().is_none_or(|it| it.starts_with('-')) =>
                    {
                        return Started::Unclear;
                    }
                    _ => {}
                }
                break;
            }
        }
    }
    Started::With(config)
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
            ("sshd: /usr/sbin/sshd -o Port 22 -f lan [listener] 0 of 10-100 startups\0", Some("lan")),
            ("/usr/sbin/sshd\0-o\0Port 22\0-f\0/etc/ssh/a b\0", Some("/etc/ssh/a b")),
            ("/usr/sbin/sshd\0-D\0-R\0", None),
            ("/usr/sbin/sshd\0-i\0", None),
            ("/usr/sbin/sshd\0-T\0-C\0user=a\0", None),
            ("sshd: web01 [priv]\0", None),
            ("sshd-session: web01 [priv]\0", None),
            ("sshd: [accepted]\0", None),
            ("", None),
        ] {
            let found = match configuration(called) {
                Started::With(file) => Some(file.unwrap_or_default()),
                Started::NotToListen => None,
                Started::Unclear => panic!("{called:?}"),
            };
            assert_eq!(found.as_deref(), expected, "{called:?}");
        }
    }

    #[test]
    fn words_that_can_be_read_in_two_ways_are_unclear() {
        for words in [
            "-f /etc/ssh/lan old",
            "-o KexAlgorithms -diffie-hellman*",
            "-o Subsystem sftp /usr/lib/x -f",
            "-f",
        ] {
            let called = format!("sshd: /usr/sbin/sshd {words} [listener] 0 of 10-100 startups\0");
            assert_eq!(configuration(&called), Started::Unclear, "{words}");
        }
        // Cut, since there was no room: that it listens tells.
        let cut = "sshd: /usr/sbin/sshd -f /etc n";
        assert!(configuration(cut) == Started::NotToListen && is_called_by_path(cut));
        assert!(!is_called_by_path("sshd: root@pts/0"));
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
