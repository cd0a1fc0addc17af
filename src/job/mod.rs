//! Running jobs: the steps of a run as data (`steps`), and what carries them out (`run`).
//!
//! Whatever a run opens it closes, in reverse: what undoes a step is written into a journal before the step is begun, so
//! that after a crash the next start of anything, or `rlvm sweep`, ends what was left.

mod hook;
mod steps;
mod view;

pub use hook::{Hooked, Outcome};
pub use steps::{Facts, JobRun, Run, Store, tag_of};
pub use view::View;
