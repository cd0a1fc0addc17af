//! Reports rlvm's file in sshd's configuration on a host where neither the state nor the ledger has an account.
//!
//! This happens if the ledger is lost and the accounts leave the state before the next apply. rlvm then no longer knows which
//! accounts it must close, and their clients can still log in.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Finding, Look, Severity, SshdConfig, check::Check};
use crate::{
    host::Entry,
    model::{Address, HostPath},
};

/// The file, on a host whose state has no client accounts. If the ledger has an entry for the file, [`SshdConfig`] removes it.
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

impl Check for LeftoverAccess {
    const NAME: &'static str = "leftover_access";
    /// Whether the file is there.
    type Seen = bool;

    fn key(&self) -> Cow<'_, str> {
        self.file.as_str().into()
    }

    fn observe(&self, look: &Look<'_, bool>) -> Result<bool> {
        Ok(!matches!(look.host.entry(&self.file)?, Entry::Absent))
    }

    fn findings(&self, seen: &bool) -> Vec<Finding> {
        let message = format!(
            "{} exists, but neither the state nor the ledger has an account: clients may still be able to log in",
            self.file
        );
        let remedy = "declare the accounts again in `ssh: users:` and run rlvm apply, then remove them from the state and \
                      run rlvm apply again";
        let finding = Finding::new(Severity::Error, Address::new(Self::NAME, &self.key()), message);
        seen.then(|| finding.remedy(remedy)).into_iter().collect()
    }
}
