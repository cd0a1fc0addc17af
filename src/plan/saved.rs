//! Saves a plan to a file for a later apply, which works only on the same host, with the same ledger, and while
//! nothing has changed.
//!
//! The file contains the state, not only the ops. Apply decides again from that state and from what it observes, and
//! both decisions must be equal. So a plan file cannot make root run somebody else's commands.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use sha2::{Digest, Sha256};

use super::{LedgerId, Options, Plan, Survey, json::PlanJson};
use crate::{
    host::Revision,
    model::{Address, HostName},
    resource::{Looks, Seen},
    state::{State, definitions},
};

/// The version of the format.
const FORMAT: u32 = 1;

/// A plan in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    format_version: u32,
    rlvm_version: String,
    /// The host that it is for.
    pub host: HostName,
    /// The tree that it is for; `/` for the running system.
    pub root: String,
    /// The ledger that it was made from.
    pub ledger: Option<LedgerId>,
    /// The state, resolved.
    pub state: State,
    /// Where the state's file was.
    pub source: String,
    /// The revision that the state was at.
    pub revision: Option<Revision>,
    /// What the caller allowed.
    pub options: Options,
    /// Whether what needs the network was left out.
    #[serde(default)]
    pub offline: bool,
    /// A digest of the definitions that were applied last; none if nothing was.
    pub applied: Option<String>,
    /// A digest of what was seen of each resource, absences too.
    pub seen: BTreeMap<Address, String>,
    /// The plan that was shown.
    pub plan: PlanJson,
}

/// What goes into a saved plan beside the plan itself.
pub struct RestsOn {
    /// The tree that it is for.
    pub root: String,
    /// The state, resolved.
    pub state: State,
    /// The state that was applied last.
    pub applied: Option<State>,
    /// Where the state's file was.
    pub source: String,
    /// The revision that the state was at.
    pub revision: Option<Revision>,
    /// What the caller allowed.
    pub options: Options,
    /// Whether what needs the network was left out.
    pub offline: bool,
}

impl Saved {
    /// Puts a plan together with all that it rests on.
    ///
    /// # Errors
    ///
    /// If something seen cannot be written as JSON, which no kind's can.
    pub fn new(plan: &Plan, survey: &Survey<'_>, seen: &[Seen], rests_on: RestsOn) -> Result<Self> {
        let RestsOn { root, state, applied, source, revision, options, offline } = rests_on;
        Ok(Self {
            format_version: FORMAT,
            rlvm_version: env!("CARGO_PKG_VERSION").into(),
            host: plan.host.clone(),
            root,
            ledger: plan.ledger.clone(),
            state,
            source,
            revision,
            options,
            offline,
            applied: digest_of_definitions(applied.as_ref())?,
            seen: digests(survey, seen)?,
            plan: plan.into(),
        })
    }

    /// Reads a plan file.
    ///
    /// # Errors
    ///
    /// If it is none, or one of another rlvm.
    pub fn read(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
            rlvm_version: String,
        }
        if let Some(other) = Document::read(text)?.other_than_saved_plan() {
            bail!("{other}");
        }
        let version: Version = serde_json::from_str(text).context("it is no saved plan")?;
        let Version { format_version, rlvm_version } = version;
        let same = format_version == FORMAT && rlvm_version == env!("CARGO_PKG_VERSION");
        ensure!(
            same,
            "it was made by rlvm {rlvm_version}, and this is {}: plan again with this one",
            env!("CARGO_PKG_VERSION")
        );
        serde_json::from_str(text).context("it is damaged")
    }

    /// Returns how to look again: as it was looked.
    pub fn looks(&self) -> Looks {
        Looks { refresh: false, offline: self.offline }
    }

    /// Writes it as text.
    ///
    /// # Errors
    ///
    /// If it cannot be written as JSON, which no plan can.
    pub fn text(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Lists what moved since it was made; nothing if it still holds.
    ///
    /// # Errors
    ///
    /// If something seen cannot be written as JSON, which no kind's can.
    pub fn stale(
        &self,
        ledger: Option<&LedgerId>,
        applied: Option<&State>,
        survey: &Survey<'_>,
        seen: &[Seen],
    ) -> Result<Vec<String>> {
        let mut moved = Vec::new();
        if digest_of_definitions(applied)? != self.applied {
            moved.push(
                "the definitions (jobs, destinations, notifiers, settings): another state was applied since"
                    .to_owned(),
            );
        }
        if ledger != self.ledger.as_ref() {
            moved.push("the ledger: something was applied since".to_owned());
        }
        let now = digests(survey, seen)?;
        let addresses: std::collections::BTreeSet<&Address> = now.keys().chain(self.seen.keys()).collect();
        for address in addresses {
            if now.get(address) != self.seen.get(address) {
                moved.push(address.to_string());
            }
        }
        Ok(moved)
    }

    /// Checks that deciding again came to what the file says.
    ///
    /// # Errors
    ///
    /// If it did not: then the file was altered.
    pub fn check(&self, again: &Plan) -> Result<()> {
        let again = PlanJson::from(again);
        if again == self.plan {
            return Ok(());
        }
        let pairs = again.changes.iter().zip(&self.plan.changes);
        let differs =
            pairs.filter(|(again, saved)| again != saved).map(|(_, saved)| saved.address.to_string()).next();
        let differs = differs.unwrap_or_else(|| "the list of changes".into());
        bail!("the plan file was altered: {differs} is not what its state comes to");
    }
}

