//! `rlvm notify`: tries notifiers, and reports jobs that have not run.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    after::{self, after},
    context::Context,
    exit::{Exit, Failure},
    kept::applied,
};
use crate::{
    host::{Real, random_id},
    model::Name,
    report::{
        letter::{Facts, Sender, letter},
        message::Message,
        notice::What,
    },
    state::State,
};

/// Send notifications about backups, as `notify:` of the state declares
///
/// `rlvm run`, `prune` and `verify` send notifications when they end. A job names its notifiers. The same problem is
/// reported once, and again after a day (`repeat`); its end is always reported. A notifier that does not work is a
/// warning and fails no backup.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
In the state:
  notify:
    ops:                            # failure, recovery, overdue, verify
      webhook: { url_file: /etc/rlvm/secrets/discord.url, format: discord }
    phone:
      on: [failure, overdue]
      webhook: { url: https://ntfy.lan/backups, token_file: /etc/rlvm/secrets/ntfy.token, format: ntfy }
    system_check:                   # start, end and failure of each run
      webhook: { url_file: /etc/rlvm/secrets/hc-system.url, format: healthchecks }
    inbox:
      email: { to: root }           # by the host's sendmail
    boss:
      on: [overdue]
      email:
        to: boss@example.org
        from: backup@example.org
        smtp: { host: mail.example.org, user: backup, password_file: /etc/rlvm/secrets/smtp.pass }
  jobs:
    system: { notify: [ops, system_check] }")]
pub(super) enum NotifyVerb {
    Test(TestVerb),
    Watch(WatchVerb),
}

/// Send a test message to notifiers now, and show the results
///
/// Without NAME, sends to all. Uses the state that was applied last, unless --state names another. Exits 1 if one
/// failed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm notify test
  rlvm notify test ops
  rlvm --state new.yaml notify test ops    before it is applied")]
pub(super) struct TestVerb {
    /// The notifiers
    #[arg(value_name = "NAME")]
    names: Vec<Name>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Notify about overdue backups. An entry that apply installs calls it every hour
///
/// Looks into the repositories as `rlvm status` does, and reports backups that did not run. Also reports problems that
/// could not be reported when they happened.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm notify watch               look now")]
pub(super) struct WatchVerb {}

/// How a test went.
#[derive(Serialize)]
struct Tested {
    name: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl NotifyVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.running("notifications are sent")?;
        let state = applied(context, &host)?;
        match self {
            Self::Test(verb) => verb.run(context, &host, &state),
            Self::Watch(_) => watch(context, &host, &state),
        }
    }
}

impl TestVerb {
    fn run(&self, context: &Context<'_>, host: &Real, state: &State) -> Result<Exit> {
        for name in &self.names {
            if !state.notify.contains_key(name) {
                let names: Vec<&str> = state.notify.keys().map(Name::as_str).collect();
                let help = if names.is_empty() {
                    "the state declares none".into()
                } else {
                    format!("there are: {}", names.join(", "))
                };
                bail!(Failure::new(Exit::Failed, format!("there is no notifier {name}")).help(help));
            }
        }
        let asked =
            state.notify.iter().filter(|(name, _)| self.names.is_empty() || self.names.contains(name));
        let (id, now, scope) = (random_id()?, after::now(context, None), context.scope()?);
        let sender = Sender { host: &state.host, now, id: &id, home: scope.personal().map(|own| &own.home) };
        let (names, letters): (Vec<&Name>, Vec<_>) = asked
            .filter_map(|(name, notifier)| {
                let message = Message::test(&state.host, name.as_str());
                Some((name, letter(notifier, &message, Facts::default(), &sender)?))
            })
            .unzip();
        let all: Vec<Tested> = names
            .into_iter()
            .zip(after::send(host, &letters))
            .map(|(name, result)| Tested {
                name: name.clone(),
                error: result.clone().err(),
                answer: result.ok(),
            })
            .collect();
        let noted: Vec<after::Noted> = all
            .iter()
            .map(|it| (it.name.clone(), Vec::new(), it.error.clone().map_or(Ok(()), Err)))
            .collect();
        after::keep(context, host, state, &noted, &now.to_string())?;
        self.show(context, &all)
    }

    fn show(&self, context: &Context<'_>, all: &[Tested]) -> Result<Exit> {
        if self.json {
            context.printer.json(&serde_json::json!({ "format_version": "1.0", "notifiers": all }))?;
        } else {
            for it in all {
                let words = it.answer.as_deref().map_or("FAILED: ", |_| "");
                let said = it.answer.as_deref().or(it.error.as_deref()).unwrap_or_default();
                context.printer.print(&format!("{}: {words}{said}\n", it.name))?;
            }
        }
        let failed = all.iter().filter(|it| it.error.is_some()).count();
        if failed > 0 {
            bail!(Failure::new(Exit::Failed, format!("{failed} of {}: not told", all.len())));
        }
        if all.is_empty() {
            context.printer.remark("the state declares no notifier\n");
        }
        Ok(Exit::Ok)
    }
}

/// Tells what is overdue.
fn watch(context: &Context<'_>, host: &Real, state: &State) -> Result<Exit> {
    let status = super::status::look(context, host, state)?;
    after(context, host, state, What::Looked(&status));
    Ok(Exit::Ok)
}
