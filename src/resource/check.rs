//! Checks: what rlvm only looks at and never changes. A check has no entry in the ledger.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Serialize, de::DeserializeOwned};

use super::{Cost, Diff, Finding, Kind, Look};
use crate::model::{Address, HostPath};

/// A kind of check. It stands in the list of kinds like any other.
pub trait Check: Clone + PartialEq + Serialize + DeserializeOwned {
    /// See [`Kind::NAME`].
    const NAME: &'static str;
    /// See [`Kind::Seen`].
    type Seen: Clone + PartialEq + Serialize + DeserializeOwned;

    /// Tells it from others of its kind.
    fn key(&self) -> Cow<'_, str>;

    /// Lists what must be in place before.
    fn needs(&self) -> Vec<Address> {
        Vec::new()
    }

    /// Says what looking takes.
    fn cost(&self) -> Cost {
        Cost::Quick
    }

    /// Looks at the host.
    ///
    /// # Errors
    ///
    /// If the host cannot be looked at.
    fn observe(&self, look: &Look<'_, Self::Seen>) -> Result<Self::Seen>;

    /// Returns errors, warnings and notes to report before the next scheduled run. Pure.
    fn findings(&self, seen: &Self::Seen) -> Vec<Finding>;
}

impl<T: Check> Kind for T {
    const NAME: &'static str = <T as Check>::NAME;
    type Seen = T::Seen;

    fn key(&self) -> Cow<'_, str> {
        Check::key(self)
    }

    fn path(&self) -> Option<&HostPath> {
        None
    }

    fn needs(&self) -> Vec<Address> {
        Check::needs(self)
    }

    fn cost(&self) -> Cost {
        Check::cost(self)
    }

    fn observe(&self, look: &Look<'_, T::Seen>) -> Result<T::Seen> {
        Check::observe(self, look)
    }

    fn exists(&self, _: &T::Seen) -> bool {
        true
    }

    fn diff(&self, _: &T::Seen) -> Diff {
        Diff::Unmanaged
    }

    fn checks(&self, seen: &T::Seen, _: Option<&T::Seen>) -> Vec<Finding> {
        self.findings(seen)
    }
}
