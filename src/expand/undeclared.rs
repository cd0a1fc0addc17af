//! Decides where to look for repositories and accounts that are not declared: in the directories that contain
//! declared ones.

use std::collections::{BTreeMap, BTreeSet};

use super::{Declared, Expanded};
use crate::{destination::Kind, model::HostPath, resource::Undeclared, state::State};

pub(super) fn add(state: &State, expanded: &mut Expanded) {
    let mut found: BTreeMap<HostPath, Undeclared> = BTreeMap::new();
    let repositories = state.destinations.values().filter_map(|of| match &of.kind {
        Kind::Local(local) => Some(local.path.clone()),
        _ => None,
    });
    let clients = state.ssh.users.values().map(|spec| spec.directory.clone());
    let both = repositories.map(|path| (path, false)).chain(clients.map(|path| (path, true)));
    let mut known = BTreeSet::new();
    for (path, is_client) in both {
        known.extend(is_client.then(|| path.join("repo")).and_then(Result::ok));
        // All sorts of things stand in the root.
        let above = path.parent().filter(|above| above.as_str() != "/");
        known.insert(path);
        let Some(directory) = above else { continue };
        let at = found.entry(directory.clone()).or_insert_with(|| Undeclared {
            directory,
            known: BTreeSet::new(),
            clients: state.ssh.users.keys().cloned().collect(),
            has_clients: false,
        });
        at.has_clients |= is_client;
    }
    for (directory, mut undeclared) in found {
        let inside = |path: &&HostPath| path.ancestors().any(|above| above == directory);
        undeclared.known = known.iter().filter(inside).cloned().collect();
        expanded.add(Declared::plain(undeclared));
    }
}
