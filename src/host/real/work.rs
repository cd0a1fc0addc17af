//! Work that takes long, and mounts that nobody else sees.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::ffi::OsStrExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
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
    process::{self, GRACE, LAST_WAIT, LeftBehind, Pipe},
};
use crate::{
    effect::Cmd,
    host::{Ended, RUN_VARIABLE, Stream, Task, WHOLE_VARIABLE, Work},
    model::{HostPath, RunId, mask_passwords},
};

/// How often it is asked whether to stop.
const TICK: Duration = Duration::from_millis(50);
/// How long a line may be; what is longer comes in pieces.
const LONGEST_LINE: u64 = 1 << 20;
/// How long a program of a dead run may go on to its end: as long as stopping a service may take.
const LONGEST_END: Duration = Duration::from_secs(300);

impl Work for Real {
    fn work(&self, cmd: &Cmd, task: &mut Task<'_>) -> Result<Ended> {
        let start = Instant::now();
        let mut command = process::prepare(self, cmd)?;
        command.stdin(std::process::Stdio::null());
        let mut child = process::spawn(&mut command, cmd)?;
        (task.started)(child.id(), session_of(child.id()).map_or(0, |(_, started)| started));
        let (send, lines) = mpsc::channel();
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
                if asked.is_some_and(|asked| asked.elapsed() >= GRACE + LAST_WAIT) {
                    left.store(true, Ordering::Relaxed);
                    return Err(LeftBehind::new(cmd, &child).into());
                }
            }
        };
        if asked.is_some() || status.code().is_none() || cmd.is_stoppable() {
            // R58: whatever it has started, restic's ssh too. What a hook leaves in the background is meant to stay.
            let _ = killpg(group, Signal::SIGKILL);
        }
        ended.code = status.code();
        // A grandchild that keeps the pipe open must not hold rlvm up.
        let patience = Instant::now();
        while patience.elapsed() < Duration::from_secs(2) && hear(&lines, task, TICK) {}
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

/// Passes on the lines that came, and waits for the next one so long. Says whether any may still come.
fn hear(lines: &Receiver<(Stream, String)>, task: &mut Task<'_>, patience: Duration) -> bool {
    match lines.recv_timeout(patience) {
        Ok((stream, line)) => {
            (task.heard)(stream, &line);
            while let Ok((stream, line)) = lines.try_recv() {
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
fn listen(pipe: Option<impl Read + Send + 'static>, stream: Stream, send: &Sender<(Stream, String)>) {
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
            if send.send((stream, mask_passwords(&String::from_utf8_lossy(&line)).into_owned())).is_err() {
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

#[expect(clippy::disallowed_methods, reason = "host looks")]
fn processes() -> Result<Vec<u32>> {
    let all = std::fs::read_dir("/proc").context("cannot list processes")?.flatten();
    Ok(all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
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

/// Says in which session a process is, and when it was started, in clock ticks since the boot: the 6th and 22nd field of
/// `proc_pid_stat(5)`, which follow a name that may hold anything. Nothing of one that has ended.
#[expect(clippy::disallowed_methods, reason = "host looks")]
fn session_of(pid: u32) -> Option<(u32, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ended = matches!(fields.first(), Some(&"Z" | &"X"));
    (!ended).then_some((fields.get(3)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}
