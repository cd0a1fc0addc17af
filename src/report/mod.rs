//! How the backups are: judged from what is declared, what the repositories hold, and the records. Pure.

pub mod status;
