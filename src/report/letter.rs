//! Formats a message for each kind of notifier.

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
pub fn letter(
    notifier: &Notifier,
    message: &Message,
    facts: Facts<'_>,
    sender: &Sender<'_>,
) -> Option<Letter> {
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
            login: smtp
                .user
                .as_ref()
                .zip(smtp.password_file.as_ref())
                .map(|(user, file)| (user.as_str().to_owned(), file.clone())),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::told::{About, Kind};

    fn notifier(yaml: &str) -> Notifier {
        let yaml = format!("version: 1\nhost: web01\nnotify: {{ ops: {{ {yaml} }} }}\n");
        let state = crate::state::load("state", &mut |_| Ok(yaml.clone()))
            .unwrap_or_else(|err| panic!("{err}"))
            .state;
        state.notify.into_values().next().unwrap()
    }

    fn item(what: &str) -> Item {
        let about = About { kind: Kind::Run, job: Some("web_1".parse().unwrap()), destination: None };
        let since = Some("2026-11-20T02:30:00Z".to_owned());
        Item { occasion: Occasion::Failure, about, what: what.into(), since, again: false }
    }

    /// Writes a letter to somebody.
    fn to(yaml: &str, what: &str) -> Letter {
        let (host, items) = ("web01".parse().unwrap(), [item(what)]);
        let message = Message::new(&host, &items, &"/var/log/rlvm".parse().unwrap(), &[]);
        let now = "2026-11-21T02:30:00Z".parse().unwrap();
        let facts = Facts { items: &items, ..Facts::default() };
        letter(&notifier(yaml), &message, facts, &Sender { host: &host, now, id: "0123", home: None })
            .unwrap()
    }

    fn post(format: &str, what: &str) -> Post {
        match to(&format!("webhook: {{ url: 'https://a.lan/x', format: {format} }}"), what) {
            Letter::Post(post) => post,
            Letter::Mail(mail) => panic!("{mail:?}"),
        }
    }

    fn json(format: &str, what: &str) -> Value {
        serde_json::from_str(&post(format, what).body.unwrap()).unwrap()
    }

    #[test]
    fn nobody_is_pinged_and_nothing_is_read_into_it() {
        let evil = "@everyone <!channel> <@U1> [x](https://evil.lan) `rm` & **bold**";
        let discord = json("discord", evil);
        assert_eq!(discord["allowed_mentions"], json!({ "parse": [] }));
        let content = discord["content"].as_str().unwrap();
        assert!(content.starts_with("**web01: backup failed: web\\_1**\n"), "{content}");
        assert!(content.contains("\\@everyone <!channel\\> <\\@U1\\> \\[x\\]"), "{content}");
        let text = json("slack", evil)["text"].as_str().unwrap().to_owned();
        assert!(text.contains("&lt;!channel&gt; &lt;@U1&gt;") && text.contains(" &amp; "), "{text}");
        assert_eq!(json("slack", evil).as_object().unwrap().len(), 1);
    }

    #[test]
    fn long_ones_are_cut_to_what_each_takes() {
        let long = "ü~".repeat(5000);
        assert!(json("discord", &long)["content"].as_str().unwrap().chars().count() <= DISCORD);
        assert!(json("slack", &long)["text"].as_str().unwrap().chars().count() <= 4000);
        assert!(post("ntfy", &long).body.unwrap().len() <= NTFY);
        assert!(post("healthchecks", &long).body.unwrap().len() <= BODY);
        assert_eq!((head("aü", 2), tail("üa", 2), head("a", 9), tail("a", 9)), ("a", "a", "a", "a"));
    }

    #[test]
    fn each_in_its_own_words() {
        let ntfy = post("ntfy", "locked");
        let head = |name: &str| ntfy.headers.iter().find(|(it, _)| *it == name).unwrap().1.as_str();
        assert_eq!(
            (head("Title"), head("Priority"), head("Tags")),
            ("web01: backup failed: web_1", "high", "rotating_light")
        );
        assert!(ntfy.body.as_ref().unwrap().starts_with("web_1: failed: locked\n"));
        let ping = post("ping", "locked");
        assert_eq!((ping.body, ping.suffix, ping.headers.len()), (None, "", 0));
        let plain = json("json", "locked");
        assert_eq!((&plain["format_version"], &plain["host"]), (&"1.0".into(), &"web01".into()));
        assert_eq!(plain["message"]["occasion"], "failure");
        assert_eq!(
            (&plain["items"][0]["job"], &plain["items"][0]["what"]),
            (&"web_1".into(), &"locked".into())
        );
    }

    #[test]
    fn what_watches_for_silence_hears_when_it_begins_and_how_it_ends() {
        let watch = notifier("webhook: { url: 'https://a.lan/x', format: healthchecks }");
        let message = Message::test(&"web01".parse().unwrap(), "ops");
        let suffix = |letter: Option<Letter>| match letter {
            Some(Letter::Post(post)) => post.suffix,
            other => panic!("{other:?}"),
        };
        assert_eq!(suffix(begins(&watch)), "/start");
        assert_eq!(suffix(ends(&watch, true, &message)), "");
        assert_eq!(suffix(ends(&watch, false, &message)), "/fail");
        assert_eq!(begins(&notifier("webhook: { url: 'https://a.lan/x' }")), None);
        assert_eq!(ends(&notifier("email: { to: root }"), true, &message), None);
    }

    #[test]
    fn a_mail_is_for_whom_it_says() {
        let Letter::Mail(mail) = to("email: { to: 'root, ann@b.c', from: me@d.e }", "läuft nicht") else {
            panic!()
        };
        assert_eq!(
            (mail.from.as_deref(), mail.to),
            (Some("me@d.e"), vec!["root".to_owned(), "ann@b.c".into()])
        );
        assert!(mail.text.is_ascii() && mail.text.contains("\nTo: root,\n ann@b.c\n"), "{}", mail.text);
        let smtp = "email: { to: a@b.c, from: me@d.e, smtp: { host: m.lan, user: u, password_file: /p } }";
        let Letter::Mail(Mail { by: Carrier::Server { port, login, .. }, .. }) = to(smtp, "x") else {
            panic!()
        };
        assert_eq!((port, login.unwrap().0), (587, "u".to_owned()));
    }
}
