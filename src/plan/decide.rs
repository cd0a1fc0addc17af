//! Turns the declared, applied and observed resources into changes. Pure.

use std::collections::{BTreeMap, HashSet};

use super::{
    Action, Change, LedgerId, Plan,
    blocked::{blocked, hold_back},
    guard,
    reach::{again, reach, refuse},
    removal::leave,
    survey::{Item, Survey, order},
};
use crate::{
    effect::Op,
    ledger::{Entry, Ledger, Origin},
    model::{Address, HostName, HostPath},
    resource::{
        Attribute, Cost, Diff, Edit, Finding, Judgement, Kind as _, LeftoverAccess, NotSeen, Seen, Severity,
        SshdConfig,
    },
};

/// What the caller allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Options {
    /// Only these resources and what they need; all if empty.
    pub targets: Vec<Address>,
    /// Take over what is there and differs.
    pub adopt: bool,
    /// Remove more than half of what is managed.
    pub allow_mass_removal: bool,
}

/// Decides what to do. `seen` stands at each item's index.
pub fn decide(
    host: &HostName,
    ledger: Option<&Ledger>,
    survey: &Survey<'_>,
    seen: &[Seen],
    declared: &[Finding],
    options: &Options,
) -> Plan {
    let id = ledger.map(|ledger| LedgerId { lineage: ledger.lineage.clone(), serial: ledger.serial });
    let mut plan = Plan {
        host: host.clone(),
        ledger: id,
        changes: Vec::new(),
        definitions: Vec::new(),
        findings: declared.to_vec(),
        stopped: declared.iter().any(Finding::is_error),
        unchanged: 0,
        mounts: declared_mounts(survey),
        again: Vec::new(),
        quiet: Vec::new(),
    };
    let needs = NeedsOnce::new(survey);
    let judged: Vec<Judgement> =
        survey.items.iter().zip(seen).map(|(item, seen)| judge(item, seen)).collect();
    let mut blocked = blocked(survey, seen, &judged, &needs, &mut plan);
    let mut changes: BTreeMap<usize, Change> = BTreeMap::new();
    let (mut leaving, mut refused) = (Vec::new(), Vec::new());
    // Some errors name the part of the state that they are about, and not the resource that is wrong.
    let mut bad: HashSet<usize> = HashSet::new();
    for (index, item) in survey.items.iter().enumerate() {
        let Some(declared) = item.declared else {
            leaving.push(index);
            continue;
        };
        if blocked.held.contains(&index) {
            continue;
        }
        let told = plan.findings.len();
        match of_declared(item, &seen[index], &judged[index], declared.adopt || options.adopt, &mut plan) {
            Ok(decided) => changes.extend(decided.map(|change| (index, change))),
            Err(what) => refused.push((index, what)),
        }
        bad.extend(plan.findings[told..].iter().any(Finding::is_error).then_some(index));
    }
    for (index, what) in refused {
        refuse(index, what, survey, &needs, &changes, &mut plan);
    }
    for (index, item) in survey.items.iter().enumerate() {
        if item.declared.is_some() && !blocked.held.contains(&index) {
            let told = plan.findings.len();
            reach(index, survey, &judged[index].way, &needs, &mut changes, &mut plan);
            bad.extend(plan.findings[told..].iter().any(Finding::is_error).then_some(index));
        }
    }
    // What the ledger knows goes by itself.
    if survey.items.iter().any(|item| item.address.kind() == SshdConfig::NAME) {
        plan.findings.retain(|finding| !finding.address.starts_with(LeftoverAccess::NAME));
    }
    let newcomers = guard::overlaps(survey, seen, &mut plan);
    bad.extend(&newcomers);
    let errors = plan.findings[declared.len()..].iter().filter(|finding| finding.is_error());
    bad.extend(errors.filter_map(|finding| survey.index_of(&finding.address)));
    hold_back(survey, &needs, (&bad, &newcomers), &mut blocked, &mut changes, &mut plan);
    plan.quiet.retain(|(address, _)| {
        !survey.index_of(address.as_str()).is_some_and(|it| blocked.held.contains(&it))
    });
    // If no target can be applied, then nothing that only the targets need is made.
    let is_held =
        |target: &Address| survey.index_of(target.as_str()).is_some_and(|it| blocked.held.contains(&it));
    if !options.targets.is_empty() && options.targets.iter().all(is_held) {
        changes.clear();
        plan.stopped = true;
    }
    if !changes.is_empty() {
        let is_new = |address: &Address| !plan.again.iter().any(|(known, ..)| known == address);
        let far =
            again(survey, &judged, &needs, &changes).into_iter().filter(|(address, ..)| is_new(address));
        let far: Vec<_> = far.collect();
        plan.again.extend(far);
    }
    if !leaving.is_empty() {
        leave(survey, seen, &needs, &leaving, &blocked, &mut changes, &mut plan);
    }
    if !changes.is_empty() {
        in_order(survey, &needs, changes, &leaving, &mut plan);
    }
    let is_held = |index: &&usize| blocked.held.contains(index);
    let held: Vec<&Address> =
        leaving.iter().filter(is_held).map(|index| survey.items[*index].address).collect();
    guard::mass_removal(survey, ledger, &held, options, &mut plan);
    plan.findings.sort_unstable();
    plan.findings.dedup();
    plan
}

