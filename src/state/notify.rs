//! Notifiers, and what they are notified of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::State;
use crate::{
    effect::Tls,
    model::{Line, Name, OneOrMore, SecretFile, Server, Span, Url, field::is_default},
};

/// A webhook or mail address that gets messages about backups. Exactly one of `webhook` and `email` is required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["webhook"] }, { "required": ["email"] }]))]
pub struct Notifier {
    /// When a message is sent: `failure`, `recovery` (the first success after a failure), `overdue` (a backup did not
    /// run), `verify` (a verification found a problem or did not finish), `success`. Default: all but success.
    #[serde(default = "Notifier::on")]
    pub on: OneOrMore<Occasion>,
    /// After how much time the same problem is reported again. Recovery is always reported. Default: 24h.
    #[serde(default = "Notifier::repeat")]
    pub repeat: Span,
    /// How many of the last lines of a job's log are sent with a failure. The lines can contain file names and other
    /// private text. Default: 40 for `healthchecks`, else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_lines: Option<u32>,
    /// Posts to an address. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Sends a mail. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
}

impl Notifier {
    fn on() -> OneOrMore<Occasion> {
        OneOrMore::of(Occasion::Failure, [Occasion::Recovery, Occasion::Overdue, Occasion::Verify])
    }

    const fn repeat() -> Span {
        Span::minutes(24 * 60)
    }

    /// Says whether it is told of something.
    pub fn is_told(&self, occasion: Occasion) -> bool {
        self.on.contains(&occasion)
    }

    /// Says whether it is a service that watches for silence: it hears of each run, when it begins and how it ends.
    pub fn is_watch(&self) -> bool {
        self.webhook.as_ref().is_some_and(|it| it.format == MessageFormat::Healthchecks)
    }

    /// Returns how many lines of a job's log it gets.
    pub fn lines(&self) -> usize {
        let lines = self.log_lines.unwrap_or(if self.is_watch() { 40 } else { 0 });
        usize::try_from(lines).unwrap_or(usize::MAX)
    }
}

impl State {
    /// Lists the notifiers of a job, each once.
    pub fn notifiers_of(&self, job: &Name) -> impl Iterator<Item = (&Name, &Notifier)> {
        let named = self.jobs.get(job).map(|job| job.notify.as_slice()).unwrap_or_default();
        self.notify.iter().filter(|(name, _)| named.contains(name))
    }
}

/// An event that a notifier reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Occasion {
    /// A run failed or is incomplete, or old backups could not be removed.
    Failure,
    /// The first success after a failure.
    Recovery,
    /// Nothing has run for longer than the schedule allows.
    Overdue,
    /// A verification found something wrong, or could not be made.
    Verify,
    /// Every success.
    Success,
}

/// Posts to an address. Exactly one of `url` and `url_file` says which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("oneOf" = [{ "required": ["url"] }, { "required": ["url_file"] }]))]
pub struct Webhook {
    /// The address, if it is not secret. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// The file with the address, if the address is secret. Most are. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_file: Option<SecretFile>,
    /// The file that holds a token, sent as `Authorization: Bearer`, as ntfy takes it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<SecretFile>,
    /// What is posted: `json`, or a message for `discord`, `slack` or `ntfy`. `healthchecks` is for services that
    /// expect regular calls: each run calls the address with `/start`, then the address itself or `/fail`, whatever
    /// `on` says. Use one address per job. `ping` posts nothing. Default: json.
    #[serde(default)]
    pub format: MessageFormat,
}

/// What is posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum MessageFormat {
    /// What is told, with the record of the run.
    #[default]
    Json,
    /// A message for Discord.
    Discord,
    /// A message for Slack, or what speaks like it.
    Slack,
    /// Plain text, for ntfy.
    Ntfy,
    /// The end of the log, at the address for how the run went.
    Healthchecks,
    /// Nothing: only that the address was called.
    Ping,
}

/// Writes a mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Email {
    /// The receiver's address, or several separated by commas.
    pub to: Line,
    /// The sender's address. Default: sendmail's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Line>,
    /// The SMTP server; `from` is then required. Default: none, the host's sendmail sends the mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Smtp>,
}

/// A server that takes mails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Smtp {
    /// The name of the server. Its certificate must be for this name.
    pub host: Server,
    /// Its port. Default: 587 for starttls, 465 for implicit, 25 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Encryption: `starttls` (the server must offer it), `implicit` (from the first byte), or `none`. Default:
    /// starttls.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: Tls,
    /// The user for a login; `password_file` is then required. Default: no login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Line>,
    /// The file that holds that user's password. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<SecretFile>,
}

impl Email {
    /// Lists whom it is sent to.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.to.as_str().split(',').map(str::trim)
    }
}

impl Smtp {
    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::Starttls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        })
    }
}
