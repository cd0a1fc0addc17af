//! Tests of rlvm as a whole: one binary, a module a concern.

mod architecture;
mod real_tools;
mod safety;
mod support;
