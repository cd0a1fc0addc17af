//! Identifies a resource on the host, whatever the state calls it, because two names may lead to one thing.

/// What a resource is on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// How the state names it: a path or an address.
    pub at: String,
    /// What it consists of. Two resources that have one of these in common are the same thing.
    pub things: Vec<String>,
    /// All that it lies in; only of kinds that must not lie in one another.
    pub within: Vec<String>,
    /// What else can be reached through it, without being a part of it.
    pub holds: Vec<String>,
    /// What two resources that are one thing must share, else they contradict each other.
    pub shared: String,
    /// How an overlap with another resource is reported.
    pub overlap: Overlap,
}

/// How an overlap is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// What the resource is, in one word.
    pub noun: &'static str,
    /// What the overlap leads to.
    pub consequence: &'static str,
    /// What to do.
    pub remedy: &'static str,
}
