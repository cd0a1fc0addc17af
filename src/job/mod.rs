//! Runs jobs: `steps` describes a run as data, and `run` carries it out.
//!
//! A run closes everything that it opens, in reverse order. It writes the undo of each step into a journal before the
//! step begins. So after a crash the next start of rlvm, or `rlvm sweep`, can undo the rest.

mod backups;
mod died;
mod exclude;
mod fill;
mod freeze;
mod hook;
mod journal;
mod judged;
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

pub use backups::{Backups, Fault};
pub use hook::{Hooked, Outcome, environment};
pub use journal::{Journal, Left};
pub use night::{Event, Machine, Night, Refused};
pub use patience::Waits;
pub use record::{JobRecord, Record, Status, StoreRecord, VERSION, together};
pub use run::{Went, run};
pub use script::script;
pub use steps::{Facts, JobRun, Run, Store, cache_of, tag_of};
pub use sweep::{Swept, sweep};
pub use view::View;
