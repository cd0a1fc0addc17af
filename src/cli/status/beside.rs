//! Collects the remarks of `status` about the host itself: drift, and leftovers of dead runs.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{
    cli::{after::told, context::Context, prune, scheduler::settle},
    host::{Real, Store},
    ledger::{Ledger, Origin},
    model::{Name, RunId},
    plan::{Looking, Options, Survey, decide, observe},
    report::status::{Level, Remark},
    resource::{Finding, Looks, Resource, Severity},
    state::State,
};

/// How many are named.
const NAMED: usize = 4;

/// What was read of the ledger.
type Read = Result<Option<(Ledger, u64)>>;

/// Says what else is to be said. What cannot be looked at is said too, and is no error.
pub(super) fn remarks(context: &Context<'_>, host: &Real, state: &State, ledger: &Read) -> Vec<Remark> {
    let mut remarks = Vec::new();
    match ledger {
        Ok(Some((ledger, _))) => {
            match drift(context, host, state, ledger) {
                Ok(found) => remarks.extend(found),
                Err(err) => {
                    remarks.push(warning(
                        "drift",
                        format!("it cannot be told whether the host is as applied: {err:#}"),
                    ));
                }
            }
            for name in to_put_away(ledger) {
                let message = format!(
                    "the only copy of the password of {name} is on this host: put it away: rlvm secret show {name}"
                );
                remarks.push(warning("secret", message));
            }
        }
        Ok(None) => {}
        Err(err) => remarks.push(warning("drift", format!("{err:#}"))),
    }
    match dead(context, host) {
        Ok(dead) if dead.is_empty() => {}
        Ok(dead) => {
            remarks.push(warning(
                "journal",
                format!("a run has died and is not swept ({}): rlvm sweep", dead.join(", ")),
            ));
        }
        Err(err) => remarks.push(warning("journal", format!("{err:#}"))),
    }
    match told(context, host) {
        Ok(told) => remarks.extend(told.remarks(state)),
        Err(err) => remarks.push(warning("notify", format!("{err:#}"))),
    }
    match prune::remarks(context, host, state) {
        Ok(found) => remarks.extend(found),
        Err(err) => remarks.push(warning("prune", format!("{err:#}"))),
    }
    remarks
}

fn warning(about: &str, message: String) -> Remark {
    Remark { about: about.into(), level: Level::Warning, message }
}

/// Lists the destinations whose repository is known to have been there.
pub(super) fn made(ledger: &Ledger) -> BTreeSet<Name> {
    let known = ledger.entries.values().filter(|entry| !entry.pending && entry.seen.is_some());
    let name = |resource: &Resource| match resource {
        Resource::Repository(repository) => Some(repository.name.clone()),
        _ => None,
    };
    known.filter_map(|entry| name(&entry.resource)).collect()
}

fn to_put_away(ledger: &Ledger) -> BTreeSet<&Name> {
    let made =
        |entry: &&crate::ledger::Entry| entry.origin == Origin::Made && !entry.put_away && !entry.pending;
    ledger.entries.values().filter(made).filter_map(|entry| entry.resource.to_put_away()).collect()
}

/// Returns what differs from the state on the host, and what keeps schedules from starting anything. Repositories are
/// left out: they are asked for what they hold.
fn drift(context: &Context<'_>, host: &Real, state: &State, ledger: &Ledger) -> Result<Vec<Remark>> {
    let is_repository = |resource: &Resource| matches!(resource, Resource::Repository(_));
    let mut ledger = ledger.clone();
    ledger.entries.retain(|_, entry| !is_repository(&entry.resource));
    let (user_facts, scope) = (context.user_facts(host, state)?, context.scope()?);
    let mut state = state.clone();
    settle(context, host, &mut state)?;
    let mut basis = Context::basis(state, &user_facts, &scope, Some(ledger));
    basis.expanded.resources.retain(|_, declared| !is_repository(&declared.resource));
    let survey = Survey::new(&basis.expanded, &basis.ledger, &[])?;
    let looks = Looks { refresh: false, offline: true };
    let seen = observe(&survey, &Looking { host, looks, progress: &|_| {} });
    let findings = &basis.expanded.findings;
    let plan = decide(&basis.state.host, Some(&basis.ledger), &survey, &seen, findings, &Options::default());
    let mut said = Vec::new();
    if !plan.changes.is_empty() {
        let names: Vec<&str> = plan.changes.iter().map(|change| change.address.as_str()).collect();
        let more = if names.len() > NAMED { ", …" } else { "" };
        let shown = names[..names.len().min(NAMED)].join(", ");
        let s = if names.len() == 1 { "" } else { "s" };
        said.push(warning(
            "drift",
            format!(
                "the host differs from the state that was applied in {} resource{s}: {shown}{more}: rlvm plan",
                names.len()
            ),
        ));
    }
    let errors = plan.findings.iter().filter(|finding| finding.severity == Severity::Error);
    said.extend(errors.take(NAMED).map(|finding| {
        let Finding { address, message, remedy, .. } = finding;
        // Where nothing starts the jobs, each of them is overdue tomorrow.
        if address.starts_with("scheduler") {
            let remedy = remedy.as_ref().map_or_else(String::new, |remedy| format!(": {remedy}"));
            return Remark { level: Level::Critical, ..warning("scheduler", format!("{message}{remedy}")) };
        }
        warning("drift", format!("{address}: {message}"))
    }));
    Ok(said)
}

/// Lists the runs that have died and left a journal.
fn dead(context: &Context<'_>, host: &Real) -> Result<Vec<String>> {
    let store = Store::new(host, &context.home()?.join("journal")?);
    let mut dead = Vec::new();
    for name in store.names()? {
        if name.parse::<RunId>().is_ok() && store.is_idle(&name, context.environment.now)? {
            dead.push(name);
        }
    }
    Ok(dead)
}
