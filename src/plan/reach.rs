//! Reports resources that cannot be reached: as an error, unless the same plan repairs the cause.

use std::collections::{BTreeMap, HashSet};

use super::{
    Action, Change, Plan,
    decide::NeedsOnce,
    survey::{Item, Survey},
};
use crate::{
    model::Address,
    resource::{Cost, Finding, Judgement, NotSeen, Reachability, Resource, Seen, Severity},
};

/// Says of one resource why it cannot be got at. If that is being put right it is looked at by the next plan, and
/// not taken for as declared before.
pub(super) fn reach(
    index: usize,
    survey: &Survey<'_>,
    way: &Reachability,
    needs: &NeedsOnce<'_>,
    changes: &mut BTreeMap<usize, Change>,
    plan: &mut Plan,
) {
    let findings = way.findings.iter().cloned();
    if let Some(NotSeen::Waits(why)) = &way.not_seen {
        let made = [Action::Create, Action::Update];
        match put_right(index, &of_other_kinds(index, survey, needs), changes, &made) {
            Some(first) => wait(index, survey.items[first].address, why, survey, changes, plan),
            None => {
                changes.remove(&index);
                plan.findings.extend(findings);
            }
        }
        return;
    }
    if way.findings.is_empty() {
        return;
    }
    let resource = survey.items[index].resource();
    let is_way = |need: usize| !way.is_closed || opens(survey.items[need].resource());
    let Some(first) = put_right_among(index, needs.get(), changes, &[Action::Update], &is_way) else {
        plan.findings.extend(findings);
        return;
    };
    let first = survey.items[first].address;
    // What is still out of reach then, fails the apply and not only the next plan.
    plan.again.push((survey.items[index].address.clone(), resource.clone(), None));
    if changes.get(&index).is_some_and(|change| change.actions == [Action::Adopt]) {
        changes.remove(&index);
    }
    plan.findings.extend(findings.map(|it| {
        let message = format!("{}; {first} is put right first", it.message);
        Finding::new(Severity::Notice, it.address, message)
    }));
}

/// Lists what is reached over the network by something that is made or changed: a key, a known host. That another
/// repository is made makes none more or less reachable.
pub(super) fn again(
    survey: &Survey<'_>,
    judged: &[Judgement],
    needs: &NeedsOnce<'_>,
    changes: &BTreeMap<usize, Change>,
) -> Vec<(Address, Resource, Option<Seen>)> {
    let is_known =
        |item: &Item<'_>| item.entry.is_some_and(|entry| !entry.pending) && item.declared.is_some();
    let far = survey.items.iter().enumerate().filter(|(_, item)| {
        item.resource().cost() == Cost::Wait && item.resource().path().is_none() && is_known(item)
    });
    let left = |index: usize| matches!(judged[index].way.not_seen, Some(NotSeen::Left(_)));
    let touched =
        far.filter(|(index, _)| !changes.contains_key(index) && !left(*index)).filter(|(index, _)| {
            let needs = of_other_kinds(*index, survey, needs);
            put_right(*index, &needs, changes, &[Action::Create, Action::Update]).is_some()
        });
    touched
        .map(|(_, item)| {
            let last = item.entry.and_then(|entry| entry.seen.clone());
            (item.address.clone(), item.resource().clone(), last)
        })
        .collect()
}

/// Lists what each item needs, those of this one's kind left out.
fn of_other_kinds(index: usize, survey: &Survey<'_>, needs: &NeedsOnce<'_>) -> Vec<Vec<usize>> {
    let kind = survey.items[index].address.kind();
    let other = |need: &usize| survey.items[*need].address.kind() != kind;
    needs.get().iter().map(|all| all.iter().copied().filter(other).collect()).collect()
}

/// Leaves one resource that could not be looked at to apply, which looks when what it needs is in place.
fn wait(
    index: usize,
    first: &Address,
    why: &str,
    survey: &Survey<'_>,
    changes: &mut BTreeMap<usize, Change>,
    plan: &mut Plan,
) {
    if let Some(change) = changes.get_mut(&index) {
        change.reason = format!(
            "not looked at yet: {first} comes first; made if there is none ({})",
            why.trim_end_matches('.')
        );
        return;
    }
    let why = why.trim_end_matches('.');
    let message = format!("it cannot be reached: {why}; {first} is put right first, then apply looks");
    plan.findings.push(Finding::new(Severity::Notice, survey.items[index].address, message));
}

/// Says of one resource what is there that is never written over. If what it needs is being put right, the way to it
/// is: a directory that drifted to another user makes all in it look planted.
pub(super) fn refuse(
    index: usize,
    what: String,
    survey: &Survey<'_>,
    needs: &NeedsOnce<'_>,
    changes: &BTreeMap<usize, Change>,
    plan: &mut Plan,
) {
    let address = survey.items[index].address;
    let finding = match put_right(index, needs.get(), changes, &[Action::Update]) {
        Some(first) => {
            let first = survey.items[first].address;
            // What is still in the way then, fails the apply and not only the next plan.
            plan.again.push((address.clone(), survey.items[index].resource().clone(), None));
            Finding::new(Severity::Notice, address, format!("{what}; {first} is put right first"))
        }
        None => Finding::new(Severity::Error, address, what)
            .remedy("look at it, and move it away if it is not needed; it is not touched"),
    };
    plan.findings.push(finding);
}

/// Says whether a change of it may let a user into a directory: one of a password file does not.
const fn opens(resource: &Resource) -> bool {
    matches!(resource, Resource::Directory(_) | Resource::Account(_))
}

/// Finds what a resource needs, however far off, to which one of these is done.
fn put_right(
    index: usize,
    needs: &[Vec<usize>],
    changes: &BTreeMap<usize, Change>,
    actions: &[Action],
) -> Option<usize> {
    put_right_among(index, needs, changes, actions, &|_| true)
}

/// Does the same among what is of some kind.
fn put_right_among(
    index: usize,
    needs: &[Vec<usize>],
    changes: &BTreeMap<usize, Change>,
    actions: &[Action],
    is_meant: &dyn Fn(usize) -> bool,
) -> Option<usize> {
    let mut next = needs[index].clone();
    let mut asked = HashSet::new();
    while let Some(need) = next.pop() {
        let put_right =
            |change: &Change| change.actions.iter().any(|action| actions.contains(action)) && !change.refused;
        if is_meant(need) && changes.get(&need).is_some_and(put_right) {
            return Some(need);
        }
        if asked.insert(need) {
            next.extend(&needs[need]);
        }
    }
    None
}
