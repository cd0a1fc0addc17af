//! What serde is told of fields that may be left out.

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
