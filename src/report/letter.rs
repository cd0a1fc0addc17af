//! A message as a notifier's service takes it.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    message::{Message, cut},
    mime::{Heads, encoded, mail},
    notice::Item,
};
use crate::{
    effect::{Carrier, Letter, Mail, Post, Where},
    job::Record,
    model::{HostName, HostPath},
    state::{Email, MessageFormat, Notifier, Occasion, Webhook},
    verify::Checked,
};

/// How long a message to Discord may be, in characters.
const DISCORD: usize = 2000;
/// How long one to Slack is at most: what is longer than 4000 it cuts itself.
const SLACK: usize = 3900;
/// How long one to ntfy is at most, in bytes: what is longer becomes an attachment.
const NTFY: usize = 4000;
/// How much of a log is sent, in bytes: Healthchecks keeps 100 kB, others 10.
const BODY: usize = 10_000;

/// What letters have in common.
#[derive(Clone, Debug)]
pub struct Sender<'a> {
    /// The host.
    pub host: &'a HostName,
    /// The time.
    pub now: Timestamp,
    /// Tells this mail from all others: a random word.
    pub id: &'a str,
    /// Where the caller is at home, if it is not the host's set-up.
    pub home: Option<&'a HostPath>,
}

/// What a message is about, for programs.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Facts<'a> {
    /// What is told.
    pub items: &'a [Item],
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<&'a Record>,
    /// The verifications.
    #[serde(skip_serializing_if = "<[Checked]>::is_empty")]
    pub checks: &'a [Checked],
}

/// Writes what a notifier is sent.
pub fn letter(notifier: &Notifier, message: &Message, facts: Facts<'_>, sender: &Sender<'_>) -> Option<Letter> {
    match (&notifier.webhook, &notifier.email) {
        (Some(webhook), _) => Some(Letter::Post(posted(webhook, message, facts, sender)?)),
        (None, Some(email)) => Some(Letter::Mail(mailed(email, message, sender))),
        (None, None) => None,
    }
}

fn post(webhook: &Webhook) -> Option<Post> {
    let to = match (&webhook.url_file, &webhook.url) {
        (Some(file), _) => Where::Secret(file.clone()),
        (None, Some(url)) => Where::Plain(url.clone()),
        (None, None) => return None,
    };
    Some(Post { to, suffix: "", token: webhook.token_file.clone(), headers: Vec::new(), body: None })
}

fn posted(webhook: &Webhook, message: &Message, facts: Facts<'_>, sender: &Sender<'_>) -> Option<Post> {
    let post = post(webhook)?;
    let json = |value: &Value| Post {
        headers: vec![("Content-Type", "application/json".into())],
        body: Some(value.to_string()),
        ..post.clone()
    };
    let (subject, whole) = (&message.subject, message.whole());
    Some(match webhook.format {
        MessageFormat::Json => json(&plain(message, facts, sender)),
        MessageFormat::Discord => {
            let content = cut(&format!("**{}**\n{}", markdown(subject), markdown(&whole)), DISCORD);
            json(&json!({ "content": content, "allowed_mentions": { "parse": [] } }))
        }
        MessageFormat::Slack => {
            let text = slack(&cut(&format!("{subject}\n{whole}"), SLACK));
            json(&json!({ "text": text }))
        }
        MessageFormat::Ntfy => Post {
            headers: vec![
                ("Title", encoded(subject).replace("\n ", " ")),
                ("Priority", priority(message.occasion).into()),
                ("Tags", tag(message.occasion).into()),
                ("Content-Type", "text/plain; charset=utf-8".into()),
            ],
            body: Some(head(&whole, NTFY).to_owned()),
            ..post
        },
        MessageFormat::Healthchecks => signal(post, &format!("{subject}\n\n{whole}"), ""),
        MessageFormat::Ping => post,
    })
}

/// Is called when a run begins.
pub fn begins(notifier: &Notifier) -> Option<Letter> {
    Some(Letter::Post(Post { suffix: "/start", ..watch(notifier)? }))
}

/// Is called when a run has ended, with the end of the log.
pub fn ends(notifier: &Notifier, well: bool, message: &Message) -> Option<Letter> {
    let text = format!("{}\n\n{}", message.subject, message.whole());
    Some(Letter::Post(signal(watch(notifier)?, &text, if well { "" } else { "/fail" })))
}

fn watch(notifier: &Notifier) -> Option<Post> {
    post(notifier.webhook.as_ref().filter(|_| notifier.is_watch())?)
}

fn signal(post: Post, text: &str, suffix: &'static str) -> Post {
    let headers = vec![("Content-Type", "text/plain; charset=utf-8".into())];
    Post { suffix, headers, body: Some(tail(text, BODY).to_owned()), ..post }
}

/// Writes what programs read.
fn plain(message: &Message, facts: Facts<'_>, sender: &Sender<'_>) -> Value {
    let mut value = json!({
        "format_version": "1.0",
        "rlvm_version": env!("CARGO_PKG_VERSION"),
        "host": sender.host,
        "time": sender.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "message": message,
    });
    if let (Value::Object(value), Ok(Value::Object(facts))) = (&mut value, serde_json::to_value(facts)) {
        value.extend(facts);
    }
    value
}

fn mailed(email: &Email, message: &Message, sender: &Sender<'_>) -> Mail {
    let to: Vec<&str> = email.addresses().collect();
    let from = email.from.as_ref().map(|it| it.as_str().trim());
    let heads = Heads {
        from,
        to: &to,
        subject: &message.subject,
        date: sender.now,
        id: (sender.id, sender.host.as_str()),
    };
    let by = match &email.smtp {
        None => Carrier::Sendmail { home: sender.home.cloned() },
        Some(smtp) => Carrier::Server {
            host: smtp.host.clone(),
            port: smtp.port(),
            tls: smtp.tls,
            login: smtp.user.as_ref().zip(smtp.password_file.as_ref()).map(|(user, file)| {
                (user.as_str().to_owned(), file.clone())
            }),
            own_name: sender.host.clone(),
        },
    };
    Mail {
        text: mail(&heads, &message.whole()),
        from: from.map(ToOwned::to_owned),
        to: to.iter().map(ToString::to_string).collect(),
        by,
    }
}

/// Keeps Discord from reading anything into names and words.
fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if "\\*_~`|>#[]@".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

/// Keeps Slack from reading anything into them: these three letters are all that it asks for.
fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const fn priority(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Failure | Occasion::Verify | Occasion::Overdue => "high",
        Occasion::Recovery => "default",
        Occasion::Success => "low",
    }
}

const fn tag(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Failure | Occasion::Verify => "rotating_light",
        Occasion::Overdue => "hourglass",
        Occasion::Recovery | Occasion::Success => "white_check_mark",
    }
}

/// Takes the beginning of a text, up to so many bytes.
fn head(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Takes the end of a text, up to so many bytes.
fn tail(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}
