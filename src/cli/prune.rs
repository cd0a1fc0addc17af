//! `rlvm prune`: removes old backups of clients that can only add, here, where they are kept.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;

use super::{
    context::{Context, Search},
    exit::{Exit, Failure},
    kept::Kept,
};
use crate::{
    effect::{Arg, Cmd},
    expand::prunes,
    host::{Host as _, Real, Store, interrupted, watch_signals},
    model::UserName,
    state::State,
};

/// Remove old backups of clients that can only add
///
/// A client with `access: append_only` cannot remove its own backups: the server does, by restic, as the client's own
/// account, by `keep_within` alone, since a stolen client could forge any number of backups. Snapshots with the tag
/// `protected` stay. Without --client: of all clients that have `prune`. The state is the one that was applied last,
/// unless --state names another. Exits 1 if one failed; the others are pruned all the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm prune --dry-run            print each command, ready to paste
  rlvm prune --client backup-db01

In the state:
  ssh:
    users:
      backup-db01:
        access: append_only
        prune:
          keep_within: 90d
          schedule: \"0 5 * * 0\"
          password_file: /etc/rlvm/secrets/db01.pass    # the client's, root's here")]
pub(super) struct PruneVerb {
    /// Only this client, by its account's name (more than once for several)
    #[arg(long = "client", value_name = "ACCOUNT")]
    clients: Vec<UserName>,
    /// Print the commands, and run none
    #[arg(long = "dry-run")]
    printed: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How it went, for machines.
#[derive(Debug, Serialize)]
struct Pruned {
    format_version: &'static str,
    clients: Vec<Client>,
}

#[derive(Debug, Serialize)]
struct Client {
    name: UserName,
    command: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl PruneVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        if host.looker().is_tree() {
            let message = "old backups are removed by the running system, not below --root";
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let chosen = self.choose(prunes(&state(context, &host)?))?;
        if self.printed { self.show(context, chosen) } else { self.carry_out(context, &host, chosen) }
    }

    /// Runs the commands, and tells how each ended.
    fn carry_out(&self, context: &Context<'_>, host: &Real, chosen: Vec<(UserName, Cmd)>) -> Result<Exit> {
        watch_signals()?;
        let mut pruned = Vec::new();
        let asked = chosen.len();
        side_by_side(host, chosen, &mut |client| {
            if !self.json {
                tell(context, &client)?;
            }
            pruned.push(client);
            Ok(())
        })?;
        pruned.sort_by(|a, b| a.name.cmp(&b.name));
        let failed = pruned.iter().filter(|client| client.error.is_some()).count();
        let done = pruned.len();
        if self.json {
            context.printer.json(&Pruned { format_version: "1.0", clients: pruned })?;
        }
        match (interrupted(), failed) {
            (Some(signal), _) => Ok(Exit::of_signal(Some(signal))),
            (None, 0) if done == asked => Ok(Exit::Ok),
            (None, _) => {
                bail!(Failure::new(Exit::Failed, format!("{failed} of {asked} clients: not pruned")))
            }
        }
    }

    /// Takes those that are asked for.
    fn choose(&self, all: Vec<(UserName, Cmd)>) -> Result<Vec<(UserName, Cmd)>> {
        for name in &self.clients {
            if !all.iter().any(|(client, _)| client == name) {
                let names: Vec<&str> = all.iter().map(|(client, _)| client.as_str()).collect();
                let message = format!("no client {name} is pruned here");
                let help = match names[..] {
                    [] => "the state declares `prune` for no client".to_owned(),
                    _ => format!("there are: {}", names.join(", ")),
                };
                bail!(Failure::new(Exit::Failed, message).help(help));
            }
        }
        let asked = |client: &UserName| self.clients.is_empty() || self.clients.contains(client);
        Ok(all.into_iter().filter(|(client, _)| asked(client)).collect())
    }

    fn show(&self, context: &Context<'_>, chosen: Vec<(UserName, Cmd)>) -> Result<Exit> {
        let clients: Vec<Client> = chosen
            .into_iter()
            .map(|(client, cmd)| Client { name: client, command: cmd.to_string(), output: None, error: None })
            .collect();
        if self.json {
            context.printer.json(&Pruned { format_version: "1.0", clients })?;
        } else {
            for client in clients {
                context.printer.print(&format!("# {}\n{}\n", client.name, client.command))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// Finds the state that is named, else the one that was applied.
fn state(context: &Context<'_>, host: &Real) -> Result<State> {
    if context.global.state.is_some() {
        return Ok(context.state(None, Search::EtcOnly)?.state);
    }
    let kept = Kept::read(&Store::new(host, &context.home()?))?;
    let none =
        || Failure::new(Exit::Failed, "nothing was applied here yet").help("rlvm apply, or --state PATH");
    Ok(kept.with_context(none)?.state)
}

/// Runs all, as many at a time as there are cores; none any more once a signal asked to stop.
fn side_by_side(
    host: &Real,
    all: Vec<(UserName, Cmd)>,
    each: &mut dyn FnMut(Client) -> Result<()>,
) -> Result<()> {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let queue = Mutex::new(all.into_iter());
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..cores {
            let (send, queue) = (send.clone(), &queue);
            scope.spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some((client, cmd)) = if interrupted().is_some() { None } else { next() } {
                    let (output, error) = match if_any(host, &cmd) {
                        Ok(output) => (Some(output), None),
                        Err(err) => (None, Some(format!("{err:#}"))),
                    };
                    let done = Client { name: client, command: cmd.to_string(), output, error };
                    if send.send(done).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        receive.iter().try_for_each(each)
    })
}

/// Runs it, if the client has stored anything yet. Returns what was printed.
fn if_any(host: &Real, cmd: &Cmd) -> Result<String> {
    let repository =
        cmd.words().iter().find_map(|word| if let Arg::Path(path) = word { Some(path) } else { None });
    if let Some(repository) = repository
        && host.looker().names(repository).is_ok_and(|names| names.is_empty())
    {
        return Ok("nothing is stored yet".into());
    }
    Ok(host.run(cmd)?.stdout)
}

fn tell(context: &Context<'_>, client: &Client) -> Result<()> {
    let Client { name, output, error, .. } = client;
    if let Some(error) = error {
        let safe = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
        let error: String = error.chars().map(safe).collect();
        context.printer.note(&format!("error: {name}: {error}\n"));
    }
    if let Some(output) = output.as_deref().filter(|_| !context.global.quiet) {
        context.printer.print(&format!("{name}:\n"))?;
        // What a client called its host or its paths is its own word: nothing of it moves a cursor.
        let safe = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
        for line in output.lines().filter(|line| !line.trim().is_empty()) {
            let line: String = line.chars().map(safe).collect();
            context.printer.print(&format!("  {line}\n"))?;
        }
    }
    Ok(())
}
