//! Tests of rlvm as a whole: one binary, a module a concern.

mod canary;
mod cli;
mod converge;
mod crash;
mod exits;
mod support;
mod verbs;
mod world;
