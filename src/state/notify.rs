//! Who is told, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::State;
use crate::{
    effect::Tls,
    model::{Line, Name, OneOrMore, SecretFile, Server, Span, Url, field::is_default},
};

/// Somebody who is told how backups are. Exactly one of `webhook` and `email` says how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["webhook"] }, { "required": ["email"] }]))]
pub struct Notifier {
    /// What is told: `failure`, `recovery` (the first success after one), `overdue` (nothing has run), `verify` (a
    /// verification found something wrong or could not be made), `success`. Default: all but success.
    #[serde(default = "Notifier::on")]
    pub on: OneOrMore<Occasion>,
    /// How long it takes until the same trouble is told again. Recovery is always told. Default: 24h.
    #[serde(default = "Notifier::repeat")]
    pub repeat: Span,
    /// How many of the last lines of a job's log are told with its failure: what programs said, of which rlvm does not
    /// know whether it is private. Default: 40 for `healthchecks`, else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_lines: Option<u32>,
    /// Posts to an address. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Writes a mail. Default: none.
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

/// What somebody is told of.
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
    /// The address, if it is no secret. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// The file that holds the address, if it is a secret, as most are. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_file: Option<SecretFile>,
    /// The file that holds a token, sent as `Authorization: Bearer`, as ntfy takes it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<SecretFile>,
    /// What is posted: `json`, or a message in the words of `discord`, `slack`, `ntfy`. `healthchecks` is for services
    /// that watch for silence as Healthchecks does: each run calls the address with `/start`, then as it is, or with
    /// `/fail`, whatever `on` says; give each job an address of its own. `ping` posts nothing. Default: json.
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
    /// Whom it is sent to: an address, or several with commas between.
    pub to: Line,
    /// Whom it is sent from: an address. Default: sendmail's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Line>,
    /// The server that takes it; it needs `from`. Default: none, the host's sendmail sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Smtp>,
}

/// A server that takes mails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Smtp {
    /// Its name, which its certificate is for.
    pub host: Server,
    /// Its port. Default: 587 for starttls, 465 for implicit, 25 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// How what is said to it is encrypted: `starttls`, which it must offer; `implicit`, from the first byte; `none`.
    /// Default: starttls.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: Tls,
    /// Whom to log in as; it needs `password_file`. Default: nobody.
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
