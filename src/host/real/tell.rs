//! Sends notifications: HTTP requests (`post`) and mails (`mail`).
//!
//! Each one is sent in a thread of its own, so that a service that does not answer delays neither the others nor the
//! caller. Addresses and passwords are read when they are needed and never printed. Messages name only scheme and
//! host of an address, and only the code of an answer, because servers repeat what they were sent.

use std::{
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{
    Real, interrupted,
    mail::{Server, send},
    post::{OpenPost, call, origin},
    process,
};
use crate::effect::{Carrier, Cmd, Letter, Mail, Post, Where};

/// How long one try may take.
pub(super) const TRY: Duration = Duration::from_secs(8);
/// How long to wait before each further try.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// How long all that is told at once is waited for.
const WHOLE: Duration = Duration::from_secs(30);
/// How long it is once a signal asks to stop.
const HURRY: Duration = Duration::from_secs(10);

/// How somebody was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Where it went: scheme and host of an address, `sendmail`, a server's name.
    pub to: String,
    /// What came of it, or why nothing: words without a secret.
    pub result: Result<String, String>,
    /// How long it took, in seconds, to a tenth.
    pub seconds: String,
}

/// How often something is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    /// Once: what waits for it is more urgent.
    Once,
    /// Again if what went wrong can pass.
    Thrice,
}

/// What is being told.
pub struct Telling {
    since: Instant,
    receive: Receiver<(usize, Told)>,
    /// Where each goes, and how it went.
    all: Vec<(String, Option<Told>)>,
}

/// A letter with all that it takes, secrets too: it is never printed.
enum Open {
    Post(Box<OpenPost>),
    Sendmail { command: Box<Command>, cmd: Box<Cmd> },
    Server(Box<Server>, Mail),
}

/// How one try went.
pub(super) enum Tried {
    /// It was taken.
    Taken(String),
    /// It was not, and may be in a moment: after so long, if the other side says so.
    Passes(String, Option<Duration>),
    /// It was not.
    Fails(String),
}

impl Real {
    /// Begins to tell all of these, side by side.
    pub fn deliver(&self, letters: &[Letter], tries: Tries) -> Telling {
        let (send, receive) = mpsc::channel();
        let since = Instant::now();
        let mut all = Vec::new();
        for (place, letter) in letters.iter().enumerate() {
            match open(self, letter) {
                Ok((to, open)) => {
                    all.push((to.clone(), None));
                    start(place, to, open, tries, &send);
                }
                Err(err) => {
                    let to = named(letter);
                    let told =
                        Told { to: to.clone(), result: Err(format!("{err:#}")), seconds: "0.0".into() };
                    all.push((to, Some(told)));
                }
            }
        }
        Telling { since, receive, all }
    }
}

impl Telling {
    /// Waits until all are told, half a minute at most, and not that long once a signal asks to stop.
    pub fn wait(mut self) -> Vec<Told> {
        let mut until = self.since + WHOLE;
        while self.all.iter().any(|(_, told)| told.is_none()) {
            if interrupted().is_some() {
                until = until.min(Instant::now() + HURRY);
            }
            match self.receive.recv_timeout(Duration::from_millis(100)) {
                Ok((place, told)) => self.all[place].1 = Some(told),
                Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(_) => break,
            }
        }
        let seconds = tenths(self.since.elapsed());
        let silent = |to| Told { to, result: Err("no answer in time".into()), seconds: seconds.clone() };
        self.all.into_iter().map(|(to, told)| told.unwrap_or_else(|| silent(to))).collect()
    }
}

fn tenths(took: Duration) -> String {
    format!("{:.1}", took.as_secs_f64())
}

fn start(place: usize, to: String, open: Open, tries: Tries, send: &Sender<(usize, Told)>) {
    let send = send.clone();
    thread::spawn(move || {
        let since = Instant::now();
        let result = carry(open, tries);
        // Nobody may wait any more.
        drop(send.send((place, Told { to, result, seconds: tenths(since.elapsed()) })));
    });
}

fn carry(open: Open, tries: Tries) -> Result<String, String> {
    match open {
        // sendmail has a queue, and tries again itself.
        Open::Sendmail { command, cmd } => sendmail(*command, &cmd).map_err(|err| format!("{err:#}")),
        Open::Post(post) => again(tries, || call(&post)),
        Open::Server(server, mail) => again(tries, || send(&server, &mail)),
    }
}

/// Tries, and tries again what can pass.
fn again(tries: Tries, mut one: impl FnMut() -> Tried) -> Result<String, String> {
    let mut pauses = if tries == Tries::Once { [].iter() } else { PAUSES.iter() };
    loop {
        match one() {
            Tried::Taken(how) => return Ok(how),
            Tried::Fails(why) => return Err(why),
            Tried::Passes(why, asked) => {
                let Some(pause) = pauses.next() else { return Err(why) };
                thread::sleep(asked.unwrap_or(*pause).clamp(*pause, TRY));
            }
        }
    }
}

/// Reads what it takes. An error says which file, and nothing that it holds.
fn open(real: &Real, letter: &Letter) -> Result<(String, Open)> {
    match letter {
        Letter::Post(post) => {
            let (to, post) = OpenPost::open(real, post)?;
            Ok((to, Open::Post(Box::new(post))))
        }
        Letter::Mail(mail) => match &mail.by {
            Carrier::Sendmail { home } => {
                let cmd = mail.sendmail(home.as_ref(), WHOLE.as_secs() - 2);
                let command = Box::new(process::prepare(real, &cmd)?);
                Ok((named(letter), Open::Sendmail { command, cmd: Box::new(cmd) }))
            }
            Carrier::Server { .. } => {
                let server = Server::open(real, &mail.by)?;
                Ok((named(letter), Open::Server(Box::new(server), mail.clone())))
            }
        },
    }
}

/// Names where a letter goes without reading anything.
fn named(letter: &Letter) -> String {
    match letter {
        Letter::Post(Post { to: Where::Plain(url), .. }) => origin(url.as_str()),
        Letter::Post(_) => "its address".into(),
        Letter::Mail(Mail { by: Carrier::Sendmail { .. }, .. }) => "sendmail".into(),
        Letter::Mail(Mail { by: Carrier::Server { host, port, .. }, .. }) => {
            if host.is_ipv6() {
                format!("[{}]:{port}", host.as_str())
            } else {
                format!("{}:{port}", host.as_str())
            }
        }
    }
}

fn sendmail(command: Command, cmd: &Cmd) -> Result<String> {
    let output = process::to_its_end(command, cmd, Stdio::piped())?;
    if let Some(code @ (126 | 127)) = output.code {
        bail!(
            "no sendmail (exit code {code})\nhelp: apt-get install a mail server, or say `smtp:` of the notifier"
        );
    }
    // The whole mail would be in the line of an error else.
    match output.code {
        Some(0) => Ok("took it".into()),
        Some(code) => bail!("exit code {code}: {}", output.stderr.trim_end()),
        None if output.timed_out => bail!("took longer than {} s and was ended", cmd.time_limit()),
        None => bail!("was ended by a signal"),
    }
}
