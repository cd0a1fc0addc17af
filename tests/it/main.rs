//! Tests of rlvm as a whole: one binary, a module a concern.

mod architecture;
mod canary;
mod checks;
mod cli;
mod client;
mod converge;
mod crash;
mod engine;
mod exits;
mod lab;
mod personal;
mod real_tools;
mod safety;
mod shipped;
mod state;
mod support;
mod verbs;
mod world;
