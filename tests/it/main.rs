//! Tests of rlvm as a whole: one binary, a module a concern.

mod architecture;
mod safety;
mod state;
mod support;