fn declared_mounts(survey: &Survey<'_>) -> Vec<HostPath> {
    survey.items.iter().filter_map(|item| item.resource().mount_point().cloned()).collect()
}

/// The needs of all items, found out when they are asked for: a plan without changes never asks.
pub(super) struct NeedsOnce<'a> {
    survey: &'a Survey<'a>,
    needs: std::cell::OnceCell<Vec<Vec<usize>>>,
}

impl<'a> NeedsOnce<'a> {
    fn new(survey: &'a Survey<'a>) -> Self {
        Self { survey, needs: std::cell::OnceCell::new() }
    }

    pub(super) fn get(&self) -> &[Vec<usize>] {
        self.needs.get_or_init(|| self.survey.needs())
    }

    fn order(&self) -> Result<Vec<usize>, Vec<usize>> {
        order(self.get(), &|index| self.survey.items[index].resource().cost() != Cost::Quick)
    }

    /// Lists all items, what is needed before what needs it. Where some need each other, the plan is stopped for that.
    pub(super) fn in_order(&self) -> Vec<usize> {
        self.order().unwrap_or_else(|_| (0..self.survey.items.len()).collect())
    }
}

/// Judges one resource by the look at it now and by what the ledger has kept of the last one.
fn judge(item: &Item<'_>, seen: &Seen) -> Judgement {
    item.resource().judge(seen, item.entry.and_then(|entry| entry.seen.as_ref()))
}

/// Decides on one resource that is declared. An error says what is there that is never written over.
fn of_declared(
    item: &Item<'_>,
    seen: &Seen,
    Judgement { diff, findings, way }: &Judgement,
    adopt: bool,
    plan: &mut Plan,
) -> Result<Option<Change>, String> {
    let (resource, entry) = (item.resource(), item.entry);
    plan.findings.extend_from_slice(findings);
    if let (Some(destination), Some(Entry { origin: Origin::Made, put_away: false, pending: false, .. })) =
        (resource.to_put_away(), entry)
    {
        let message = "the only copy of this password is on this host: without it the backups cannot be read";
        let remedy = format!("put it away: rlvm secret show {destination}");
        plan.findings.push(Finding::new(Severity::Warning, item.address, message).remedy(remedy));
    }
    if *diff == Diff::Unmanaged && entry.is_none() {
        return Ok(None);
    }
    let known = entry.is_some_and(|entry| !entry.pending);
    match &way.not_seen {
        Some(NotSeen::Left(why)) => {
            let message = format!("not looked at: {why}");
            plan.findings.push(Finding::new(Severity::Notice, item.address, message));
            return Ok(as_it_was(item, seen, known, plan));
        }
        Some(NotSeen::Waits(_)) if known => return Ok(as_it_was(item, seen, known, plan)),
        Some(NotSeen::Waits(_)) => {
            return Ok(match diff.clone() {
                Diff::Create(edit) => Some(Change { unseen: true, ..creation(item, edit) }),
                _ => None,
            });
        }
        None => {}
    }
    Ok(match (diff.clone(), entry) {
        (Diff::Same | Diff::Unmanaged, Some(entry)) if !told_only(item, entry).is_empty() => {
            Some(kept_as_it_is(item, seen, entry))
        }
        (Diff::Same | Diff::Unmanaged, Some(_)) => {
            plan.unchanged += 1;
            remember(item, seen, plan);
            None
        }
        (Diff::Same | Diff::Unmanaged, None) => Some(adoption(item, seen, Edit::default(), Origin::Matched)),
        (Diff::Create(edit), _) => Some(creation(item, edit)),
        (Diff::Update(edit), Some(entry)) => Some(update(item, seen, edit, entry)),
        (Diff::Update(edit), None) => {
            let mut change = adoption(item, seen, edit, Origin::Adopted);
            if !adopt {
                change.refused = true;
                let message = "it is there already, was not made by rlvm, and differs";
                let remedy = "compare; to take it over: --adopt, or `adopt: true` in the state";
                plan.findings.push(Finding::new(Severity::Refusal, item.address, message).remedy(remedy));
            }
            Some(change)
        }
        (Diff::Refuse(what), _) => return Err(what),
    })
}

