//! Runs programs that take long, and makes mounts that only they can see.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::ffi::OsStrExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tracing::debug;

use super::{
    Real, hold,
    output::{PATIENCE, Pipe, not_whole},
    process::{self, GRACE, LAST_WAIT, LeftBehind},
    session::{self, processes, session_of},
};
use crate::{
    effect::Cmd,
    host::{Ended, RUN_VARIABLE, Stream, Task, WHOLE_VARIABLE, Work, lossy},
    model::{HostPath, RunId, mask_passwords},
};

/// How often it is asked whether to stop.
const TICK: Duration = Duration::from_millis(50);
/// How long a line may be, in bytes; what is longer comes in pieces.
const LONGEST_LINE: u64 = 1 << 16;
/// How many lines may wait to be heard. A program that prints faster waits.
const WAITING: usize = 256;
/// How long a program of a dead run may go on to its end: as long as stopping a service may take.
const LONGEST_END: Duration = Duration::from_secs(300);

impl Work for Real {
    fn work(&self, cmd: &Cmd, task: &mut Task<'_>) -> Result<Ended> {
        let start = Instant::now();
        let mut command = process::prepare(self, cmd)?;
        command.stdin(std::process::Stdio::null());
        let mut child = process::spawn(&mut command, cmd)?;
        (task.started)(child.id(), session_of(child.id()).map_or(0, |(_, started)| started));
        let (send, lines) = mpsc::sync_channel(WAITING);
        let left = Arc::new(AtomicBool::new(false));
        listen(Pipe::new(child.stdout.take(), &left), Stream::Out, &send);
        listen(Pipe::new(child.stderr.take(), &left), Stream::Err, &send);
        drop(send);
        let group = Pid::from_raw(i32::try_from(child.id())?);
        let mut ended = Ended::default();
        let mut asked: Option<Instant> = None;
        let status = loop {
            hear(&lines, task, TICK);
            if let Some(status) = child.try_wait().context("cannot wait for a child")? {
                break status;
            }
            if asked.is_none() {
                ended.timed_out = start.elapsed() >= Duration::from_secs(cmd.time_limit());
                ended.stopped = !ended.timed_out && (task.stop)();
                if ended.timed_out || ended.stopped {
                    // restic before 0.17 takes away its locks on SIGINT alone. The group may have ended just now.
                    let signal = if cmd.is_stoppable() { Signal::SIGINT } else { Signal::SIGTERM };
                    let _ = killpg(group, signal);
                    asked = Some(Instant::now());
                }
            } else if asked.is_some_and(|asked| asked.elapsed() >= GRACE) {
                let _ = killpg(group, Signal::SIGKILL);
                let _ = child.kill();
                session::kill_all(child.id());
                if asked.is_some_and(|asked| asked.elapsed() >= GRACE + LAST_WAIT) {
                    left.store(true, Ordering::Relaxed);
                    return Err(LeftBehind::new(cmd, &child).into());
                }
            }
        };
        ended.code = status.code();
        let is_cut_short = asked.is_some() || ended.code.is_none();
        let end_all = || {
            let _ = killpg(group, Signal::SIGKILL);
            session::kill_all(child.id());
        };
        if is_cut_short {
            end_all();
        }
        // A grandchild that keeps the pipe open must not hold rlvm up.
        let patience = Instant::now();
        let mut open = true;
        while open && patience.elapsed() < PATIENCE {
            open = hear(&lines, task, TICK);
        }
        if !is_cut_short {
            ended.left = session::names(child.id());
        }
        if cmd.is_stoppable() {
            // R58: whatever it has started, restic's ssh too. What a hook leaves in the background is meant to stay.
            end_all();
            if open && !is_cut_short {
                return Err(not_whole(cmd, &ended.left));
            }
        }
        debug!(command = %cmd, code = ?ended.code, elapsed = ?start.elapsed(), "ran");
        Ok(ended)
    }

    fn held(&self, at: &[HostPath], work: &mut dyn FnMut()) -> Result<()> {
        hold::held(self, at, work)
    }

    fn end(&self, run: &RunId, sessions: &[(u32, u64)]) -> Result<()> {
        end(run, sessions)
    }

    fn outlast(&self, run: &RunId) -> Result<()> {
        outlast(run)
    }

    fn apart(&self, work: &mut (dyn FnMut() + Send)) -> Result<()> {
        thread::scope(|scope| {
            let apart = scope.spawn(|| -> Result<()> {
                // The thread's mounts are a copy of the process's, and by systemd's default share what is mounted later.
                unshare(CloneFlags::CLONE_NEWNS).context("cannot have mounts of one's own")?;
                let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
                    .context("cannot keep one's own mounts from others")?;
                work();
                Ok(())
            });
            apart.join().map_err(|_| anyhow!("a thread of the run failed"))?
        })
    }
}

