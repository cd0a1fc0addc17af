//! `rlvm ledger`: lists what rlvm manages, and stops managing a resource.

use std::fmt::Write;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    apply::lock,
    context::Context,
    exit::{Exit, Failure},
};
use crate::{
    host::Store,
    ledger::{Ledger, Origin, Writer},
    model::Address,
};

/// Show or change what rlvm manages on this host
#[derive(Debug, Subcommand)]
pub(super) enum LedgerVerb {
    List(List),
    Forget(Forget),
}

/// List managed resources
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm ledger list
  rlvm ledger list --json | jq -r '.entries[].address'")]
pub(super) struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Stop managing a resource, which stays as it is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm ledger forget repository:vault     a repository that was created anew on purpose

If the resource is still declared and is as declared, the next apply adopts it again.")]
pub(super) struct Forget {
    /// The resource, like `repository:vault`
    address: Address,
}

#[derive(Serialize)]
struct Listed<'a> {
    format_version: &'static str,
    host: &'a str,
    lineage: &'a str,
    serial: u64,
    entries: Vec<ListedEntry<'a>>,
}

#[derive(Serialize)]
struct ListedEntry<'a> {
    address: &'a Address,
    origin: Origin,
    pending: bool,
    protect: bool,
}

impl LedgerVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        match self {
            Self::List(list) => list.run(context),
            Self::Forget(forget) => forget.run(context),
        }
    }
}

impl List {
    fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        let store = Store::new(&host, &context.home()?);
        let ledger = match context.ledger(&store)? {
            Some((ledger, _)) => ledger,
            None if self.json => Ledger::new(context.host_name()?, String::new()),
            None => {
                context.printer.say("Nothing is managed: there is no ledger yet.\n")?;
                return Ok(Exit::Ok);
            }
        };
        let entries = ledger.entries.iter();
        let entries = entries.map(|(address, entry)| ListedEntry {
            address,
            origin: entry.origin,
            pending: entry.pending,
            protect: entry.protect,
        });
        if self.json {
            let (host, lineage) = (ledger.host.as_str(), ledger.lineage.as_str());
            let entries = entries.collect();
            context.printer.json(&Listed {
                format_version: "1.0",
                host,
                lineage,
                serial: ledger.serial,
                entries,
            })?;
            return Ok(Exit::Ok);
        }
        let mut text = String::new();
        for entry in entries {
            let origin = match entry.origin {
                Origin::Made => "made",
                Origin::Adopted => "adopted",
                Origin::Matched => "matched",
            };
            let marks = [(entry.pending, " pending"), (entry.protect, " protected")];
            let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{origin:8} {}{marks}", entry.address);
        }
        context.printer.print(&text)?;
        Ok(Exit::Ok)
    }
}

impl Forget {
    fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        let _lock = lock(context, &host)?;
        let store = Store::new(&host, &context.home()?);
        let Some((ledger, whole)) = context.ledger(&store)? else {
            bail!(Failure::new(Exit::Failed, "nothing is managed: there is no ledger yet"));
        };
        if !ledger.entries.contains_key(&self.address) {
            let message = format!("{} is not managed", self.address);
            bail!(Failure::new(Exit::Failed, message).help("what is: rlvm ledger list"));
        }
        let mut writer = Writer::begin(&store, ledger, whole)?;
        writer.set(&self.address, None)?;
        writer.sync()?;
        writer.finish()?;
        context.printer.say(&format!("{} is no longer managed. It stays as it is.\n", self.address))?;
        Ok(Exit::Ok)
    }
}