/// Lists what the state says anew of a resource that rlvm only remembers: guards, and what becomes of the resource when it
/// leaves the state. Nothing of it can be seen on the host.
fn told_only(item: &Item<'_>, entry: &Entry) -> Vec<Attribute> {
    let Some(declared) = item.declared.filter(|_| !entry.pending) else { return Vec::new() };
    let mut attributes = Vec::new();
    if entry.protect != declared.protect {
        attributes.push(Attribute::new("protect", entry.protect, declared.protect));
    }
    if entry.on_remove != declared.on_remove {
        attributes.push(Attribute::new(
            "on_remove",
            serde_json::json!(entry.on_remove),
            serde_json::json!(declared.on_remove),
        ));
    }
    let (before, after) = (entry.resource.mount_point().is_some(), declared.resource.mount_point().is_some());
    if before != after {
        attributes.push(Attribute::new("mounted", before, after));
    }
    attributes
}

/// Changes what rlvm remembers of a resource that stays as it is on the host.
fn kept_as_it_is(item: &Item<'_>, seen: &Seen, entry: &Entry) -> Change {
    let kept = item.resource().remember(seen).or_else(|| entry.seen.clone());
    let edit = Edit { attributes: told_only(item, entry), ..Edit::default() };
    let reason = "changed in the state; it stays as it is on the host".to_owned();
    change(item, vec![Action::Update], reason, edit, next_entry(item, entry.origin, kept))
}

/// Takes what could not be looked at for what it was.
fn as_it_was(item: &Item<'_>, seen: &Seen, known: bool, plan: &mut Plan) -> Option<Change> {
    if known {
        plan.unchanged += 1;
        remember(item, seen, plan);
    }
    None
}

/// Notes what the ledger shall say though nothing changes on the host.
fn remember(item: &Item<'_>, seen: &Seen, plan: &mut Plan) {
    let (Some(entry), Some(declared)) = (item.entry, item.declared) else { return };
    let kept = item.resource().remember(seen).or_else(|| entry.seen.clone());
    let known = !entry.pending
        && item.was.is_none()
        && entry.resource == declared.resource
        && (entry.on_remove, entry.protect) == (declared.on_remove, declared.protect)
        && entry.seen == kept;
    if !known {
        plan.quiet.extend(item.was.map(|was| (was.clone(), None)));
        plan.quiet.push((item.address.clone(), next_entry(item, entry.origin, kept)));
    }
}

fn next_entry(item: &Item<'_>, origin: Origin, seen: Option<Seen>) -> Option<Entry> {
    let declared = item.declared?;
    Some(Entry {
        resource: declared.resource.clone(),
        origin,
        pending: false,
        on_remove: declared.on_remove,
        protect: declared.protect,
        put_away: item.entry.is_some_and(|entry| entry.put_away),
        seen,
    })
}

pub(super) fn change(
    item: &Item<'_>,
    actions: Vec<Action>,
    reason: String,
    edit: Edit,
    entry: Option<Entry>,
) -> Change {
    let Edit { attributes, text, ops } = edit;
    let (address, was) = (item.address.clone(), item.was.cloned());
    let (drift, refused, unseen, needs) = (false, false, false, Vec::new());
    Change {
        address,
        actions,
        reason,
        drift,
        refused,
        unseen,
        attributes,
        text,
        ops,
        first: 0,
        entry,
        was,
        needs,
    }
}

fn creation(item: &Item<'_>, edit: Edit) -> Change {
    // What was made once and is gone is as new: it is looked at again after it is made.
    // A secret is another one then: whoever put the old one away has nothing.
    let entry = next_entry(item, Origin::Made, None).map(|entry| Entry { put_away: false, ..entry });
    let gone = item.entry.is_some_and(|entry| !entry.pending);
    let reason = if gone { "it is gone since the last apply" } else { "it is not there" };
    Change { drift: gone, ..change(item, vec![Action::Create], reason.into(), edit, entry) }
}

fn update(item: &Item<'_>, seen: &Seen, edit: Edit, entry: &Entry) -> Change {
    let drift = !entry.pending && !entry.resource.diff(seen).is_none();
    let declared_anew = *item.resource() != entry.resource;
    let reason = match (drift, declared_anew) {
        (true, false) => "changed on the host since the last apply",
        (true, true) => "changed in the state, and on the host since the last apply",
        (false, true) => "changed in the state",
        (false, false) => "not as declared",
    };
    let edit =
        Edit { attributes: edit.attributes.into_iter().chain(told_only(item, entry)).collect(), ..edit };
    let entry = next_entry(item, entry.origin, entry.seen.clone());
    Change { drift, ..change(item, vec![Action::Update], reason.into(), edit, entry) }
}

