//! Tests of rlvm as a whole: one binary, a module a concern.

mod architecture;
mod converge;
mod crash;
mod safety;
mod state;
mod support;
mod world;
