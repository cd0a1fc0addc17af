//! Running programs: argv, never a shell; a fixed environment; nothing outlives rlvm.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, geteuid},
};
use tracing::debug;

use super::{
    Real, answers, interrupted,
    output::{End, First, Last, PATIENCE, Pipe, Take, kept_open, read, tail, whole},
    programs::{MissingProgram, find, is_starter},
    secrets, session,
    walk::{Cursor, Way},
};
use crate::{
    effect::{Arg, Cmd},
    host::Output,
    model::{HostPath, UserName},
};

/// How long a killed program may take to go: one that waits in the kernel for a device or a server may never.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(5);
/// How long a program has to end once it was asked to, before it is killed.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// Programs that end a mount. They are called for mounts that do not answer, too.
const UNMOUNT: [&str; 3] = ["umount", "fusermount", "fusermount3"];

/// How long a program may take, and how long it may take to go once it was killed.
type Limits<'a> = (&'a dyn Fn() -> Duration, Duration);

/// A program did not end although it was killed. rlvm no longer waits for it, and has closed its pipes.
#[derive(Debug)]
pub(super) struct LeftBehind(String);

impl std::fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot end {}: it hangs in the kernel, even after SIGKILL; it was left behind", self.0)
    }
}

impl std::error::Error for LeftBehind {}

impl LeftBehind {
    /// Says which program it is.
    pub(super) fn new(cmd: &Cmd, child: &Child) -> Self {
        Self(format!("{} (process {})", cmd.name(), child.id()))
    }
}

/// Runs a program to its end, or to its time limit, whatever its exit code.
///
/// # Errors
///
/// Also if what it printed cannot be read whole.
pub(super) fn run(real: &Real, cmd: &Cmd) -> Result<Output> {
    whole(cmd, run_any(real, cmd)?)
}

fn run_any(real: &Real, cmd: &Cmd) -> Result<(Output, End)> {
    let input = if cmd.given().is_some() { Stdio::piped() } else { Stdio::null() };
    run_prepared(prepare(real, cmd)?, cmd, input, (&limit_of(cmd), LAST_WAIT))
}

/// Runs a program to its end, or to a time limit that may change meanwhile, whatever its exit code. Once killed, it has
/// `last_wait` to go.
pub(super) fn run_within(
    real: &Real,
    cmd: &Cmd,
    limit: &dyn Fn() -> Duration,
    last_wait: Duration,
) -> Result<Output> {
    whole(cmd, run_prepared(prepare(real, cmd)?, cmd, Stdio::null(), (limit, last_wait))?)
}

/// Runs what was prepared of a call to its end, or to its time limit, whatever its exit code and however its output ends.
pub(super) fn to_its_end(command: Command, cmd: &Cmd, input: Stdio) -> Result<Output> {
    Ok(run_prepared(command, cmd, input, (&limit_of(cmd), LAST_WAIT))?.0)
}

fn limit_of(cmd: &Cmd) -> impl Fn() -> Duration {
    let limit = Duration::from_secs(cmd.time_limit());
    move || limit
}

/// Runs a program to its end, or to its time limit, whatever its exit code; hands over what it prints meanwhile, however
/// much that is.
///
/// # Errors
///
/// Also if what it printed was not all.
pub(super) fn run_taking(real: &Real, cmd: &Cmd, take: &mut Take<'_>) -> Result<Output> {
    whole(cmd, run_with(prepare(real, cmd)?, cmd, Stdio::null(), (&limit_of(cmd), LAST_WAIT), take)?)
}

fn run_prepared(command: Command, cmd: &Cmd, input: Stdio, limits: Limits<'_>) -> Result<(Output, End)> {
    let mut first = First::default();
    let ran = run_with(command, cmd, input, limits, &mut |pipe| drop(io::copy(pipe, &mut first)));
    let (output, end) = ran?;
    let (stdout, end) = first.ended(end);
    Ok((Output { stdout, ..output }, end))
}