/// Passes on the lines that come within so long, and waits no longer for the first one. Says whether any may still come.
fn hear(lines: &Receiver<(Stream, String)>, task: &mut Task<'_>, patience: Duration) -> bool {
    let start = Instant::now();
    match lines.recv_timeout(patience) {
        Ok((stream, line)) => {
            (task.heard)(stream, &line);
            // Who prints without end must not keep rlvm from asking whether to stop.
            while start.elapsed() < patience
                && let Ok((stream, line)) = lines.try_recv()
            {
                (task.heard)(stream, &line);
            }
            true
        }
        Err(RecvTimeoutError::Timeout) => true,
        Err(RecvTimeoutError::Disconnected) => {
            thread::sleep(Duration::from_millis(1));
            false
        }
    }
}

/// Reads a pipe line by line, in a thread of its own. Passwords in addresses end here: what a program prints goes into
/// logs, records and messages.
fn listen(pipe: Option<impl Read + Send + 'static>, stream: Stream, send: &SyncSender<(Stream, String)>) {
    let Some(pipe) = pipe else { return };
    let send = send.clone();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        // A pipe that breaks ends like one that closes: the exit code tells whether all went well.
        while pipe.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if send.send((stream, mask_passwords(&lossy(&line)).into_owned())).is_err() {
                break;
            }
            line.clear();
        }
    });
}

/// Kills what is left of a dead run's programs.
///
/// A number may have been given to somebody else since: only what is in such a session, was started no earlier than its
/// leader, and has the run's name in its environment is of the run.
fn end(run: &RunId, sessions: &[(u32, u64)]) -> Result<()> {
    // Each may have started others meanwhile; what was killed takes a moment to go.
    for _ in 0..50 {
        let mut left = 0;
        for pid in processes()? {
            let Some((session, started)) = session_of(pid) else { continue };
            if !sessions.iter().any(|(leader, since)| *leader == session && started >= *since) {
                continue;
            }
            if has(pid, RUN_VARIABLE, run) {
                left += 1;
                let _ = kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL);
            }
        }
        if left == 0 {
            return Ok(());
        }
        thread::sleep(TICK);
    }
    Err(anyhow!("a program of run {run} does not end"))
}

/// Waits for the programs of a dead run that were not killed with it: what they print went to rlvm. A daemon that one of
/// them has started (dmeventd, conmon) has turned away from that.
fn outlast(run: &RunId) -> Result<()> {
    let start = Instant::now();
    loop {
        let goes_on = |pid: &u32| has(*pid, WHOLE_VARIABLE, run) && prints_into_a_pipe(*pid);
        let Some(pid) = processes()?.into_iter().find(goes_on) else { return Ok(()) };
        ensure!(start.elapsed() < LONGEST_END, "the program of run {run} that is process {pid} does not end");
        thread::sleep(TICK);
    }
}

/// Says whether a run's name is in the environment of a process.
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn has(pid: u32, variable: &str, run: &RunId) -> bool {
    let own = format!("{variable}={run}");
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|it| it == own.as_bytes())
}

fn prints_into_a_pipe(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/fd/1"))
        .is_ok_and(|to| to.as_os_str().as_bytes().starts_with(b"pipe:"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn work(script: &str, stoppable: bool, stop: &dyn Fn() -> bool) -> (Result<Ended>, usize) {
        let real = Real::open(Path::new("/"), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").unwrap();
        let cmd = Cmd::new("sh").args(["-c", script]).timeout(60);
        let cmd = if stoppable { cmd.stoppable() } else { cmd };
        let mut lines = 0;
        let mut heard = |_: Stream, _: &str| lines += 1;
        let ended = real.work(&cmd, &mut Task { started: &mut |_, _| {}, heard: &mut heard, stop });
        (ended, lines)
    }

    #[test]
    fn a_program_that_prints_without_end_is_stopped() {
        let start = Instant::now();
        let (ended, lines) = work("yes", false, &|| start.elapsed() > Duration::from_millis(300));
        assert!(ended.unwrap().stopped && lines > 0);
    }

    #[test]
    fn what_goes_on_in_the_background_is_named() {
        let (ended, lines) = work("echo a; sleep 4 >/dev/null 2>&1 & exit 0", false, &|| false);
        let left = ended.unwrap().left;
        assert!(left.len() == 1 && left[0].starts_with("sleep (process "), "{left:?}");
        assert_eq!(lines, 1);
        let (ended, _) = work("sleep 0.2 & exit 0", false, &|| false);
        assert_eq!(ended.unwrap().left, [""; 0], "what ends soon is waited for");
    }

    #[test]
    fn restic_that_ends_before_its_output_has_failed() {
        let (ended, _) = work("echo a; sleep 4321 & exit 0", true, &|| false);
        let why = format!("{:#}", ended.unwrap_err());
        assert!(why.contains("sleep (process ") && why.contains("keeps its output open"), "{why}");
        let (ended, _) = work("echo a; sleep 4321 >/dev/null 2>&1 & exit 0", true, &|| false);
        let pid = ended.unwrap().left[0].clone();
        let pid = pid.split("(process ").nth(1).unwrap().trim_end_matches(')').parse().unwrap();
        session::tests::has_ended(pid);
    }
}
