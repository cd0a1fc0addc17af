//! `rlvm observe`: prints everything that plan looks at, so that another machine can plan for this host.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    context::{Context, Planned, Search},
    exit::Exit,
    scheduler::settle,
};
use crate::{
    expand::UserFacts,
    host::Store,
    ledger::Ledger,
    model::{Address, HostName, HostPath, Scope, field::is_default},
    plan::Options,
    resource::{Looks, Seen},
    state::{Scheduler, State},
};

/// Print as JSON what plan would look at, without secrets
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm observe > web01.json
  rlvm plan --host web01 --observed web01.json    on another machine")]
pub(super) struct ObserveVerb {
    /// The state: a file, or a directory with hosts/<host name>.yaml in it
    state: Option<PathBuf>,
    /// Open every repository, also local ones that have not changed since rlvm verified them
    #[arg(long)]
    refresh: bool,
    /// Leave out what needs the network
    #[arg(long, conflicts_with = "refresh")]
    offline: bool,
}

const FORMAT: u32 = 1;

/// What was seen of a host.
#[derive(Serialize, Deserialize)]
pub(super) struct Observation {
    format_version: u32,
    rlvm_version: String,
    /// Of which host.
    pub(super) host: HostName,
    /// Its ledger.
    pub(super) ledger: Option<Ledger>,
    /// What its accounts say of its users.
    #[serde(flatten)]
    pub(super) user_facts: UserFacts,
    /// Whose set-up was meant.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) scope: Scope,
    /// What starts schedules where the state does not say so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) scheduler: Scheduler,
    /// Where `RLVM_HOME` has moved rlvm's own files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) home: Option<HostPath>,
    /// The state that was applied last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) applied: Option<State>,
    /// What was seen.
    pub(super) seen: BTreeMap<Address, Seen>,
}

impl Observation {
    /// Reads what [`ObserveVerb`] printed.
    pub(super) fn read(text: &str) -> Result<Self> {
        let read: Self =
            serde_json::from_str(text).context("it is not what `rlvm observe` of this version prints")?;
        ensure!(read.format_version == FORMAT, "it is of rlvm {}: observe with this one", read.rlvm_version);
        Ok(read)
    }
}

impl ObserveVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        let home = context.home()?;
        let store = Store::new(&host, &home);
        let (mut found, ledger) = context.state_and_ledger(self.state.as_deref(), Search::EtcOnly, &store)?;
        settle(context, &host, &mut found.state)?;
        let user_facts = context.user_facts(&host, &found.state)?;
        let scope = context.scope()?;
        let basis = Context::basis(found.state, &user_facts, &scope, ledger.map(|(ledger, _)| ledger));
        let looks = Looks { refresh: self.refresh, offline: self.offline };
        let Planned { survey, seen, applied, .. } =
            context.plan(&host, &basis, &Options::default(), looks)?;
        let seen = survey.items.iter().map(|item| item.address.clone()).zip(seen).collect();
        let ledger = basis.known.then_some(basis.ledger.clone());
        let rlvm_version = env!("CARGO_PKG_VERSION").to_owned();
        let host = basis.state.host.clone();
        context.printer.json(&Observation {
            format_version: FORMAT,
            rlvm_version,
            host,
            ledger,
            user_facts,
            scope,
            scheduler: basis.state.scheduler(),
            home: basis.state.home.clone(),
            applied,
            seen,
        })?;
        Ok(Exit::Ok)
    }
}
