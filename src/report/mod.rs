//! Judges the backups by the state, the repositories and the records, and decides who is notified. Pure.

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
