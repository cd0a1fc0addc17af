//! Plan and apply for host backups.
//!
//! ```text
//! YAML ── load ──► state ── expand ──► resources ── observe ──► diff ──► plan ── apply ──► host, ledger
//!                    │
//!                    └──► job ── steps ──► run ──► record ──► verify, report
//! ```
//!
//! The modules stand in the order of that flow, and each uses only those above it; `tests/it/architecture.rs`
//! says so. Looking gets `&dyn Observe`, deciding gets values, acting gets `&mut dyn Act`.

pub mod model;

pub mod side_by_side;

pub mod effect;

pub mod host;

pub mod restic;

pub mod destination;

pub mod source;

pub mod resource;

pub mod state;

pub mod expand;

pub mod ledger;

pub mod plan;

pub mod apply;

pub mod job;

pub mod verify;

pub mod report;

pub mod cli;