fn run_with(
    mut command: Command,
    cmd: &Cmd,
    input: Stdio,
    limits: Limits<'_>,
    take: &mut Take<'_>,
) -> Result<(Output, End)> {
    let start = Instant::now();
    command.stdin(input);
    let mut child = spawn(&mut command, cmd)?;
    if let (Some(input), Some(mut pipe)) = (cmd.given(), child.stdin.take()) {
        // A few words fit into the pipe; whether they were read is told by how it ends.
        drop(pipe.write_all(input.as_bytes()));
    }
    let left = Arc::new(AtomicBool::new(false));
    let (out, err) = (Pipe::new(child.stdout.take(), &left), Pipe::new(child.stderr.take(), &left));
    let mut stderr = Last::default();
    let mut complain = |pipe: &mut dyn Read| drop(io::copy(pipe, &mut stderr));
    let ((code, timed_out), end) = thread::scope(|scope| {
        let (out_ended, err_ended) = (read(scope, out, take), read(scope, err, &mut complain));
        let waited = wait(&mut child, cmd, limits);
        // A grandchild that keeps a pipe open must not hold rlvm up.
        let ended = Instant::now();
        let closes = |pipe: &Receiver<()>| {
            waited.is_ok() && pipe.recv_timeout(PATIENCE.saturating_sub(ended.elapsed())).is_ok()
        };
        let end = if closes(&out_ended) { End::Whole } else { End::Open(child.id()) };
        closes(&err_ended);
        left.store(true, Ordering::Relaxed);
        waited.map(|waited| (waited, end))
    })?;
    let stderr = tail(stderr.bytes());
    ensure!(!is_old_setpriv(&stderr), "{OLD_SETPRIV}");
    debug!(command = %cmd, ?code, timed_out, elapsed = ?start.elapsed(), "ran");
    Ok((Output { code, timed_out, stdout: String::new(), stderr }, end))
}

/// What to do about a setpriv(1) that cannot start a program as rlvm does: busybox's, and that of RHEL 8.
const OLD_SETPRIV: &str = "cannot start any program: setpriv on PATH does not know --pdeathsig; \
    install that of util-linux 2.33 or later (Alpine: apk add setpriv)";

/// Says whether a complaint is setpriv's, that it does not know the option (busybox 1.37, util-linux 2.32).
fn is_old_setpriv(stderr: &str) -> bool {
    stderr.lines().any(|line| line.starts_with("setpriv: unrecognized option") && line.contains("pdeathsig"))
}

/// Runs a program on the terminal that rlvm was called from, and waits for it; says whether it succeeded.
pub(super) fn on_terminal(real: &Real, cmd: &Cmd) -> Result<bool> {
    // In this very process group: one in the background may not read a terminal.
    let mut command = build(real, cmd, &["setpriv"])?;
    let status = command.status().with_context(|| cannot_start(&command, cmd))?;
    Ok(status.code().is_some_and(|code| cmd.accepts(code)))
}

/// Runs a program that must succeed.
pub(super) fn must(real: &Real, cmd: &Cmd) -> Result<Output> {
    succeeded(cmd, run(real, cmd)?)
}

/// Runs a program that must succeed, for what it does: what it prints is at most shown. A daemon that it starts may keep
/// its output open, unless it is restic, which starts none.
pub(super) fn must_do(real: &Real, cmd: &Cmd) -> Result<Output> {
    let (mut output, end) = run_any(real, cmd)?;
    match end {
        End::Open(leader) if cmd.is_stoppable() && output.code.is_some() => {
            return Err(kept_open(cmd, leader));
        }
        End::Over => {
            output.stdout.push_str("\n[it printed more: the rest is left out]\n");
        }
        End::Open(_) | End::Whole => {}
    }
    succeeded(cmd, output)
}

/// Runs a program that has a file as its input and must succeed.
pub(super) fn must_with(real: &Real, cmd: &Cmd, input: File) -> Result<Output> {
    let ran = run_prepared(prepare(real, cmd)?, cmd, input.into(), (&limit_of(cmd), LAST_WAIT))?;
    succeeded(cmd, whole(cmd, ran)?)
}

pub(super) fn succeeded(cmd: &Cmd, output: Output) -> Result<Output> {
    let stderr = output.stderr.trim_end();
    match output.code {
        Some(code) if cmd.accepts(code) => Ok(output),
        Some(code) => bail!("`{cmd}` failed with exit code {code}:\n{stderr}{}", help(cmd, code)),
        None if output.timed_out => bail!("`{cmd}` took longer than {} s and was ended", cmd.time_limit()),
        None => bail!("`{cmd}` was ended by a signal:\n{stderr}"),
    }
}

/// Says what to do about a failure that a program has an exit code for: 8 is "the user is logged in" (usermod(8),
/// userdel(8)).
fn help(cmd: &Cmd, code: i32) -> String {
    match (cmd.name(), code, cmd.words().last()) {
        ("usermod" | "userdel", 8, Some(Arg::Word(user))) => {
            format!(
                "\nhelp: end the sessions of the user (`loginctl terminate-user {user}`), then `rlvm apply` again"
            )
        }
        _ => String::new(),
    }
}

