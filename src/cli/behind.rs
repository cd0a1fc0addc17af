//! Prints on a thread of its own, so that a slow reader does not delay a run.
//!
//! A run holds snapshots and stopped services. If a program that reads `--json` stops reading, or somebody stops the
//! terminal (Ctrl-S), the run must go on. So its output waits in a queue. When the queue is full, the run drops
//! output, counts the lines, and reports the number at the end. Other verbs print directly.

use std::{
    io::{self, Write},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressDrawTarget, TermLike};

/// How many pieces may wait to be written.
const WAITING: usize = 1024;
/// How long the end of a run waits for a reader that reads nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often bars are drawn in a second, at most.
const FRAMES: u8 = 20;

/// Where something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The thread that writes.
struct Behind {
    queue: SyncSender<(To, Vec<u8>)>,
    /// How many pieces were put into the queue.
    put: AtomicU64,
    /// How many of them were written.
    written: AtomicU64,
    /// How many found no room.
    lost: AtomicU64,
    /// Whether the last wait for the reader was in vain.
    stuck: AtomicBool,
    /// Why standard output could not be written first.
    failure: Mutex<Option<io::Error>>,
}

static BEHIND: OnceLock<Behind> = OnceLock::new();

/// Starts the thread: from now on nothing that is printed waits.
pub(super) fn start() {
    let (queue, pieces) = mpsc::sync_channel(WAITING);
    let behind = Behind {
        queue,
        put: AtomicU64::default(),
        written: AtomicU64::default(),
        lost: AtomicU64::default(),
        stuck: AtomicBool::default(),
        failure: Mutex::default(),
    };
    if BEHIND.set(behind).is_ok()
        && let Some(behind) = BEHIND.get()
    {
        thread::spawn(move || behind.write_all(&pieces));
    }
}

/// Prints, at once or behind.
///
/// # Errors
///
/// If it cannot be written; never if it is written behind.
pub(super) fn print(to: To, text: &[u8]) -> io::Result<()> {
    let Some(behind) = BEHIND.get() else { return write(to, text) };
    if !behind.put(to, text) {
        behind.lost.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Prints what the next one of its kind makes up for: progress. Whether it is left out nobody needs to know.
pub(super) fn print_passing(to: To, text: &[u8]) -> io::Result<()> {
    let Some(behind) = BEHIND.get() else { return write(to, text) };
    behind.put(to, text);
    Ok(())
}

/// Waits until all is written, or the reader has read nothing for so long. Says whether all is written.
pub(super) fn settle() -> bool {
    let Some(behind) = BEHIND.get() else { return true };
    let (mut since, mut last) = (Instant::now(), behind.written.load(Ordering::Acquire));
    loop {
        let written = behind.written.load(Ordering::Acquire);
        if written == behind.put.load(Ordering::Acquire) {
            behind.stuck.store(false, Ordering::Relaxed);
            return true;
        }
        if written != last {
            (since, last) = (Instant::now(), written);
            behind.stuck.store(false, Ordering::Relaxed);
        }
        // Once is enough.
        if behind.stuck.load(Ordering::Relaxed) || since.elapsed() >= PATIENCE {
            behind.stuck.store(true, Ordering::Relaxed);
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Says how much was left out, if any was.
pub(super) fn left_out() -> Option<String> {
    let behind = BEHIND.get()?;
    match behind.lost.load(Ordering::Relaxed) {
        0 if !behind.stuck.load(Ordering::Relaxed) => None,
        0 => Some("the end of the output was dropped: its reader was too slow".into()),
        1 => Some("1 line of output was dropped: its reader was too slow".into()),
        lost => Some(format!("{lost} lines of output were dropped: their reader was too slow")),
    }
}

/// Takes the reason why standard output could not be written, if so.
pub(super) fn failure() -> Option<io::Error> {
    BEHIND.get()?.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Behind {
    /// Puts something into the queue; says whether there was room.
    fn put(&self, to: To, text: &[u8]) -> bool {
        // Counted first: the thread may be faster.
        self.put.fetch_add(1, Ordering::AcqRel);
        let has_room = self.queue.try_send((to, text.to_vec())).is_ok();
        if !has_room {
            self.put.fetch_sub(1, Ordering::AcqRel);
        }
        has_room
    }

    fn write_all(&self, pieces: &Receiver<(To, Vec<u8>)>) {
        for (to, text) in pieces {
            if let Err(err) = write(to, &text)
                && to == To::Out
            {
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(err);
            }
            self.written.fetch_add(1, Ordering::AcqRel);
        }
    }
}

fn write(to: To, text: &[u8]) -> io::Result<()> {
    match to {
        To::Out => {
            let mut out = io::stdout().lock();
            out.write_all(text)?;
            out.flush()
        }
        To::Err => io::stderr().lock().write_all(text),
    }
}

/// Returns where bars are drawn.
pub(super) fn screen() -> ProgressDrawTarget {
    ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), FRAMES)
}

/// A terminal on standard error that bars are drawn on, a frame at a time.
#[derive(Debug, Default)]
struct Screen(Mutex<String>);

impl Screen {
    fn add(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    }

    fn go(&self, count: usize, direction: char) {
        if count > 0 {
            self.add(&format!("\x1b[{count}{direction}"));
        }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        console::Term::stderr().size().1
    }

    fn height(&self) -> u16 {
        console::Term::stderr().size().0
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.go(count, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.go(count, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.go(count, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.go(count, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(text);
        self.add("\n");
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let frame = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if frame.is_empty() { Ok(()) } else { print_passing(To::Err, frame.as_bytes()) }
    }
}
