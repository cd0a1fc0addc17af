//! Resources as they are declared, each once.

use std::collections::BTreeMap;

use crate::{
    effect::Owner,
    model::{Address, HostPath, Mode},
    resource::{Directory, Finding, OnRemove, Resource, Severity},
};

/// A resource with what the state says of how to treat it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// What it shall be.
    pub resource: Resource,
    /// Whether to take over one that is there and differs.
    pub adopt: bool,
    /// Whether its removal is refused.
    pub protect: bool,
    /// What shall become of it once it is no longer declared.
    pub on_remove: OnRemove,
    /// What it was called before.
    pub was: Vec<Address>,
}

impl Declared {
    /// Declares a resource with nothing special said of it.
    pub fn plain(resource: impl Into<Resource>) -> Self {
        let resource = resource.into();
        Self { resource, adopt: false, protect: false, on_remove: OnRemove::Default, was: Vec::new() }
    }
}

/// What a state comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expanded {
    /// Every resource by its address.
    pub resources: BTreeMap<Address, Declared>,
    /// What is declared and cannot be done, or not as declared.
    pub findings: Vec<Finding>,
}

impl Expanded {
    /// Declares a resource. The same one twice is one; two that differ are an error.
    pub(super) fn add(&mut self, declared: Declared) {
        let address = declared.resource.address();
        match self.resources.get(&address) {
            None => drop(self.resources.insert(address, declared)),
            Some(there) if there.resource == declared.resource => {}
            Some(_) => {
                let message = "declared twice, and differently".to_owned();
                self.findings.push(Finding::new(Severity::Error, address, message));
            }
        }
    }

    /// Declares a directory that is needed, unless it is declared.
    pub(super) fn add_needed(&mut self, path: HostPath) {
        let declared = implied(path, Mode::new(0o755));
        self.resources.entry(declared.resource.address()).or_insert(declared);
    }

    /// Declares the directories above all that is declared: made where there are none, else left as they are.
    pub(super) fn add_directories_above(&mut self) {
        let mut missing = BTreeMap::new();
        for declared in self.resources.values() {
            for dir in declared.resource.path().into_iter().flat_map(HostPath::ancestors) {
                let address = Address::new("directory", dir.as_str());
                // Whatever is declared has had its own directories walked already, or will have.
                if self.resources.contains_key(&address) || missing.contains_key(&address) {
                    break;
                }
                missing.insert(address, implied(dir, Mode::new(0o755)));
            }
        }
        self.resources.extend(missing);
    }
}

/// A directory that is only needed.
pub(super) fn implied(path: HostPath, mode: Mode) -> Declared {
    let (owner, mounted) = (Owner::root(), false);
    Declared::plain(Directory { path, owner, mode, mounted, implied: true })
}
