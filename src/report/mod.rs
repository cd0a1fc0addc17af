//! How the backups are: judged from what is declared, what the repositories hold, and the records. Pure.

pub mod page;
pub mod read;
pub mod rescue;
pub mod status;
