//! From a state back to YAML.

use anyhow::Context;
use serde_yaml::{Value, with::singleton_map_recursive};

use super::{State, vars};

/// Writes a state as YAML that reads as the same state.
///
/// # Errors
///
/// Never for a state that was read: the writer's own failures are passed on.
pub fn to_yaml(state: &State) -> anyhow::Result<String> {
    // A choice is a map with one key, not a YAML tag.
    let mut value = singleton_map_recursive::serialize(state, serde_yaml::value::Serializer)?;
    escape(&mut value, false);
    serde_yaml::to_string(&value).context("cannot write the state")
}

/// Keeps a `${` that is text from being read as a variable.
fn escape(value: &mut Value, shell: bool) {
    match value {
        // Shell keeps its own: nothing is declared in what is written here.
        Value::String(text) if shell => *text = text.replace("$${", "$$${"),
        Value::String(text) => *text = text.replace("${", "$${"),
        Value::Sequence(items) => items.iter_mut().for_each(|item| escape(item, shell)),
        Value::Mapping(entries) => {
            for (key, value) in entries.iter_mut() {
                escape(value, key.as_str().is_some_and(vars::is_shell));
            }
        }
        _ => {}
    }
}
