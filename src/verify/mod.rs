//! Decides what a verification does: checks of repositories, and drills.
//!
//! Pure: how much is read and which part, which files a drill restores, and whether they are right. `cli/verify`
//! carries it out. Dumps of databases are not covered yet.

mod compare;
mod part;
mod record;
mod sample;

pub use compare::{Live, Restored, compared};
pub use part::Amount;
pub use record::{Checked, DrillRecord, Kind, Outcome, Read, VERSION};
pub use sample::Sample;
