//! What proves that a backup can be restored: checks of repositories, and drills.

mod record;

pub use record::{Checked, DrillRecord, Kind, Outcome, Read, VERSION};
