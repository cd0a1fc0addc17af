//! Running jobs: the steps of a run as data (`steps`), and what carries them out (`run`).
//!
//! Whatever a run opens it closes, in reverse: what undoes a step is written into a journal before the step is begun, so
//! that after a crash the next start of anything, or `rlvm sweep`, ends what was left.

mod exclude;
mod fill;
mod freeze;
mod hook;
mod journal;
mod night;
mod patience;
mod record;
mod run;
mod script;
mod steps;
pub mod stop;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod undo;
mod view;

pub use hook::{Hooked, Outcome, environment};
pub use journal::{Journal, Left};
pub use night::{Event, Machine, Night, Refused};
pub use patience::Waits;
pub use record::{JobRecord, Record, Status, StoreRecord, VERSION, failed_snapshots, together};
pub use run::{Went, run};
pub use script::script;
pub use steps::{Facts, JobRun, Run, Store, cache_of, tag_of};
pub use sweep::{Swept, sweep};
pub use view::View;
