//! How the backups are: judged from what is declared, what the repositories hold, and the records; and who is told what of
//! it. Pure.

pub mod letter;
pub mod message;
pub mod mime;
pub mod notice;
pub mod status;
pub mod told;
