//! How the backups are: judged from what is declared, what the repositories hold, and the records; and who is told what of
//! it. Pure.

pub mod judge;
pub mod letter;
pub mod message;
pub mod metrics;
pub mod mime;
pub mod notice;
pub mod page;
pub mod read;
pub mod rescue;
pub mod show;
pub mod status;
pub mod told;
pub mod words;
