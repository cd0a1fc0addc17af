//! Writes a plan as JSON. A minor version adds fields only. Every removal has `delete` in its `actions`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Action, Change, LedgerId, Plan, Summary};
use crate::{
    effect::Op,
    model::{Address, HostName},
    resource::{Finding, Severity},
};

/// The version of the format: another number before the dot is not understood.
pub const FORMAT: &str = "1.0";

/// A plan as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanJson {
    /// See [`FORMAT`].
    pub format_version: String,
    /// Which rlvm made it.
    pub rlvm_version: String,
    /// For which host.
    pub host: HostName,
    /// From which ledger; null if there was none.
    pub ledger: Option<LedgerId>,
    /// What to do, in order.
    pub changes: Vec<ChangeJson>,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// How many of each.
    pub summary: Summary,
    /// Whether there are errors, so that it cannot be applied.
    pub errored: bool,
    /// Whether a guard stands in the way.
    pub refused: bool,
}

/// A change as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeJson {
    /// To what.
    pub address: Address,
    /// Its kind.
    pub kind: String,
    /// What is done.
    pub actions: Vec<Action>,
    /// Why.
    pub reason: String,
    /// Whether the host was changed since the last apply.
    pub drift: bool,
    /// Whether a guard stands in the way.
    pub refused: bool,
    /// Whether it could not be looked at yet: apply looks first, and makes it only if there is none.
    pub unseen: bool,
    /// What changes, as it is; null if there is nothing.
    pub before: Option<Map<String, Value>>,
    /// What changes, as it will be; null if there is nothing then.
    pub after: Option<Map<String, Value>>,
    /// A file's text as a unified diff; null if no text changes.
    pub diff: Option<String>,
    /// Which of `before` and `after` are never shown.
    pub sensitive: Vec<String>,
    /// What is done, as commands that would have the same effect.
    pub commands: Vec<String>,
}

impl From<&Plan> for PlanJson {
    fn from(plan: &Plan) -> Self {
        Self {
            format_version: FORMAT.into(),
            rlvm_version: env!("CARGO_PKG_VERSION").into(),
            host: plan.host.clone(),
            ledger: plan.ledger.clone(),
            changes: plan.all_changes().map(ChangeJson::from).collect(),
            findings: plan.findings.clone(),
            summary: plan.summary(),
            errored: plan.has(Severity::Error),
            refused: plan.has(Severity::Refusal),
        }
    }
}

impl From<&Change> for ChangeJson {
    fn from(change: &Change) -> Self {
        let side = |pick: fn(&crate::resource::Attribute) -> &Value, exists: bool| {
            let all = change.attributes.iter().map(|it| (it.name.clone(), pick(it).clone()));
            exists.then(|| all.collect())
        };
        let sensitive = change.attributes.iter().filter(|it| it.sensitive).map(|it| it.name.clone());
        Self {
            address: change.address.clone(),
            kind: change.address.kind().into(),
            actions: change.actions.clone(),
            reason: change.reason.clone(),
            drift: change.drift,
            refused: change.refused,
            unseen: change.unseen,
            before: side(|it| &it.before, !change.actions.contains(&Action::Create)),
            after: side(|it| &it.after, !change.actions.contains(&Action::Delete)),
            diff: change.unified(),
            sensitive: sensitive.collect(),
            commands: change.ops.iter().map(Op::to_string).collect(),
        }
    }
}
