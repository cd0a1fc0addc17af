//! Picks the host, runs the verb, prints the error, exits.

fn main() {}
