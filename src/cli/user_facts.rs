//! Looks up the users that a state names. Expanding the state needs their homes and groups.

use anyhow::Result;

use super::context::Context;
use crate::{
    expand::{UserFacts, users_with_groups, users_with_homes},
    host::{Host, Real},
    model::GroupName,
    state::State,
};

impl Context<'_> {
    /// Finds what the host's accounts say of the users to whom the state gives something.
    ///
    /// # Errors
    ///
    /// If users cannot be looked up.
    pub(super) fn user_facts(&self, host: &Real, state: &State) -> Result<UserFacts> {
        let (looker, with_homes) = (host.looker(), users_with_homes(state, &self.scope()?));
        let mut user_facts = UserFacts::default();
        for user in &with_homes {
            if let Some(home) = looker.home(user)? {
                user_facts.homes.insert(user.clone(), home);
            }
        }
        for user in with_homes.into_iter().chain(users_with_groups(state)) {
            if let Some(Ok(group)) = looker.user(&user)?.map(|entry| entry.group.parse::<GroupName>()) {
                user_facts.groups.insert(user, group);
            }
        }
        Ok(user_facts)
    }
}
