//! Decides what may happen to a thing that leaves the state. All that depends on the kind, on `on_remove` and on who made
//! the thing is one table, [`decision`]. How a thing is removed or closed is data of its kind.

use crate::{
    ledger::{Entry, Origin},
    model::HostPath,
    resource::{OnRemove, Removal, RemovalRule, Seen},
};

/// What rlvm may do with a thing that leaves the state.
#[derive(Debug, PartialEq, Eq)]
enum RemovalDecision {
    /// Remove it.
    Remove,
    /// Close it. It stays.
    Close,
    /// Nothing: why it stays.
    Keep(String),
}

/// The table: what may be done, by rule of the kind, `on_remove` and origin. A thing that was found because the ledger was
/// lost has the origin `Matched` or `Adopted`: nobody knows who made it.
fn decision(rule: RemovalRule, on_remove: OnRemove, origin: Origin) -> RemovalDecision {
    match (rule, on_remove, origin) {
        (RemovalRule::Permanent(why), ..) => RemovalDecision::Keep(why),
        (RemovalRule::Account, OnRemove::Delete, Origin::Made) => RemovalDecision::Remove,
        // What restricted the account goes with the other resources, so it is closed whatever the state said.
        (RemovalRule::Account, ..) => RemovalDecision::Close,
        (_, OnRemove::Forget, _) => RemovalDecision::Keep("it stays, as `on_remove: forget` said".into()),
        // R46
        (RemovalRule::Ordinary, OnRemove::Default, Origin::Matched) => {
            RemovalDecision::Keep("it stays: it was there as declared before rlvm managed it".into())
        }
        (RemovalRule::Ordinary | RemovalRule::Exclusive, ..) => RemovalDecision::Remove,
    }
}

/// Says how a thing goes, as far as it may. `is_taken`: something that is declared takes its slot. `is_left`: it is on a disk
/// that is not mounted.
pub(super) fn removal(
    entry: &Entry,
    seen: &Seen,
    is_taken: bool,
    is_left: bool,
    gone: &dyn Fn(&HostPath) -> bool,
) -> Removal {
    let resource = &entry.resource;
    let rule = if is_taken { RemovalRule::Exclusive } else { resource.removal_rule() };
    let is_permanent = matches!(rule, RemovalRule::Permanent(_));
    let decision = decision(rule, entry.on_remove, entry.origin);
    let how = if decision == RemovalDecision::Close {
        resource.closing(seen)
    } else {
        resource.removal(seen, gone)
    };
    let is_unseen = matches!(how, Removal::Delete(_) | Removal::Shut(..)) || matches!(seen, Seen::Unknown(_));
    match (how, decision) {
        _ if is_left && is_unseen => Removal::Forget("it stays on a disk that is not mounted".into()),
        (how, RemovalDecision::Keep(why)) if is_permanent || matches!(how, Removal::Delete(_)) => {
            Removal::Forget(why)
        }
        (how, _) => how,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: `on_remove`. Each column: made, adopted, matched. `r` remove, `c` close, `k` keep.
    #[test]
    fn each_cell_of_the_table() {
        let table = [
            (RemovalRule::Ordinary, ["rrk", "rrr", "kkk"]),
            (RemovalRule::Exclusive, ["rrr", "rrr", "kkk"]),
            (RemovalRule::Account, ["ccc", "rcc", "ccc"]),
            (RemovalRule::Permanent("holds backups".into()), ["kkk", "kkk", "kkk"]),
        ];
        let origins = [Origin::Made, Origin::Adopted, Origin::Matched];
        for (rule, rows) in table {
            let settings = [OnRemove::Default, OnRemove::Delete, OnRemove::Forget];
            for (on_remove, row) in settings.into_iter().zip(rows) {
                for (origin, expected) in origins.into_iter().zip(row.chars()) {
                    let letter = match decision(rule.clone(), on_remove, origin) {
                        RemovalDecision::Remove => 'r',
                        RemovalDecision::Close => 'c',
                        RemovalDecision::Keep(_) => 'k',
                    };
                    assert_eq!(letter, expected, "{rule:?} {on_remove:?} {origin:?}");
                }
            }
        }
    }

    #[test]
    fn the_reason_for_keeping_is_given() {
        let why = |rule, on_remove| match decision(rule, on_remove, Origin::Matched) {
            RemovalDecision::Keep(why) => why,
            other => panic!("{other:?}"),
        };
        let permanent = RemovalRule::Permanent("holds backups".into());
        assert_eq!(why(permanent, OnRemove::Forget), "holds backups");
        assert!(why(RemovalRule::Ordinary, OnRemove::Forget).contains("on_remove: forget"));
        assert!(why(RemovalRule::Ordinary, OnRemove::Default).contains("before rlvm managed it"));
    }
}
