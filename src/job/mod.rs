//! Running jobs.

pub mod stop;
