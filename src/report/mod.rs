//! How the backups are: judged from what is declared, what the repositories hold, and the records. Pure.

pub mod judge;
pub mod metrics;
pub mod page;
pub mod read;
pub mod rescue;
pub mod show;
pub mod status;
pub mod words;
