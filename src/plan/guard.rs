//! Guards over a whole plan.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Options, Plan, survey::Survey};
use crate::{
    ledger::Ledger,
    model::Address,
    resource::{Finding, Identity, Seen, Severity},
};

/// Refuses a plan that would stop managing more than half of what is managed, unless that is allowed: an include
/// that went missing, or a wrong file, looks just like it.
/// `held` is no longer declared and stays only because of an error: it counts.
pub(super) fn mass_removal(
    survey: &Survey<'_>,
    ledger: Option<&Ledger>,
    held: &[&Address],
    options: &Options,
    plan: &mut Plan,
) {
    let Some(ledger) = ledger else { return };
    if options.allow_mass_removal || plan.changes.is_empty() {
        return;
    }
    // What is only needed by something else comes and goes with it: it would water the count down.
    let counts = |address: &Address| ledger.entries.get(address).is_some_and(|it| it.resource.is_asked_for());
    let managed = ledger.entries.values().filter(|it| it.resource.is_asked_for()).count();
    let leaves = |change: &&super::Change| {
        change.actions.iter().any(|action| matches!(action, Action::Delete | Action::Forget))
    };
    // What something else takes the place of is changed, not gone: all schedules, where another scheduler takes over.
    let declared = survey.items.iter().filter(|item| item.declared.is_some());
    let slots: BTreeSet<String> = declared.flat_map(|item| item.resource().slots()).collect();
    let replaced = |address: &Address| {
        ledger
            .entries
            .get(address)
            .is_some_and(|it| it.resource.slots().iter().any(|slot| slots.contains(slot)))
    };
    let gone = |change: &&super::Change| counts(&change.address) && !replaced(&change.address);
    let going = plan.changes.iter().filter(leaves).filter(gone).count();
    let going = going + held.iter().filter(|address| counts(address) && !replaced(address)).count();
    if going * 2 <= managed || going == 0 {
        return;
    }
    let message = format!("{going} of the {managed} resources that rlvm manages here would go");
    let remedy = "is it the right state, whole? If it is meant: --allow-mass-removal";
    plan.findings.push(Finding::new(Severity::Refusal, "plan", message).remedy(remedy));
}

/// Reports things that are declared under two names (R07), and things that lie in one another and must not.
pub(super) fn twice(survey: &Survey<'_>, seen: &[Seen], plan: &mut Plan) {
    let mut known: BTreeMap<String, (&Address, String)> = BTreeMap::new();
    let mut inner: Vec<(&Address, Identity)> = Vec::new();
    for (item, seen) in survey.items.iter().zip(seen).filter(|(item, _)| item.declared.is_some()) {
        let Some(it) = item.resource().identity(seen) else { continue };
        let Some((first, shared)) = known.get(&it.thing) else {
            known.insert(it.thing.clone(), (item.address, it.shared.clone()));
            inner.push((item.address, it));
            continue;
        };
        let severity = if *shared == it.shared { Severity::Warning } else { Severity::Error };
        plan.stopped |= severity == Severity::Error;
        plan.findings.push(overlap(severity, item.address, &it, first));
    }
    for (address, it) in &inner {
        let around = it.within.iter().find_map(|thing| known.get(thing));
        if let Some((outer, _)) = around {
            plan.stopped = true;
            plan.findings.push(overlap(Severity::Error, address, it, outer));
        }
    }
}

fn overlap(severity: Severity, address: &Address, it: &Identity, other: &Address) -> Finding {
    let message = format!("{} {other}, by another way", it.overlap.message);
    Finding::new(severity, address, message).remedy(it.overlap.remedy)
}

/// Says that a removal is refused.
pub(super) fn protected(address: &Address) -> Finding {
    let message = "it is no longer declared, and was declared with `protect: true`";
    let remedy = "declare it again; to let it go, first apply it with `protect: false`";
    Finding::new(Severity::Refusal, address, message).remedy(remedy)
}
