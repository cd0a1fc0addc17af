//! Collects the declared resources, each one once.

use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use super::UserFacts;
use crate::{
    effect::Owner,
    model::{Address, HostPath, Mode, SecretFile, UserName},
    resource::{Directory, Finding, Kind as _, OnRemove, Resource, Severity},
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
    /// The user whose own set-up it is; none if it is the host's, which root keeps.
    pub keeper: Option<Owner>,
    /// What the host's accounts say of its users.
    pub user_facts: UserFacts,
}

impl Expanded {
    /// Declares a resource. The same one twice is one; two that differ are an error.
    pub(super) fn add(&mut self, declared: Declared) {
        match self.resources.entry(declared.resource.address()) {
            Entry::Vacant(place) => drop(place.insert(declared)),
            Entry::Occupied(there) if there.get().resource == declared.resource => {}
            Entry::Occupied(there) => {
                let message = "declared twice, and differently".to_owned();
                self.findings.push(Finding::new(Severity::Error, there.key(), message));
            }
        }
    }

    /// Returns who keeps the set-up, to whom belongs what is nobody else's.
    pub(super) fn keeper(&self) -> Owner {
        self.keeper.clone().unwrap_or_else(Owner::root)
    }

    /// Returns the owner of a user's things: with the user's own group.
    pub(super) fn owner_of(&self, user: &UserName) -> Owner {
        match &self.keeper {
            Some(keeper) if keeper.user == *user => keeper.clone(),
            _ => self.user_facts.owner(user),
        }
    }

    /// Makes a directory that is only needed.
    pub(super) fn implied(&self, path: HostPath, mode: Mode) -> Declared {
        let (owner, mounted) = (self.keeper(), false);
        Declared::plain(Directory { path, owner, mode, mounted, implied: true, may_be_absent: false })
    }

    /// Declares the directory of a secret's file, private, unless it is declared. A person can write the file only when
    /// its directory is there.
    pub(super) fn add_secret_directory(&mut self, file: &SecretFile) {
        if let Some(path) = file.0.parent().filter(|path| path.as_str() != "/") {
            let made = self.implied(path, Mode::new(0o700));
            self.resources.entry(made.resource.address()).or_insert(made);
        }
    }

    /// Declares a directory that is needed, unless it is declared.
    pub(super) fn add_needed(&mut self, path: HostPath) {
        let declared = self.implied(path, Mode::new(0o755));
        self.resources.entry(declared.resource.address()).or_insert(declared);
    }

    /// Declares the directories above all that is declared: made where there are none, else left as they are.
    pub(super) fn add_directories_above(&mut self) {
        let declared = self.directories();
        let mut missing: BTreeMap<HostPath, Owner> = BTreeMap::new();
        for path in self.resources.values().filter_map(|declared| declared.resource.path()) {
            // Whatever is declared has had its own directories walked already, or will have.
            let known = |dir: &&str| declared.contains_key(dir) || missing.contains_key(*dir);
            let unknown = path.ancestors_str().take_while(|dir| !known(dir)).count();
            for dir in path.ancestors().take(unknown) {
                // Below a directory of a user's it is that user's too: nobody goes through one into another's.
                let above = nearest_above(&dir, &declared);
                let owner = above.map_or_else(|| self.keeper(), |above| above.owner.clone());
                missing.insert(dir, owner);
            }
        }
        for (path, owner) in missing {
            let (mode, mounted) = (Mode::new(0o755), false);
            let made = Declared::plain(Directory {
                path,
                owner,
                mode,
                mounted,
                implied: true,
                may_be_absent: false,
            });
            self.resources.insert(made.resource.address(), made);
        }
        self.let_users_through();
    }

    /// Lets other users than the keeper get through to their secrets, and list nothing.
    fn let_users_through(&mut self) {
        let keeper = self.keeper().user;
        let mut ways = Vec::new();
        for declared in self.resources.values() {
            if let Resource::Secret(secret) = &declared.resource
                && secret.owner.user != keeper
            {
                ways.extend(secret.file.0.ancestors().map(|dir| Address::new("directory", dir.as_str())));
            }
        }
        for way in ways {
            if let Some(Declared { resource: Resource::Directory(it), .. }) = self.resources.get_mut(&way)
                && it.implied
            {
                it.mode = Mode::new(it.mode.bits() | 0o711);
            }
        }
    }

    /// Refuses directories that lie in one of another, unprivileged user's: that user could put anything in their
    /// place, so `host` would not go there.
    pub(super) fn refuse_descents(&mut self) {
        let mut found = Vec::new();
        let directories = self.directories();
        for directory in directories.values() {
            let Some(above) = nearest_above(&directory.path, &directories) else { continue };
            let (user, owner) = (&above.owner.user, &directory.owner.user);
            // A repository of root's may lie there: its own checks say what the user can do to it.
            if *owner == UserName::root() && self.is_repository(&directory.path) {
                continue;
            }
            if *user != UserName::root() && user != owner {
                let message = format!(
                    "it belongs to {owner}, and lies in {}, whose owner {user} could put anything in its place",
                    above.path
                );
                let finding = Finding::new(
                    Severity::Error,
                    Address::new(Directory::NAME, directory.path.as_str()),
                    message,
                );
                found.push(finding.remedy(format!("give both to {user}, or put it elsewhere")));
            }
        }
        self.findings.extend(found);
    }

    /// Lists the directories that are declared, by path.
    fn directories(&self) -> HashMap<&str, &Directory> {
        let all = self.resources.values().filter_map(|declared| match &declared.resource {
            Resource::Directory(directory) => Some((directory.path.as_str(), directory)),
            _ => None,
        });
        all.collect()
    }

    fn is_repository(&self, path: &HostPath) -> bool {
        self.resources.values().any(|declared| match &declared.resource {
            Resource::Repository(repository) => repository.path() == Some(path),
            _ => false,
        })
    }
}

/// Finds the nearest directory above a path that is declared.
fn nearest_above<'a>(path: &HostPath, directories: &HashMap<&str, &'a Directory>) -> Option<&'a Directory> {
    path.ancestors_str().find_map(|dir| directories.get(dir).copied())
}
