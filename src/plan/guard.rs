//! Checks a whole plan against the guards, which refuse dangerous plans.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{
    Action, Options, Plan,
    survey::{Item, Survey},
};
use crate::{
    ledger::Ledger,
    model::Address,
    resource::{Finding, Identity, Overlap, Seen, Severity},
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

/// How one resource overlaps with another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    Same,
    LiesIn,
    Contains,
}

/// Reports resources that are one thing on the host under two names (R07), and those that lie in one another and must
/// not. An overlap that is an error stops only the newcomer: the resource that has not been applied at that place yet.
/// Returns the newcomers, by index.
pub(super) fn overlaps(survey: &Survey<'_>, seen: &[Seen], plan: &mut Plan) -> HashSet<usize> {
    let all: BTreeMap<usize, Identity> = declared(survey)
        .filter_map(|index| Some((index, survey.items[index].resource().identity(&seen[index])?)))
        .collect();
    let (mut by_thing, mut around) = (Marks::default(), Marks::default());
    for (index, it) in &all {
        it.things.iter().for_each(|mark| by_thing.entry(mark).or_default().push(*index));
        it.within.iter().for_each(|mark| around.entry(mark).or_default().push(*index));
    }
    let mut pairs: BTreeMap<(usize, usize), Relation> = BTreeMap::new();
    for (index, it) in &all {
        let mut add = |marks: &[String], known: &Marks<'_>, relation| {
            for other in marks.iter().filter_map(|mark| known.get(mark.as_str())).flatten() {
                let is_told = pairs.contains_key(&(*index, *other)) || pairs.contains_key(&(*other, *index));
                if other != index && !is_told {
                    pairs.insert((*index, *other), relation);
                }
            }
        };
        add(&it.things, &by_thing, Relation::Same);
        add(&it.within, &by_thing, Relation::LiesIn);
        add(&it.holds, &by_thing, Relation::Contains);
        add(&it.holds, &around, Relation::Contains);
    }
    let mut newcomers = HashSet::new();
    for ((one, other), relation) in pairs {
        let is_new = |index: usize| !is_applied_there(&survey.items[index], &seen[index], &all[&index]);
        // Of two newcomers, or of none, the second by address is the one to be moved.
        let is_first = match (is_new(one), is_new(other)) {
            (true, false) => true,
            (false, true) => false,
            _ => one > other,
        };
        let (it, by, relation) = match (is_first, relation) {
            (true, relation) => (one, other, relation),
            (false, Relation::Same) => (other, one, Relation::Same),
            (false, Relation::LiesIn) => (other, one, Relation::Contains),
            (false, Relation::Contains) => (other, one, Relation::LiesIn),
        };
        let is_harmless = relation == Relation::Same && all[&it].shared == all[&by].shared;
        let severity = if is_harmless { Severity::Warning } else { Severity::Error };
        if !is_harmless && is_new(it) {
            newcomers.insert(it);
            // Its directory may be, or lie in, one that the other client fills.
            newcomers.extend(survey.index_of(Address::new("directory", &all[&it].at).as_str()));
        }
        let addresses = (survey.items[it].address, survey.items[by].address);
        plan.findings.push(overlap(severity, addresses, (&all[&it], &all[&by]), relation));
    }
    newcomers
}

/// Resources by one of their marks.
type Marks<'a> = HashMap<&'a str, Vec<usize>>;

fn declared(survey: &Survey<'_>) -> impl Iterator<Item = usize> {
    (0..survey.items.len()).filter(|index| survey.items[*index].declared.is_some())
}

/// Says whether a resource was applied at the place where it is declared.
fn is_applied_there(item: &Item<'_>, seen: &Seen, now: &Identity) -> bool {
    let entry = item.entry.filter(|entry| !entry.pending);
    entry.and_then(|entry| entry.resource.identity(seen)).is_some_and(|applied| applied.at == now.at)
}

fn overlap(
    severity: Severity,
    (address, other): (&Address, &Address),
    (it, by): (&Identity, &Identity),
    relation: Relation,
) -> Finding {
    let Overlap { noun, consequence, remedy } = it.overlap;
    let how = match relation {
        Relation::Same => format!("is the same {noun} on this host as"),
        Relation::LiesIn => "lies in".to_owned(),
        Relation::Contains => "contains, or leads to,".to_owned(),
    };
    let message = format!("{} {how} {} of {other}: {consequence}", it.at, by.at);
    Finding::new(severity, address, message).remedy(remedy)
}

/// Says that a removal is refused.
pub(super) fn protected(address: &Address) -> Finding {
    let message = "it is no longer declared, and was declared with `protect: true`";
    let remedy = "declare it again; to let it go, first apply it with `protect: false`";
    Finding::new(Severity::Refusal, address, message).remedy(remedy)
}