fn adoption(item: &Item<'_>, seen: &Seen, edit: Edit, origin: Origin) -> Change {
    let entry = next_entry(item, origin, item.resource().remember(seen));
    if edit.ops.is_empty() {
        return change(item, vec![Action::Adopt], "it is there, as declared".into(), edit, entry);
    }
    change(item, vec![Action::Adopt, Action::Update], "it is there, and differs".into(), edit, entry)
}

/// Puts the changes in order, removals last and backwards, and names what each needs.
fn in_order(
    survey: &Survey<'_>,
    needs: &NeedsOnce<'_>,
    mut changes: BTreeMap<usize, Change>,
    leaving: &[usize],
    plan: &mut Plan,
) {
    let ordered = match needs.order() {
        Ok(ordered) => ordered,
        Err(circle) => {
            let names: Vec<&str> = circle.iter().map(|index| survey.items[*index].address.as_str()).collect();
            let message = format!("they need each other: {}", names.join(", "));
            plan.findings.push(Finding::new(Severity::Error, names[0], message));
            plan.stopped = true;
            return;
        }
    };
    let leaving: HashSet<usize> = leaving.iter().copied().collect();
    name_needs(survey, needs.get(), &leaving, &mut changes);
    let (back, forth): (Vec<usize>, Vec<usize>) =
        ordered.into_iter().partition(|index| leaving.contains(index));
    // Who is to be let in no longer is shut out first.
    let (out, back): (Vec<usize>, Vec<usize>) =
        back.into_iter().rev().partition(|index| survey.items[*index].resource().lets_in());
    // Giving a large tree to root takes hours. Nobody else's revocation waits for it: the account is shut first, and the
    // rest comes after all that lets somebody in, unless another account takes the tree over.
    let (long, out): (Vec<usize>, Vec<usize>) =
        out.into_iter().partition(|index| changes.get(index).is_some_and(|it| is_long(survey, it)));
    for index in &long {
        changes.entry(*index).and_modify(|change| change.first = 1);
    }
    let all = out.into_iter().chain(forth).chain(long).chain(back);
    plan.changes = all.filter_map(|index| changes.remove(&index)).collect();
}

/// Says whether a change gives away a tree that nothing declared lies in.
fn is_long(survey: &Survey<'_>, change: &Change) -> bool {
    let is_taken_over = |tree: &HostPath| {
        let declared = survey.items.iter().filter(|item| item.declared.is_some());
        declared.filter_map(|item| item.resource().path()).any(|path| path == tree)
    };
    change.ops.iter().any(|op| matches!(op, Op::GiveTree { path, .. } if !is_taken_over(path)))
}

/// Names for each change what must have succeeded before: what it needs; for a removal, that what needs it goes.
fn name_needs(
    survey: &Survey<'_>,
    needs: &[Vec<usize>],
    leaving: &HashSet<usize>,
    changes: &mut BTreeMap<usize, Change>,
) {
    // R45: the restic that was used stays until the one that takes its place is there; a schedule too.
    let of = |index: &usize| {
        let index = *index;
        survey.items[index].resource().slots().into_iter().map(move |slot| (slot, index))
    };
    let slotted: Vec<(String, usize)> = changes.keys().flat_map(of).collect();
    let (old, new): (Vec<_>, Vec<_>) = slotted.into_iter().partition(|(_, index)| leaving.contains(index));
    let mut taken: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (slot, index) in new {
        taken.entry(slot).or_default().push(index);
    }
    let replaced = |(slot, old): &(String, usize)| {
        let (old, new) = (*old, taken.get(slot).cloned().unwrap_or_default());
        new.into_iter().map(move |new| (old, new))
    };
    let mut pairs: Vec<(usize, usize)> = old.iter().flat_map(replaced).collect();
    for index in changes.keys() {
        for need in &needs[*index] {
            match (leaving.contains(index), leaving.contains(need)) {
                (false, _) => pairs.push((*index, *need)),
                (true, true) if survey.items[*need].resource().lets_in() => {}
                (true, true) => pairs.push((*need, *index)),
                (true, false) => {}
            }
        }
    }
    for (index, need) in pairs {
        if let Some(change) = changes.get_mut(&index) {
            change.needs.push(survey.items[need].address.clone());
        }
    }
    for change in changes.values_mut() {
        change.needs.sort_unstable();
    }
}
