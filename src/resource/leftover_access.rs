//! rlvm's part of sshd's configuration where neither the state nor the ledger knows an account: after the ledger was lost,
//! accounts that left the state at the same time could still get in.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Diff, Finding, Kind, Look, Removal, Severity, SshdConfig};
use crate::{
    host::Entry,
    model::{Address, HostPath},
};

/// That part, on a host whose state has no accounts of clients. What the ledger knows of it is removed by its own kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftoverAccess {
    /// Where it would be.
    pub file: HostPath,
}

impl LeftoverAccess {
    /// Names the file.
    ///
    /// # Errors
    ///
    /// Never: it is a constant.
    pub fn new() -> Result<Self, crate::model::BadText> {
        Ok(Self { file: SshdConfig::address().key().parse()? })
    }
}

impl Kind for LeftoverAccess {
    const NAME: &'static str = "leftover_access";
    /// Whether the file is there.
    type Seen = bool;

    fn key(&self) -> Cow<'_, str> {
        self.file.as_str().into()
    }

    fn path(&self) -> Option<&HostPath> {
        None
    }

    fn observe(&self, look: &Look<'_, bool>) -> Result<bool> {
        Ok(!matches!(look.host.entry(&self.file)?, Entry::Absent))
    }

    fn exists(&self, seen: &bool) -> bool {
        *seen
    }

    fn diff(&self, _: &bool) -> Diff {
        Diff::Same
    }

    fn checks(&self, seen: &bool, _: Option<&bool>) -> Vec<Finding> {
        let message = format!(
            "{} is there, and neither the state nor the ledger knows an account: clients may still get in",
            self.file
        );
        let remedy = "declare the accounts again in `ssh: users:` and apply, then take them out and apply; a restored \
                      ledger (/var/lib/rlvm) does it too";
        let finding = Finding::new(Severity::Error, Address::new(Self::NAME, &self.key()), message);
        seen.then(|| finding.remedy(remedy)).into_iter().collect()
    }

    fn removal(&self, _: &bool, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        Removal::Quiet
    }

    fn is_managed(&self, _: &bool) -> bool {
        false
    }
}
