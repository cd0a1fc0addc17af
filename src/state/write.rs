//! From a state back to YAML.

use anyhow::Context;

use super::State;

/// Writes a state as YAML that reads as the same state.
///
/// # Errors
///
/// Never for a state that was read: the writer's own failures are passed on.
pub fn to_yaml(state: &State) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let mut writer = serde_yaml::Serializer::new(&mut text);
    // A choice is a map with one key, not a YAML tag.
    serde_yaml::with::singleton_map_recursive::serialize(state, &mut writer)
        .context("cannot write the state")?;
    drop(writer);
    String::from_utf8(text).context("the state is no text")
}
