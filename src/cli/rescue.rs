//! `rlvm rescue-kit`: prints a text with everything that restoring this host needs when the host is lost.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;
use clap::Args;

use super::{
    context::{Context, Search},
    exit::{Exit, Failure},
    kept::Kept,
};
use crate::{
    expand::{Expanded, expand},
    host::{Host as _, Observe, Real, Store},
    model::HostPath,
    report::rescue::{FoundRestic, Kit, Origin, PutAway, wanted},
    resource::Resource,
    restic::{Version, ask_version},
    source::{Source, volumes},
    state::State,
};

/// Write a text to print with what is needed to restore this host when it is gone
///
/// The text says where the repositories are and how to reach them, how to get restic, and has commands to paste that
/// need only restic and sh. It names the secrets, what each opens, and which of them nobody has saved. It lists disks
/// and accounts, the revision of the state and the state itself. It contains no secret. Uses the state that was applied
/// last, unless --state names another, and no network.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm rescue-kit | lp
  rlvm rescue-kit --out web01.txt     written whole or not at all, 0600
  rlvm --state new.yaml rescue-kit    of a state that is not applied yet

Write it again when the state has changed. `rlvm secret show` prints the passwords that you must save beside it.")]
pub(super) struct RescueVerb {
    /// Write the text to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl RescueVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        let (state, origin) = state(context, &host)?;
        let expanded = expand(&state, &context.user_facts(&host, &state)?, &context.scope()?);
        let ledger = context.ledger(&Store::new(&host, &context.home()?))?.map(|(ledger, _)| ledger);
        let kit = kit(context, &host, &state, origin, &expanded, ledger.as_ref())?;
        let text = kit.text()?;
        match &self.out {
            None => context.printer.print(&text)?,
            Some(path) => context.files.write(path, &text)?,
        }
        for it in wanted(&state, &expanded, ledger.as_ref()) {
            let name = it.destination.as_ref().map(ToString::to_string).unwrap_or_default();
            let what = match it.put_away {
                PutAway::Never => "the only copy is on this host, and without it no backup can be read",
                PutAway::NotMade => "it is not made yet",
                _ => continue,
            };
            let warning = format!("warning: {}, {}: {what}: rlvm secret show {name}\n", it.name, it.opens);
            context.printer.note(&warning);
        }
        Ok(Exit::Ok)
    }
}

/// Finds the state, and says where it came from.
fn state(context: &Context<'_>, host: &Real) -> Result<(State, Origin)> {
    if context.global.state.is_some() {
        let found = context.state(None, Search::EtcOnly)?;
        let (file, revision) = (found.path.display().to_string(), host.revision(&found.path));
        return Ok((found.state, Origin { file, revision, applied: false }));
    }
    let Some(kept) = Kept::read(&Store::new(host, &context.home()?))? else {
        let none = Failure::new(Exit::Failed, "nothing was applied here yet");
        return Err(none.help("rlvm apply, or --state PATH").into());
    };
    Ok((kept.state, Origin { file: kept.source, revision: kept.revision, applied: true }))
}

/// Looks at what else a kit says.
fn kit<'a>(
    context: &Context<'_>,
    host: &Real,
    state: &'a State,
    origin: Origin,
    expanded: &'a Expanded,
    ledger: Option<&'a crate::ledger::Ledger>,
) -> Result<Kit<'a>> {
    let looker = host.looker();
    let looker = looker.as_ref();
    let mut users = BTreeMap::new();
    for job in state.jobs.values() {
        if let Some(entry) = looker.user(&job.user)? {
            users.insert(job.user.clone(), entry);
        }
    }
    let mut keys = BTreeMap::new();
    for declared in expanded.resources.values() {
        // One that cannot be looked at is told by plan; the kit says all else.
        if let Resource::SshKey(key) = &declared.resource
            && let Ok((_, Some(head))) = looker.private_key(&key.path)
        {
            keys.insert(key.path.clone(), head);
        }
    }
    let mounts = if looker.is_tree() { Vec::new() } else { real_mounts(looker) };
    let on_volumes = state.jobs.values().flat_map(|job| &job.sources).any(|it| matches!(it, Source::Lvm(_)));
    let volumes =
        (on_volumes && !looker.is_tree()).then(|| volumes(looker).map_err(|err| format!("{err:#}")));
    let restic = if state.restic.is_some() || looker.is_tree() { None } else { restic(looker)? };
    let made = context.now()?.strftime("%Y-%m-%d %H:%M UTC").to_string();
    Ok(Kit { made, state, origin, expanded, ledger, restic, users, keys, mounts, volumes })
}

/// Lists the mounts that hold data.
fn real_mounts(looker: &dyn Observe) -> Vec<crate::host::Mount> {
    let mounts = looker.mounts().unwrap_or_default();
    mounts.iter().filter(|mount| !mount.is_pseudo()).cloned().collect()
}

/// Says which restic is on `PATH`.
fn restic(looker: &dyn Observe) -> Result<Option<FoundRestic>> {
    let Some(path) = looker.program_path("restic") else { return Ok(None) };
    let said = looker.query(&ask_version(None)?)?;
    let real = path.parse::<HostPath>().ok().and_then(|path| looker.lies(&path).ok().flatten());
    let sha256 = real.and_then(|path| looker.digest(&path).ok()).and_then(|(_, digest)| digest);
    Ok(Some(FoundRestic { path, version: Version::read(&said.stdout), sha256 }))
}
