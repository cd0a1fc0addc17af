//! Runs the prune tasks in parallel and reports their results.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use anyhow::Result;
use serde::Serialize;

use super::{
    super::context::Context,
    client,
    jobs::{Place, PlaceDone, Trouble, World},
};
use crate::{expand::PrunedClient, host::interrupted, model::UserName};

/// How it went with a client.
#[derive(Debug, Serialize)]
pub(super) struct Client {
    /// Its account.
    pub(super) name: UserName,
    /// What removes its old backups.
    pub(super) command: String,
    /// What that printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<String>,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Client {
    /// Says why its old backups are still there.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.refused.as_deref().or(self.error.as_deref())
    }
}

/// Something to do, in any order.
pub(super) enum Task {
    /// A destination's jobs.
    Jobs(Box<Place>),
    /// A client.
    Client(Box<PrunedClient>),
}

/// What came of it.
pub(super) enum Done {
    /// Of a destination's jobs.
    Jobs(PlaceDone),
    /// Of a client.
    Client(Client),
}

impl Task {
    /// Counts what may fail by itself.
    pub(super) fn count(&self) -> usize {
        self.shown().count()
    }

    /// Says what would be run.
    pub(super) fn shown(&self) -> Done {
        match self {
            Self::Jobs(place) => Done::Jobs(place.shown()),
            Self::Client(client) => {
                let (name, command) = (client.account.clone(), client.cmd.to_string());
                Done::Client(Client { name, command, output: None, refused: None, error: None })
            }
        }
    }

    fn run(&self, world: &World<'_>) -> Done {
        match (self, self.shown()) {
            (Self::Jobs(place), _) => Done::Jobs(place.prune(world)),
            (Self::Client(of), Done::Client(client)) => Done::Client(match client::prune(world, of) {
                Ok(output) => Client { output: Some(output), ..client },
                Err(Trouble::Refused(why)) => Client { refused: Some(why), ..client },
                Err(Trouble::Failed(why)) => Client { error: Some(why), ..client },
            }),
            (_, shown) => shown,
        }
    }
}

impl Done {
    fn count(&self) -> usize {
        if let Self::Jobs(place) = self { place.jobs.len() } else { 1 }
    }
}

/// Runs all, as many at a time as there are cores; none any more once a signal asked to stop.
pub(super) fn side_by_side(
    world: &World<'_>,
    all: Vec<Task>,
    each: &mut dyn FnMut(Done) -> Result<()>,
) -> Result<()> {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let queue = Mutex::new(all.into_iter());
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..cores {
            let (send, queue) = (send.clone(), &queue);
            scope.spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some(task) = if interrupted().is_some() { None } else { next() } {
                    if send.send(task.run(world)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        receive.iter().try_for_each(each)
    })
}

/// Tells how one ended.
pub(super) fn tell(context: &Context<'_>, done: &Done) -> Result<()> {
    match done {
        Done::Client(client) => {
            complain(context, client.name.as_str(), client.trouble());
            say(context, client.name.as_str(), client.output.as_deref())
        }
        Done::Jobs(PlaceDone { name, skipped: Some(why), .. }) => {
            context.printer.note(&format!("skipped {name}: {why}\n"));
            Ok(())
        }
        Done::Jobs(place) => {
            for job in &place.jobs {
                let whose = format!("{} at {}", job.name, place.name);
                complain(context, &whose, job.refused.as_deref().or(job.error.as_deref()));
                if let (Some(kept), Some(removed)) = (job.kept, job.removed) {
                    context.printer.say(&format!("{whose}: {removed} removed, {kept} kept\n"))?;
                    job.note
                        .iter()
                        .for_each(|note| context.printer.note(&format!("note: {whose}: {note}\n")));
                    say(context, &whose, job.output.as_deref().filter(|text| !text.is_empty()))?;
                }
            }
            complain(context, place.name.as_str(), place.error.as_deref());
            say(context, place.name.as_str(), place.output.as_deref())
        }
    }
}

fn complain(context: &Context<'_>, whose: &str, error: Option<&str>) {
    let Some(error) = error else { return };
    let safe = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    let error: String = error.chars().map(safe).collect();
    context.printer.note(&format!("error: {whose}: {error}\n"));
}

/// Prints what restic said.
fn say(context: &Context<'_>, whose: &str, output: Option<&str>) -> Result<()> {
    let Some(output) = output else { return Ok(()) };
    context.printer.say(&format!("{whose}:\n"))?;
    // What a client called its host or its paths is its own word: nothing of it moves a cursor.
    let safe = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        let line: String = line.chars().map(safe).collect();
        context.printer.say(&format!("  {line}\n"))?;
    }
    Ok(())
}