/// The keys by which the JSON documents that rlvm writes are told from each other.
#[derive(Debug, Deserialize)]
struct Document {
    version: Option<IgnoredAny>,
    format_version: Option<IgnoredAny>,
    state: Option<IgnoredAny>,
    plan: Option<IgnoredAny>,
    seen: Option<IgnoredAny>,
    changes: Option<IgnoredAny>,
}

impl Document {
    fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("it is no JSON document, so no saved plan")
    }

    /// Says what the document is, and what to do with it; nothing if it is a saved plan.
    fn other_than_saved_plan(&self) -> Option<&'static str> {
        let Self { version, format_version, state, plan, seen, changes } = self;
        if plan.is_some() && state.is_some() {
            return None;
        }
        Some(if version.is_some() {
            "it is a state as `rlvm show --json` prints it, not a saved plan\n\
             help: write the state as YAML with `rlvm show`, and apply that file"
        } else if changes.is_some() {
            "it is a plan as `rlvm plan --json` prints it, not a saved plan\n\
             help: save the plan: rlvm plan --out FILE"
        } else if seen.is_some() {
            "it is what `rlvm observe` printed, not a saved plan\n\
             help: plan against it: rlvm plan --observed FILE"
        } else if format_version.is_some() {
            "it is another document of rlvm's, not a saved plan\n\
             help: save a plan: rlvm plan --out FILE"
        } else {
            "it is no document of rlvm's\n\
             help: save a plan: rlvm plan --out FILE"
        })
    }
}

/// Lists the resources that differ between two looks at the same survey.
///
/// # Errors
///
/// If something seen cannot be written as JSON, which no kind's can.
pub fn moved(survey: &Survey<'_>, before: &[Seen], now: &[Seen]) -> Result<Vec<String>> {
    let mut moved = Vec::new();
    for (item, (before, now)) in survey.items.iter().zip(before.iter().zip(now)) {
        if before != now && digest(before)? != digest(now)? {
            moved.push(item.address.to_string());
        }
    }
    Ok(moved)
}

fn digests(survey: &Survey<'_>, seen: &[Seen]) -> Result<BTreeMap<Address, String>> {
    let pairs = survey.items.iter().zip(seen);
    pairs.map(|(item, seen)| Ok((item.address.clone(), digest(seen)?))).collect()
}

fn digest(seen: &Seen) -> Result<String> {
    // Why a look failed may hold a number that is another one each time.
    let unknown = Seen::Unknown(String::new());
    let seen = if matches!(seen, Seen::Unknown(_)) { &unknown } else { seen };
    Ok(digest_of(&serde_json::to_vec(seen)?))
}

fn digest_of_definitions(applied: Option<&State>) -> Result<Option<String>> {
    applied.map(|applied| Ok(digest_of(&serde_json::to_vec(&definitions(applied)?)?))).transpose()
}

fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
