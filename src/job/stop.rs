//! What is stopped while sources are frozen, and put back as it was found. Replaced by the real thing.

use anyhow::Result;

use crate::{effect::Step, host::Observe, state::Stop};

/// Says how it is stopped.
pub fn steps(_: &dyn Observe, _: &Stop) -> Result<Vec<Step>> {
    anyhow::bail!("`stop:` is not yet supported")
}
