//! Turns what is no longer declared into changes. `removal_policy` says what may be done.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Action, Change, Plan,
    blocked::Blocked,
    decide::{NeedsOnce, change},
    guard, removal_policy,
    survey::Survey,
};
use crate::{
    effect::{Op, temporary},
    model::HostPath,
    resource::{Edit, Finding, Removal, Seen, Severity},
};

/// Decides on what is no longer declared: what needs others goes first.
pub(super) fn leave(
    survey: &Survey<'_>,
    seen: &[Seen],
    needs: &NeedsOnce<'_>,
    leaving: &[usize],
    blocked: &Blocked,
    changes: &mut BTreeMap<usize, Change>,
    plan: &mut Plan,
) {
    let leaving: BTreeSet<usize> = leaving.iter().copied().collect();
    let mut ordered = needs.in_order();
    ordered.reverse();
    let mut gone: BTreeSet<HostPath> = BTreeSet::new();
    let declared = survey.items.iter().enumerate().filter(|(_, item)| item.declared.is_some());
    let slots =
        declared.flat_map(|(index, item)| item.resource().slots().into_iter().map(move |it| (it, index)));
    let slots: BTreeMap<String, usize> = slots.collect();
    // What stays, and keeps what it needs: a timer its service.
    let mut stays: Vec<usize> =
        leaving.iter().copied().filter(|index| blocked.held.contains(index)).collect();
    for index in ordered.into_iter().filter(|index| leaving.contains(index) && !blocked.held.contains(index))
    {
        let item = &survey.items[index];
        let Some(entry) = item.entry else { continue };
        let resource = &entry.resource;
        let of_slot = resource.slots().iter().find_map(|slot| slots.get(slot).copied());
        // What takes its place is not made.
        let by = of_slot.filter(|new| blocked.held.contains(new));
        let by = by.or_else(|| stays.iter().copied().find(|other| needs.get()[*other].contains(&index)));
        if let Some(by) = by.filter(|_| !resource.lets_in()) {
            plan.findings.push(stays_for(survey, index, by));
            stays.push(index);
            continue;
        }
        let is_gone = |path: &HostPath| gone.contains(path);
        let is_left = blocked.left.contains(&index);
        match removal_policy::removal(entry, &seen[index], of_slot.is_some(), is_left, &is_gone) {
            _ if entry.protect => {
                plan.findings.push(guard::protected(item.address));
            }
            _ if entry.pending && !resource.exists(&seen[index]) => {
                let ops = resource.path().map(|path| Op::RemoveTemporary { path: path.clone() });
                let edit = Edit { ops: ops.into_iter().collect(), ..Edit::default() };
                let reason = "no longer declared; it was being made when rlvm was stopped".to_owned();
                changes.insert(index, change(item, vec![Action::Forget], reason, edit, None));
            }
            Removal::Quiet => plan.quiet.push((item.address.clone(), None)),
            Removal::Forget(why) => {
                let reason = format!("no longer declared; {why}");
                changes.insert(index, change(item, vec![Action::Forget], reason, Edit::default(), None));
            }
            Removal::Shut(edit, why) => {
                let reason = format!("no longer declared; {why}");
                changes.insert(index, change(item, vec![Action::Forget], reason, edit, None));
            }
            Removal::Delete(edit) => {
                let drift = !entry.pending && !resource.diff(&seen[index]).is_none();
                let since = if drift { "; changed on the host since the last apply" } else { "" };
                let reason = format!("no longer declared{since}");
                let removed = change(item, vec![Action::Delete], reason, edit, None);
                changes.insert(index, Change { drift, ..removed });
            }
        }
        gone.extend(changes.get(&index).into_iter().flat_map(|change| &change.ops).flat_map(removed_by));
    }
}

/// Says that a resource that is no longer declared stays because of another one.
fn stays_for(survey: &Survey<'_>, index: usize, other: usize) -> Finding {
    let message = format!(
        "it is no longer declared; rlvm keeps it until rlvm can apply the change of {}",
        survey.items[other].address
    );
    Finding::new(Severity::Notice, survey.items[index].address, message)
}

/// Names what is no longer there after an op.
fn removed_by(op: &Op) -> Vec<HostPath> {
    let left_over = |path| temporary(path).parse().ok();
    match op {
        Op::RemoveDir { path } => vec![path.clone()],
        Op::RemoveTemporary { path } => left_over(path).into_iter().collect(),
        Op::RemoveFile { path } | Op::EditFile { path, after: None, .. } => {
            [Some(path.clone()), left_over(path)].into_iter().flatten().collect()
        }
        _ => Vec::new(),
    }
}
