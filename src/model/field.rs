//! Helpers for optional fields in serde.

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Says whether a field holds what its absence would give, so that it need not be written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Is the default of a switch that is on unless it is turned off.
pub(crate) const fn yes() -> bool {
    true
}

/// Says whether such a switch is on, so that it need not be written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
pub(crate) const fn is_yes(value: &bool) -> bool {
    *value
}

/// Describes a map whose keys are checked words; schemars by itself drops what it knows of the keys.
pub(crate) fn keyed<K: JsonSchema, V: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "propertyNames": K::json_schema(generator),
        "additionalProperties": generator.subschema_for::<V>(),
    })
}
