//! Tests of rlvm as a whole: one binary, a module a concern.

mod converge;
mod crash;
mod support;
mod world;
