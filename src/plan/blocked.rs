//! Finds what a plan must leave alone: what could not be looked at, what has an error, and what needs such a resource.

use std::collections::{BTreeMap, HashSet};

use super::{
    Change, Plan,
    decide::NeedsOnce,
    survey::{Item, Survey},
};
use crate::resource::{Finding, Judgement, Resource, Seen, Severity};

/// What a plan leaves alone, by index.
#[derive(Default)]
pub(super) struct Blocked {
    /// What has an error, and what needs such a resource: it is not changed, and the ledger keeps it.
    pub(super) held: HashSet<usize>,
    /// What is no longer declared and lies at or below a mount that is missing and no longer declared either. It stays on
    /// that disk, and rlvm forgets it.
    pub(super) left: HashSet<usize>,
}

/// Finds resources that cannot be judged: those that could not be looked at, and those below a missing mount. What is seen
/// below a missing mount is ignored.
pub(super) fn blocked(
    survey: &Survey<'_>,
    seen: &[Seen],
    judged: &[Judgement],
    needs: &NeedsOnce<'_>,
    plan: &mut Plan,
) -> Blocked {
    let mut blocked = Blocked::default();
    let blocks = |index: usize| judged[index].way.blocks;
    if !(0..survey.items.len()).any(blocks) {
        return blocked;
    }
    for index in needs.in_order() {
        let all_needs = needs.get();
        let (item, seen, needs) = (survey.items[index], &seen[index], &all_needs[index]);
        let is_unknown = matches!(seen, Seen::Unknown(_));
        let below = |set: &HashSet<usize>| needs.iter().copied().find(|need| set.contains(need));
        let is_left = blocks(index) && !is_unknown || below(&blocked.left).is_some();
        // What is still declared below a mount that leaves the state would be made on the disk below.
        let is_left = is_left && !is_needed(survey, all_needs, index);
        if item.declared.is_none() && is_left && !waits_for_nothing(item) {
            blocked.left.insert(index);
            continue;
        }
        let by = below(&blocked.held).filter(|_| !waits_for_nothing(item));
        match (seen, by) {
            (Seen::Unknown(why), _) => plan.findings.push(Finding::unseen(item.address, why)),
            _ if blocks(index) => plan.findings.extend_from_slice(&judged[index].findings),
            (_, Some(by)) => plan.findings.push(skipped(survey, index, by)),
            (_, None) => continue,
        }
        blocked.held.insert(index);
    }
    blocked
}

/// Returns whether something that is declared needs a resource.
fn is_needed(survey: &Survey<'_>, needs: &[Vec<usize>], index: usize) -> bool {
    survey.items.iter().zip(needs).any(|(item, needs)| item.declared.is_some() && needs.contains(&index))
}

/// Returns whether a resource is changed even if something that it needs has an error. A client that the change shuts out
/// must not stay in. A resource that was never applied lets nobody in.
fn waits_for_nothing(item: Item<'_>) -> bool {
    item.entry.is_some() && item.resource().lets_in()
}

/// Says that a resource waits for another one that has an error.
pub(super) fn skipped(survey: &Survey<'_>, index: usize, by: usize) -> Finding {
    let message = format!("skipped: it needs {}", survey.items[by].address);
    Finding::new(Severity::Notice, survey.items[index].address, message)
}

/// Removes the changes of the `bad` resources and of everything that needs them. `newcomers` are those of them that
/// would share a directory or a repository with another resource.
pub(super) fn hold_back(
    survey: &Survey<'_>,
    needs: &NeedsOnce<'_>,
    (bad, newcomers): (&HashSet<usize>, &HashSet<usize>),
    blocked: &mut Blocked,
    changes: &mut BTreeMap<usize, Change>,
    plan: &mut Plan,
) {
    if bad.is_empty() && blocked.held.is_empty() {
        return;
    }
    // A repository that is gone has its directory back when somebody brings it back.
    let places: HashSet<_> = bad.iter().filter_map(|index| survey.items[*index].resource().path()).collect();
    let is_bad = |index: usize| {
        let place = survey.items[index].resource().path();
        bad.contains(&index) || place.is_some_and(|place| places.contains(place))
    };
    // What an account that is moved into another's directory is restricted by names the new directory.
    let mut moved: HashSet<usize> = HashSet::new();
    let mut behind = newcomers.clone();
    for index in needs.in_order() {
        if survey.items[index].declared.is_none() || blocked.held.contains(&index) {
            continue;
        }
        let is_moved =
            newcomers.contains(&index) || needs.get()[index].iter().any(|need| moved.contains(need));
        if is_moved && waits_for_nothing(survey.items[index]) {
            moved.insert(index);
        }
        let is_free = waits_for_nothing(survey.items[index]) && !is_moved;
        let by = needs.get()[index].iter().find(|need| blocked.held.contains(need)).filter(|_| !is_free);
        // A key that is replaced may be a stolen one: it goes, whatever else is wrong with the account.
        let is_key = matches!(survey.items[index].resource(), Resource::AuthorizedKeys(_));
        if is_key && is_free {
            continue;
        }
        if is_bad(index) || by.is_some() {
            let held = changes.remove(&index).is_some();
            blocked.held.insert(index);
            behind.extend(by.filter(|by| behind.contains(by)).map(|_| index));
            plan.findings.extend(by.filter(|_| held).map(|by| skipped(survey, index, *by)));
        }
    }
    // What stands at the newcomer's place is the other's: it is not to be adopted, and stops nothing else.
    let is_behind = |address: &str| survey.index_of(address).is_some_and(|it| behind.contains(&it));
    for finding in &mut plan.findings {
        if finding.severity == Severity::Refusal && is_behind(&finding.address) {
            finding.severity = Severity::Notice;
            finding.remedy = None;
        }
    }
    hold_back_secrets(survey, needs, &blocked.held, changes, plan);
}

/// Removes the change that generates a password where a repository may exist that has another password. A new password
/// would stand where the old one is to be put back.
fn hold_back_secrets(
    survey: &Survey<'_>,
    needs: &NeedsOnce<'_>,
    held: &HashSet<usize>,
    changes: &mut BTreeMap<usize, Change>,
    plan: &mut Plan,
) {
    let secrets: Vec<usize> = changes
        .keys()
        .copied()
        .filter(|it| matches!(survey.items[*it].resource(), Resource::Secret(_)))
        .collect();
    for secret in secrets {
        let is_repository =
            |index: &usize| matches!(survey.items[*index].resource(), Resource::Repository(_));
        let opened_by = |index: &usize| is_repository(index) && needs.get()[*index].contains(&secret);
        let repositories: Vec<usize> = (0..survey.items.len()).filter(opened_by).collect();
        // One that was applied before has a password. One that was not, on a disk that is away, has none of rlvm's.
        let was_applied = |index: &&usize| survey.items[**index].entry.is_some_and(|entry| !entry.pending);
        let held_ones = || repositories.iter().filter(|index| held.contains(index));
        let by = held_ones().find(was_applied);
        let by =
            by.or_else(|| held_ones().next().filter(|_| repositories.iter().all(|it| held.contains(it))));
        let Some(by) = by else { continue };
        changes.remove(&secret);
        let message = format!(
            "skipped: rlvm cannot check {} now, and that repository may already have a password, which belongs in this file",
            survey.items[*by].address
        );
        plan.findings.push(Finding::new(Severity::Notice, survey.items[secret].address, message));
    }
}
