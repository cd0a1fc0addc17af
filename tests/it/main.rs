//! Tests of rlvm as a whole: one binary, a module a concern.

mod accounts;
mod architecture;
mod canary;
mod checks;
mod cli;
mod client;
mod converge;
mod crash;
mod engine;
mod exits;
mod hosts;
mod lab;
mod personal;
mod prune;
mod real_tools;
mod safety;
mod server;
mod shipped;
mod space;
mod state;
mod support;
mod tree;
mod units;
mod verbs;
mod vm;
mod world;
