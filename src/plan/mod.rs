//! Plans: compares declared with observed resources and decides the changes. It changes nothing.
//!
//! `survey` lists what to observe, and `observe` observes it. `decide` is pure: it turns differences, ownership and
//! guards into changes in order. `show` and `json` print this value, and `saved` stores it for a later apply.

mod blocked;
mod decide;
mod definitions;
mod guard;
pub mod history;
mod in_force;
pub mod json;
mod observe;
mod reach;
mod removal;
mod removal_policy;
pub mod saved;
pub mod show;
mod survey;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use decide::{Options, decide};
pub use definitions::changed_definitions;
pub use in_force::{InForce, in_force};
pub use observe::{Looking, Progress, look, observe};
pub use survey::{Item, Survey};

use crate::{
    effect::Op,
    ledger::Entry,
    model::{Address, HostName, HostPath},
    resource::{Attribute, Finding, Resource, Seen, Severity},
};

/// What to do, in order. Leaves nothing to decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// For which host.
    pub host: HostName,
    /// Which ledger it was made from; none if there was none.
    pub ledger: Option<LedgerId>,
    /// What to do with resources, in order.
    pub changes: Vec<Change>,
    /// Changes of definitions (see [`changed_definitions`]). Apply saves them after the resources, also if some resources
    /// failed. It saves none if a signal stopped it, or with `--target`.
    pub definitions: Vec<Change>,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// Whether an error concerns the whole plan. Nothing is applied then. An error on one resource stops that resource
    /// and what needs it, and nothing else.
    pub stopped: bool,
    /// How many are as declared.
    pub unchanged: usize,
    /// The directories that must be mount points. Apply changes nothing that leads below one while it is not mounted.
    pub mounts: Vec<HostPath>,
    /// What is reached by something that changes, and was not changed itself: apply looks whether it still is. With each
    /// what was kept of the last look.
    pub again: Vec<(Address, Resource, Option<Seen>)>,
    /// What to write into the ledger beside: nothing of it can be seen on the host.
    pub quiet: Vec<(Address, Option<Entry>)>,
}

/// Which ledger, and how far it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerId {
    /// Tells it from every other.
    pub lineage: String,
    /// Grows with each record.
    pub serial: u64,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// To what.
    pub address: Address,
    /// What is done.
    pub actions: Vec<Action>,
    /// Why.
    pub reason: String,
    /// Whether the host was changed since the last apply.
    pub drift: bool,
    /// Whether a guard stands in the way.
    pub refused: bool,
    /// Whether it could not be looked at yet: apply looks, once what it needs is in place, and does it only if the look
    /// asks for just this.
    pub unseen: bool,
    /// What changes.
    pub attributes: Vec<Attribute>,
    /// A file's text before and after.
    pub text: Option<(String, String)>,
    /// What to do, in order.
    pub ops: Vec<Op>,
    /// How many of the ops come before all other changes; the rest when it is the change's turn.
    pub first: usize,
    /// The ledger's entry afterwards; none: it is no longer managed.
    pub entry: Option<Entry>,
    /// The entry's old name, if it is renamed.
    pub was: Option<Address>,
    /// What must have succeeded before.
    pub needs: Vec<Address>,
}

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// What was there is managed from now on.
    Adopt,
    /// It is no longer managed, and stays.
    Forget,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// To create.
    pub create: usize,
    /// To change.
    pub update: usize,
    /// To remove.
    pub delete: usize,
    /// To adopt.
    pub adopt: usize,
    /// To forget.
    pub forget: usize,
    /// As declared.
    pub unchanged: usize,
}

impl Change {
    /// Returns a file's text as a unified diff, if it changes.
    pub fn unified(&self) -> Option<String> {
        let (before, after) = self.text.as_ref()?;
        let path = self.ops.first().and_then(Op::path).map_or(self.address.key(), HostPath::as_str);
        Some(show::unified(path, before, after))
    }
}

impl Plan {
    /// Says whether the host is as declared, and the state is the one that was applied.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.definitions.is_empty()
    }

    /// Lists all changes in the order in which they are made.
    pub fn all_changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().chain(&self.definitions)
    }

    /// Says whether there is a finding as bad as this.
    pub fn has(&self, severity: Severity) -> bool {
        self.findings.iter().any(|finding| finding.severity == severity)
    }

    /// Counts.
    pub fn summary(&self) -> Summary {
        let count = |action| self.all_changes().filter(|it| it.actions.contains(&action)).count();
        Summary {
            create: count(Action::Create),
            update: count(Action::Update),
            delete: count(Action::Delete),
            adopt: count(Action::Adopt),
            forget: count(Action::Forget),
            unchanged: self.unchanged,
        }
    }
}