/// Starts a program.
pub(super) fn spawn(command: &mut Command, cmd: &Cmd) -> Result<Child> {
    command.spawn().with_context(|| cannot_start(command, cmd))
}

/// Names the program that the kernel was asked to start: the first of a call is not the one that the call is for.
fn cannot_start(command: &Command, cmd: &Cmd) -> String {
    format!("cannot start {} for `{cmd}`", command.get_program().display())
}

/// Builds a call that talks to nobody but rlvm: in a session of its own, without a terminal, by setsid(1) of util-linux,
/// so that nothing below asks there for a password (ssh does, of /dev/tty) or takes it over (restic gives it to its ssh).
///
/// # Errors
///
/// If one of the programs that start the call is missing, or a secret cannot be read.
pub(super) fn prepare(real: &Real, cmd: &Cmd) -> Result<Command> {
    let starters = cmd.starters().iter().map(String::as_str);
    let by: Vec<&str> = std::iter::once("setsid").chain(starters).chain(["setpriv"]).collect();
    let mut command = build(real, cmd, &by)?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Builds a call. setpriv(1) of util-linux, the last of these words, sets what std cannot without unsafe code: that the
/// child dies with its parent, and a user's groups.
#[expect(clippy::disallowed_methods, reason = "host runs programs")]
fn build(real: &Real, cmd: &Cmd, by: &[&str]) -> Result<Command> {
    if let Some(name) = by.iter().find(|name| is_starter(name) && find(&real.path, name).is_none()) {
        return Err(MissingProgram::new(name, real)).with_context(|| format!("cannot start `{cmd}`"));
    }
    ask_mounts(real, cmd)?;
    let mut command = Command::new(by[0]);
    command.args(&by[1..]).arg(if cmd.is_whole() { "--pdeathsig=clear" } else { "--pdeathsig=KILL" });
    if let Some(user) = cmd.run_as() {
        command.args(identity(real, user)?);
    }
    command.arg("--").arg(value(real, cmd.program()));
    if cmd.is_rooted() && !real.is_running_system() {
        command.arg("--root").arg(&real.root);
        command.args(cmd.words().iter().map(Arg::text));
    } else {
        command.args(cmd.words().iter().map(|arg| value(real, arg)));
    }
    command.env_clear().env("PATH", &real.path).env("LC_ALL", "C.UTF-8").env("HOME", "/nonexistent");
    command.envs(cmd.variables().iter().map(|(name, arg)| (name, value(real, arg))));
    command.envs(secrets::variables(real, cmd.secrets(), cmd.run_as())?);
    // Paths of another tree are passed relative to it, since the user need not reach it from the real `/`.
    command.current_dir(&real.root);
    Ok(command)
}

/// Makes sure that the mounts answer on which a call's paths lie: the program would hang, and the starting of it too.
fn ask_mounts(real: &Real, cmd: &Cmd) -> Result<()> {
    if UNMOUNT.contains(&cmd.name()) {
        return Ok(());
    }
    let args = std::iter::once(cmd.program()).chain(cmd.words()).chain(cmd.variables().values());
    for arg in args {
        if let Arg::Path(path) = arg {
            answers::ask(&real.root.join(path.relative()))?;
        }
    }
    Ok(())
}

/// A user's numbers, all groups too. Names would not do: setpriv keeps root's group unless told the number of
/// another, and a tree's users are not those of the running system.
fn identity(real: &Real, user: &UserName) -> Result<Vec<String>> {
    let ids = real.accounts.ids(user)?.with_context(|| format!("there is no user {user}"))?;
    // Who is no root becomes nobody else, and is oneself already.
    let caller = geteuid();
    if !caller.is_root() {
        ensure!(ids.uid == caller.as_raw(), "to run something as {user} needs root");
        return Ok(Vec::new());
    }
    let groups: Vec<String> = ids.groups.iter().map(ToString::to_string).collect();
    Ok(vec![
        format!("--reuid={}", ids.uid),
        format!("--regid={}", ids.gid),
        format!("--groups={}", groups.join(",")),
    ])
}

fn value(real: &Real, arg: &Arg) -> OsString {
    match arg {
        Arg::Word(word) => word.into(),
        Arg::Path(path) if real.is_running_system() => path.as_str().into(),
        Arg::Path(path) => format!(".{}", within(real, path)).into(),
    }
}

/// Returns where a path of another tree lies in it, its links followed: the program would follow them out of it.
fn within(real: &Real, path: &HostPath) -> String {
    let mut cursor = Cursor::default();
    if matches!(cursor.go(real, path), Ok(Way::There(_))) {
        return cursor.resolved();
    }
    // A file, or something that is about to be made.
    match path.parent() {
        Some(dir) if matches!(cursor.go(real, &dir), Ok(Way::There(_))) => {
            format!("{}/{}", cursor.resolved(), path.name())
        }
        _ => path.to_string(),
    }
}

fn wait(child: &mut Child, cmd: &Cmd, (limit, last_wait): Limits<'_>) -> Result<(Option<i32>, bool)> {
    let start = Instant::now();
    let group = Pid::from_raw(i32::try_from(child.id())?);
    let mut asked: Option<Instant> = None;
    let mut nap = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a child")? {
            return Ok((status.code(), false));
        }
        if cmd.is_stoppable() && asked.is_none() && interrupted().is_some() {
            // It may have ended just now.
            let _ = killpg(group, Signal::SIGINT);
            asked = Some(Instant::now());
        }
        let timed_out = start.elapsed() >= limit();
        if timed_out || asked.is_some_and(|asked| asked.elapsed() >= GRACE) {
            // It may have ended just now: then there is nothing to kill. Before setsid has run there is no group.
            let _ = killpg(group, Signal::SIGKILL);
            let _ = child.kill();
            session::kill_all(child.id());
            return if is_gone_within(child, last_wait)? {
                Ok((None, timed_out))
            } else {
                Err(LeftBehind::new(cmd, child).into())
            };
        }
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(20));
    }
}

