//! Collects the output of programs up to a limit, and knows whether the output is complete.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};

use super::session;
use crate::{effect::Cmd, host::Output, model::mask_passwords};

/// How much of a program's output is kept, in bytes. What may be more is read while it is printed.
const MOST_OUTPUT: usize = 4 << 20;
/// How much of its complaints is kept, from the end, in bytes.
const TAIL: usize = 4 << 10;

/// How long the output of a program may stay open once the program has ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Who takes what a program prints, while it prints it.
pub(super) type Take<'a> = dyn FnMut(&mut dyn Read) + Send + 'a;

/// How a program's standard output ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All of it was read.
    Whole,
    /// There was more than is kept.
    Over,
    /// Something in the session of this leader still held it open, or something else: more could have come.
    Open(u32),
}

/// Returns an output that was read whole. A part of it could mean something else: of no snapshots, for example.
pub(super) fn whole(cmd: &Cmd, (output, end): (Output, End)) -> Result<Output> {
    match end {
        // Of one that was ended by force nobody expects it.
        End::Whole => Ok(output),
        _ if output.code.is_none() => Ok(output),
        End::Over => bail!("`{cmd}` printed more than {} MiB", MOST_OUTPUT >> 20),
        End::Open(leader) => Err(kept_open(cmd, leader)),
    }
}

/// Ends what keeps an output open, and says who that was.
pub(super) fn kept_open(cmd: &Cmd, leader: u32) -> anyhow::Error {
    let left = session::names(leader);
    session::kill_all(leader);
    not_whole(cmd, &left)
}

/// Says that a program has ended, and its output has not.
pub(super) fn not_whole(cmd: &Cmd, left: &[String]) -> anyhow::Error {
    let who = if left.is_empty() { "another process".into() } else { left.join(", ") };
    anyhow!("`{cmd}` has ended, but {who} keeps its output open: the output may be incomplete")
}

/// What a program prints, as much as is kept of its beginning.
#[derive(Default)]
pub(super) struct First {
    bytes: Vec<u8>,
    over: bool,
}

impl First {
    /// Returns the text, and how it ended if the pipe ended like that.
    pub(super) fn ended(self, end: End) -> (String, End) {
        let end = if self.over && end == End::Whole { End::Over } else { end };
        (String::from_utf8_lossy(&self.bytes).into_owned(), end)
    }
}

impl Write for First {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        let room = MOST_OUTPUT.saturating_sub(self.bytes.len());
        self.over |= more.len() > room;
        self.bytes.extend_from_slice(&more[..more.len().min(room)]);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of what a program complains about: more than a tail, since passwords are masked before it is cut.
#[derive(Default)]
pub(super) struct Last(Vec<u8>);

impl Last {
    /// Returns the bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Write for Last {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(more);
        if self.0.len() > 32 * TAIL {
            self.0.drain(..self.0.len() - 16 * TAIL);
        }
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands a pipe over in a thread of its own, and reads what is left of it. Something comes from there when the pipe has
/// ended by itself.
pub(super) fn read<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    pipe: Option<Pipe<impl Read + AsFd + Send + 'scope>>,
    take: &'scope mut Take<'_>,
) -> mpsc::Receiver<()> {
    let (send, receive) = mpsc::channel();
    scope.spawn(move || {
        if let Some(mut pipe) = pipe {
            // A pipe that breaks ends like one that closes: the exit code tells whether all went well.
            take(&mut pipe);
            drop(io::copy(&mut pipe, &mut io::sink()));
            if pipe.is_left() {
                return;
            }
        }
        // Who does not wait any more does not need it.
        let _ = send.send(());
    });
    receive
}

/// A child's output, which ends when the child closes it or is left behind.
pub(super) struct Pipe<T> {
    inner: T,
    left: Arc<AtomicBool>,
}

impl<T> Pipe<T> {
    /// Wraps an output; `left` is set when the child is left behind.
    pub(super) fn new(inner: Option<T>, left: &Arc<AtomicBool>) -> Option<Self> {
        inner.map(|inner| Self { inner, left: Arc::clone(left) })
    }

    fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
}

impl<T: Read + AsFd> Read for Pipe<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if self.is_left() {
                return Ok(0);
            }
            match poll(&mut [PollFd::new(self.inner.as_fd(), PollFlags::POLLIN)], 100_u8) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.inner.read(buffer),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Returns the end of what a program complained about. Passwords in addresses are masked before the text is cut: a cut
/// could take away the scheme that tells an address.
pub(super) fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = mask_passwords(&text);
    let mut from = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_masked_before_the_end_is_cut() {
        let long = format!("https://me:{}SECRET@host {}", "x".repeat(TAIL), "y".repeat(TAIL - 20));
        assert!(!tail(long.as_bytes()).contains("SECRET"));
        assert_eq!(tail(b"https://u:p@a and https://v:q@b"), "https://***@a and https://***@b");
    }
}
