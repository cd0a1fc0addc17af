//! Tests of rlvm as a whole: one binary, a module a concern.
//! The tests that use rlvm as a whole; one binary, so that they link once.

mod state;
