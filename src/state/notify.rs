//! Who is told, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Line, OneOrMore, SecretFile, Url};

/// Somebody who is told of runs. Exactly one of `webhook` and `email` says how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["webhook"] }, { "required": ["email"] }]))]
pub struct Notifier {
    /// What is told: `failure`, `recovery` (the first success after one), `overdue` (nothing has run), `success`.
    /// Default: failure, recovery and overdue.
    #[serde(default = "Notifier::on")]
    pub on: OneOrMore<Occasion>,
    /// Posts to an address. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Writes a mail, through the host's sendmail. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
}

impl Notifier {
    fn on() -> OneOrMore<Occasion> {
        OneOrMore::of(Occasion::Failure, [Occasion::Recovery, Occasion::Overdue])
    }
}

/// What somebody is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Occasion {
    /// A run failed or is incomplete.
    Failure,
    /// The first success after a failure.
    Recovery,
    /// Nothing has run for longer than the schedule allows.
    Overdue,
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
    /// What is posted: `json`, or a message in the words of `discord`, `slack`, `ntfy`; `ping` posts nothing, for
    /// services that watch for silence. Default: json.
    #[serde(default)]
    pub format: MessageFormat,
}

/// What is posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum MessageFormat {
    /// The record of the run.
    #[default]
    Json,
    /// A message for Discord.
    Discord,
    /// A message for Slack, or what speaks like it.
    Slack,
    /// Plain text, for ntfy.
    Ntfy,
    /// Nothing: only that the address was called.
    Ping,
}

/// Writes a mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Email {
    /// Whom it is sent to: an address.
    pub to: Line,
    /// Whom it is sent from: an address. Default: sendmail's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Line>,
}