/// Waits so long for a child that was killed; says whether it has ended.
fn is_gone_within(child: &mut Child, patience: Duration) -> Result<bool> {
    let start = Instant::now();
    loop {
        if child.try_wait().context("cannot wait for a child")?.is_some() {
            return Ok(true);
        }
        if start.elapsed() >= patience {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::programs::STARTERS, *};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "stand-ins for programs are files")]
    fn the_program_that_is_missing_is_named() {
        for (missing, package) in STARTERS {
            let dir = tempfile::tempdir().unwrap();
            for (name, _) in STARTERS.iter().filter(|(name, _)| *name != missing) {
                let file = dir.path().join(name);
                std::fs::write(&file, "#!/bin/sh\n").unwrap();
                std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            }
            let real = Real { path: dir.path().display().to_string(), ..open() };
            let cmd =
                Cmd::new("restic").by(["chroot", "/"]).by(["ionice", "-c", "3"]).by(["nice", "-n", "1"]);
            let said = format!("{:#}", prepare(&real, &cmd).unwrap_err());
            assert!(said.contains(&format!("there is no program {missing} in PATH")), "{said}");
            assert!(said.contains(&format!("help: apt-get install {package}")), "{said}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is not there")]
    fn what_the_kernel_does_not_start_is_named() {
        let mut command = Command::new("/no/such/setsid");
        let said = format!("{:#}", spawn(&mut command, &Cmd::new("restic")).unwrap_err());
        assert!(said.starts_with("cannot start /no/such/setsid for `restic`: No such file"), "{said}");
    }

    #[test]
    fn an_output_that_is_not_whole_is_an_error() {
        let real = Real::open(Path::new("/"), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").unwrap();
        let sh = |script: &str| Cmd::new("sh").args(["-c", script]).timeout(60);
        let said = |script: &str| format!("{:#}", run(&real, &sh(script)).unwrap_err());
        let left = said("echo a; sleep 4321 & exit 0");
        assert!(left.contains("has ended, but sleep (process ") && left.contains("keeps its output open"));
        let pid = left.split("(process ").nth(1).unwrap().split(')').next().unwrap();
        session::tests::has_ended(pid.parse().unwrap());
        let much = said("head -c 5000000 /dev/zero");
        assert!(much.contains("printed more than 4 MiB"), "{much}");
        // What is run for what it does may print as much as it likes, and start daemons.
        assert!(
            must_do(&real, &sh("head -c 5000000 /dev/zero")).is_ok_and(|it| it.stdout.contains("left out"))
        );
        let daemon = must_do(&real, &sh("sleep 3 & exit 0")).unwrap();
        assert_eq!(daemon.stdout, "");
        // What closed its output is nobody's trouble.
        assert_eq!(run(&real, &sh("echo a; sleep 3 >/dev/null 2>&1 & exit 0")).unwrap().stdout, "a\n");
    }

    fn open() -> Real {
        Real::open(Path::new("/"), "").unwrap()
    }
}
