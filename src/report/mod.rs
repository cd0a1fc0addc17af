//! How the backups are: judged from what is declared, what the repositories hold, and the records. Pure.

pub mod judge;
pub mod metrics;
pub mod show;
pub mod status;
pub mod words;
