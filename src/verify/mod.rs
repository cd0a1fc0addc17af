//! What proves that a backup can be restored: checks of repositories, and drills.
//!
//! Pure: how much is read and which part of it, which files a drill restores, and whether they are what they should be.
//! `cli/verify` looks, and acts. Not here yet: dumps of databases, which would be loaded into a scratch server.

mod compare;
mod part;
mod record;
mod sample;

pub use compare::{Live, Restored, compared};
pub use part::Amount;
pub use record::{Checked, DrillRecord, Kind, Outcome, Read, VERSION};
pub use sample::Sample;
