//! Telling somebody outside: addresses that are called, mails that are sent.
//!
//! Each goes in a thread of its own, so that one that does not answer holds up neither the others nor whoever waits.
//! Addresses and passwords are read when they are needed, and never said: of an address no more than scheme and host, of
//! an answer no more than its code, since servers repeat what they were asked.

use std::{
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use ureq::{Agent, Error, http::Response};

use super::{
    Real, fetch, interrupted,
    mail::{Server, send},
    process, secrets,
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
/// How much of an answer is read, in bytes: only its code counts, and the rest is for the connection to end well.
const ANSWER: u64 = 1 << 16;

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

struct OpenPost {
    agent: Agent,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
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
        Open::Server(server, mail) => again(tries, || send_mail(&server, &mail)),
    }
}

fn send_mail(server: &Server, mail: &Mail) -> Tried {
    send(server, mail)
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
            let (to, post) = open_post(real, post)?;
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

fn open_post(real: &Real, post: &Post) -> Result<(String, OpenPost)> {
    let url = match &post.to {
        Where::Plain(url) => url.as_str().to_owned(),
        Where::Secret(file) => {
            let url = secrets::line(real, file)?;
            check(&url).with_context(|| format!("what {} holds (it is not shown)", file.0))?;
            url
        }
    };
    let mut headers = post.headers.clone();
    if let Some(file) = &post.token {
        let token = secrets::line(real, file)?;
        let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(plain, "what {} holds is no token (it is not shown)", file.0);
        headers.push(("Authorization", format!("Bearer {token}")));
    }
    let https = url.starts_with("https://");
    let mut config = Agent::config_builder()
        .https_only(https)
        // Another place would get what is meant for this one.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(if https { fetch::proxy(&real.web)? } else { None })
        .user_agent(concat!("rlvm/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(TRY));
    if https {
        config = config.tls_config(fetch::tls(&real.web)?);
    }
    let to = origin(&url);
    let post = OpenPost {
        agent: config.build().new_agent(),
        url: suffixed(&url, post.suffix),
        headers,
        body: post.body.clone(),
    };
    Ok((to, post))
}

/// Checks an address that a file holds.
fn check(url: &str) -> Result<()> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { bail!("does not start with https:// or http://") };
    ensure!(!rest.is_empty() && !rest.starts_with(['/', '?', '#']), "names no host");
    ensure!(url.bytes().all(|byte| byte.is_ascii_graphic()), "has blanks or letters beyond ASCII");
    Ok(())
}

/// Returns what of an address may be said: its scheme and host.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// Puts something behind the path of an address.
fn suffixed(url: &str, suffix: &str) -> String {
    if suffix.is_empty() {
        return url.to_owned();
    }
    let url = url.split('#').next().unwrap_or_default();
    match url.split_once('?') {
        Some((path, query)) => format!("{}{suffix}?{query}", path.trim_end_matches('/')),
        None => format!("{}{suffix}", url.trim_end_matches('/')),
    }
}

fn call(post: &OpenPost) -> Tried {
    let answer = match &post.body {
        Some(body) => {
            let headers = post.headers.iter();
            headers
                .fold(post.agent.post(&post.url), |call, (name, value)| call.header(*name, value))
                .send(body)
        }
        None => {
            let headers = post.headers.iter();
            headers.fold(post.agent.get(&post.url), |call, (name, value)| call.header(*name, value)).call()
        }
    };
    match answer {
        Ok(mut answer) => {
            let _ = answer.body_mut().with_config().limit(ANSWER).read_to_vec();
            judge(&answer)
        }
        Err(err) => failed(&err),
    }
}

fn judge<T>(answer: &Response<T>) -> Tried {
    let code = answer.status().as_u16();
    let said = format!("answered {code}");
    match code {
        200..=299 => Tried::Taken(said),
        300..=399 => Tried::Fails(format!("{said}: it sends elsewhere, where nothing is told")),
        404 | 410 => Tried::Fails(format!("{said}: the address is not, or no longer, known there")),
        401 | 403 => Tried::Fails(format!("{said}: it does not let in whoever calls so")),
        408 | 425 | 429 | 500..=599 => {
            let after =
                answer.headers().get("retry-after").and_then(|it| it.to_str().ok()?.trim().parse().ok());
            Tried::Passes(said, after.map(Duration::from_secs))
        }
        _ => Tried::Fails(said),
    }
}

/// Says why a call failed. Some of ureq's own words repeat the address (3.5).
fn failed(err: &Error) -> Tried {
    let passes = |why: &str| Tried::Passes(why.into(), None);
    match err {
        Error::Timeout(_) => passes("no answer in time"),
        Error::HostNotFound => passes("nobody knows where its host is"),
        Error::ConnectionFailed => passes("no connection"),
        Error::Io(err) => match err.get_ref().map(ToString::to_string) {
            // rustls: a certificate that is not trusted, say.
            Some(why) => Tried::Fails(why),
            None => passes(&err.to_string()),
        },
        Error::Rustls(err) => Tried::Fails(err.to_string()),
        Error::Tls(why) => Tried::Fails((*why).to_owned()),
        Error::ConnectProxyFailed(_) => passes("the proxy does not let through"),
        Error::BodyStalled | Error::Protocol(_) => passes("the answer is none that HTTP knows"),
        _ => Tried::Fails("it cannot be called: is the address right?".into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_only_scheme_and_host_are_said() {
        for (url, said) in [
            ("https://discord.com/api/webhooks/1/secret", "https://discord.com"),
            ("https://ntfy.lan:8443/topic?auth=secret", "https://ntfy.lan:8443"),
            ("http://me:secret@nas.lan/x", "http://nas.lan"),
            ("https://a.b?secret", "https://a.b"),
        ] {
            assert_eq!(origin(url), said);
        }
    }

    #[test]
    fn an_end_stands_behind_the_path() {
        for (url, expected) in [
            ("https://hc.lan/ping/1", "https://hc.lan/ping/1/fail"),
            ("https://hc.lan/ping/1/", "https://hc.lan/ping/1/fail"),
            ("https://hc.lan/ping/1?rid=2#x", "https://hc.lan/ping/1/fail?rid=2"),
        ] {
            assert_eq!(suffixed(url, "/fail"), expected);
        }
        assert_eq!(suffixed("https://a/b/", ""), "https://a/b/");
    }

    #[test]
    fn what_a_file_holds_is_an_address_or_told_without_it() {
        assert!(check("https://a/b?c=d").is_ok());
        for bad in
            ["", "secret", "ftp://secret/x", "https://", "https:///secret", "https://a/b c", "https://a/é"]
        {
            let why = check(bad).unwrap_err().to_string();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn only_what_can_pass_is_tried_again() {
        let judged = |code: u16| {
            let answer =
                ureq::http::Response::builder().status(code).header("retry-after", "7").body(()).unwrap();
            match judge(&answer) {
                Tried::Taken(_) => "taken".to_owned(),
                Tried::Passes(_, after) => format!("passes {}", after.unwrap().as_secs()),
                Tried::Fails(_) => "fails".into(),
            }
        };
        for (code, expected) in [
            (200, "taken"),
            (204, "taken"),
            (301, "fails"),
            (400, "fails"),
            (401, "fails"),
            (404, "fails"),
            (408, "passes 7"),
            (429, "passes 7"),
            (503, "passes 7"),
        ] {
            assert_eq!(judged(code), expected, "{code}");
        }
    }
}
