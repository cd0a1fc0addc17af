//! What a resource is on the host, whatever it is called: two names may lead to one thing.

/// What a resource is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The same for two resources that are one thing.
    pub thing: String,
    /// All things that it lies in; only of kinds that must not lie in one another.
    pub within: Vec<String>,
    /// What two resources that are one thing must share, else they contradict each other.
    pub shared: String,
    /// How an overlap with another resource is reported.
    pub overlap: Overlap,
}

/// How an overlap is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// What it has in common with the other resource, before the other's address.
    pub message: &'static str,
    /// What to do.
    pub remedy: &'static str,
}
